"""Ensembles of fits to bootstrap samples of the documents, for standard errors."""

from collections.abc import Mapping, Sequence

import torch

from sdelens.errors import BrokenPlugin
from sdelens.paths.trajectories import MappedPaths, Paths, Trajectories
from sdelens.protocols import Fit, FitTask, Probe, StackedProbe, Watch, ignore_epoch
from sdelens.seeds import derive, generator


def resampled(paths: Paths, groups: Mapping[int, int] | None, seed: int) -> MappedPaths:
    """Bootstrap sample of the groups of documents, drawn with replacement.

    The paths of a document are repeated as often as its group was drawn. Groups are resampled as
    a whole because they are the independent units (Efron 1979; Field and Welsh 2007 for clusters).
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
    """Fit all tasks, in one batched computation if the probe supports it."""
    widths = {next(iter(task.train)).states.shape[-1] for task in tasks}
    if isinstance(probe, StackedProbe) and len(tasks) > 1 and len(widths) == 1:
        found = probe.fit_stack(tasks, watch=watch)
    else:
        found = [probe.fit(t.train, t.validation, seed=t.seed, watch=watch) for t in tasks]
    for fit in found:
        if not isinstance(fit, Fit):
            raise BrokenPlugin(
                f"fit of {type(probe).__name__} must return a Fit(law), got {type(fit).__name__}"
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
    """Fit tasks of the members, each with its own bootstrap sample of the training documents."""
    seeds = [derive(seed, "member", number) for number in range(members)]
    return [FitTask(resampled(train, groups, own), validation, own) for own in seeds]
