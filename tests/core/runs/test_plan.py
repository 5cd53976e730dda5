"""What a run is planned to take, for sources that know their size and others."""

from dataclasses import asdict, dataclass

import pytest

from sdelens.errors import BrokenPlugin
from sdelens.interfaces import build_plugin
from sdelens.runs.job import Job
from sdelens.runs.plan import plan_of
from sdelens.states.sampling import Sampler
from sdelens.testing.small_model import small_model
from sdelens_cli.screen import plan_rows


@dataclass(frozen=True)
class Endless:
    """As many documents as anyone takes."""

    def documents(self, model, *, seed):
        yield from ()


@dataclass(frozen=True)
class Sized(Endless):
    """Knows how many documents it has, and not how long they are."""

    documents_wanted: int = 20


@dataclass(frozen=True)
class Short(Sized):
    """Knows both."""

    length: int = 12


@pytest.fixture
def planned(tmp_path):
    """A plan by source."""
    job = Job(source="mine", layers="0,1")
    return lambda source: plan_of(job, small_model(), source, tmp_path / "run", tmp_path)


def test_a_source_of_unknown_size_is_planned_as_unknown(planned):
    plan = planned(Endless())
    assert (plan.tokens, plan.disk_bytes) == (None, None)
    assert plan.texts == "all of mine"
    assert asdict(plan)["tokens"] is None, "null in JSON"
    rows = dict(plan_rows(plan))
    assert rows["tokens"] == "unknown"
    assert rows["disk"].startswith("unknown, ")
    assert plan.memory_bytes > 0


def test_texts_are_planned_as_sampled_where_the_source_has_a_sampler(planned):
    source = build_plugin("source", "sampled", {"documents_wanted": 20, "temperature": 0.5})
    assert planned(source).texts == "20 sampled from the model at temperature 0.5"


def test_a_sampling_source_of_unknown_size_is_planned_without_a_number(planned):
    class Sampling(Endless):
        def sampling_settings(self):
            return Sampler(temperature=0.5)

    assert planned(Sampling()).texts == "sampled from the model at temperature 0.5"


def test_a_setting_named_sampler_does_not_make_a_sampling_source(planned):
    @dataclass(frozen=True)
    class Subset(Sized):
        sampler: str = "stratified"

    assert planned(Subset()).texts == "up to 20 of mine"


def test_sampling_settings_of_another_type_are_refused(planned):
    class Wrong(Endless):
        def sampling_settings(self):
            return "nucleus"

    said = r"^sampling_settings\(\) of the source Wrong must return .*Sampler, got 'nucleus'"
    with pytest.raises(BrokenPlugin, match=said):
        planned(Wrong())


def test_a_source_that_knows_its_size_is_planned_by_it(planned):
    plan, model = planned(Short()), small_model()
    assert plan.tokens == 20 * 12
    assert plan.disk_bytes == 4 * plan.tokens * model.card.width * 2
    assert dict(plan_rows(plan))["tokens"] == "at most 240"
    assert planned(Sized()).tokens == 20 * (model.card.context - 1), "as long as the context"


def test_the_plan_says_that_texts_end_before_the_length_asked_for(planned):
    @dataclass(frozen=True)
    class Long(Short):
        length: int = 10**9

    plan, model = planned(Long()), small_model()
    context = model.card.context
    assert plan.tokens == 20 * (context - 1)
    said = f"at most {plan.tokens}, of texts that end at its context of {context}"
    assert dict(plan_rows(plan))["tokens"] == said
    assert not planned(Sized()).capped, "no length was asked for"
