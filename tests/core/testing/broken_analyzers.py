"""An analyzer that keeps its promises, and others that break one each."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch.nn.modules.module import register_module_forward_hook

from sdelens.report import Estimate, Figure, Finding
from sdelens.testing.small_model import small_model


def mean_size(study):
    """The mean size of the observed test states, one value for each document."""
    _, viewed = study.single
    sizes = [block.states.norm(dim=-1)[block.mask] for block in viewed.test]
    return float(torch.cat(sizes).mean())


class Size:
    """The mean size of a state."""

    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"
    factor = 1.0

    def value(self, study, seed):
        for paths in (viewed.test for viewed in study.views.values()):
            list(paths.transitions(100, seed))  # refuses what is no number
        return mean_size(study)

    def analyze(self, study, *, seed):
        view, _ = study.single
        size = Estimate("size", self.factor * self.value(study, seed))
        return Finding(str(view), f"Size {size}.", "A mean.", estimates=(size,))


@dataclass(frozen=True)
class Sound(Size):
    """Keeps every promise."""

    factor: float = 1.0


@dataclass
class Thawed(Size):
    """Can be changed."""


@dataclass(frozen=True)
class Unsettled(Sound):
    factor: tuple = (1, 2)

    def value(self, study, seed):
        return 0.0

    def analyze(self, study, *, seed):
        return Sound().analyze(study, seed=seed)


@dataclass(frozen=True)
class Needy(Sound):
    needs: ClassVar[frozenset[str]] = frozenset({"modle"})


@dataclass(frozen=True)
class Hooking(Sound):
    def value(self, study, seed):
        block = study.model.plain.model.get_submodule("transformer.h.0")
        block.register_forward_hook(lambda *_: None)
        return super().value(study, seed)


@dataclass(frozen=True)
class Training(Sound):
    def value(self, study, seed):
        with torch.no_grad():
            next(study.model.plain.model.parameters()).add_(1e-3)
        return super().value(study, seed)


@dataclass(frozen=True)
class Moving(Sound):
    """Changes the fit."""

    def value(self, study, seed):
        _, viewed = study.single
        next(iter(viewed.fitted.law.tensors().values())).mul_(1.001)
        return super().value(study, seed)


@dataclass(frozen=True)
class Writing(Sound):
    """Changes the paths that it is given."""

    def value(self, study, seed):
        _, viewed = study.single
        for block in viewed.test:
            block.states.mul_(1.001)
        return super().value(study, seed)


@dataclass(frozen=True)
class Drawing(Sound):
    def value(self, study, seed):
        return super().value(study, seed) + 0 * float(torch.rand(()))


@dataclass(frozen=True)
class Varying(Sound):
    def value(self, study, seed):
        VARYING.append(0)
        return super().value(study, seed) + len(VARYING)


VARYING = []


@dataclass(frozen=True)
class Padded(Sound):
    """Counts padding."""

    def value(self, study, seed):
        super().value(study, seed)
        _, viewed = study.single
        return float(torch.cat([b.states.norm(dim=-1).flatten() for b in viewed.test]).mean())


@dataclass(frozen=True)
class Batched(Sound):
    """A mean of the blocks' means."""

    def value(self, study, seed):
        super().value(study, seed)
        _, viewed = study.single
        return float(torch.stack([b.states[b.mask].max() for b in viewed.test]).mean())


@dataclass(frozen=True)
class First(Sound):
    """Reads the first block only, and says that it is not sure."""

    def analyze(self, study, *, seed):
        super().value(study, seed)
        view, viewed = study.single
        block = next(iter(viewed.test))
        sizes = block.states.norm(dim=-1)[block.mask]
        size = Estimate("size", float(sizes.mean()), 10.0)
        return Finding(str(view), "Size.", "A mean.", estimates=(size,))


@dataclass(frozen=True)
class Named(Sound):
    """Calls its estimate by the number of blocks."""

    def analyze(self, study, *, seed):
        found = super().analyze(study, seed=seed)
        blocks = len(list(study.single[1].test))
        return replace(found, estimates=(replace(found.estimates[0], name=f"of {blocks}"),))


@dataclass(frozen=True)
class Stored(Sound):
    """Keeps the first block's states."""

    def analyze(self, study, *, seed):
        block = next(iter(study.single[1].test))
        arrays = {"sizes": block.states.norm(dim=-1)[block.mask].mean()}
        return replace(super().analyze(study, seed=seed), arrays=arrays)


@dataclass(frozen=True)
class Replacing(Sound):
    """Takes a hook away that was there, and leaves another."""

    def __post_init__(self):
        if not REPLACED:
            self.hook()

    def hook(self):
        block = small_model("float32").plain.model.get_submodule("transformer.h.1")
        REPLACED.append(block.register_forward_hook(lambda *_: None))

    def value(self, study, seed):
        REPLACED.pop().remove()
        self.hook()
        return super().value(study, seed)


REPLACED = []


@dataclass(frozen=True)
class Everywhere(Sound):
    """Hooks all modules that there are."""

    def value(self, study, seed):
        EVERYWHERE.append(register_module_forward_hook(lambda *_: None))
        return super().value(study, seed)


EVERYWHERE = []


@dataclass(frozen=True)
class Single(Sound):
    """Knows one type of weights."""

    def value(self, study, seed):
        weights = next(study.model.plain.model.parameters())
        assert weights.dtype == torch.float32
        return super().value(study, seed)


@dataclass(frozen=True)
class Blind(Sound):
    """Passes NaN on."""

    def value(self, study, seed):
        return mean_size(study)


@dataclass(frozen=True)
class Crashing(Sound):
    """Refuses NaN by an error of its own."""

    def value(self, study, seed):
        size = mean_size(study)
        if size != size:
            raise RuntimeError("oh")
        return size


@dataclass(frozen=True)
class Silent(Sound):
    def analyze(self, study, *, seed):
        return replace(super().analyze(study, seed=seed), reading=" ")


@dataclass(frozen=True)
class Uncaptioned(Sound):
    def analyze(self, study, *, seed):
        return replace(super().analyze(study, seed=seed), figures=(Figure("f", (), ""),))


@dataclass(frozen=True)
class Unsaved(Sound):
    """Holds what no file can."""

    def analyze(self, study, *, seed):
        return replace(super().analyze(study, seed=seed), arrays={"law": object()})


@dataclass(frozen=True)
class Elsewhere(Sound):
    def analyze(self, study, *, seed):
        return replace(super().analyze(study, seed=seed), view="somewhere")


WRONG = {
    Thawed: "frozen=True is needed",
    Unsettled: "factor is a tuple",
    Needy: "has needs = frozenset.*'modle'.*, which must be frozenset.str. out of sde, ensemble",
    Hooking: "the model's hooks changed",
    Training: "the model's weights changed",
    Moving: "the fit of L00 changed",
    Writing: "the test paths of L00 changed",
    Drawing: "a global random state was used",
    Varying: "two findings with one seed differ",
    Padded: "blocks and padding do not matter",
    Batched: "blocks and padding do not matter",
    First: "blocks and padding do not matter: .*size is",
    Named: "present for one block size only",
    Stored: "the array sizes differs in blocks",
    Replacing: "the model's hooks changed",
    Everywhere: "torch's hooks of all modules changed",
    Single: "a model in bfloat16 will do",
    Blind: "NaN in the states was not refused",
    Crashing: "by an error outside sdelens.errors",
    Silent: "reading is empty",
    Uncaptioned: "the figure f has no caption",
    Unsaved: "findings are saved and loaded",
    Elsewhere: "the view is L00",
}
