"""The moments of data that a law made, and of data that it did not."""

from dataclasses import replace

import pytest
import torch

from sdelens.errors import BadNumbers, UsageError
from sdelens.estimation.additive import AdditiveMean, Terms, least_squares
from sdelens.estimation.noise import ConstantNoise
from sdelens.fitting.fitted import Fitted, Record
from sdelens.fitting.study import Study, Viewed
from sdelens.laws.sde import KernelSDE
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.documents import Document, Documents
from sdelens.paths.moments import Moments, times_of
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Analyzer, Site
from sdelens.runs.findings import load_finding, save_finding
from sdelens.seeds import generator
from sdelens.states.recording import View
from sdelens_plugins.analyzers.common.observed_path import first_paths
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents
from sdelens_plugins.analyzers.moments.aligned_paths import aligned
from sdelens_plugins.analyzers.moments.analyzer import MomentsAnalyzer
from sdelens_plugins.analyzers.moments.comparison import MomentComparison
from tests.asked import value

SMALL = {"steps": 12, "replicates": 100}


def paths(count, *, seed, decay=0.8, steps=20):
    """Paths of X' = decay x + N(0, 1) in three dimensions."""
    noise = torch.randn(steps, count, 3, generator=generator(seed))
    states = [noise[0]]
    for step in noise[1:]:
        states.append(decay * states[-1] + step)
    return Trajectories.from_states(torch.stack(states, dim=1), 1.0)


def studied(test, *, decay=0.8, std=1.0, level=0.0, mean=None):
    blank = torch.empty(0, dtype=torch.long)
    offset = torch.full((1, 3), level)
    mean = mean or AdditiveMean(
        decay * torch.eye(3), torch.zeros(1), offset, blank, torch.zeros(0, 3)
    )
    law = KernelSDE(mean, ConstantNoise.independent(torch.full((3,), std)))
    train = paths(100, seed=1)
    basis = fit_basis(BasisSpec("raw"), train)
    basis = replace(basis, means=torch.zeros_like(basis.means))
    fitted = Fitted(law, basis, Record("linear", {}, "discrete", 1.0, 0))
    view, nothing = View(Site("block", 0)), Documents.of([Document((0, 1))])
    return Study("s", {view: Viewed(fitted, train, test, test)}, nothing)


@pytest.fixture(scope="module")
def test_paths():
    return paths(60, seed=2)


def test_it_fulfils_the_analyzer_protocol():
    assert isinstance(MomentsAnalyzer(), Analyzer)


def test_data_of_the_law_itself_have_its_moments(test_paths):
    finding = MomentsAnalyzer(**SMALL).analyze(studied(test_paths), seed=0)
    for order in ("mean", "variance", "third", "fourth"):
        found = value(finding, f"squared deviation of the {order}")
        assert abs(found.value - 1) < 4 * found.stderr
    for order in ("mean", "variance", "third", "fourth"):
        # 12 times 3 numbers with errors from 10 batches: t with 9 degrees of freedom has 1.13
        assert 0.5 < value(finding, f"closed recursion less Monte Carlo, {order}").value < 2


@pytest.mark.parametrize(
    ("wrong", "order"), [({"std": 0.6}, "variance"), ({"level": 0.8}, "mean")], ids=str
)
def test_a_wrong_moment_of_the_law_is_detected(test_paths, wrong, order):
    finding = MomentsAnalyzer(**SMALL).analyze(studied(test_paths, **wrong), seed=0)
    found = value(finding, f"squared deviation of the {order}")
    assert found.value > 1 + 8 * found.stderr
    assert "does not reproduce" in finding.headline
    assert order in finding.headline
    gap = value(finding, f"{order} of PC 1 at t = 12, data minus fit")
    assert abs(gap.value) > 3 * gap.stderr


def test_the_last_variance_is_that_of_the_recursion(test_paths):
    finding = MomentsAnalyzer(**SMALL).analyze(studied(test_paths), seed=0)
    # components are standardised: the noise of coordinates is divided by their deviation
    mixture, (low, high) = (
        finding.arrays["closed"][-1, :, 1],
        (finding.arrays[f"fit.{end}"][-1, :, 1] for end in ("low", "high")),
    )
    assert ((low < mixture) & (mixture < high)).all()
    assert finding.arrays["data"].shape == (13, 3, 4)
    assert [figure.name for figure in finding.figures] == [
        "mean",
        "variance",
        "third_moment",
        "fourth_moment",
    ]


def test_documents_that_start_late_or_end_early_are_left_out(test_paths):
    mask = torch.ones(60, 20, dtype=torch.bool)
    mask[:4, :5] = False  # fewer than one in ten start late: they are not waited for
    mask[4:30, :3] = False
    mask[50:, 8:] = False
    finding = MomentsAnalyzer(**SMALL).analyze(studied(replace(test_paths, mask=mask)), seed=0)
    assert finding.arrays["times"].tolist() == list(range(3, 16))
    assert "46 test documents" in finding.headline


def test_a_correct_law_fails_in_one_of_twenty_cases_also_if_it_is_estimated():
    """Least-squares fits to 100 documents, compared with 50 others: 5% of 60 is 3 +- 1.7."""
    failures = 0
    for seed in range(60):
        train, test = paths(100, seed=2 * seed, steps=9), paths(50, seed=2 * seed + 1, steps=9)
        moments = Moments.of(train, times_of(train))
        mean = least_squares(moments, Terms(state=True)).to(torch.float32)
        fitted = studied(test, mean=mean).single[1].fitted
        aligned_paths = aligned(first_paths(test, documents=50, states=99), 8)
        axes = PrincipalComponents.of(train, 3)
        found = MomentComparison.of(
            fitted, axes, aligned_paths, trained=100, replicates=60, seed=seed
        )
        failures += bool((found.p_values <= 0.05).any())
    assert failures <= 3 + 3 * 1.7


def test_one_document_has_a_mean_only():
    finding = MomentsAnalyzer(**SMALL).analyze(studied(paths(1, seed=3, steps=5)), seed=0)
    assert [figure.name for figure in finding.figures] == ["mean"]
    assert not [e for e in finding.estimates if e.name.startswith("squared deviation of the var")]
    assert "is not judged from 1 test document: at least 10 are needed" in finding.headline


def test_a_law_that_diverges_is_an_error(test_paths):
    with pytest.raises(BadNumbers, match="not finite"):
        MomentsAnalyzer(**SMALL).analyze(studied(test_paths, decay=1e30), seed=0)


def test_too_few_replicates_are_refused():
    with pytest.raises(UsageError, match="replicates"):
        MomentsAnalyzer(replicates=5)


def test_a_finding_depends_on_its_seed_alone_and_is_saved_whole(test_paths, tmp_path):
    study = studied(test_paths)
    first, again = (MomentsAnalyzer(**SMALL).analyze(study, seed=1) for _ in range(2))
    assert all(torch.equal(first.arrays[name], again.arrays[name]) for name in first.arrays)
    save_finding(first, tmp_path / "finding")
    assert load_finding(tmp_path / "finding").estimates == first.estimates
