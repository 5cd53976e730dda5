"""Texts sampled from the model itself."""

from collections.abc import Iterator
from dataclasses import dataclass

from sdelens.paths.documents import Document
from sdelens.protocols import LanguageModel
from sdelens.states.sampling import Sampler, sample


@dataclass(frozen=True)
class SampledSource:
    """Sample `documents_wanted` texts of at most `length` tokens after BOS, ended by EOS."""

    documents_wanted: int = 512
    length: int = 200
    temperature: float = 1.0
    top_p: float = 1.0
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        self.sampling_settings()  # validates the settings before any work

    def sampling_settings(self) -> Sampler:
        """How the next token is drawn."""
        return Sampler(self.temperature, self.top_p, self.ignore_eos)

    def documents(self, model: LanguageModel, *, seed: int) -> Iterator[Document]:
        count, length = self.documents_wanted, self.length
        sampler = self.sampling_settings()
        return sample(model, sampler, documents=count, length=length, seed=seed)
