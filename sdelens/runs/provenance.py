"""The provenance of a run in words."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from sdelens.fitting.fitted import Fitted
from sdelens.laws.sde import SDE
from sdelens.registry import OURS
from sdelens.runs.lifecycle import state_of
from sdelens.runs.run import Run
from sdelens.states.recording import View
from sdelens.wording import counted


def provenance(run: Run) -> dict[str, str]:
    """Model, texts, seeds and versions."""
    manifest, job = run.manifest, run.job
    model = manifest["model"]
    centre = "each position" if job.center == "position" else "all states"
    command = {"command": shlex.join(("sdelens", *manifest["argv"]))} if manifest["argv"] else {}
    return (
        {"run": str(run.folder)}
        | ({} if (state := state_of(run)) == "done" else {"state": state})
        | command
        | {
            "model": f"{model['name']}, revision {model['revision']}",
            "weights": f"{model['fingerprint'][:16]}… ({run.card.weight_words})",
            **_check(manifest.get("check", [])),
            **({"hooks": run.card.hook_words} if run.card.hooks else {}),
            "texts": _with(job.source, job.source_settings),
            "probe": _with(job.probe, job.probe_settings),
            "axis": "depth, one path per token" if job.axis == "layer" else "token positions",
            "basis": f"{job.basis}, centred on the training mean of {centre}",
            "skipped": f"{counted(job.skip_first, 'position')} at the start of each context",
            "seed": str(job.seed),
            "versions": ", ".join(f"{k} {v}" for k, v in manifest["versions"].items()),
            **_strangers(manifest["plugins"]),
            "device": f"{manifest['device']}, {counted(manifest['threads'], 'thread')}",
        }
    )


def _check(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The rows of the check of the model by result; empty for runs without it.

    >>> _check([{"name": "causal", "passed": True}, {"name": "cache", "passed": None}])
    {'check of the model': 'passed: causal; not checked: cache'}
    """
    parts = [
        f"{result}: {', '.join(names)}"
        for result, passed in (("passed", True), ("not checked", None))
        if (names := [row["name"] for row in rows if row["passed"] is passed])
    ]
    return {"check of the model": "; ".join(parts)} if parts else {}


def _strangers(plugins: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Third-party plugins with the first digits of their hash; empty if there are none.

    >>> brew = {"name": "brew", "distribution": "tea", "version": "1.2", "sha256": "ab" * 32}
    >>> _strangers([brew])
    {'plugins': 'brew (tea 1.2, abababababababab…)'}
    """
    said = [
        f"{p['name']} ({' '.join((p['distribution'], p['version'])).strip()}"
        f"{', ' + p['sha256'][:16] + '…' if p['sha256'] else ''})"
        for p in plugins
        if p["distribution"] != OURS
    ]
    return {"plugins": "; ".join(said)} if said else {}


def _with(name: str, settings: Mapping[str, Any]) -> str:
    """A plugin with its settings, in words.

    >>> _with("sampled", {"top_p": 1.0, "ignore_eos": False})
    'sampled: top p 1, ignore eos no'
    """
    parts = [f"{key.replace('_', ' ')} {_word(value)}" for key, value in settings.items()]
    return f"{name}: {', '.join(parts)}" if parts else name


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def law_words(fitted: Fitted) -> str:
    """The probe and the kind of its law: "neural SDE", "token law"."""
    return f"{fitted.record.probe} {'SDE' if isinstance(fitted.law, SDE) else 'law'}"


def layer_words(views: Sequence[View]) -> str:
    """The sites in words; ranges of three or more layers by their ends.

    >>> from sdelens.protocols import Site
    >>> layer_words([View(Site("embed")), *(View(Site("block", k)) for k in (0, 1, 2, 6))])
    'embedding, layers 0 to 2, 6'
    """
    if any(view.axis == "layer" for view in views):
        return "all layers by depth"
    numbers = sorted(view.site.layer for view in views if view.site.kind != "embed")
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    spans = [f"{p[0]} to {p[-1]}" if len(p) > 2 else ", ".join(map(str, p)) for p in parts]
    words = ["embedding"] if len(numbers) < len(views) else []
    if numbers:
        words.append(f"layer{'s' if len(numbers) > 1 else ''} {', '.join(spans)}")
    return ", ".join(words)
