"""docs/peers.md from bench/peers.json: the tables, and where a peer wins."""

import math
from statistics import mean, median, stdev

METRICS = {"drift_nmse": "drift", "covariance_error": "covariance"}
ALIKE = 0.01
"""Errors that differ by a smaller share are the same: another order of rounding, say."""

NAMES = {
    "sdelens": "**sdelens**",
    "numpy": "NumPy",
    "sklearn": "scikit-learn",
    "sfi": "SFI",
    "pydaddy": "PyDaddy",
}
NOTES = {
    "sdelens": "`linear` and `neural` are the probes by themselves: `linear` on all the data "
    "without a penalty (density `exact`), the others on nine tenths, validated on the last "
    "tenth; `neural` with its default settings, density `auto` and full noise. `sdelens.fit` "
    "is the whole of it with the linear probe: basis, eight tenths to train, baselines, scores.",
    "numpy": "Float64 normal equations with an intercept, SciPy's matrix logarithm, and the "
    "covariance per unit of time by a discrete Lyapunov equation.",
    "sklearn": "`LinearRegression` and `RidgeCV` (of increments, 17 penalties, generalised "
    "cross-validation), then logarithm and Lyapunov equation as for NumPy. The polynomial has "
    "degree 3, its noise degree 2, both read at dt as they are.",
    "deeptime": "`EDMD` on `Monomials`: of degree 1, then as for NumPy; or of degree 2 (7 for the "
    "double well, 3 for the diffeomorphic system), whose logarithm gives "
    "drift and covariance by the generator.",
    "sfi": "`linear` as its guide begins: `compute_diffusion_constant`, `infer_force_linear`, all "
    "conventions on auto; `parametric` as it advises for coarse sampling: `infer_force` with its "
    "Runge-Kutta flow, told that there is no measurement noise. Monomials of degree 1 (3 where "
    "the drift is not linear, with diffusion of degree 2).",
    "kramersmoyal": "`km` with its default bins and bandwidth, read at the nearest node.",
    "pydaddy": "`Characterize`, `fit(..., tune=True)`: drift as for SFI, diffusion of degree 2.",
    "pymle": "The Ornstein-Uhlenbeck process by its exact density, or a cubic drift with constant "
    "noise by Shoji and Ozaki's.",
    "torchsde": "Trained through `sdeint` (Euler, two steps a dt) on the energy score of eight "
    "samples a transition, 1,500 steps of Adam: affine drift and a constant matrix, or "
    "perceptrons of two layers of 64 where the drift is not linear.",
    "folie": "Not on the package index.",
}


def page(results) -> str:
    """The whole page."""
    systems = {name: results["systems"][name] for name in sorted(results["systems"], key=_order)}
    parts = [
        "# Beside other tools",
        "Written by `python bench/peers.py`. Each tool is given the same path of "
        f"{results['transitions']:,} transitions in a process of its own, on one thread if it can "
        f"be told to, with {results['limit']} seconds to fit it. **Drift** is the mean squared "
        "error on states of the stationary law as a share of the drift's mean square; "
        "**covariance** the root mean squared error of the covariance per unit of time as a share "
        "of its norm; ± is a standard error over three seeds, without it there was one: a fit of "
        f"over {results['again']} seconds. **Told** is what the tool knows of the drift's form. "
        "Seconds are the processor's for the fit alone, imports left out and compilation "
        "included; MiB the process's peak, libraries included.",
        f"{results['machine']}. Versions: {_versions(systems)}.",
        *(f"## {_title(name)}\n\n{table(rows)}" for name, rows in systems.items()),
        "## Where a peer wins",
        "More accurate: than every row of sdelens on the same data, by more than the standard "
        "error of the difference and one per cent. As accurate: in both columns, and faster.",
        "\n".join(wins(systems)) or "Nowhere in these tables.",
        "## NumPy's normal equations",
        _normal_equations(results["normal_equations"]),
        "## Settings",
        "\n".join(f"- {_name(worker)}: {note}" for worker, note in NOTES.items()),
    ]
    return "\n\n".join(parts) + "\n"


def table(rows) -> str:
    """All rivals on one system."""
    head = "| tool | setting | told | drift | covariance | seconds | MiB |"
    return "\n".join([head, "|---" * 7 + "|", *map(_row, rows)])


