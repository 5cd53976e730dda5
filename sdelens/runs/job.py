"""The settings of a run: plain values, resolved, and their hash. Imports no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sdelens.digest import digest
from sdelens.errors import UsageError
from sdelens.fitting.options import FitOptions
from sdelens.settings import build, option
from sdelens.states.sites import parse_layers

ELSEWHERE = ("device", "cache", "offline")
"""Settings that say where, not what: they do not enter the hash."""
BRANCHES = 8
CHOICES = {
    "axis": ("token", "layer"),
    "dtype": ("float32", "bfloat16", "float16"),
    "device": ("auto", "cpu", "cuda", "mps"),
    "target": ("plain", "branched"),
}


@dataclass(frozen=True, kw_only=True)
class Job(FitOptions):
    """All settings of a run: its `config.json` holds them, and `--config` reads them."""

    model: str = option("tiny", "tiny (embedded), a local folder, or a name on the hub.")
    layers: str | None = option(
        None, "6 | 0-7 | 2,5 | all | -1 | middle | embed: outputs of blocks. [middle]"
    )
    axis: str = option("token", "token: time along the text; layer: one path per token.")
    revision: str | None = option(None, "Branch, tag or commit on the hub.")
    dtype: str = option("float32", "float32, bfloat16 or float16.")
    device: str = option("auto", "auto, cpu, cuda or mps.")
    offline: bool = option(False, "Only what is here already.")
    source: str = option("sampled", "Another source of texts: a plugin.")
    source_settings: Mapping[str, Any] = option({}, "Settings of the source, by name.")
    target: str = option(
        "plain",
        "What fits learn from: plain, the steps that occurred, or branched, steps to several "
        "next states that the model draws.",
    )
    branches: int | None = option(None, "Next tokens drawn for --target branched. [8]")
    skip_first: int = option(1, "Positions left out at the context's start.")
    cache: bool = option(True, "Whether captured states are kept for later runs.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers is not None:
            parse_layers(self.layers)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UsageError(
                    f"--{name} must be {', '.join(known)}; got {getattr(self, name)!r}"
                )
        if self.axis == "layer" and self.layers is not None:
            raise UsageError(
                "--layer and --axis layer contradict each other, since a path through the depth "
                f"passes every layer: leave out --layer {self.layers}"
            )
        if self.axis == "layer" and self.target == "branched":
            raise UsageError(
                "--target branched and --axis layer contradict each other: next tokens are a "
                "question of the token axis"
            )
        if self.target == "plain" and self.branches is not None:
            raise UsageError(
                "--branches is about --target branched: leave it out, or give that as well"
            )
        if self.target == "branched" and self.branches is None:
            object.__setattr__(self, "branches", BRANCHES)
        if self.branches is not None and self.branches < 2:
            raise UsageError(f"branches must be at least 2, got {self.branches}")
        if self.skip_first < 0:
            raise UsageError(f"skip-first must be 0 or more, got {self.skip_first}")

    @property
    def recorded(self) -> str | None:
        """The layers whose states are recorded, as `layers` names them."""
        return "embed,all" if self.axis == "layer" else self.layers

    @property
    def kept(self) -> int:
        """States on disk for each token and layer, at most, while it is done."""
        return 1 + 2 * (self.branches or 0)

    @property
    def hash8(self) -> str:
        """Eight hex digits that equal jobs share."""
        return digest(self._what())[:8]

    def _what(self) -> dict[str, Any]:
        """The settings that results depend on."""
        settings = {k: v for k, v in asdict(self).items() if k not in ELSEWHERE}
        if self.axis == "token":  # as before there was another
            del settings["axis"]
        if self.target == "plain":  # likewise
            del settings["target"], settings["branches"]
        inner = settings["source_settings"].items()
        return settings | {"source_settings": {k: v for k, v in inner if k not in ELSEWHERE}}

    @property
    def name(self) -> str:
        """The run's folder name: model, layers, hash."""
        layers = "middle" if self.layers is None else f"L{self.layers}"
        if self.axis == "layer":
            layers = "depth"
        return f"{Path(self.model).name}-{layers.replace(',', '+').replace(' ', '')}-{self.hash8}"

    def json(self) -> dict[str, Any]:
        """As it goes into config.json."""
        return asdict(self)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Job":
        """From config.json; an error that names a setting that is none, or of another type."""
        found: Job = build(cls, settings, "config")
        return found

    def differences(self, other: "Job") -> str:
        """What differs, for a message."""
        mine, theirs = _flat(self.json()), _flat(other.json())
        return "; ".join(
            f"{name}: {theirs.get(name)!r} there, {mine.get(name)!r} here"
            for name in sorted({*mine, *theirs})
            if name not in ELSEWHERE and mine.get(name) != theirs.get(name)
        )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the source and of the probe beside the others, as --set names them."""
    own = {
        f"{kind}.{name}": value
        for kind in ("source", "probe")
        for name, value in settings[f"{kind}_settings"].items()
    }
    return {k: v for k, v in settings.items() if not k.endswith("_settings")} | own
