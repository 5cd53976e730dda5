"""Coverage of nominal 90% intervals of fits to known processes, for docs/validation.md."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sdelens.estimation.ensemble import ensemble_tasks, fit_all
from sdelens.estimation.ratio import Ratios
from sdelens.evidence.lagged_moments import Axes, lagged_moments
from sdelens.evidence.student import student
from sdelens.fitting.fitted import Fitted, Record
from sdelens.interfaces import load
from sdelens.laws.sde import SDE
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Probe, ignore_epoch
from sdelens.seeds import derive
from sdelens.settings import build
from sdelens.testing import double_well, ornstein_uhlenbeck
from sdelens.testing.system import System

LEVEL = 0.9
STEPS = 20
"""Steps of a document."""
MEMBERS = 5
HELD_OUT = (10, 20, 30, 50, 100)
POOL = 24_000
"""Held-out documents that are divided into samples."""
TRAINED = (20, 50, 200)
QUICK = {"width": 16, "depth": 1, "epochs": 8, "least_steps": 150}
"""A small network, so that hundreds can be trained."""


def blocks(system: System, documents: int, seed: int) -> Trajectories:
    """Documents of a system."""
    return Trajectories.from_states(system.simulate(documents, STEPS + 1, seed), system.dt)


def fits(probe: str, system: System, documents: int, seed: int, members: int = 0) -> Fitted:
    """A fit to some documents, validated on a quarter as many, with ensemble members."""
    kind = load("probe", probe)
    settings = {"density": kind.densities[-1]} | (QUICK if probe == "neural" else {"ridge": 0.0})
    built: Probe = build(kind, settings, probe)
    train, validation = (
        blocks(system, count, derive(seed, side))
        for side, count in {"train": documents, "validation": max(documents // 4, 5)}.items()
    )
    basis = fit_basis(BasisSpec(), train)
    seen, held = basis.view(train), basis.view(validation)
    found = built.fit(seen, held, seed=derive(seed, "probe"), watch=ignore_epoch)
    tasks = ensemble_tasks(seen, held, None, members=members, seed=seed)
    laws = tuple(member.law for member in fit_all(built, tasks)) if members else ()
    record = Record(probe, {}, kind.densities[-1], system.dt, seed)
    return Fitted(found.law, basis, record, members=laws)


def coefficients(
    probe: str, system: System, documents: int, seeds: Sequence[int]
) -> tuple[list[bool], list[bool]]:
    """Whether the ensemble's intervals contain drift and covariance at one state for each seed."""
    reach = student((1 + LEVEL) / 2, MEMBERS)
    drifts, covariances = [], []
    for seed in seeds:
        fitted = fits(probe, system, documents, seed, MEMBERS)
        x = system.simulate(1, 2, derive(seed, "state"))[0, :1]
        t = torch.zeros(1)
        near = (fitted.drift(t, x) - system.drift(x)).abs() <= reach * fitted.drift_stderr(t, x)
        wide = fitted.covariance(t, x) - system.covariance(x)
        inside = wide.abs() <= reach * fitted.covariance_stderr(t, x)
        rows, columns = torch.tril_indices(system.dim, system.dim)
        drifts += near[0].tolist()
        covariances += inside[0, rows, columns].tolist()
    return drifts, covariances


def document_sums(fitted: Fitted, linear: Fitted, system: System, seed: int) -> dict[str, Tensor]:
    """Numerators and denominators by held-out document of a gain and of two shares."""
    pool = blocks(system, POOL, derive(seed, "pool"))
    gain = (fitted.log_prob(pool.states) - linear.log_prob(pool.states)).double().sum(1)
    latent = next(iter(fitted.encoded(pool)))
    predicted = fitted.law.predict(latent)
    residual = (latent.states[:, 1:] - predicted.mean[:, :-1]).double().square().sum((1, 2))
    motion = latent.states.diff(dim=1).double().square().sum((1, 2))
    variance = predicted.covariance().variance().double().expand(latent.states.shape)
    return {
        "gain over the other fit": torch.stack([gain, torch.full_like(gain, STEPS)]),
        "share of drift": torch.stack([motion - residual, motion]),
        "noise over squared residual": torch.stack([variance[:, :-1].sum((1, 2)), residual]),
    }


def held_out(sums: Tensor, documents: int) -> tuple[float, int]:
    """Coverage of the ratio over all documents by intervals of samples, and their number."""
    truth = float(sums[0].sum() / sums[1].sum())
    above, below = sums[:, : POOL - POOL % documents].unflatten(1, (-1, documents))
    low, high = Ratios.of(above, below).ends((1 + LEVEL) / 2)
    return float(((low <= truth) & (truth <= high)).double().mean()), len(above)


def moments(system: System, documents: int, seeds: Sequence[int], *, training: bool) -> list[bool]:
    """Whether intervals of the lagged moments of a linear fit contain zero, the truth."""
    found = []
    for seed in seeds:
        fitted = fits("linear", system, documents, seed)
        assert isinstance(fitted.law, SDE)
        test = next(iter(fitted.encoded(blocks(system, documents // 4, derive(seed, "test")))))
        effects = lagged_moments(
            fitted.law,
            [[test]],
            torch.arange(documents),
            Axes.of([test], 2),
            trained=documents if training else 10**9,
            seed=derive(seed, "simulated"),
        )
        for effect in effects:
            reach = student((1 + LEVEL) / 2, effect.groups)
            found.append(effect.value <= reach * effect.stderr)
    return found


def share(inside: Sequence[bool]) -> str:
    """A coverage in percent."""
    return f"{100 * sum(inside) / len(inside):.1f}"


def ensemble_rows(probe: str, seeds: int) -> Iterator[list[str]]:
    """Rows on coefficients, by number of training documents."""
    system = ornstein_uhlenbeck(2) if probe == "linear" else double_well()
    for documents in TRAINED:
        drifts, covariances = coefficients(probe, system, documents, range(seeds))
        label = f"{probe}, ensemble of {MEMBERS}"
        for name, inside in {"drift": drifts, "covariance": covariances}.items():
            yield [name, label, str(documents), share(inside), f"{len(inside):,}"]


def moment_rows(seeds: int) -> Iterator[list[str]]:
    """Rows on lagged moments, with and without the error of the fit."""
    for documents in (40, 100, 400):
        for label, training in (("linear", True), ("linear, its error left out", False)):
            inside = moments(ornstein_uhlenbeck(2), documents, range(seeds), training=training)
            yield ["lagged moments", label, str(documents), share(inside), f"{len(inside):,}"]


def held_out_rows() -> Iterator[list[str]]:
    """Rows on gains and shares of one fit, by number of held-out documents."""
    well, process = double_well(), ornstein_uhlenbeck(2)
    pairs = {
        "linear": (fits("linear", process, 200, 0), fits("linear", process, 50, 1), process),
        "neural": (fits("neural", well, 200, 0), fits("linear", well, 200, 0), well),
    }
    for label, (fitted, other, system) in pairs.items():
        for name, sums in document_sums(fitted, other, system, 0).items():
            found = [held_out(sums, documents) for documents in HELD_OUT]
            yield [name, label, *(f"{100 * inside:.1f}" for inside, _ in found)]
