"""All registered probes keep what a probe promises, and the check sees those that do not."""

from dataclasses import dataclass, fields, replace

import pytest
import torch

from sdelens.laws.law import Kernel
from sdelens.protocols import Fit
from sdelens.registry import load, plugins
from sdelens.testing.conformance import check_probe
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
        check_probe(quick(kind, density))


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
        noise = replace(fit.law.noise, std=fit.law.noise.std * (1 + 1e-3 * torch.rand(1)))
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


WRONG = {
    Drawing: "global random state",
    Varying: "two fits with one seed differ",
    Forgetting: "means differ",
    Greedy: "padding is seen",
    Prophetic: "depend on what comes later",
    Timeless: "the drift",
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_probe_that_breaks_a_promise_is_told_which(kind):
    with pytest.raises(AssertionError, match=WRONG[kind]):
        check_probe(kind())
