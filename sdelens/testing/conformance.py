"""What every probe promises, checked: for authors of probes as for our own.

>>> from sdelens.registry import load
>>> check_probe(load("probe", "constant")())
"""

from collections.abc import Callable
from dataclasses import is_dataclass, replace
from typing import Any

import torch
from safetensors.torch import load, save

from sdelens.errors import SdelensError
from sdelens.laws.sde import SDE
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Probe
from sdelens.settings import build, described
from sdelens.testing.trial import Trial, close, near, own, random_state


def check_probe(probe: Probe) -> None:
    """Raises an `AssertionError` that lists every promise of `sdelens.protocols.Probe` broken.

    A probe is fitted some ten times to 2,200 transitions: where that takes long, give it settings
    that make it quick.
    """
    trial = Trial.of(probe)
    broken = []
    for check in CHECKS:
        try:
            check(trial)
        except Exception as error:
            name = check.__name__.replace("_", " ")
            broken.append(f"{name}: {type(error).__name__}: {error}")
    if broken:
        listed = "\n".join(f"- {one}" for one in broken)
        raise AssertionError(f"{type(probe).__name__} breaks what a probe promises:\n{listed}")


def settings_are_fields_of_a_frozen_dataclass(trial: Trial) -> None:
    """They are JSON scalars, and building from them gives the same probe."""
    probe: Any = trial.probe
    assert isinstance(probe, Probe), "densities, density, fit and restore are needed"
    assert is_dataclass(probe), "a dataclass is needed"
    assert type(probe).__dataclass_params__.frozen, "frozen=True is needed"
    assert probe.density in probe.densities, f"{probe.density!r} is none of {probe.densities}"
    settings = described(probe)
    assert all(isinstance(v, str | int | float | None) for v in settings.values()), settings
    assert build(type(probe), settings, "probe") == probe


def fitting_twice_gives_the_same_bytes(trial: Trial) -> None:
    """With the same seed."""
    first, again = save(own(trial.law)), save(own(trial.fit().law))
    assert first == again, "two fits with one seed differ"


def fitting_leaves_probe_data_and_random_state_alone(trial: Trial) -> None:
    """Nothing outside of the new law changes."""
    before, states = described(trial.probe), trial.train.states.clone()
    state = random_state()
    trial.fit()
    assert random_state() == state, "a global random state was used: take seeds.generator"
    assert described(trial.probe) == before, "the probe changed"
    assert torch.equal(trial.train.states, states), "the data changed"


def laws_are_finite_tensors_without_gradients(trial: Trial) -> None:
    """What is saved."""
    named = trial.law.tensors()
    assert named, "a law without tensors cannot be saved"
    for name, tensor in named.items():
        assert not tensor.requires_grad, f"{name} requires a gradient"
        assert not tensor.is_floating_point() or tensor.isfinite().all(), f"{name} is not finite"


def saved_laws_predict_the_same(trial: Trial) -> None:
    """After tensors went through safetensors, to the bit."""
    config = {
        "density": getattr(trial.law, "density", trial.probe.density),
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
    """And draws repeat with their seed alone."""
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
    """Whatever else is in the batch."""
    some = trial.validation.rows(torch.tensor([3, 11]))
    rows = trial.predicted.mean[[3, 11]]
    close(trial.law.predict(some).mean, rows, some, "means depend on the batch")


def predictions_do_not_see_the_future(trial: Trial) -> None:
    """States and tokens up to each time, and nothing later."""
    block, cut = trial.validation, 15
    states, tokens = block.states.clone(), block.tokens.clone()
    states[:, cut:] += 1
    tokens[:, cut:] = (tokens[:, cut:] + 1) % 4
    changed = trial.law.predict(replace(block, states=states, tokens=tokens))
    early = replace(block, mask=block.mask & (torch.arange(block.mask.shape[1]) < cut))
    close(changed.mean, trial.predicted.mean, early, "means depend on what comes later")


def padding_is_not_seen(trial: Trial) -> None:
    """What stands where nothing was observed does not matter."""
    block = trial.train
    padded = block.states.where(block.mask[..., None], 7.0)
    law = trial.fit(train=replace(block, states=padded)).law
    again = law.predict(trial.validation).mean
    close(again, trial.predicted.mean, trial.validation, "padding is seen")


def only_differences_of_time_matter(trial: Trial) -> None:
    """A later clock, here as there, changes nothing."""

    def later(block: Trajectories) -> Trajectories:
        return replace(block, times=block.times + 100 * 0.1)

    law = trial.fit(train=later(trial.train), validation=later(trial.validation)).law
    moved = law.predict(later(trial.validation)).mean
    said = "times are not taken from their start"
    close(moved, trial.predicted.mean, trial.validation, said, slack=0.05)


def coefficients_are_per_unit_of_time(trial: Trial) -> None:
    """With a unit ten times as long the same steps have a tenth of the drift and covariance."""
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
    """By an error of sdelens.errors, which says it in a sentence."""
    states = trial.train.states.clone()
    states[2, 3] = torch.nan
    try:
        trial.fit(train=replace(trial.train, states=states))
    except SdelensError:
        return
    raise AssertionError("NaN in the training states was not refused")


CHECKS: tuple[Callable[[Trial], None], ...] = (
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
)
