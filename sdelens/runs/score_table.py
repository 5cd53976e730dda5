"""The table of held-out scores, and its notes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sdelens.estimation.ratio import FEWEST
from sdelens.evidence.verdict import LABELS, NOISES
from sdelens.report import Table
from sdelens.states.recording import View
from sdelens.wording import counted


def score_table(
    scores: Mapping[str, Any], view: View, probe: str, *, short: bool = False
) -> Table:
    """Scores of all means under each noise, in nats per dimension, with the fit's paired gains.

    A baseline that is the same law as the fit has no row of its own. A fit with constant noise has
    no entry under state-dependent noise. The short form omits the errors of the scores, but not of
    the gains, and has two-line headings.
    """
    others = [name for name in LABELS if name not in scores.get("same_law", [])]
    rows = {name: scores["baselines"][name] for name in others if name in scores["baselines"]}
    rows |= {"fit": scores["fit"]}
    both = "nll_per_dim_state_dependent" in scores["fit"]
    noises = dict(NOISES) if both else {"constant": ""}
    own = NOISES if scores["noise_column"] == "state-dependent" else {"constant": ""}
    body = []
    for name, row in rows.items():
        label = f"{probe} (the fit)" if name == "fit" else LABELS[name]
        known = own if name == "fit" else noises
        cells = [
            pm(row, f"nll_per_dim{key}", short=short) if noise in known else "-"
            for noise, key in noises.items()
        ]
        paired = ["" if name == "fit" else pm(row, f"gain_of_fit{own[n]}", sign="+") for n in own]
        body.append((label, *cells, *paired, pm(row, "increment_r2", short=short)))
    return Table(
        title=f"Held-out scores, {view}: nats per dimension by mean and noise",
        columns=("mean", *_headings(noises, own, short=short), "R²"),
        rows=tuple(body),
        note=_note(scores),
        own=len(body) - 1,
    )


def _headings(noises: Iterable[str], own: Iterable[str], *, short: bool) -> Iterator[str]:
    """Column headings; the short ones on two lines, so that the table fits 80 columns."""
    words = {"state-dependent": "state-dep."} if short else {}
    gap = "\n" if short else " "
    yield from (f"{words.get(noise, noise)}{gap}noise" for noise in noises)
    yield from (f"gain,{gap}{words.get(noise, noise)}" for noise in own)


def pm(row: Mapping[str, Any], key: str, *, sign: str = "-", short: bool = False) -> str:
    """A score with its error, or a dash; one document has no error."""
    if key not in row:
        return "-"
    value = f"{row[key]:{sign}.3f}"
    error = row[f"{key}_stderr"]
    return value if short or not error else f"{value} ± {error:.3f}"


def _note(scores: Mapping[str, Any]) -> str:
    return " ".join(
        sentence
        for sentence in (
            "Coordinates standardised on training; ± is one standard error over "
            f"{counted(scores['held_out_documents'], 'held-out document')} "
            f"({counted(scores['transitions'], 'transition')}); lower is better.",
            "Gains are paired by document, positive where the fit is better under the same noise.",
            "R² is the share of the increments' squared length explained by the mean.",
            _same(scores.get("same_law", [])),
            few_words(scores["held_out_documents"]),
            f"The fit in raw coordinates: {scores['held_out_nll_raw_per_dim']:.3f}.",
            _sinks(scores),
            _new(scores),
            _lost(scores.get("documents_without_transition", 0), scores.get("documents", 0)),
            _repeated(scores.get("near_duplicates", 0), scores.get("documents", 0)),
            _going(scores.get("paths_going_on", [])),
        )
        if sentence
    )


def few_words(documents: int) -> str:
    """A sentence on scores from few documents; empty if there are enough.

    >>> few_words(4)
    'From fewer than 10 documents no conclusion is drawn, and the errors are rough themselves.'
    """
    if documents >= FEWEST:
        return ""
    return (
        f"From fewer than {FEWEST} documents no conclusion is drawn, and the errors are rough "
        "themselves."
    )


def _same(names: Sequence[str]) -> str:
    return " ".join(f"The baseline {LABELS[name]} is the fit itself." for name in names)


def _lost(lost: int, documents: int) -> str:
    return lost_words(lost, documents) if lost else ""


def lost_words(lost: int, documents: int) -> str:
    """A sentence on texts without a recorded transition.

    >>> lost_words(28, 120)
    '28 of 120 texts have no transition: too short, or their prompt fills the context.'
    """
    return (
        f"{lost:,} of {counted(documents, 'text')} have no transition: too short, or their prompt "
        "fills the context."
    )


def _sinks(scores: Mapping[str, Any]) -> str:
    sinks, clean = scores["transitions_with_sinks"], scores["held_out_nll_per_dim_without_sinks"]
    if not sinks:
        return "No state has an outlying norm (a sink)."
    return f"Without {counted(sinks, 'transition')} at outlying norms (sinks): {clean:.3f}."


def _repeated(repeats: int, documents: int) -> str:
    """A sentence on texts that nearly repeat others.

    >>> _repeated(3, 120)
    '3 of 120 texts nearly repeat others and form one unit with them.'
    """
    if not repeats:
        return ""
    return (
        f"{repeats:,} of {counted(documents, 'text')} nearly repeat others and form one unit with "
        "them."
    )


def _new(scores: Mapping[str, Any]) -> str:
    """A sentence on the transitions after prefixes that occur in no training document."""
    if "new_prefixes" not in scores:
        return ""
    new = scores["new_prefixes"]
    if new is None:
        return "Every whole prefix of a held-out transition occurs in training."
    if new["transitions"] == scores["transitions"]:
        return "No whole prefix of a held-out transition occurs in training."
    return (
        f"On new prefixes alone ({counted(new['transitions'], 'transition')} whose whole prefix "
        f"occurs in no training document): {new['held_out_nll_per_dim']:.3f}."
    )


def _going(counts: Sequence[int], most: int = 4) -> str:
    """A sentence on the number of documents that reach a few positions.

    >>> _going([9, 9, 9])
    'All 9 documents reach position 2.'
    >>> _going([9, 9, 7, 7, 2])
    'Documents by position: 9 reach position 1, 7 reach 3, 2 reach 4.'
    """
    if not counts:
        return ""
    last = len(counts) - 1
    if counts[last] == counts[0]:
        return f"All {counts[0]:,} documents reach position {last}."
    # the last position of each displayed count
    displayed = {counts[round(i * last / (most - 1))] for i in range(most)}
    last_of = {count: position for position, count in enumerate(counts) if count in displayed}
    parts = [f"{count:,} reach {position}" for count, position in last_of.items()]
    return f"Documents by position: {', '.join(parts).replace('reach ', 'reach position ', 1)}."
