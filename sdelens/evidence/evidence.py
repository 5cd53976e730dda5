"""Evidence about a fit, computed from its training, validation and test paths."""

from collections.abc import Sequence
from itertools import chain

import torch
from jaxtyping import Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.evidence.effects import Effect
from sdelens.evidence.embedding import embeddable_share
from sdelens.evidence.gaussianity import mixture_gain
from sdelens.evidence.jumps import INTERVALS, jump_effect, tails
from sdelens.evidence.lagged import lagged
from sdelens.evidence.lagged_moments import COORDINATES, Axes, lagged_moments
from sdelens.evidence.markov import MarkovSplit, memory
from sdelens.evidence.process_class import GAIN, Evidence
from sdelens.evidence.verdict import LABELS, NOISES
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Viewed
from sdelens.paths.documents import Documents
from sdelens.paths.trajectories import Paths
from sdelens.seeds import derive

RIVALS = ("random_walk", "constant", "iid_position")
EMBEDDED = 32
"""Number of leading principal coordinates in which embeddability is tested."""


def gather(viewed: Viewed, documents: Documents, *, seed: int) -> Evidence:
    """Compute the evidence for every property that the data allow to test.

    Gain, memory and mixture are evaluated on test documents, with regressions fitted to training
    and selected on validation documents. Lagged moments use validation and test documents, which
    no coefficient was fitted to. Embeddability uses training documents, and the test for jumps all
    documents. Standard errors are over groups of documents, which the split keeps together.
    """
    fitted = viewed.fitted
    groups = torch.unique(documents.group, return_inverse=True)[1]
    train, validation, test = map(fitted.encoded, (viewed.train, viewed.validation, viewed.test))
    gain = gain_over_best(fitted)
    sides = MarkovSplit(
        lagged(fitted.law, train, groups),
        lagged(fitted.law, validation, groups),
        lagged(fitted.law, test, groups),
        groups=int(groups.max()) + 1,
    )
    standard, remembered = memory(sides)
    axes = Axes.of(train, EMBEDDED)
    return Evidence(
        gain=gain,
        memory=remembered,
        jump=_jump(fitted, (train, validation, test), groups),
        mixture=mixture_gain(sides, standard, seed=derive(seed, "mixture")),
        embeddable=embeddable_share(train, groups, axes.encoder, seed=derive(seed, "embeddable")),
        lagged=lagged_moments(
            fitted.sde,
            (validation, test),
            groups,
            axes.leading(COORDINATES),
            trained=len(torch.unique(sides.train.group)),
            seed=derive(seed, "lagged"),
        ),
    )


def _jump(
    fitted: Fitted, paths: Sequence[Paths], groups: Int[Tensor, " document"]
) -> Effect | None:
    """Test for jumps; None if the step is discrete or the paths are too short for it."""
    blocks = chain.from_iterable(paths)
    longest = max((int(block.steps.sum(1).max()) for block in blocks), default=0)
    if fitted.record.density == "discrete" or longest <= max(INTERVALS):
        return None
    return jump_effect(tails(fitted.law, paths, groups))


def gain_over_best(fitted: Fitted) -> Effect:
    """Held-out gain over the best of `RIVALS`, excluding the fit's own family.

    The gain is recorded with the fit, with the same kind of noise for both.
    """
    scores, probe = fitted.record.scores, fitted.record.probe
    if not scores:
        raise UsageError(
            "a verdict needs a fit with held-out scores, got one without: fit it with sdelens.fit"
        )
    key = f"gain_of_fit{NOISES[scores['noise_column']]}"
    rows = {name: scores["baselines"][name] for name in RIVALS if name != probe}
    gains = [
        Effect(
            f"gain over {LABELS[name]}",
            row[key],
            row[f"{key}_stderr"],
            scores["held_out_documents"],
            GAIN,
        )
        for name, row in rows.items()
        if key in row
    ]
    return min(gains, key=lambda gain: gain.value)
