"""The sections of a report, and what an analyzer contributes to its first screen."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

REAL = "Is it real?"
CALIBRATED = "Is it calibrated?"
KIND = "What kind of process is it?"
DRIFT = "How much is drift?"
WORDS = "What does it say in words?"
UNSURE = "Where is it unsure?"
STABLE = "Is it stable?"
PUSH = "What happens when I push?"
QUESTIONS = (REAL, CALIBRATED, KIND, DRIFT, WORDS, UNSURE, STABLE, PUSH)
"""The sections of a report, in this order; analyzers with a question of their own follow."""


def in_order(questions: Iterable[str]) -> list[str]:
    """Each question once: those of `QUESTIONS`, others as they come, then the empty one.

    >>> in_order(["", "Do paths turn?", DRIFT, REAL, DRIFT])
    ['Is it real?', 'How much is drift?', 'Do paths turn?', '']
    """
    place = {question: number for number, question in enumerate(QUESTIONS)} | {
        "": len(QUESTIONS) + 1
    }
    return sorted(dict.fromkeys(questions), key=lambda each: place.get(each, len(QUESTIONS)))


Outcome = Literal["yes", "no", "unclear"]


@dataclass(frozen=True)
class Check:
    """A claim with its outcome, such as ``beats linear``: yes, ``+0.044``."""

    claim: str
    outcome: Outcome
    value: str = ""


@dataclass(frozen=True)
class Summary:
    """The contribution of a finding to the first screen.

    `sentence` has at most a dozen words. `figure` and `strip` are names of a figure and a strip of
    the finding; the first screen shows the first of each.
    """

    sentence: str = ""
    checks: tuple[Check, ...] = ()
    figure: str = ""
    strip: str = ""
