r"""How a fit displaces a model's states during generation.

Let m be the mean of the fit, X a state at a generated position and :math:`X_-` the preceding,
already steered state. First the noise of the step is scaled, then the drift is added:

.. math::
    \tilde X = m(X_-) + \sqrt s\,(X - m(X_-)),\qquad X \leftarrow \tilde X + a\,(m(\tilde X) -
    \tilde X).

``remove`` subtracts the predicted part of the step,
:math:`X \leftarrow \tilde X - (m(X_-) - X_-)`. ``project`` uses the a for which the displaced
state minus the mean state is orthogonal to
:math:`m(\tilde X)-\tilde X` in training-standardised coordinates.
"""

import math
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from sdelens.errors import UsageError

How = Literal["push", "remove", "project"]
FORM = "drift=0.5,diffusion=0.8 (drift: a number, remove or project; diffusion: 0 or more)"
VALUES = {"drift": "a number, remove or project", "diffusion": "a number from 0 on"}


@dataclass(frozen=True)
class Steering:
    """The doses: a multiple of the drift to add, and a factor for the variance of the noise.

    >>> Steering.parse("drift=0.5,diffusion=0.8")
    Steering(drift=0.5, diffusion=0.8)
    """

    drift: float | Literal["remove", "project"] = 0.0
    """The dose a, or ``remove`` or ``project``."""
    diffusion: float = 1.0
    """The dose s."""

    def __post_init__(self) -> None:
        drift = 0.0 if self.drift in ("remove", "project") else self.drift
        if isinstance(drift, str) or not math.isfinite(drift):
            raise UsageError(f"drift must be {VALUES['drift']}, got {self.drift!r}")
        if not 0 <= self.diffusion < math.inf:
            raise UsageError(f"diffusion must be {VALUES['diffusion']}, got {self.diffusion}")

    @classmethod
    def parse(cls, text: str) -> "Steering":
        """Parse the command line's form; raises `UsageError` naming the wrong part."""
        given: dict[str, str] = {}
        try:
            for part in text.split(","):
                name, value = _named(part.strip())
                if name in given:
                    raise UsageError(f"{name} is given twice")
                given[name] = value
            diffusion = _number("diffusion", given.get("diffusion", "1"))
            match given.get("drift", "0"):
                case "remove":
                    return cls("remove", diffusion)
                case "project":
                    return cls("project", diffusion)
                case number:
                    return cls(_number("drift", number), diffusion)
        except UsageError as error:
            raise UsageError(f"--steer expects {FORM}; got {text!r}: {error}") from error

    @property
    def how(self) -> How:
        """How the drift is used."""
        return self.drift if isinstance(self.drift, str) else "push"

    @property
    def dose(self) -> float:
        """The dose a; 1 for ``remove`` and ``project``."""
        return 1.0 if isinstance(self.drift, str) else self.drift

    def __str__(self) -> str:
        drift = f"{self.dose:+g}" if self.how == "push" else self.how
        parts = [f"drift {drift}"] if self.drift else []
        parts += [f"diffusion {self.diffusion:g}"] if self.diffusion != 1 else []
        return ", ".join(parts) or "unsteered"


def _named(part: str) -> tuple[str, str]:
    """Name and value of one assignment."""
    name, equals, value = (piece.strip() for piece in part.partition("="))
    if not part:
        raise UsageError("one assignment is empty")
    if not equals:
        raise UsageError(f"{part!r} is not of the form name=value (use a decimal point)")
    if name not in VALUES:
        near = get_close_matches(name, VALUES, n=1)
        raise UsageError(f"there is no {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
    if not value:
        raise UsageError(f"{name} has no value")
    return name, value


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise UsageError(f"{name} must be {VALUES[name]}, got {value!r}") from error
