"""Schemas of the JSON files of a run."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, model_validator

from sdelens.errors import UsageError
from sdelens.evidence.verdict import LABELS
from sdelens.origin import ModelCard, Origin
from sdelens.protocols import Site
from sdelens.schema import Count, Schema, checked, damaged, instance
from sdelens.store import read_json

Interval = Annotated[list[float], Field(min_length=2, max_length=2)]
VERSION = 1
"""Version of the format of a run."""
COMPARED = ("iid_position", "linear")
"""Baselines that every fit has."""


def _origin(value: Any) -> Origin:
    if isinstance(value, dict) and "model" in value:
        value = value | {"model": instance(ModelCard)(value["model"])}
    return instance(Origin)(value)


def _baseline(name: str) -> str:
    if name not in LABELS:
        raise ValueError(f"must be a baseline: {', '.join(LABELS)}")
    return name


Baseline = Annotated[str, AfterValidator(_baseline)]


class UsedPlugin(Schema):
    """A plugin that took part in a run."""

    kind: str
    name: str
    distribution: str
    version: str
    sha256: str | None = None


class Fingerprints(Schema):
    """Hashes of the model, the tokenizer and the texts."""

    model: str
    tokenizer: str
    texts: str


class Checked(Schema):
    """A row of the check of the model."""

    name: str
    passed: bool | None
    words: str


class Manifest(Schema):
    """manifest.json."""

    state: Literal["running", "done", "failed", "interrupted"]
    argv: list[str]
    settings: dict[str, Any]
    model: Annotated[ModelCard, BeforeValidator(instance(ModelCard))]
    seed: int
    versions: dict[str, str]
    python: str
    platform: str
    device: str
    threads: Annotated[int, Field(ge=1, le=2**20)]
    plugins: list[UsedPlugin]
    timings: dict[str, float]
    check: list[Checked] = Field(default_factory=list)
    fingerprints: Fingerprints | None = None
    near_duplicates: Count = 0
    empty_texts: Count = 0
    documents: str | None = None
    """sha256 of documents.safetensors."""

    @model_validator(mode="after")
    def _one_seed(self) -> "Manifest":
        if self.seed != self.settings.get("seed", self.seed):
            raise ValueError("seed must be that of the settings")
        return self


def read_manifest(file: Path) -> dict[str, Any]:
    """The checked manifest of a run, with the defaults of what it leaves out."""
    found: dict[str, Any] = read_json(file)
    if not isinstance(found, dict) or not isinstance(found.get("schema"), int):
        damaged(file, "schema", "must be the version of the format")
    if found["schema"] > VERSION:
        raise UsageError(f"{file.parent} was written by a newer sdelens: upgrade this one")
    whole: dict[str, Any] = checked(Manifest, found, file).model_dump(mode="json")
    return whole


class FitConfig(Schema):
    """config.json of a fit."""

    axis: Literal["token", "layer"] = "token"
    site: Annotated[Site, BeforeValidator(instance(Site))]
    probe: str
    settings: dict[str, Any]
    density: str
    dt: PositiveFloat
    members: Annotated[int, Field(ge=0, le=10_000)] = 0
    seed: int
    basis: dict[str, str]
    basis_dropped: Count
    origin: Annotated[Origin, BeforeValidator(_origin)] | None
    tensors: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Type and shape of each tensor, by file and name."""


class Row(Schema):
    """Scores of one law: values with their standard errors, and intervals of gains."""

    __pydantic_extra__: dict[str, float | Interval] = Field(init=False)
    increment_r2: float
    increment_r2_stderr: float
    nll_per_dim: float
    nll_per_dim_stderr: float
    gain_of_fit: float
    gain_of_fit_stderr: float

    @model_validator(mode="after")
    def _errors(self) -> "Row":
        extra = self.__pydantic_extra__
        for key, value in extra.items():
            if isinstance(value, list) != key.endswith("_interval"):
                raise ValueError(f"{key} must be one number, or two for an interval")
            whole = not key.endswith(("_stderr", "_interval", "_without_sinks"))
            if whole and f"{key}_stderr" not in extra:
                raise ValueError(f"must have the field {key}_stderr")
        return self


class Scores(Schema):
    """Scores of the fit and its baselines on some transitions."""

    held_out_nll_per_dim: float
    held_out_nll_stderr: float
    held_out_nll_raw_per_dim: float
    gain_over_iid_position: float
    gain_over_iid_position_stderr: float
    increment_r2: float
    increment_r2_stderr: float
    same_law: list[Baseline]
    noise_column: Literal["state-dependent", "constant"]
    transitions: Count
    held_out_documents: Count
    baselines: dict[Baseline, Row]
    fit: Row

    @model_validator(mode="after")
    def _compared(self) -> "Scores":
        if missing := [name for name in COMPARED if name not in self.baselines]:
            raise ValueError(f"baselines must have the field {missing[0]}")
        return self


class Variant(Schema):
    """Scores of a variant of the fit."""

    nll_per_dim: float
    gain_over_fit: float
    gain_over_fit_stderr: float


class Metrics(Scores):
    """metrics.json."""

    held_out_nll_per_dim_without_sinks: float
    transitions_with_sinks: Count
    variants: dict[str, Variant] = Field(default_factory=dict)
    new_prefixes: Scores | None = None
    notes: list[str] = Field(default_factory=list)
    tokens: Count = 0
    documents: Count = 0
    documents_without_transition: Count = 0
    paths_going_on: list[Count] = Field(default_factory=list)
    near_duplicates: Count = 0

    @model_validator(mode="after")
    def _same_baselines(self) -> "Metrics":
        new = self.new_prefixes
        if new and (new.baselines.keys(), new.noise_column) != (
            self.baselines.keys(),
            self.noise_column,
        ):
            raise ValueError("new_prefixes must have the same baselines and noise")
        return self
