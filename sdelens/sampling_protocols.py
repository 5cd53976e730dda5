"""What sources that sample from the model of a run may have; all of it is optional."""

from typing import Any, Protocol, runtime_checkable

from sdelens.protocols import Source


@runtime_checkable
class SamplingSource(Source, Protocol):
    """A source that samples its documents from the model of the run."""

    def sampling_settings(self) -> Any:
        """The `sdelens.states.sampling.Sampler` that draws the tokens."""


@runtime_checkable
class PromptingSource(SamplingSource, Protocol):
    """A sampling source that gives prompts to the model."""

    def described_prompts(self, *, template: bool) -> str | None:
        """The prompts in a few words, such as ``to 4 prompts``; None if there are none.

        `template` says whether the model has a chat template.
        """

    def answers_wanted(self, *, template: bool) -> int:
        """The largest number of answers, as far as it is known before the model is loaded.

        Raises `UsageError` if the prompts need a chat template that the model does not have.
        """
