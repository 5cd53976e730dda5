"""What sdelens is held beside, on which systems, and the environments they run in."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HOME = Path.home() / ".cache" / "sdelens-peers"
LINEAR = tuple(f"ornstein-uhlenbeck-{dim}" for dim in (1, 2, 16, 64, 768))
NONLINEAR = ("double-well", "diffeomorphic-8")


@dataclass(frozen=True)
class Rival:
    """One way to fit: a worker, one of its settings, what it is told, and where it is tried."""

    worker: str
    setting: str
    told: str
    systems: tuple[str, ...]
    needs: tuple[str, ...] = ()
    """Distributions of its environment; none is this one's."""


RIVALS = (
    Rival("sdelens", "linear", "linear", LINEAR + NONLINEAR),
    Rival("sdelens", "linear, ridge chosen", "linear", LINEAR),
    Rival("sdelens", "sdelens.fit", "linear", LINEAR),
    Rival("sdelens", "neural", "nothing", NONLINEAR),
    Rival("numpy", "normal equations", "linear", LINEAR, ("numpy", "scipy")),
    Rival("sklearn", "LinearRegression", "linear", LINEAR, ("scikit-learn",)),
    Rival("sklearn", "RidgeCV", "linear", LINEAR, ("scikit-learn",)),
    Rival("sklearn", "polynomial RidgeCV", "cubic", NONLINEAR, ("scikit-learn",)),
    Rival("deeptime", "VAR", "linear", LINEAR, ("deeptime",)),
    Rival("deeptime", "Koopman generator", "polynomial", LINEAR[:3] + NONLINEAR, ("deeptime",)),
    Rival("sfi", "linear", "polynomial", LINEAR + NONLINEAR, ("StochasticForceInference",)),
    Rival("sfi", "parametric", "polynomial", LINEAR + NONLINEAR, ("StochasticForceInference",)),
    Rival(
        "kramersmoyal",
        "kernel",
        "nothing",
        LINEAR + NONLINEAR,
        ("kramersmoyal", "numpy", "scipy"),
    ),
    Rival(
        "pydaddy", "polynomials", "polynomial", LINEAR + NONLINEAR, ("pydaddy", "setuptools<81")
    ),
    Rival("pymle", "maximum likelihood", "its form", LINEAR + NONLINEAR, ("pymle-diffusion",)),
    Rival("torchsde", "through its solver", "linear or nothing", LINEAR + NONLINEAR),
    Rival("folie", "maximum likelihood", "", LINEAR[:1], ("folie",)),
)


def interpreter(rival: Rival) -> Path:
    """The Python of its environment, which is made if there is none."""
    if not rival.needs:
        return Path(sys.executable)
    place = HOME / rival.worker
    if not (place / "complete").exists():
        install = [place / "bin" / "pip", "install", "--quiet", *rival.needs]
        for command in ([sys.executable, "-m", "venv", place], install):
            subprocess.run(command, check=True, capture_output=True, text=True)
        (place / "complete").touch()
    return place / "bin" / "python"
