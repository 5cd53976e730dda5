"""What gaussianity says of a chain that is known, and of a small model."""

from dataclasses import replace

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.estimation.noise import ConstantNoise
from sdelens.evidence.interval import Interval
from sdelens.fitting.fitted import log_density
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Analyzer, Site
from sdelens.runs.findings import load_finding, save_finding
from sdelens.seeds import generator
from sdelens.states.recording import DEPTH
from sdelens.states.sampling import Sampler
from sdelens_plugins.analyzers.common.held_out_prefixes import HeldOutPrefixes
from sdelens_plugins.analyzers.gaussianity.analyzer import GaussianityAnalyzer
from sdelens_plugins.analyzers.gaussianity.constant_correlation import WithConstantCorrelation
from sdelens_plugins.analyzers.gaussianity.mixture_gain import MixtureGain
from sdelens_plugins.analyzers.gaussianity.next_states import EIGENVECTORS, next_states
from sdelens_plugins.analyzers.gaussianity.prefix_sample import PrefixSampling
from sdelens_plugins.analyzers.gaussianity.results import mixture_sentence
from tests.asked import value
from tests.chain import Chain, chain_study
from tests.language import kernel
from tests.plugins.analyzers.studied import numbers_in
from tests.spoken import small_bridge, spoken_study

