"""All registered sources keep what a source promises, and the check sees those that do not."""

from dataclasses import dataclass, field, replace

import pandas
import pytest
import torch

from sdelens.interfaces import load
from sdelens.paths.documents import Document
from sdelens.registry import plugins
from sdelens.testing import check_source
from sdelens.testing.small_model import small_model


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """For each built-in source, little to read."""
    folder = tmp_path_factory.mktemp("texts")
    table = pandas.DataFrame({"text": [f"a cat sat on mat {k}" for k in range(12)]})
    table.to_json(folder / "train.jsonl", orient="records", lines=True)
    return {
        "sampled": {"documents_wanted": 6, "length": 12},
        "file": {"path": str(folder / "train.jsonl"), "length": 12},
        "dataset": {"name": str(folder), "length": 12},
    }


@pytest.mark.parametrize("name", sorted(plugins("source")))
def test_a_registered_source_keeps_its_promises(name, settings, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    check_source(load("source", name)(**settings.get(name, {})))


@dataclass(frozen=True)
class Sound:
    """Three documents."""

    length: int = 5

    def tokens(self, model, seed):
        return (model.card.bos, *[1 + seed % 7] * self.length)

    def documents(self, model, *, seed):
        return iter([Document(self.tokens(model, seed))] * 3)


@dataclass(frozen=True)
class Unsettled(Sound):
    names: list = field(default_factory=list)


@dataclass(frozen=True)
class Drawing(Sound):
    def tokens(self, model, seed):
        return (model.card.bos, int(torch.randint(1, 9, ())))


@dataclass(frozen=True)
class Hooking(Sound):
    def tokens(self, model, seed):
        model.plain.model.register_forward_hook(lambda *_: None)
        return super().tokens(model, seed)


@dataclass(frozen=True)
class Outside(Sound):
    def tokens(self, model, seed):
        return (model.card.bos, model.card.vocabulary)


@dataclass(frozen=True)
class Headless(Sound):
    def tokens(self, model, seed):
        return (1, 2, 3)


@dataclass(frozen=True)
class Twice(Sound):
    def tokens(self, model, seed):
        return (model.card.bos, model.card.bos, 3)


@dataclass(frozen=True)
class Long(Sound):
    length: int = 100


@dataclass(frozen=True)
class Late(Sound):
    def documents(self, model, *, seed):
        return (replace(d, start=9) for d in super().documents(model, seed=seed))


@dataclass(frozen=True)
class Infinite(Sound):
    def documents(self, model, *, seed):
        notes = {"rating": float("inf")}
        return (replace(d, annotations=notes) for d in super().documents(model, seed=seed))


@dataclass(frozen=True)
class Empty(Sound):
    def documents(self, model, *, seed):
        return iter(())


@dataclass(frozen=True)
class Single(Sound):
    """Knows one type of weights."""

    def tokens(self, model, seed):
        assert model.card.dtype == "float32"
        return super().tokens(model, seed)


WRONG = {
    Unsettled: "names is a list",
    Drawing: "a global random state was used",
    Hooking: "the model's hooks changed",
    Outside: "ids outside of the vocabulary",
    Headless: "does not begin with BOS",
    Twice: "begins with BOS twice",
    Long: "longer than the context",
    Late: "starts beyond its end",
    Infinite: "annotations must be finite numbers by name, got inf as 'rating'",
    Empty: "there are no documents",
    Single: "a model in bfloat16 reads too",
}


def test_a_sound_source_passes():
    check_source(Sound())


@pytest.mark.parametrize("kind", WRONG, ids=lambda kind: kind.__name__)
def test_a_source_that_breaks_a_promise_is_told_which(kind):
    try:
        with pytest.raises(AssertionError, match=WRONG[kind]):
            check_source(kind())
    finally:
        if kind is Hooking:
            small_model.cache_clear()  # other tests share it


def test_two_readings_that_differ_are_seen():
    count = iter(range(100))

    @dataclass(frozen=True)
    class Varying(Sound):
        def tokens(self, model, seed):
            return (model.card.bos, 1 + next(count))

    with pytest.raises(AssertionError, match="two readings with one seed differ"):
        check_source(Varying())
