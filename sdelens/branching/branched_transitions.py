r"""Training transitions to next states drawn from the model's own next-token law.

Each state is the start of B one-step paths, one for each of B independent next tokens. The
expected negative log likelihood of a Gaussian law over them is

.. math::
    \tfrac12\big[\mathrm{tr}\,\Sigma^{-1}\big(S^*+(m^*-m)(m^*-m)^\top\big)+\log|\Sigma|\big],

the same as for observed transitions but with less sampling noise: a mean fitted to them has the
error of targets with variance :math:`S^*/B` around m*.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage
from tempfile import gettempdir

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from sdelens.branching.branch_sampler import BranchedStates, BranchSampler
from sdelens.branching.prefixes import Prefixes
from sdelens.branching.sampler_check import SurprisalCheck
from sdelens.errors import OutOfMemory
from sdelens.origin import Origin
from sdelens.paths.documents import Documents
from sdelens.protocols import LanguageModel, Site
from sdelens.states.recording import Recording, Shard
from sdelens.states.shard_file import shard_file
from sdelens.temporary import Temporary

SHARD_STEPS = 2**15
"""Approximate number of transitions per file."""


@dataclass(frozen=True, eq=False)
class BranchedTransitions:
    """Branched training transitions, and the size of the computation."""

    recording: Recording
    """Paths of two states, labelled with the number of their document."""
    prefixes: int
    tokens: int
    """Number of next tokens evaluated."""


@torch.no_grad()
def branched_transitions(
    model: LanguageModel,
    documents: Documents,
    numbers: Sequence[int],
    sites: Sequence[Site],
    branching: BranchSampler,
    origin: Origin,
    *,
    own: bool,
    seed: int,
    watch: Callable[[int], None] = lambda _: None,
) -> BranchedTransitions:
    """Transitions after every prefix of the documents `numbers`, in a temporary folder.

    `own` states that the model sampled the texts with the settings of `branching`; raises
    `UsageError` if that is impossible. `watch` receives the number of next tokens evaluated.
    """
    every = list(documents)
    texts = Documents.of(every[number] for number in numbers)
    start = texts.start.clamp(min=origin.skip_first)
    prefixes = Prefixes(texts, torch.tensor(numbers), start, torch.arange(len(texts)))
    _require_disk(prefixes, branching.choice.branches * model.card.width * len(sites))
    surprisals, writer = SurprisalCheck(prefixes, cached=branching.cached), _Writer(sites)
    for text in branching(model, prefixes, sites, seed=seed):
        surprisals.add(text)
        for places, ahead in text.pieces():
            writer.add(_steps(text, places, ahead, prefixes))
        watch(text.fed)
    writer.flush()
    if own:
        surprisals.result(branching, model.card.dtype).require(branching.sampler)
    checksums = tuple(writer.checksums)
    shards = Recording(writer.kept.folder, origin, tuple(sites), checksums, writer.kept)
    return BranchedTransitions(shards, surprisals.fed // branching.choice.branches, surprisals.fed)


def _require_disk(prefixes: Prefixes, numbers: int) -> None:
    """Raise `OutOfMemory` unless the disk holds two times `numbers` floats for each prefix."""
    place, count = Path(gettempdir()), int((prefixes.documents.lengths - prefixes.recorded).sum())
    needed, free = 8 * count * numbers, disk_usage(place).free
    if needed > free:
        raise OutOfMemory(
            f"the branched transitions of {count} prefixes need {needed / 2**30:.1f} GiB, but "
            f"{place} has {free / 2**30:.1f} GiB free: set TMPDIR to another disk, or use fewer "
            "branches, documents or layers"
        )


def _steps(
    text: BranchedStates,
    places: slice,
    ahead: Mapping[Site, Float[Tensor, "document position branch dim"]],
    prefixes: Prefixes,
) -> Shard:
    """Transitions from each prefix at some positions to each of its branches."""
    row, place = text.inside[:, places].nonzero(as_tuple=True)
    time, document = text.at[places][place], text.row[row]
    chosen = text.law.chosen.tokens[row, place + places.start]
    count = chosen.shape[1]

    def both(now: Tensor, then: Tensor) -> Tensor:
        before = now[:, None].expand(then.shape)
        pairs = torch.stack([before, then], 2)
        return rearrange(pairs, "prefix branch pair ... -> (prefix branch) pair ...")

    states = {
        site: both(text.cache.states[site][row, time], following[row, place])
        for site, following in ahead.items()
    }
    tokens = prefixes.documents.padded()[document, time]
    return Shard(
        states,
        torch.ones(len(row) * count, 2, dtype=torch.bool),
        both(time, (time + 1)[:, None].expand(-1, count)),
        both(tokens, chosen),
        repeat(prefixes.numbers[document], "prefix -> (prefix branch)", branch=count),
    )


class _Writer:
    """Writes transitions to shards in a temporary folder."""

    def __init__(self, sites: Sequence[Site]) -> None:
        self.sites, self.kept = sites, Temporary()
        self.held: list[Shard] = []
        self.checksums: list[str] = []

    def add(self, part: Shard) -> None:
        self.held.append(part)
        if sum(map(_size, self.held)) >= SHARD_STEPS:
            self.flush()

    def flush(self) -> None:
        """Write the pending transitions to a shard."""
        if not any(map(_size, self.held)):
            return
        rest = ("mask", "positions", "tokens", "document")
        mask, positions, tokens, document = (
            torch.cat([getattr(part, name) for part in self.held]) for name in rest
        )
        states = {s: torch.cat([part.states[s] for part in self.held]) for s in self.sites}
        whole = Shard(states, mask, positions, tokens, document)
        file = shard_file(self.kept.folder, len(self.checksums))
        self.checksums.append(whole.write(file))
        self.held = []


def _size(part: Shard) -> int:
    return len(part.document)
