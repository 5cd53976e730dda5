"""The tools that sdelens is compared with, their systems and their environments."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HOME = Path.home() / ".cache" / "sdelens-peers"
LINEAR = tuple(f"ornstein-uhlenbeck-{dim}" for dim in (1, 2, 16, 64, 768))
NONLINEAR = ("double-well", "diffeomorphic-8")
EVERY = LINEAR + NONLINEAR


@dataclass(frozen=True)
class Rival:
    """One setting of a tool, and the systems on which it is run."""

    worker: str
    setting: str
    given: str
    """What the tool knows about the form of the drift."""
    systems: tuple[str, ...]
    needs: tuple[str, ...] = ()
    """Packages of its environment; if empty, it runs in the current environment."""


RIVALS = (
    Rival("sdelens", "linear", "linear", EVERY),
    Rival("sdelens", "linear, ridge chosen", "linear", LINEAR),
    Rival("sdelens", "sdelens.fit", "linear", LINEAR),
    Rival("sdelens", "neural", "nothing", NONLINEAR),
    Rival("numpy", "normal equations", "linear", LINEAR, ("numpy", "scipy")),
    Rival("sklearn", "LinearRegression", "linear", LINEAR, ("scikit-learn",)),
    Rival("sklearn", "RidgeCV", "linear", LINEAR, ("scikit-learn",)),
    Rival("sklearn", "polynomial RidgeCV", "cubic", NONLINEAR, ("scikit-learn",)),
    Rival("deeptime", "VAR", "linear", LINEAR, ("deeptime",)),
    Rival("deeptime", "Koopman generator", "polynomial", LINEAR[:3] + NONLINEAR, ("deeptime",)),
    Rival("sfi", "linear", "polynomial", EVERY, ("StochasticForceInference",)),
    Rival("sfi", "parametric", "polynomial", EVERY, ("StochasticForceInference",)),
    Rival("kramersmoyal", "kernel", "nothing", EVERY, ("kramersmoyal", "numpy", "scipy")),
    Rival("pydaddy", "polynomials", "polynomial", EVERY, ("pydaddy", "setuptools<81")),
    Rival("pymle", "maximum likelihood", "its form", EVERY, ("pymle-diffusion",)),
    Rival("torchsde", "through its solver", "linear or nothing", EVERY),
    Rival("folie", "maximum likelihood", "", LINEAR[:1], ("folie",)),
)


def interpreter(rival: Rival) -> Path:
    """Python interpreter of a tool's environment, which is created if it does not exist."""
    if not rival.needs:
        return Path(sys.executable)
    place = HOME / rival.worker
    if not (place / "complete").exists():
        install = [place / "bin" / "pip", "install", "--quiet", *rival.needs]
        for command in ([sys.executable, "-m", "venv", place], install):
            subprocess.run(command, check=True, capture_output=True, text=True)
        (place / "complete").touch()
    return place / "bin" / "python"
