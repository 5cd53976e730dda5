"""Fits to resampled documents: how much of a coefficient is the luck of the sample."""

from collections.abc import Mapping, Sequence

import torch

from sdelens.errors import BrokenPlugin
from sdelens.paths.trajectories import MappedPaths, Paths, Trajectories
from sdelens.protocols import Fit, FitTask, Probe, StackedProbe, Watch, ignore_epoch
from sdelens.seeds import derive, generator


def resampled(paths: Paths, groups: Mapping[int, int] | None, seed: int) -> MappedPaths:
    """As many groups of documents as there are, drawn with replacement: a bootstrap sample.

    A document's paths are repeated as often as its group was drawn; groups are what is independent
    (Efron 1979; Field and Welsh 2007 for clusters).
    """
    documents = {number for block in paths for number in block.document.tolist()}
    groups = groups or {document: document for document in documents}
    names = sorted({groups[document] for document in documents})
    random = generator(seed, "bootstrap")
    drawn = torch.randint(len(names), (len(names),), generator=random)
    counts = torch.bincount(drawn, minlength=len(names))
    times = {name: int(count) for name, count in zip(names, counts.tolist(), strict=True)}

    def repeat(block: Trajectories) -> Trajectories:
        often = torch.tensor([times[groups[d]] for d in block.document.tolist()])
        rows = torch.arange(len(often)).repeat_interleave(often)
        return block.rows(rows.to(block.document.device))

    return MappedPaths(paths, repeat)


def fit_all(probe: Probe, tasks: Sequence[FitTask], *, watch: Watch = ignore_epoch) -> list[Fit]:
    """A fit for each task: in one batched computation where the probe can, else in turn."""
    widths = {next(iter(task.train)).states.shape[-1] for task in tasks}
    if isinstance(probe, StackedProbe) and len(tasks) > 1 and len(widths) == 1:
        found = probe.fit_stack(tasks, watch=watch)
    else:
        found = [probe.fit(t.train, t.validation, seed=t.seed, watch=watch) for t in tasks]
    for fit in found:
        if not isinstance(fit, Fit):
            raise BrokenPlugin(
                f"fit of {type(probe).__name__} must give a Fit(law), it gave {type(fit).__name__}"
            )
    return found


def ensemble_tasks(
    train: Paths,
    validation: Paths,
    groups: Mapping[int, int] | None,
    *,
    members: int,
    seed: int,
) -> list[FitTask]:
    """As many fits as there are members, each to training documents resampled by its seed."""
    seeds = [derive(seed, "member", number) for number in range(members)]
    return [FitTask(resampled(train, groups, own), validation, own) for own in seeds]
