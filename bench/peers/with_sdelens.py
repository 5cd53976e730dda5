"""sdelens: probes alone, and the complete procedure of `sdelens.fit`."""

import torch
from worker import work

import sdelens
from sdelens.interfaces import load
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import ignore_epoch

PATHS = 100
PROBES = {name: load("probe", name) for name in ("linear", "neural")}


def cut(states):
    """Split a path into `PATHS` paths that share end points, so that no transition is lost."""
    length = (len(states) - 1) // PATHS
    return torch.from_numpy(states).unfold(0, length + 1, length).mT.contiguous()


def linear(states, dt, degree):
    """Linear probe on all the data, without a penalty and with the exact density."""
    paths = Trajectories.from_states(cut(states), dt)
    probe = PROBES["linear"](density="exact", ridge=0.0)
    return _read(probe.fit(paths, paths.rows(torch.arange(1)), seed=0, watch=ignore_epoch).law)


def ridge(states, dt, degree):
    """Linear probe on nine tenths of the data, with the penalty selected on the last tenth."""
    return _read(_validated(PROBES["linear"](density="exact"), states, dt))


def neural(states, dt, degree):
    """Neural probe with default settings, density `auto` and full noise."""
    return _read(_validated(PROBES["neural"](density="auto", noise="full"), states, dt))


def _validated(probe, states, dt):
    paths = Trajectories.from_states(cut(states), dt)
    end = PATHS * 9 // 10
    train, validation = paths.rows(torch.arange(end)), paths.rows(torch.arange(end, PATHS))
    return probe.fit(train, validation, seed=0, watch=ignore_epoch).law


def whole(states, dt, degree):
    """``sdelens.fit`` with the linear probe, including basis, baselines and held-out scores."""
    fitted = sdelens.fit(cut(states), dt=dt, probe="linear")

    def found(points):
        x = torch.from_numpy(points)
        return fitted.drift(0.0, x).numpy(), fitted.covariance(0.0, x[:1]).numpy()

    return found


def _read(law):
    def fitted(points):
        x = torch.from_numpy(points)
        t = torch.zeros(len(x))
        with torch.no_grad():
            return law.drift(t, x).numpy(), law.diffusion(t, x).covariance().numpy()

    return fitted


if __name__ == "__main__":
    work(
        "sdelens",
        {"linear": linear, "linear, ridge chosen": ridge, "neural": neural, "sdelens.fit": whole},
    )
