"""The resolved settings of a run and their hash. Imports no torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sdelens.digest import digest
from sdelens.errors import UsageError
from sdelens.fitting.options import FitOptions
from sdelens.settings import build, option
from sdelens.states.sites import parse_layers

ELSEWHERE = ("device", "device_map", "cache", "offline")
"""Settings that do not affect results and are not part of the hash."""
LOADING = ("revision", "dtype", "device", "offline")
"""Settings of the loader; those of `RARE` count only if they differ from these defaults."""
RARE = {"bos": "auto", "quantise": None, "adapter": None, "device_map": None}
BRANCHES = 8
CHOICES = {
    "axis": ("token", "layer"),
    "dtype": ("float32", "bfloat16", "float16", "auto"),
    "quantise": (None, "int8", "int4"),
    "device_map": (None, "auto"),
    "device": ("auto", "cpu", "cuda", "mps"),
    "target": ("plain", "branched"),
    "bos": ("auto", "always", "never"),
}


@dataclass(frozen=True, kw_only=True)
class Job(FitOptions):
    """All settings of a run, stored in its `config.json` and read by `--config`."""

    model: str = option("tiny", "tiny (embedded), a folder, a GGUF file, or a name on the hub.")
    layers: str | None = option(
        None, "6 | 0-7 | 2,5 | all | -1 | middle | embed: output of blocks. [middle]"
    )
    axis: str = option(
        "token", "token: a path per text; layer: a path per token, through the blocks."
    )
    revision: str | None = option(None, "Branch, tag or commit on the hub.")
    dtype: str = option("float32", "float32, bfloat16, float16, or auto: as stored.")
    quantise: str | None = option(None, "int8 or int4: weights rounded by torchao.")
    adapter: str | None = option(None, "Folder of a PEFT adapter, merged into the weights.")
    bos: str = option(
        "auto", "BOS before texts: always, never, or auto, which follows the tokenizer."
    )
    device: str = option("auto", "auto, cpu, cuda or mps.")
    device_map: str | None = option(None, "auto: spread the weights over all devices.")
    offline: bool = option(False, "Use only cached files.")
    source: str = option("sampled", "Source of texts (a plugin).")
    source_settings: Mapping[str, Any] = option({}, "Settings of the source, by name.")
    target: str = option(
        "plain",
        "Training transitions: plain (observed), or branched (several model-drawn next states "
        "per prefix).",
    )
    branches: int | None = option(None, "Next tokens sampled with --target branched. [8]")
    skip_first: int = option(1, "Number of initial positions to skip.")
    cache: bool = option(True, "Keep captured states for later runs.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers is not None:
            parse_layers(self.layers)
        for name in ("model", "source", "revision", "adapter"):
            if getattr(self, name) == "":
                raise UsageError(f"--{name} is empty: give a value, or leave it out")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                listed = ", ".join(filter(None, known))
                option_ = name.replace("_", "-")
                raise UsageError(f"--{option_} must be {listed}; got {getattr(self, name)!r}")
        if self.axis == "layer" and self.layers is not None:
            raise UsageError(
                "--layer cannot be combined with --axis layer, where a path passes through every "
                f"layer: remove --layer {self.layers}"
            )
        if self.axis == "layer" and self.target == "branched":
            raise UsageError(
                "--target branched cannot be combined with --axis layer: next tokens need "
                "the token axis"
            )
        if self.target == "plain" and self.branches is not None:
            raise UsageError("--branches needs --target branched: give both, or remove --branches")
        if self.target == "branched" and self.branches is None:
            object.__setattr__(self, "branches", BRANCHES)
        if self.branches is not None and self.branches < 2:
            raise UsageError(f"branches must be at least 2, got {self.branches}")
        if self.skip_first < 0:
            raise UsageError(f"skip-first must be 0 or more, got {self.skip_first}")

    @property
    def model_settings(self) -> dict[str, str | bool | None]:
        """How the model is loaded."""
        given = {name: getattr(self, name) for name in (*LOADING, *RARE)}
        return {k: v for k, v in given.items() if k in LOADING or v != RARE[k]}

    @property
    def recorded(self) -> str | None:
        """The recorded layers, in the form of the `layers` setting."""
        return "embed,all" if self.axis == "layer" else self.layers

    @property
    def kept(self) -> int:
        """Maximum number of states per token and layer on disk during the run."""
        return 1 + 2 * (self.branches or 0)

    @property
    def hash8(self) -> str:
        """Eight hex digits, equal for equal jobs."""
        return digest(self._what())[:8]

    def _what(self) -> dict[str, Any]:
        """The settings that affect results."""
        settings = {k: v for k, v in asdict(self).items() if k not in ELSEWHERE}
        if self.axis == "token":  # as before there was another
            del settings["axis"]
        if self.target == "plain":  # likewise
            del settings["target"], settings["branches"]
        settings = {k: v for k, v in settings.items() if k not in RARE or v != RARE[k]}
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
        """The content of config.json."""
        return asdict(self)

    @classmethod
    def of(cls, settings: Mapping[str, Any], file: Path | None = None) -> "Job":
        """A job from config.json; raises an error that names an unknown or invalid setting."""
        label = "config" if file is None else str(file)
        if not isinstance(settings, Mapping):
            raise UsageError(f"{label} must be an object with the settings of a fit")
        found: Job = build(cls, settings, label)
        return found

    def differences(self, other: "Job") -> str:
        """The differing settings, for a message."""
        mine, theirs = _flat(self.json()), _flat(other.json())
        return "; ".join(
            f"{name}: {theirs.get(name)!r} there, {mine.get(name)!r} here"
            for name in sorted({*mine, *theirs})
            if name not in ELSEWHERE and mine.get(name) != theirs.get(name)
        )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """All settings with those of source and probe named as in --set."""
    own = {
        f"{kind}.{name}": value
        for kind in ("source", "probe")
        for name, value in settings[f"{kind}_settings"].items()
    }
    return {k: v for k, v in settings.items() if not k.endswith("_settings")} | own
