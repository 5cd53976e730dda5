"""What a run is planned to take, for sources that know their size and others."""

from dataclasses import asdict, dataclass, replace

import pytest
import torch

from sdelens.errors import BrokenPlugin
from sdelens.estimation.identifiability import NOISE_RATIO, Identifiability, expected_error
from sdelens.interfaces import build_plugin
from sdelens.runs.job import Job
from sdelens.runs.memory import RunSizes
from sdelens.runs.plan import described_drift, plan_of
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


def test_the_plan_says_how_many_transitions_a_drift_needs_and_what_to_do_with_fewer():
    said = described_drift(576, 5120)
    assert said.startswith("about 87,000 transitions for an error of 10%")
    assert "5,120 give about 41%" in said
    assert "--basis pca:33, --probe low-rank-linear" in said
    assert expected_error(33, 5120) <= 0.1 < expected_error(34, 5120)
    enough = described_drift(576, 90_000)
    assert "90,000 give about 10%" in enough
    assert "--basis" not in enough
    assert "give no drift at all" in described_drift(4096, 500)
    assert described_drift(20, None) == (
        "about 3,200 transitions for an error of 10% of a linear drift"
    )


def test_the_expected_error_before_there_are_data_is_that_with_them():
    ratio = Identifiability.from_covariances(
        torch.eye(50).double(),
        0.5 * torch.eye(50).double(),  # of the increments, a quarter is drift, the rest noise
        torch.eye(50).double(),
        torch.zeros(50).double(),
        10_000,
    )
    # noise over drift is three here instead of `NOISE_RATIO`
    told = expected_error(50, 10_000) * (3 / NOISE_RATIO) ** 0.5
    assert ratio.error == pytest.approx(told, rel=0.03)


def test_memory_grows_with_what_is_in_memory():
    card = replace(small_model().card, blocks=30, width=576, vocabulary=49152, cache_width=576)
    sizes = RunSizes(card, layers=1, length=100, prompt=48, documents=64, samples=True)
    given = replace(sizes, samples=False)
    few = replace(card, cache_width=192)
    assert given.peak < replace(sizes, card=few).peak < sizes.peak
    assert replace(given, layers=30).peak > given.peak
    half = replace(given, card=replace(card, dtype="bfloat16"))
    assert given.peak - half.peak >= 2 * given.weights


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
