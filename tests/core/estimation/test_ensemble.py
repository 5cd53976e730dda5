import math

import pytest
import torch
from torch.testing import assert_close

import sdelens
from sdelens.errors import UsageError
from sdelens.estimation.ensemble import ensemble_tasks, resampled
from sdelens.interfaces import load
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import FitTask, StackedProbe


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def autoregression(paths=60, length=30, slope=0.8, seed=0):
    x = [randn(paths, 1, seed=seed)]
    for step in range(1, length):
        x.append(slope * x[-1] + 0.5 * randn(paths, 1, seed=1000 * seed + step + 1))
    return torch.stack(x, 1)


def test_a_bootstrap_sample_has_as_many_groups_and_keeps_each_whole():
    block = Trajectories.from_states(autoregression(12), 1.0)
    groups = {document: document // 3 for document in range(12)}
    (drawn,) = resampled(block, groups, 0)
    documents, counts = drawn.document.unique(return_counts=True)
    assert counts.sum() == 12
    often = dict(zip(documents.tolist(), counts.tolist(), strict=True))
    for document in range(12):
        assert often.get(document, 0) == often.get(3 * (document // 3), 0)
    assert_close(drawn.states, block.states[drawn.document])


def test_bootstrap_samples_differ_by_seed_and_not_by_when_they_are_read():
    block = Trajectories.from_states(autoregression(12), 1.0)
    first, again, other = (next(iter(resampled(block, None, s))) for s in (0, 0, 1))
    assert torch.equal(first.document, again.document)
    assert not torch.equal(first.document, other.document)


def test_members_have_seeds_of_their_own():
    block = Trajectories.from_states(autoregression(12), 1.0)
    tasks = ensemble_tasks(block, block, None, members=3, seed=0)
    assert len({task.seed for task in tasks}) == 3


@pytest.mark.parametrize("noise", ["scalar", "diagonal", "correlated:1", "full"])
def test_a_stack_of_neural_fits_is_as_if_each_were_fitted_alone(noise):
    states = torch.cat([autoregression(slope=s) for s in (0.8, 0.3)], -1)
    blocks = [Trajectories.from_states(part, 1.0) for part in (states, 3 * states.flip(-1) + 5)]
    held = [block.rows(torch.arange(50, 60)) for block in blocks]
    tasks = [
        FitTask(block, rest, seed)
        for seed, (block, rest) in enumerate(zip(blocks, held, strict=True))
    ]
    probe = load("probe", "neural")(noise=noise, width=8, noise_width=8, least_steps=40, epochs=2)
    together = probe.fit_stack(tasks, watch=lambda _: None)
    for task, fit in zip(tasks, together, strict=True):
        alone = probe.fit(task.train, task.validation, seed=task.seed, watch=lambda _: None)
        mine, other = (found.law.predict(task.validation) for found in (fit, alone))
        # a batched product adds in another order
        assert_close(mine.mean, other.mean, rtol=1e-3, atol=1e-3)
        following = task.validation.states + 0.1
        assert_close(
            mine.log_density(following), other.log_density(following), rtol=1e-2, atol=1e-2
        )


def test_the_standard_error_of_a_slope_is_that_of_least_squares():
    fitted = sdelens.fit(autoregression(), probe="linear", ridge=0.0, ensemble=60, seed=0)
    zero, one = torch.zeros(1), torch.ones(1)
    slope = torch.stack(
        [each.drift(5.0, one) - each.drift(5.0, zero) for each in fitted._replicates()]
    ).std()
    # Var = s^2 / sum x^2, with the stationary variance s^2 / (1 - .64) of the states
    expected = math.sqrt((1 - 0.64) / (48 * 29))
    # a deviation from 60 draws is known to 1/sqrt(2 * 60) = 9%, the bootstrap's own to some 10%
    assert float(slope) == pytest.approx(expected, rel=0.45)


def test_standard_errors_have_the_shapes_of_what_they_are_of():
    fitted = sdelens.fit(autoregression(), probe="linear", ensemble=3)
    x = torch.zeros(4, 1)
    assert fitted.drift_stderr(0.0, x).shape == (4, 1)
    assert fitted.covariance_stderr(0.0, x).shape == (4, 1, 1)
    assert (fitted.drift_stderr(0.0, x) > 0).all()


def test_the_fit_itself_does_not_depend_on_its_ensemble():
    alone, among = (sdelens.fit(autoregression(), probe="linear", ensemble=m) for m in (0, 2))
    x = torch.ones(1)
    assert torch.equal(alone.drift(0.0, x), among.drift(0.0, x))


def test_no_ensemble_has_no_standard_errors():
    fitted = sdelens.fit(autoregression(), probe="linear")
    with pytest.raises(UsageError, match="--ensemble 5"):
        fitted.drift_stderr(0.0, torch.zeros(1))


def test_the_neural_probe_fits_stacks_and_the_linear_one_in_turn():
    assert isinstance(load("probe", "neural")(), StackedProbe)
    assert not isinstance(load("probe", "linear")(), StackedProbe)