def _row(row) -> str:
    tries = row["tries"]
    if not _ran(row):
        cells = [f"does not run: {tries[0]['failed'].replace('|', '/')[:120]}", "", "", ""]
    else:
        cells = [_spread([t[metric] for t in _good(row)]) for metric in METRICS]
        cells += [_two_digits(_seconds(row)), f"{tries[0]['memory'] / 2**20:.0f}"]
    return "| " + " | ".join([_name(row["peer"]), row["setting"], row["told"], *cells]) + " |"


def wins(systems) -> list[str]:
    """A line for each peer that is more accurate than sdelens, or as accurate in less time."""
    lines = []
    for name, rows in systems.items():
        ours = [row for row in rows if row["peer"] == "sdelens" and _ran(row)]
        for row in rows:
            rival = row["peer"] != "sdelens" and _ran(row) and ours
            if said := [*_more_accurate(row, ours), *_faster(row, ours)] if rival else []:
                who = f"{_name(row['peer'])} ({row['setting']}, told: {row['told']})"
                lines.append(f"- {_title(name)}: {who} is {' and '.join(said)}.")
    return lines


def _more_accurate(row, ours):
    for metric, label in METRICS.items():
        if all(_worse(other, row, metric) for other in ours):
            best = min(ours, key=lambda other: _mean(other, metric))
            yield (
                f"more accurate in {label}: {_mean(row, metric):.2g} against "
                f"{_mean(best, metric):.2g} of `{best['setting']}`"
                + ("" if min(len(_good(row)), len(_good(best))) > 1 else " (one seed)")
            )


def _faster(row, ours):
    alike = [
        other
        for other in ours
        if not any(_worse(other, row, m) or _worse(row, other, m) for m in METRICS)
    ]
    if alike and _seconds(row) < min(map(_seconds, alike)):
        best = min(alike, key=_seconds)
        yield (
            f"as accurate in {_two_digits(_seconds(row))} s against "
            f"{_two_digits(_seconds(best))} s of "
            f"`{best['setting']}`"
        )


def _worse(one, other, metric) -> bool:
    """Beyond the standard error of the paired difference, and beyond one per cent."""
    pairs = zip(_good(one), _good(other), strict=False)
    differences = [a[metric] - b[metric] for a, b in pairs]
    count = len(differences)
    error = stdev(differences) / math.sqrt(count) if count > 1 else 0.0
    return mean(differences) > max(error, ALIKE * _mean(other, metric))


def _good(row):
    return [found for found in row["tries"] if "failed" not in found]


def _ran(row) -> bool:
    return "failed" not in row["tries"][0]


def _mean(row, metric) -> float:
    return mean(found[metric] for found in _good(row))


def _seconds(row) -> float:
    return median(found["seconds"] for found in _good(row))


def _spread(values) -> str:
    if len(values) == 1:
        return f"{values[0]:.2g}"
    return f"{mean(values):.2g} ± {stdev(values) / math.sqrt(len(values)):.1g}"


def _two_digits(value: float) -> str:
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"


def _name(worker: str) -> str:
    return NAMES.get(worker, worker)


def _title(system: str) -> str:
    return system.replace("-", " ").capitalize()


def _order(system: str) -> tuple[str, int]:
    """By name, then by dimension."""
    name, _, dim = system.rpartition("-")
    return (name, int(dim)) if dim.isdigit() else (system, 0)


def _versions(systems) -> str:
    found = {
        row["peer"]: tried["version"]
        for rows in systems.values()
        for row in rows
        for tried in row["tries"]
        if "version" in tried
    }
    return ", ".join(f"{_name(peer).strip('*')} {version}" for peer, version in found.items())


def _normal_equations(found) -> str:
    return (
        "Ornstein-Uhlenbeck, d = 64, 100,000 transitions, one thread, processor time, medians of "
        "turns:\n\n"
        "| | seconds | ratio |\n|---|---|---|\n"
        f"| NumPy: float64 normal equations and the residuals' covariance | {found['numpy']:.2f} "
        "| 1 |\n"
        f"| `linear`, discrete, an intercept for each position | {found['discrete']:.2f} "
        f"| {found['discrete'] / found['numpy']:.2f} |\n"
        f"| `linear`, exact: the SDE by the matrix logarithm | {found['exact']:.2f} "
        f"| {found['exact'] / found['numpy']:.2f} |"
    )
