"""The fit of one view on disk: sde.safetensors, config.json, metrics.json, train.jsonl, DONE."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from sdelens.containment.contained import contained
from sdelens.estimation.complement import Complement
from sdelens.fitting.fitted import Fitted, Record
from sdelens.laws.law import Law, group_of, prefixed
from sdelens.origin import ModelCard, Origin
from sdelens.paths.basis import Basis
from sdelens.protocols import Site
from sdelens.runs.history import history_of, history_text
from sdelens.settings import build
from sdelens.states.recording import View
from sdelens.store import read_json, read_tensors, write_json, write_tensors, write_text


def write_fit(folder: Path, view: View, fitted: Fitted, basis: Mapping[str, str]) -> None:
    """Write the law, its record and its scores; DONE is written last."""
    made = fitted.record
    rest = fitted.complement.tensors() if fitted.complement else {}
    tensors = prefixed(law=fitted.law.tensors(), basis=fitted.basis.tensors(), complement=rest)
    # parts of a law may share memory, which safetensors refuses
    write_tensors(folder / "sde.safetensors", {name: t.clone() for name, t in tensors.items()})
    if fitted.members:
        write_tensors(folder / "members.safetensors", _members(fitted.members))
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
    }
    write_json(folder / "config.json", config)
    write_json(folder / "metrics.json", made.scores)
    write_text(folder / "train.jsonl", history_text(made.history))
    write_text(folder / "DONE", "")


def read_fit(folder: Path, probe_of: Callable[[str], Any]) -> Fitted:
    """Restore the fit by its probe, whose class `probe_of` returns by name."""
    config = read_json(folder / "config.json")
    tensors = read_tensors(folder / "sde.safetensors")
    probe = build(probe_of(config["probe"]), config["settings"], config["probe"])
    several = config.get("members") or 0
    saved = read_tensors(folder / "members.safetensors") if several else {}
    each = [group_of(saved, f"member{i}") for i in range(several)]
    with contained(f"the probe {config['probe']}"):
        law: Law = probe.restore(config, group_of(tensors, "law"))
        members = tuple(probe.restore(config, own) for own in each)
    origin = config["origin"]
    if origin:
        origin = Origin(**{**origin, "model": ModelCard.of(origin["model"])})
    return Fitted(
        law=law,
        basis=Basis(**group_of(tensors, "basis"), dropped=config["basis_dropped"]),
        record=Record(
            probe=config["probe"],
            settings=config["settings"],
            density=config["density"],
            dt=config["dt"],
            seed=config["seed"],
            history=history_of(folder / "train.jsonl"),
            scores=read_json(folder / "metrics.json"),
        ),
        origin=origin,
        complement=Complement.restore(group_of(tensors, "complement")),
        members=members,
        view=view_of(folder),
    )


def view_of(folder: Path) -> View:
    """The view of a fit."""
    config = read_json(folder / "config.json")
    return View(Site(**config["site"]), config.get("axis", "token"))


def _members(laws: tuple[Law, ...]) -> dict[str, Tensor]:
    """The tensors of an ensemble, by number of the member."""
    named = prefixed(**{f"member{number}": law.tensors() for number, law in enumerate(laws)})
    return {name: tensor.clone() for name, tensor in named.items()}
