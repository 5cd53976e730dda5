"""Held-out scores of a fit and its baselines, the content of metrics.json."""

from typing import Any

from sdelens.estimation.ratio import FEWEST
from sdelens.fitting.baselines import NAMES
from sdelens.fitting.scores import Tallies, Tally
from sdelens.paths.basis import Basis

STATE_DEPENDENT = " | state-dependent"
"""Suffix of a baseline's name for its law with state-dependent noise."""
CONSTANT = "fit | constant"
"""Name of the fit's mean with constant noise."""
VARIANT = "fit | "
"""Before the names of further laws that a fit brings along to be scored: `law.variants`."""


def scores_of(tallies: Tallies, basis: Basis, *, state_dependent: bool) -> dict[str, Any]:
    """All held-out scores as JSON: nats per dimension, training-standardised coordinates.

    With `state_dependent`, the fit is compared with baselines under state-dependent noise;
    otherwise its mean with constant noise is compared. If new prefixes are known, ``new_prefixes``
    has the scores on them alone, or None if there are none.
    """
    every, clean, new = tallies["every"], tallies["clean"], tallies.get("new")
    standard = basis.log_volume_standard() / every.dim
    variants = [name for name in every.names if name.startswith(VARIANT) and name != CONSTANT]
    scores = _scores(every, basis, state_dependent=state_dependent, clean=clean) | {
        "held_out_nll_per_dim_without_sinks": clean.nll("fit").value + standard,
        "transitions_with_sinks": every.transitions - clean.transitions,
        "variants": {
            name.removeprefix(VARIANT): _variant(name, every, standard) for name in variants
        },
    }
    if new is None:
        return scores
    alone = _scores(new, basis, state_dependent=state_dependent) if new.transitions else None
    return scores | {"new_prefixes": alone}


def _scores(
    every: Tally, basis: Basis, *, state_dependent: bool, clean: Tally | None = None
) -> dict[str, Any]:
    """The scores of the fit and of each baseline on some transitions."""
    standard = basis.log_volume_standard() / every.dim
    suffix = STATE_DEPENDENT if state_dependent else ""
    fighter = "fit" if state_dependent else CONSTANT
    gain = every.gain(fighter, "iid_position" + suffix)
    nll, r2 = every.nll("fit"), every.increment_r2("fit")
    baselines = [name for name in NAMES if name in every.names]
    return {
        "held_out_nll_per_dim": nll.value + standard,
        "held_out_nll_stderr": nll.stderr,
        "held_out_nll_raw_per_dim": nll.value + basis.log_volume() / every.dim,
        "gain_over_iid_position": gain.value,
        "gain_over_iid_position_stderr": gain.stderr,
        "increment_r2": r2.value,
        "increment_r2_stderr": r2.stderr,
        "same_law": [name for name in baselines if every.same(fighter, name + suffix)],
        "noise_column": "state-dependent" if state_dependent else "constant",
        "transitions": every.transitions,
        "held_out_documents": every.groups,
        "baselines": {
            name: _row(name, every, clean, standard, compared=state_dependent)
            for name in baselines
        },
        "fit": _row("fit", every, clean, standard, compared=state_dependent),
    }


def _variant(name: str, every: Tally, shift: float) -> dict[str, float]:
    """Scores of a variant of the fit that differs in one setting, such as a variance floor."""
    gain = every.gain(name, "fit")
    return {
        "nll_per_dim": every.nll(name).value + shift,
        "gain_over_fit": gain.value,
        "gain_over_fit_stderr": gain.stderr,
    }


def _row(
    name: str, every: Tally, clean: Tally | None, shift: float, *, compared: bool
) -> dict[str, Any]:
    """Scores of one mean under both kinds of noise, with the fit's gain over it."""
    own = CONSTANT if name == "fit" else name
    r2 = every.increment_r2(own)
    row: dict[str, Any] = {"increment_r2": r2.value, "increment_r2_stderr": r2.stderr}
    row |= _column("", own, every, clean, shift) | _gain("", own, CONSTANT, every)
    dependent = "fit" if name == "fit" else name + STATE_DEPENDENT
    if dependent in every.names and (compared or name != "fit"):
        row |= _column("_state_dependent", dependent, every, clean, shift)
    if compared:
        row |= _gain("_state_dependent", dependent, "fit", every)
    return row


def _column(
    suffix: str, name: str, every: Tally, clean: Tally | None, shift: float
) -> dict[str, float]:
    nll, key = every.nll(name), f"nll_per_dim{suffix}_without_sinks"
    quiet = {} if clean is None else {key: clean.nll(name).value + shift}
    return quiet | {
        f"nll_per_dim{suffix}": nll.value + shift,
        f"nll_per_dim{suffix}_stderr": nll.stderr,
    }


def _gain(suffix: str, name: str, fighter: str, every: Tally) -> dict[str, Any]:
    gain = every.gain(fighter, name)
    found: dict[str, Any] = {
        f"gain_of_fit{suffix}": gain.value,
        f"gain_of_fit{suffix}_stderr": gain.stderr,
    }
    if gain.groups >= FEWEST:
        found[f"gain_of_fit{suffix}_interval"] = list(gain.ends())
    return found
