"""Training sets of several sizes, of transitions that occurred or of branched ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sdelens.fitting.fitted import Fitted
from sdelens.laws.law import Law
from sdelens.paths.trajectories import MappedPaths, Paths, Trajectories
from sdelens.protocols import Probe, ignore_epoch
from sdelens.seeds import derive

SIZES = (8, 4, 2, 1)
"""Plain fits use an eighth, a quarter, a half and all of the training documents."""
BRANCHED = (8, 4)
"""The sizes of the fits to branched transitions."""
REPEATS = 4
"""At most so many disjoint sets of documents of each size, for the error over training sets."""


@dataclass(frozen=True)
class TrainingSet:
    """The documents and transitions of one fit."""

    target: str
    part: int
    """The set has one in `part` of the training documents."""
    repeat: int

    def __str__(self) -> str:
        return f"{self.target} 1/{self.part} #{self.repeat}"

    def of(self, documents: Sequence[int]) -> list[int]:
        """The documents of the set: every n-th one."""
        return list(documents[self.repeat :: self.part])


def training_sets() -> list[TrainingSet]:
    """The training sets of all fits that are compared."""
    return [
        TrainingSet(target, part, repeat)
        for target, parts in (("plain", SIZES), ("branched", BRANCHED))
        for part in parts
        for repeat in range(min(part, REPEATS))
    ]


def branched_documents(documents: Sequence[int]) -> list[int]:
    """The documents of all branched training sets."""
    branched = [each for each in training_sets() if each.target == "branched"]
    return sorted({document for each in branched for document in each.of(documents)})


def fit_training_sets(
    fitted: Fitted,
    probe: Probe,
    train: Paths,
    validation: Paths,
    steps: Paths,
    documents: Sequence[int],
    *,
    apart: int,
    seed: int,
) -> dict[TrainingSet, Law]:
    """Fits the probe to every training set, in the coordinates of `fitted`.

    All fits use the same validation documents. Plain sets have the transitions that occurred after
    the branched prefixes, which end at every `apart`-th position.
    """
    held_out = fitted.encoded(validation)
    plain = MappedPaths(train, lambda block: single_steps(block, apart))
    sources = {"plain": fitted.encoded(plain), "branched": fitted.encoded(steps)}
    return {
        each: probe.fit(
            sources[each.target].select(each.of(documents)),
            held_out,
            seed=derive(seed, str(each)),
            watch=ignore_epoch,
        ).law
        for each in training_sets()
    }


def single_steps(block: Trajectories, apart: int) -> Trajectories:
    """The transitions of a block from every `apart`-th position, as paths of two states."""
    times = block.times.expand(block.mask.shape)
    starts = block.steps & ((times[:, :-1].long() + 1) % apart == 0)
    path, time = starts.nonzero(as_tuple=True)
    both = torch.stack([time, time + 1], 1)
    row = path[:, None]
    return Trajectories(
        states=block.states[row, both],
        mask=block.mask[row, both],
        times=times[row, both],
        tokens=block.tokens[row, both],
        document=block.document[path],
    )
