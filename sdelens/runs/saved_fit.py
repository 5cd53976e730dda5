"""The fit of one view on disk: sde.safetensors, config.json, metrics.json, train.jsonl, DONE."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from sdelens.containment.contained import contained
from sdelens.errors import SdelensError, UsageError
from sdelens.estimation.complement import Complement
from sdelens.fitting.fitted import Fitted, Record
from sdelens.laws.law import Law, group_of, prefixed
from sdelens.paths.basis import Basis
from sdelens.protocols import Epoch
from sdelens.runs.history import history_of, history_text
from sdelens.runs.schemas import FitConfig, Metrics
from sdelens.runs.seal import is_intact, require_sealed, seal
from sdelens.schema import checked, damaged
from sdelens.settings import build
from sdelens.states.recording import View
from sdelens.store import read_json, read_tensors, write_json, write_tensors, write_text
from sdelens.tensor_schema import layout_of, require_finite, require_layout, require_shapes

CONFIG, METRICS, HISTORY = "config.json", "metrics.json", "train.jsonl"
LAW, MEMBERS = "sde.safetensors", "members.safetensors"


def write_fit(folder: Path, view: View, fitted: Fitted, basis: Mapping[str, str]) -> None:
    """Write the law, its record and its scores; DONE is written last."""
    made = fitted.record
    rest = fitted.complement.tensors() if fitted.complement else {}
    tensors = prefixed(law=fitted.law.tensors(), basis=fitted.basis.tensors(), complement=rest)
    # parts of a law may share memory, which safetensors refuses
    files = {LAW: {name: tensor.clone() for name, tensor in tensors.items()}}
    if fitted.members:
        files[MEMBERS] = _members(fitted.members)
    for name, content in files.items():
        write_tensors(folder / name, content)
    config = {
        **({"axis": view.axis} if view.axis != "token" else {}),
        "site": asdict(view.site),
        "probe": made.probe,
        "settings": dict(made.settings),
        "density": made.density,
        "dt": made.dt,
        "members": len(fitted.members),
        "seed": made.seed,
        "basis": dict(basis),
        "basis_dropped": fitted.basis.dropped,
        "origin": asdict(fitted.origin) if fitted.origin else None,
        "tensors": {name: layout_of(content) for name, content in files.items()},
    }
    write_json(folder / CONFIG, config)
    write_json(folder / METRICS, made.scores)
    write_text(folder / HISTORY, history_text(made.history))
    seal(folder)


def read_fit(folder: Path, probe_of: Callable[[str], Any]) -> Fitted:
    """Restore the fit by its probe, whose class `probe_of` returns by name.

    Raises `UsageError` for a file that is not as it was written, with the field if it is known.
    """
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict) or not isinstance(config.get("probe"), str):
        damaged(folder / CONFIG, "probe", "must be the name of a probe")
    kind = probe_of(config["probe"])  # before all else, so that a plugin to install is named
    form = read_config(folder)
    probe = build(kind, form.settings, f"{folder / CONFIG}: {form.probe}")
    tensors = _read_law(folder / LAW, form)
    saved = _read_law(folder / MEMBERS, form) if form.members else {}
    if {name.partition(".")[0] for name in saved} != {f"member{i}" for i in range(form.members)}:
        number = f"must be the number of fits in {MEMBERS}"
        damaged(folder / CONFIG, "members", number, form.members)
    require_shapes(Basis, group_of(tensors, "basis"), folder / LAW)
    with _restoring(folder, form.probe):
        law: Law = probe.restore(config, group_of(tensors, "law"))
        each = (group_of(saved, f"member{i}") for i in range(form.members))
        members = tuple(probe.restore(config, own) for own in each)
        complement = Complement.restore(group_of(tensors, "complement"))
    return Fitted(
        law=law,
        basis=Basis(**group_of(tensors, "basis"), dropped=form.basis_dropped),
        record=Record(
            probe=form.probe,
            settings=form.settings,
            density=form.density,
            dt=form.dt,
            seed=form.seed,
            history=_history(folder / HISTORY),
            scores=read_metrics(folder),
        ),
        origin=form.origin,
        complement=complement,
        members=members,
        view=View(form.site, form.axis),
    )


def read_config(folder: Path) -> FitConfig:
    """The checked config of a fit."""
    form: FitConfig = checked(FitConfig, read_json(folder / CONFIG), folder / CONFIG)
    require_sealed(folder / CONFIG)
    return form


def read_metrics(folder: Path) -> dict[str, Any]:
    """The checked scores of a fit; a fit without held-out documents has none."""
    found: dict[str, Any] = read_json(folder / METRICS)
    if found != {}:
        checked(Metrics, found, folder / METRICS)
    require_sealed(folder / METRICS)
    return found


def _history(file: Path) -> tuple[Epoch, ...]:
    found = history_of(file)
    require_sealed(file)
    return found


def views_of(fits: Path) -> tuple[View, ...]:
    """The views with a complete fit in a folder of fits."""
    return tuple(_view_of(done.parent) for done in sorted(fits.glob("*/DONE")))


def _view_of(folder: Path) -> View:
    form = checked(FitConfig, read_json(folder / CONFIG), folder / CONFIG)
    view = View(form.site, form.axis)
    if str(view) != folder.name:
        damaged(folder / CONFIG, "site", f"must be that of {folder.name}", str(view))
    return view


def _read_law(file: Path, form: FitConfig) -> dict[str, Tensor]:
    """Tensors of the form that the config states."""
    tensors = read_tensors(file)
    if form.tensors:
        require_layout(tensors, form.tensors.get(file.name, {}), file)
    if not is_intact(file):  # the law of a plugin may contain infinity
        require_finite(tensors, file)
        require_sealed(file)
    return tensors


@contextmanager
def _restoring(folder: Path, probe: str) -> Iterator[None]:
    """A failure is that of the probe only if the files are known to be as the fit wrote them."""
    try:
        with contained(f"the probe {probe}"):
            yield
    except SdelensError as error:
        if error.__cause__ is None or all(is_intact(folder / name) for name in (CONFIG, LAW)):
            raise
        raise UsageError(
            f"{folder / LAW} cannot be read by the probe {probe} ({error.__cause__}): the file "
            "was damaged, or written by another version of the probe"
        ) from error.__cause__


def _members(laws: tuple[Law, ...]) -> dict[str, Tensor]:
    """The tensors of an ensemble, by number of the member."""
    named = prefixed(**{f"member{number}": law.tensors() for number, law in enumerate(laws)})
    return {name: tensor.clone() for name, tensor in named.items()}
