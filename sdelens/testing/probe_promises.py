"""Conformance checks of probes."""

from collections.abc import Callable
from dataclasses import replace

import torch
from safetensors.torch import load, save

from sdelens.errors import SdelensError
from sdelens.fitting.comparison import density_of
from sdelens.laws.law import Gaussian
from sdelens.laws.scale import FullScale
from sdelens.laws.sde import SDE
from sdelens.paths.trajectories import Trajectories
from sdelens.settings import described
from sdelens.testing.promises import Untouched, random_state, require_settings
from sdelens.testing.trial import Trial, alike, covariances, near, own


def settings_are_fields_of_a_frozen_dataclass(trial: Trial) -> None:
    """Settings are JSON scalars, and building from them gives the same probe."""
    probe = trial.probe
    require_settings(probe, "probe")
    assert probe.density in probe.densities, f"{probe.density!r} is none of {probe.densities}"


def fitting_twice_gives_the_same_bytes(trial: Trial) -> None:
    """Fits with the same seed are bit-identical."""
    first, again = save(own(trial.law)), save(own(trial.fit().law))
    assert first == again, "two fits with one seed differ"


def fitting_leaves_probe_data_and_random_state_alone(trial: Trial) -> None:
    """Fitting changes nothing but the new law."""
    with Untouched(trial.state):
        trial.fit()


def laws_are_finite_tensors_without_gradients(trial: Trial) -> None:
    """The tensors of a law can be saved."""
    named = trial.law.tensors()
    assert named, "a law without tensors cannot be saved"
    for name, tensor in named.items():
        assert not tensor.requires_grad, f"{name} requires a gradient"
        assert not tensor.is_floating_point() or tensor.isfinite().all(), f"{name} is not finite"


def saved_laws_predict_the_same(trial: Trial) -> None:
    """A restored law predicts bit-identically."""
    config = {
        "density": density_of(trial.law, trial.probe),
        "settings": described(trial.probe),
        "dt": 0.1,
    }
    law = trial.probe.restore(config, load(save(own(trial.law))))
    again = law.predict(trial.validation)
    assert torch.equal(again.mean, trial.predicted.mean), "means differ"
    following = trial.validation.states
    same = torch.equal(again.log_density(following), trial.predicted.log_density(following))
    assert same, "log densities differ"


def predictions_have_their_shapes(trial: Trial) -> None:
    """Samples depend only on their seed."""
    predicted, shape = trial.predicted, trial.validation.states.shape
    state = random_state()
    draw = predicted.sample(3)
    assert random_state() == state, "sampling used a global random state"
    assert predicted.mean.shape == draw.shape == shape, (predicted.mean.shape, draw.shape)
    assert predicted.log_density(draw).shape == shape[:-1]
    variance = predicted.covariance().variance().expand(shape)
    assert (variance > 0).all(), "variances must be positive"
    assert torch.equal(draw, predicted.sample(3)), "one seed gave two draws"
    assert not torch.equal(draw, predicted.sample(4)), "two seeds gave one draw"


def paths_are_predicted_each_by_itself(trial: Trial) -> None:
    """A path's prediction does not depend on the rest of its batch."""
    some = trial.validation.rows(torch.tensor([3, 11]))
    alike(trial.law.predict(some), trial, some, "depend on the batch", rows=[3, 11])


def predictions_do_not_see_the_future(trial: Trial) -> None:
    """Predictions depend only on states and tokens up to each time."""
    block, cut = trial.validation, 15
    states, tokens = block.states.clone(), block.tokens.clone()
    states[:, cut:] += 1
    tokens[:, cut:] = (tokens[:, cut:] + 1) % 4
    changed = trial.law.predict(replace(block, states=states, tokens=tokens))
    early = replace(block, mask=block.mask & (torch.arange(block.mask.shape[1]) < cut))
    alike(changed, trial, early, "depend on what comes later")


def padding_is_not_seen(trial: Trial) -> None:
    """Values at unobserved positions do not matter."""
    block = trial.train
    padded = block.states.where(block.mask[..., None], 7.0)
    law = trial.fit(train=replace(block, states=padded)).law
    again = law.predict(trial.validation)
    alike(again, trial, trial.validation, "depend on padding: padding is seen")


def only_differences_of_time_matter(trial: Trial) -> None:
    """Shifting all times changes nothing."""

    def later(block: Trajectories) -> Trajectories:
        return replace(block, times=block.times + 100 * 0.1)

    law = trial.fit(train=later(trial.train), validation=later(trial.validation)).law
    moved = law.predict(later(trial.validation))
    said = "depend on the clock: times are not taken from their start"
    alike(moved, trial, trial.validation, said, slack=0.05)


