"""All registered probes keep what a probe promises, and the check sees those that do not."""

from contextlib import suppress
from dataclasses import dataclass, fields, make_dataclass, replace

import pytest
import torch

from sdelens.errors import BadNumbers
from sdelens.interfaces import load
from sdelens.laws.constant_noise import ConstantNoise
from sdelens.laws.law import Gaussian, Kernel
from sdelens.laws.scale import DiagonalScale, FullScale
from sdelens.protocols import Fit
from sdelens.registry import plugins
from sdelens.testing import check_probe
from sdelens.testing.probe_promises import a_known_process_is_recovered
from sdelens.testing.trial import Trial
from sdelens_plugins.probes.linear import LinearProbe

QUICK = {
    "width": 8,
    "noise_width": 8,
    "epochs": 2,
    "least_steps": 20,
    "components": 2,
    "regimes": 2,
    "starts": 1,
    "passes": 3,
    "bandwidth": 0.5,
}
"""Settings that make a fit short, of whichever probe has them."""


def quick(kind, density):
    known = {field.name for field in fields(kind)}
    return kind(density=density, **{k: v for k, v in QUICK.items() if k in known})


@pytest.mark.parametrize("name", sorted(plugins("probe")))
def test_a_registered_probe_keeps_its_promises(name):
    kind = load("probe", name)
    for density in dict.fromkeys((kind.densities[0], kind.densities[-1])):
        check_probe(quick(kind, density), recovers=False)


WITHOUT_DRIFT = {"constant", "token"}
"""A random walk, and a table of words."""
LEARNED = {"width": 32, "noise_width": 16, "components": 2, "epochs": 2, "least_steps": 400}
"""Settings under which networks have learned enough."""


@pytest.mark.parametrize("name", sorted(plugins("probe").keys() - WITHOUT_DRIFT))
def test_a_registered_probe_recovers_a_known_process(name):
    kind = load("probe", name)
    known = {field.name for field in fields(kind)}
    settings = {k: v for k, v in LEARNED.items() if k in known}
    a_known_process_is_recovered(Trial.of(kind(density=kind.densities[0], **settings)))


def test_a_random_walk_recovers_no_drift_and_need_not():
    walk = load("probe", "constant")()
    with pytest.raises(AssertionError, match="of the drift's variance is missed"):
        check_probe(walk)
    check_probe(walk, recovers=False)


@dataclass(frozen=True)
class Drawing(LinearProbe):
    """Draws from the global random state."""

    def fit(self, train, validation, *, seed, watch):
        torch.rand(1)
        return super().fit(train, validation, seed=seed, watch=watch)


@dataclass(frozen=True)
class Varying(LinearProbe):
    """Another law each time."""

    def fit(self, train, validation, *, seed, watch):
        fit = super().fit(train, validation, seed=seed, watch=watch)
        noise = ConstantNoise.independent(fit.law.noise.scale.std * (1 + 1e-3 * torch.rand(1)))
        return Fit(replace(fit.law, noise=noise))


@dataclass(frozen=True)
class Forgetting(LinearProbe):
    """Restores another law than was saved."""

    def restore(self, config, tensors):
        return super().restore(config, {k: torch.zeros_like(v) for k, v in tensors.items()})


@dataclass(frozen=True)
class Greedy(LinearProbe):
    """Sees padding."""

    def fit(self, train, validation, *, seed, watch):
        whole = replace(train, mask=torch.ones_like(train.mask))
        return super().fit(whole, validation, seed=seed, watch=watch)


class Ahead(Kernel):
    """Sees the next state."""

    def predict(self, past):
        own = super().predict(past)
        return replace(own, centre=past.states.roll(-1, dims=1))


@dataclass(frozen=True)
class Prophetic(LinearProbe):
    def fit(self, train, validation, *, seed, watch):
        fit = super().fit(train, validation, seed=seed, watch=watch)
        return Fit(Ahead(fit.law.mean, fit.law.noise))


@dataclass(frozen=True)
class Timeless(LinearProbe):
    """Takes every step for a unit of time."""

    def fit(self, train, validation, *, seed, watch):
        fit = super().fit(train, validation, seed=seed, watch=watch)
        return Fit(replace(fit.law, dt=1.0))


