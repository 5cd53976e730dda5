"""What a run is asked to do: plain values, resolved, and their hash."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sdelens.digest import digest
from sdelens.errors import UnknownName, UsageError
from sdelens.sites import parse_layers

ELSEWHERE = ("device", "cache", "offline")
"""Settings that say where, not what: they do not enter the hash."""


@dataclass(frozen=True)
class Job:
    """All settings of a fit; `config.json` of a run holds them, and `--config` reads them again."""

    model: str = "tiny"
    revision: str | None = None
    dtype: str = "float32"
    device: str = "auto"
    offline: bool = False
    layers: str | None = None
    source: str = "sampled"
    source_settings: Mapping[str, Any] = field(default_factory=dict)
    probe: str = "neural"
    probe_settings: Mapping[str, Any] = field(default_factory=dict)
    basis: str = "standard"
    center: str = "all"
    skip_first: int = 1
    seed: int = 0
    cache: bool = True

    def __post_init__(self) -> None:
        if self.layers is not None:
            parse_layers(self.layers)
        if self.skip_first < 0:
            raise UsageError(f"skip-first must be 0 or more, got {self.skip_first}")

    @property
    def hash8(self) -> str:
        """Eight hex digits that equal jobs share."""
        return digest({k: v for k, v in asdict(self).items() if k not in ELSEWHERE})[:8]

    @property
    def name(self) -> str:
        """The run's folder name: model, layers, hash."""
        layers = "middle" if self.layers is None else f"L{self.layers}"
        model = self.model.rstrip("/").rpartition("/")[2]
        return f"{model}-{layers.replace(',', '+')}-{self.hash8}"

    def json(self) -> dict[str, Any]:
        """As it goes into config.json."""
        return asdict(self)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Job":
        """From config.json; an error that names a setting that is none."""
        known = [f.name for f in fields(cls)]
        for name in settings:
            if name not in known:
                raise UnknownName.among("setting", name, known)
        return cls(**settings)

    def differences(self, other: "Job") -> str:
        """What differs, for a message."""
        mine, theirs = self.json(), other.json()
        return "; ".join(
            f"{name}: {theirs[name]!r} there, {mine[name]!r} here"
            for name in mine
            if name not in ELSEWHERE and mine[name] != theirs[name]
        )