def coefficients_are_per_unit_of_time(trial: Trial) -> None:
    """With a ten times longer time unit, drift and covariance are a tenth."""
    if not isinstance(trial.law, SDE) or trial.probe.density == "auto":
        return

    def slower(block: Trajectories) -> Trajectories:
        return replace(block, times=block.times * 10)

    law = trial.fit(train=slower(trial.train), validation=slower(trial.validation)).law
    assert isinstance(law, SDE)
    x = trial.validation.states[:, 0]
    t = torch.zeros(len(x))
    near(10 * law.drift(t, x), trial.law.drift(t, x), "the drift", 0.05)
    wide, narrow = (one.diffusion(t, x).covariance() for one in (law, trial.law))
    near(10 * wide, narrow, "the covariance", 0.05)


def states_that_are_not_numbers_are_refused(trial: Trial) -> None:
    """Non-finite training states raise an error of sdelens.errors."""
    states = trial.train.states.clone()
    states[2, 3] = torch.nan
    try:
        trial.fit(train=replace(trial.train, states=states))
    except SdelensError:
        return
    raise AssertionError("NaN in the training states was not refused")


def covariances_are_symmetric_and_have_no_negative_eigenvalue(trial: Trial) -> None:
    """Covariances are symmetric and positive semidefinite up to rounding."""
    matrices = trial.predicted.covariance().covariance().double()
    near(matrices, matrices.mT, "a covariance is not symmetric")
    least, most = torch.linalg.eigvalsh(matrices)[..., 0].min(), matrices.abs().max()
    assert least >= -1e-5 * most, f"a covariance has the eigenvalue {float(least):.2g}"


def densities_integrate_to_one(trial: Trial) -> None:
    """Checked by importance sampling with a normal proposal twice as wide as the density.

    The integral must be one within five standard errors plus 0.01.
    """
    mask, predicted = trial.validation.mask, trial.predicted
    wide = 4 * covariances(predicted, trial.validation).double()
    proposal = Gaussian(predicted.mean.double(), FullScale(torch.linalg.cholesky(wide)))
    weights = []
    for seed in range(32):
        drawn = proposal.sample(seed)
        density = predicted.log_density(drawn.to(predicted.mean.dtype)).double()
        weights.append((density - proposal.log_density(drawn))[mask].exp())
    every = torch.stack(weights)
    total, error = float(every.mean()), float(every.std()) / every.numel() ** 0.5
    assert abs(total - 1) <= 5 * error + 0.01, (
        f"the density integrates to {total:.4g} ± {error:.2g}, not to 1"
    )


def a_known_process_is_recovered(trial: Trial) -> None:
    """Recovers drift and covariance of an Ornstein-Uhlenbeck process from one-step transitions.

    It must recover half of the drift's variance, and the covariance to 30%, which catches errors
    of sign, unit or order of coordinates. `validate` measures the actual accuracy.
    """
    block, dt = trial.validation, trial.system.dt
    x = block.states[block.mask] + 1  # paths of a trial are moved by one
    predicted = trial.law.predict(block)
    drift, truth = ((predicted.mean - block.states) / dt)[block.mask], trial.system.drift(x)
    missed = float((drift - truth).square().sum() / (truth - truth.mean(0)).square().sum())
    assert missed < 0.5, f"{missed:.0%} of the drift's variance is missed"
    wide = predicted.covariance().covariance()
    found = wide.expand(*block.mask.shape, *wide.shape[-2:])[block.mask] / dt
    unit = trial.system.covariance(x)
    apart = float((found - unit).norm(dim=(-2, -1)).mean() / unit.norm(dim=(-2, -1)).mean())
    assert apart < 0.3, f"the covariance is {apart:.0%} from the truth"


PROBE: tuple[Callable[[Trial], None], ...] = (
    settings_are_fields_of_a_frozen_dataclass,
    fitting_twice_gives_the_same_bytes,
    fitting_leaves_probe_data_and_random_state_alone,
    laws_are_finite_tensors_without_gradients,
    saved_laws_predict_the_same,
    predictions_have_their_shapes,
    paths_are_predicted_each_by_itself,
    predictions_do_not_see_the_future,
    padding_is_not_seen,
    only_differences_of_time_matter,
    coefficients_are_per_unit_of_time,
    states_that_are_not_numbers_are_refused,
    covariances_are_symmetric_and_have_no_negative_eigenvalue,
    densities_integrate_to_one,
)
"""Checks for every probe; `a_known_process_is_recovered` is for probes that fit a drift."""