Thawed = make_dataclass(
    "Thawed",
    [("density", str, "discrete")],
    namespace={
        name: getattr(LinearProbe, name) for name in ("densities", "looks_back", "fit", "restore")
    },
)


@dataclass(frozen=True)
class Learning(LinearProbe):
    """Leaves its parameters as they were learned."""

    def fit(self, train, validation, *, seed, watch):
        fit = super().fit(train, validation, seed=seed, watch=watch)
        noise = ConstantNoise.independent(fit.law.noise.scale.std.clone().requires_grad_())
        return Fit(replace(fit.law, noise=noise))


@dataclass(frozen=True)
class Changed(LinearProbe):
    """Predicts with something done to each prediction."""

    def fit(self, train, validation, *, seed, watch):
        fit = super().fit(train, validation, seed=seed, watch=watch)
        return Fit(self.law(fit.law.mean, fit.law.noise))


class Flat(Kernel):
    def predict(self, past):
        own = super().predict(past)
        return replace(own, centre=own.centre[:, :1])


class Together(Kernel):
    def predict(self, past):
        own = super().predict(past)
        return replace(own, centre=own.centre + past.states.mean())


class Clocked(Kernel):
    def predict(self, past):
        own = super().predict(past)
        return replace(own, centre=own.centre + 0.01 * past.times[..., None])


class Backwards(Kernel):
    def predict(self, past):
        own = super().predict(past)
        return replace(own, centre=2 * past.states - own.centre)


class Odd(FullScale):
    def covariance(self):
        return super().covariance() * torch.tensor([[1.0, 5.0], [5.0, 1.0]])


class Indefinite(Kernel):
    def predict(self, past):
        own = super().predict(past)
        root = torch.linalg.cholesky(own.scale.covariance())
        return replace(own, scale=Odd(root + root[0, 0] * torch.tensor([[0.0, 0.0], [0.5, 0.0]])))


@dataclass(frozen=True, eq=False)
class Boast(Gaussian):
    def log_density(self, following):
        return super().log_density(following) + 5


class Boasting(Kernel):
    """Scores itself better than a density can."""

    def predict(self, past):
        own = super().predict(past)
        return Boast(own.centre, own.scale)


class Foreseeing(Kernel):
    """Is sure of itself where the next state is near, and only there."""

    def predict(self, past):
        own = super().predict(past)
        apart = (past.states.roll(-1, dims=1) - own.centre).norm(dim=-1, keepdim=True)
        wide = own.scale.covariance().diagonal(dim1=-2, dim2=-1).sqrt()
        return replace(own, scale=DiagonalScale(wide * (0.5 + apart)))


def changing(law):
    return type(law.__name__, (Changed,), {"law": law, "__module__": __name__})


@dataclass(frozen=True)
class Swallowing(LinearProbe):
    """Takes NaN for zero."""

    def fit(self, train, validation, *, seed, watch):
        with suppress(BadNumbers):
            return super().fit(train, validation, seed=seed, watch=watch)
        known = replace(train, states=train.states.nan_to_num())
        return super().fit(known, validation, seed=seed, watch=watch)


WRONG = {
    Drawing: "global random state",
    Varying: "two fits with one seed differ",
    Forgetting: "means differ",
    Greedy: "padding is seen",
    Prophetic: "depend on what comes later",
    Timeless: "the drift",
    Thawed: "frozen=True is needed",
    Learning: "requires a gradient",
    Swallowing: "NaN in the training states was not refused",
    changing(Flat): "predictions have their shapes",
    changing(Together): "means depend on the batch",
    changing(Clocked): "times are not taken from their start",
    changing(Backwards): "of the drift's variance is missed",
    changing(Boasting): "the density integrates to 14",
    changing(Foreseeing): "covariances depend on what comes later",
    changing(Indefinite): "a covariance has the eigenvalue",
}


@pytest.mark.parametrize("kind", WRONG, ids=lambda kind: kind.__name__)
def test_a_probe_that_breaks_a_promise_is_told_which(kind):
    with pytest.raises(AssertionError, match=WRONG[kind]):
        check_probe(kind())
