"""From a run to its analyses and its report."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from sdelens.errors import SdelensError, UsageError
from sdelens.findings import load_finding, save_finding
from sdelens.protocols import Analyzer, Reporter
from sdelens.recording import View
from sdelens.registry import load, plugin, plugins
from sdelens.report import Finding, Report, Table
from sdelens.run import Run
from sdelens.sde import SDE
from sdelens.seeds import derive
from sdelens.settings import build
from sdelens.study import Study
from sdelens.verdict import LABELS, verdict

Watch = Callable[[str, View], None]


def analyze(
    run: Run,
    names: Sequence[str] = (),
    *,
    prompt: str | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    watch: Watch = lambda name, view: None,
) -> tuple[tuple[Finding, ...], dict[str, str]]:
    """Ask analyzers (all of them, if none is named) about every view, and save what they found.

    An analyzer that was named and cannot answer is an error; one that was not named is left out,
    and the reason given back beside the findings.
    """
    chosen = {name: _analyzer(name, settings or {}) for name in names or plugins("analyzer")}
    needs_model = any("model" in a.needs or "prompt" in a.needs for a in chosen.values())
    study = run.study(prompt, with_model=needs_model)
    for analyzer_name, analyzer in chosen.items():
        if names:
            require_needs(analyzer, analyzer_name, study)
    findings, failures = [], {}
    for name, analyzer in chosen.items():
        for view in study.views:
            watch(name, view)
            try:
                require_needs(analyzer, name, study.only(view))
                seed = derive(run.job.seed, "analyze", name, view)
                findings.append(analyzer.analyze(study.only(view), seed=seed))
            except Exception as error:
                if names or not isinstance(error, SdelensError):
                    raise
                failures[f"{name} {view}"] = str(error)
                continue
            write_finding(run, findings[-1])
    return tuple(findings), failures


def _analyzer(name: str, settings: Mapping[str, Mapping[str, Any]]) -> Analyzer:
    built: Analyzer = build(plugin("analyzer", name).load(), settings.get(name, {}), name)
    return built


def require_needs(analyzer: Analyzer, name: str, study: Study) -> None:
    """An error where the study has not what the analyzer needs; before any work."""
    if "prompt" in analyzer.needs and not study.prompt:
        raise UsageError(f'the analyzer {name} needs a prompt: add --prompt "…"')
    for view, viewed in study.views.items():
        if "sde" in analyzer.needs and not isinstance(viewed.fitted.law, SDE):
            raise UsageError(
                f"the analyzer {name} needs an SDE, but the fit of {view} by "
                f"{viewed.fitted.record.probe!r} is a law that depends on tokens"
            )


def finding_folder(run: Run, finding: Finding) -> Path:
    """analysis/<analyzer>/<view>, with a hash of the prompt where there was one."""
    suffix = f"-{sha256(finding.prompt.encode()).hexdigest()[:8]}" if finding.prompt else ""
    return run.folder / "analysis" / finding.analyzer / f"{finding.view}{suffix}"


def write_finding(run: Run, finding: Finding) -> None:
    """The finding, its arrays, its figures with their data."""
    folder = finding_folder(run, finding)
    save_finding(finding, folder)
    reporter: Reporter = load("reporter", "figures")()
    reporter.render(Report(title=finding.headline, verdict=(), findings=(finding,)), folder)


def findings_of(run: Run) -> tuple[Finding, ...]:
    """All findings that a run holds."""
    files = sorted(run.folder.glob("analysis/*/*/finding.json"))
    return tuple(load_finding(file.parent) for file in files)


def report_of(run: Run, failures: Mapping[str, str] | None = None) -> Report:
    """Scores, verdict and all findings of a run."""
    views = run.views
    sentences = []
    for view in views:
        fitted = run.fitted(view).record
        prefix = f"{view}: " if len(views) > 1 else ""
        said = verdict(fitted.scores, fitted.probe, fitted.density)
        sentences.extend(prefix + sentence for sentence in said)
    return Report(
        title=run.folder.name,
        verdict=tuple(sentences),
        tables=tuple(score_table(run.metrics(view), view, run.job.probe) for view in views),
        findings=findings_of(run),
        failures=dict(failures or {}),
        provenance=provenance(run),
    )


def score_table(
    scores: Mapping[str, Any], view: View, probe: str, *, short: bool = False
) -> Table:
    """Means by noise: nats per dimension, lower is better, and the fit's paired gain.

    The short form leaves out the errors of single scores, not those of the gains.
    """
    rows = {name: scores["baselines"][name] for name in LABELS if name in scores["baselines"]}
    rows |= {"fit": scores["fit"]}
    both = "nll_per_dim_state_dependent" in scores["fit"]
    noises = {"": "constant"} | ({"_state_dependent": "state-dep."} if both else {})
    gains = [f"gain, {head}" for head in noises.values()]
    body = []
    for name, row in rows.items():
        label = f"{probe} (the fit)" if name == "fit" else LABELS[name]
        cells = [_pm(row, f"nll_per_dim{noise}", short=short) for noise in noises]
        paired = ["" if name == "fit" else _pm(row, f"gain_of_fit{n}", sign="+") for n in noises]
        body.append((label, *cells, *paired, _pm(row, "increment_r2", short=short)))
    return Table(
        title=f"Held-out scores, {view}: means by noise (constant, state-dependent)",
        columns=("mean", *noises.values(), *gains, "R²"),
        rows=tuple(body),
        note=_note(scores),
    )


def _pm(row: Mapping[str, float], key: str, *, sign: str = "-", short: bool = False) -> str:
    if key not in row:
        return "–"
    value = f"{row[key]:{sign}.3f}"
    return value if short else f"{value} ± {row[f'{key}_stderr']:.3f}"


def _note(scores: Mapping[str, Any]) -> str:
    going = scores.get("paths_going_on_at", {})
    still = ", ".join(f"{n} at {position}" for position, n in going.items())
    sinks, clean = scores["transitions_with_sinks"], scores["held_out_nll_per_dim_without_sinks"]
    return (
        "Nats per dimension in training-standardised coordinates ± standard error over "
        f"{scores['held_out_documents']} held-out documents ({scores['transitions']} transitions); lower is "
        "better. Gains are paired, positive where the fit is better under the same noise. R² is the "
        "share of the increments' squared length that the mean explains. "
        f"The fit's raw coordinates: {scores['held_out_nll_raw_per_dim']:.3f}. "
        f"Without the {sinks} transitions at outlying norms (sinks): {clean:.3f}. "
        f"Dropped since their whole prefix occurs in training: "
        f"{scores.get('dropped_prefix_in_training', 0)}. "
        + (f"Documents going on, by position: {still}." if still else "")
    )


def provenance(run: Run) -> dict[str, str]:
    """Model, texts, seeds, versions."""
    manifest, job = run.manifest, run.job
    model = manifest["model"]
    return {
        "run": str(run.folder),
        "model": f"{model['name']} @ {model['revision']}",
        "weights": f"{model['fingerprint'][:16]}… ({model['weights']}, {model['dtype']})",
        "texts": f"{job.source} {dict(job.source_settings) or ''}".strip(),
        "probe": f"{job.probe} {dict(job.probe_settings) or ''}".strip(),
        "basis": f"{job.basis}, centred: {job.center}",
        "positions skipped": str(job.skip_first),
        "seed": str(job.seed),
        "versions": ", ".join(f"{k} {v}" for k, v in manifest["versions"].items()),
        "device": f"{manifest['device']}, {manifest['threads']} threads",
    }