SHORT = GaussianityAnalyzer(prefixes=40, steps=0)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return small_bridge(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def study(small):
    """Texts that the model wrote without its end of text."""
    found = spoken_study(small, Site("block", 2), documents=30)
    return replace(found, sampler=Sampler(ignore_eos=True))


@pytest.fixture(scope="module")
def chain():
    model = Chain()
    law = kernel(model.a / (1 - model.c), 1, ConstantNoise.independent(torch.ones(1)))
    return chain_study(model, law, sampler=Sampler(), documents=240, length=40)


def test_it_is_an_analyzer_of_a_view_that_needs_the_model():
    assert isinstance(SHORT, Analyzer)
    assert SHORT.scope == "view"
    assert SHORT.needs == {"model"}


def test_a_chain_of_two_states_is_told_as_one(chain):
    """X is 1 with probability u = (1 + E X) / 2: its law is Bernoulli, by prefix."""
    finding = replace(SHORT, prefixes=200).analyze(chain, seed=0)
    own = finding.arrays["temperature"].tolist().index(1.0)
    variance, kurtosis = (finding.arrays[name][own] for name in ("variance", "kurtosis"))
    u = variance * spread(chain) ** 2 / 4  # u (1 - u)
    assert torch.allclose(kurtosis, 1 / u - 6, atol=1e-4)
    assert (finding.arrays["exponential"][own] <= 4 + 1e-6).all()
    assert value(finding, "temperature 1: share of S* in its first 1").value == pytest.approx(1)
    assert value(finding, "directions of the divergence").value == pytest.approx(1)
    median = value(finding, "temperature 1: excess kurtosis, median")
    assert median.value == pytest.approx(float(kurtosis.sort().values[99]), abs=1e-6)
    assert median.stderr > 0


def test_the_divergence_of_a_known_fit_is_its_closed_form(chain):
    """The fit is a Gaussian of mean rho x and variance 1; the law has variance v and a mean."""
    finding = replace(SHORT, prefixes=200).analyze(chain, seed=0)
    own = finding.arrays["temperature"].tolist().index(1.0)
    v = finding.arrays["variance"][own] * spread(chain) ** 2
    noise = (v - 1 - v.log()) / 2
    assert torch.allclose(finding.arrays["divergence.noise"], noise, atol=1e-5)
    mean = (1 - v).sqrt()  # |E X| of a variable on ±1
    off = finding.arrays["divergence.mean"]
    rho = Chain().a / (1 - Chain().c)
    options = torch.stack(
        [(sign * mean - way * rho).square() / 2 for sign in SIGNS for way in SIGNS]
    )
    assert float((options - off).abs().amin(0).max()) < 1e-4

    # all states together have the variance 1 in these coordinates
    own_v = finding.arrays["variance"][own]
    apart = finding.arrays["marginal.noise"] - (own_v - 1 - own_v.log()) / 2
    assert float(apart.abs().max()) < 1e-4


SIGNS = (-1, 1)


def spread(study):
    return float(study.single[1].fitted.basis.spread)


def test_points_spread_and_directions_multiply_with_temperature(study):
    finding = SHORT.analyze(study, seed=0)
    means = {
        name: [
            value(finding, f"temperature {t}: {name}").value for t in ("0.5", "0.7", "1", "1.5")
        ]
        for name in ("effective branches, exp", "trace of S*", "effective directions")
    }
    for values in means.values():
        assert values == sorted(values)
    shares = [
        value(finding, f"temperature 1: share of S* in its first {k}").value for k in EIGENVECTORS
    ]
    assert shares == sorted(shares)
    assert shares[0] > 0
    assert shares[-1] <= 1
    assert value(finding, "temperature 1: enumerated").value == pytest.approx(1)
    assert "Every next token was enumerated." in finding.reading
    assert "end of text banned" in finding.reading


def test_a_difference_from_permuted_weights_is_paired(study):
    """Its error is less than that of two samples; the law of two states has none at all."""
    finding = SHORT.analyze(study, seed=0)
    name = "temperature 1: share of S* in its first 1"
    own, chance, apart = (
        value(finding, f"{name}{what}")
        for what in ("", ", weights permuted", ", difference from permuted")
    )
    assert apart.value == pytest.approx(own.value - chance.value)
    assert 0 < apart.stderr < (own.stderr**2 + chance.stderr**2) ** 0.5
    assert finding.arrays["permuted.kurtosis"].shape == finding.arrays["kurtosis"].shape


def test_the_temperature_of_the_texts_is_always_reported(study):
    finding = replace(SHORT, temperatures=2).analyze(study, seed=0)
    assert finding.arrays["temperature"].tolist() == [1.0, 2.0]
    again = SHORT.analyze(study, seed=0)
    name = "temperature 1: trace of S*"
    assert value(finding, name).value == pytest.approx(value(again, name).value, rel=1e-9)


def test_a_temperature_at_which_all_tokens_are_certain_has_no_shape(study):
    finding = replace(SHORT, temperatures=1e-6).analyze(study, seed=0)
    alone = value(finding, "temperature 1e-06: prefixes with a single next token")
    assert alone.value == 40
    told = {one.name for one in finding.estimates}
    assert "temperature 1: excess kurtosis, median" in told
    assert "temperature 1e-06: excess kurtosis, median" not in told
    assert "40 of 40 prefixes have a single next token" in finding.reading
    for figure in finding.figures:
        assert figure.svg().lstrip().startswith("<")


def test_texts_whose_every_nucleus_is_one_token_have_no_direction(study):
    """Of all tokens, and of some that are enumerated."""
    _, viewed = study.single
    held = HeldOutPrefixes.of(study, documents=4)
    for listed in (1024, 20):
        sampling = PrefixSampling(Sampler(top_p=1e-3), (1.0, 1.5), 8, listed, 10)
        found = next_states(held.model, Site("block", 2), viewed, sampling, held.prefixes, seed=0)
        assert found.fit_divergence.rank.tolist() == [0] * 8
        assert found.fit_divergence.floor.isinf().all()
        assert (found.of("variance") < 1e-12).all()
        assert torch.allclose(found.of("exponential"), torch.ones(2, 8, dtype=torch.float64))


def test_a_part_that_is_drawn_is_said_to_be(study):
    exact = SHORT.analyze(study, seed=0)
    mixed = replace(SHORT, listed=40, drawn=60).analyze(study, seed=0)
    assert "samples represent the rest" in mixed.reading
    for name in ("trace of S*", "share of S* in its first 1", "effective branches, exp"):
        one, other = (value(found, f"temperature 1: {name}") for found in (exact, mixed))
        assert abs(one.value - other.value) < max(2 * one.stderr, 1e-9)
    assert value(mixed, "next tokens tried").value < value(exact, "next tokens tried").value


def test_a_mixture_gains_over_one_gaussian_where_there_are_two_peaks(chain):
    """States are ±1: the density of a mixture grows with the fall of its floor."""
    finding = replace(SHORT, components=2, steps=80).analyze(chain, seed=0)
    gain = {
        floor: value(finding, f"mixture of 2 over one Gaussian, floor {floor}")
        for floor in ("0.01", "0.001")
    }
    assert gain["0.01"].value > 4 * gain["0.01"].stderr
    # a tenth of the variance is half of log 10 nats, if it is reached
    assert 0.1 < gain["0.001"].value - gain["0.01"].value < 1.2
    # of one coordinate there is no correlation
    for floor, alone in gain.items():
        both = value(finding, f"mixture of 2 over one with correlations, floor {floor}")
        assert both.value == pytest.approx(alone.value, abs=0.05)
    assert "gains" in finding.reading
    assert [figure.name for figure in finding.figures] == ["temperatures", "example", "mixture"]


def gaussian_paths(rho, count=60, seed=0):
    """States drawn afresh, whose two coordinates correlate."""
    drawn = torch.randn(count, 30, 2, generator=generator(seed))
    drawn[..., 1] = rho * drawn[..., 0] + (1 - rho**2) ** 0.5 * drawn[..., 1]
    return Trajectories.from_states(drawn, 1.0)


@pytest.mark.parametrize("rho", [0.0, 0.9])
def test_a_correlation_gains_what_it_must(rho):
    """-log(1 - rho²) / 2 nats for two coordinates."""
    law = kernel(0.0, 2, ConstantNoise.independent(torch.ones(2)))
    train, validation, test = (gaussian_paths(rho, seed=k) for k in range(3))
    found = WithConstantCorrelation.of(law, train, validation)
    gains = log_density(found, test) - log_density(law, test)
    truth = -0.5 * torch.tensor(1 - rho**2).log()
    stderr = float(gains.mean(1).std()) / len(gains) ** 0.5
    assert abs(float(gains.mean()) - float(truth)) < 4 * stderr + 2e-3


@pytest.mark.parametrize("wrong", [0.5, 2.0])
def test_a_correlation_does_not_mend_deviations_that_are_wrong(wrong):
    """Of coordinates without correlation nothing is gained, whatever the law says of variances."""
    law = kernel(0.0, 2, ConstantNoise.independent(wrong * torch.ones(2)))
    train, validation, test = (gaussian_paths(0.0, seed=k) for k in range(3))
    found = WithConstantCorrelation.of(law, train, validation)
    assert torch.allclose(found.root.square().sum(-1), torch.ones(2))
    gains = log_density(found, test) - log_density(law, test)
    stderr = float(gains.mean(1).std()) / len(gains) ** 0.5
    assert abs(float(gains.mean())) < 4 * stderr + 2e-3


def test_a_negative_gain_is_reported_as_a_loss():
    ends = ([0.2, -0.066], [0.01, 0.01], [0.18, -0.086], [0.22, -0.046])
    each = Interval(*(torch.tensor([end, end], dtype=torch.float64) for end in ends))
    said = mixture_sentence(MixtureGain(4, (0.01, 0.001), each))
    assert "gains 0.200 [0.180, 0.220] over one Gaussian," in said
    assert "loses 0.066 [0.046, 0.086] against one with correlated" in said
    assert "trained briefly once" in said


def test_a_finding_is_the_same_again_and_saved_whole(study, tmp_path):
    before = torch.get_rng_state()
    asked = replace(SHORT, components=2, steps=5)
    first, again = (asked.analyze(study, seed=0) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert first.estimates == again.estimates
    save_finding(first, tmp_path)
    assert load_finding(tmp_path).headline == first.headline
    assert len(numbers_in(first.headline)) <= 2
    for figure in first.figures:
        assert figure.svg().lstrip().startswith("<")


def test_settings_that_did_not_make_the_texts_are_noticed(study):
    cold = replace(study, sampler=Sampler(temperature=0.3, ignore_eos=True))
    with pytest.raises(
        UsageError, match="sampling settings of the run are not those of its texts"
    ):
        SHORT.analyze(cold, seed=0)


def test_foreign_texts_have_the_law_at_temperature_one(study):
    finding = replace(SHORT, temperatures=0.5).analyze(replace(study, sampler=None), seed=0)
    assert finding.arrays["temperature"].tolist() == [0.5, 1.0]
    assert "not the model's own" in finding.reading


def test_what_cannot_be_asked_is_refused(study):
    with pytest.raises(UsageError, match="next tokens need the language model"):
        SHORT.analyze(replace(study, model=None), seed=0)
    viewed = next(iter(study.views.values()))
    with pytest.raises(UsageError, match="token axis"):
        SHORT.analyze(replace(study, views={DEPTH: viewed}), seed=0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"documents": 0}, "documents must be at least 1"),
        ({"prefixes": 0}, "prefixes must be at least 1"),
        ({"listed": 0}, "listed must be at least 1"),
        ({"components": 1}, "2 components or more"),
        ({"steps": -1}, "steps of at least 0"),
        ({"temperatures": "warm"}, "numbers separated by commas"),
        ({"temperatures": "1,0"}, "temperatures must be above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(UsageError, match=said):
        GaussianityAnalyzer(**settings)
