"""How much a run was made of, and what of it could not be used."""

from typing import Any

from sdelens.branching.branched_transitions import BranchedTransitions
from sdelens.fitting.scores import survivors
from sdelens.runs.run import Run


def counts(run: Run) -> dict[str, Any]:
    """How much there was: tokens, documents, what was dropped, who reached which position."""
    lengths = run.documents.lengths
    return {
        "tokens": int(lengths.sum()),
        "documents": len(run.documents),
        "documents_without_transition": without_transition(run),
        # along the depth all paths are as long
        "paths_going_on": survivors(lengths) if run.job.axis == "token" else [],
        "dropped_prefix_in_training": dropped(run),
    }


def branched_words(run: Run, steps: BranchedTransitions | None) -> list[str]:
    """What fits learned from, where it was not the steps that occurred."""
    if steps is None:
        return []
    whose = "" if run.sampler else " The texts are not the model's own, and these are its states."
    return [
        f"All laws learned from {run.job.branches} next states that the model drew after each of "
        f"{steps.prefixes:,} training prefixes ({steps.tokens:,} tokens fed).{whose} Scores are "
        "of the states that occurred."
    ]


def without_transition(run: Run) -> int:
    """Documents that nothing is recorded of: their prompt fills the context, or they are short."""
    start = run.documents.start.clamp(min=run.job.skip_first)
    least = 1 if run.job.axis == "layer" else 2
    return int((run.documents.lengths - start < least).sum())


def dropped(run: Run) -> int:
    """Test transitions that are not scored since their whole prefix occurs in training."""
    lengths, start = run.documents.lengths, run.documents.start.clamp(min=run.job.skip_first)
    through = run.job.axis == "layer"  # a step to every block from each token, the last one too
    steps = len(run.sites) - 1 if through else 1
    return steps * sum(
        max(0, min(first, int(lengths[d]) - (not through)) - int(start[d]))
        for d, first in run.first_new.items()
    )
