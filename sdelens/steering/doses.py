r"""What is done to a model's states while it writes, in the words of a fit.

With the mean m of the fit, X a state at a generated position and :math:`X_-` the state before it,
as it was left by the steering, first the noise of the step is scaled and then the drift is added:

.. math::
    \tilde X = m(X_-) + \sqrt s\,(X - m(X_-)),\qquad X \leftarrow \tilde X + a\,(m(\tilde X) -
    \tilde X).

The drift is *removed* by :math:`X \leftarrow \tilde X - (m(X_-) - X_-)`, which takes out of the
step what the fit foretold of it, and *projected out* by the a for which the state after the move,
less the mean state, has no part along :math:`m(\tilde X)-\tilde X` (in training-standardised
coordinates).
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
    """How much of the drift is added, and what the variance of the noise is multiplied by.

    >>> Steering.parse("drift=0.5,diffusion=0.8")
    Steering(drift=0.5, diffusion=0.8)
    """

    drift: float | Literal["remove", "project"] = 0.0
    """a; or that the drift is removed, or projected out."""
    diffusion: float = 1.0
    """s."""

    def __post_init__(self) -> None:
        drift = 0.0 if self.drift in ("remove", "project") else self.drift
        if isinstance(drift, str) or not math.isfinite(drift):
            raise UsageError(f"drift must be {VALUES['drift']}, got {self.drift!r}")
        if not 0 <= self.diffusion < math.inf:
            raise UsageError(f"diffusion must be {VALUES['diffusion']}, got {self.diffusion}")

    @classmethod
    def parse(cls, text: str) -> "Steering":
        """From words as the command line has them; an error that says which of them is wrong."""
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
        """What is done with the drift."""
        return self.drift if isinstance(self.drift, str) else "push"

    @property
    def dose(self) -> float:
        """a; of a drift that is taken away 1, that it is done."""
        return 1.0 if isinstance(self.drift, str) else self.drift

    def __str__(self) -> str:
        drift = f"{self.dose:+g}" if self.how == "push" else self.how
        parts = [f"drift {drift}"] if self.drift else []
        parts += [f"diffusion {self.diffusion:g}"] if self.diffusion != 1 else []
        return ", ".join(parts) or "unsteered"


def _named(part: str) -> tuple[str, str]:
    """The name and the value of one part."""
    name, equals, value = (piece.strip() for piece in part.partition("="))
    if not part:
        raise UsageError("a part of it is empty")
    if not equals:
        raise UsageError(f"{part!r} is no name with = and a value (a decimal has a point)")
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
