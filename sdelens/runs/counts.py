"""Counts of the data of a run, used and unused."""

from typing import Any

from sdelens.branching.branched_transitions import BranchedTransitions
from sdelens.fitting.scores import survivors
from sdelens.runs.reading import empty_words
from sdelens.runs.run import Run


def counts(run: Run) -> dict[str, Any]:
    """Numbers of tokens and documents, and of documents by position."""
    lengths = run.documents.lengths
    return {
        "tokens": int(lengths.sum()),
        "documents": len(run.documents),
        "documents_without_transition": without_transition(run),
        # along the depth all paths have the same length
        "paths_going_on": survivors(lengths) if run.job.axis == "token" else [],
        "near_duplicates": run.manifest["near_duplicates"],
    }


def data_words(run: Run, steps: BranchedTransitions | None) -> list[str]:
    """Sentences on empty texts, and on training transitions that are not the observed ones."""
    empty = empty_words(run.manifest["empty_texts"])
    if steps is None:
        return empty
    whose = "" if run.sampler else " The texts were not sampled from the model; these states were."
    return [
        *empty,
        f"All laws were trained on {run.job.branches} model-drawn next states after each of "
        f"{steps.prefixes:,} training prefixes ({steps.tokens:,} tokens).{whose} Scores use the "
        "observed states.",
    ]


def without_transition(run: Run) -> int:
    """Number of documents without a transition: too short, or no room after the prompt."""
    start = run.documents.start.clamp(min=run.job.skip_first)
    least = 1 if run.job.axis == "layer" else 2
    return int((run.documents.lengths - start < least).sum())
