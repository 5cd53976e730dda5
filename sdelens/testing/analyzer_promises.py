"""Conformance checks of analyzers."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from sdelens.errors import SdelensError
from sdelens.fitting.study import Study
from sdelens.protocols import Analyzer
from sdelens.registry import plugin_with
from sdelens.report import Estimate, Finding, Report
from sdelens.runs.findings import load_finding, packed, save_finding
from sdelens.runs.run_analyzers import finding_of
from sdelens.testing.promises import Untouched, digest_of, require_settings, state_of_study
from sdelens.testing.small_study import (
    PROMPT,
    changed,
    in_small_blocks,
    not_numbers,
    small_study,
)

SEED = 5


@dataclass(frozen=True, eq=False)
class Asked:
    """An analyzer, and small studies to run it on."""

    analyzer: Analyzer[Study]

    def study(self, dtype: str = "float32") -> Study:
        """One view, or two for analyzers of a run; with a prompt or an ensemble if needed."""
        wanted = self.analyzer.needs | self.analyzer.wants
        whole = small_study(dtype, members=2 if "ensemble" in wanted else 0)
        study = whole.only(next(iter(whole.views))) if self.analyzer.scope == "view" else whole
        return replace(study, prompt=PROMPT) if "prompt" in wanted else study

    def answer(self, study: Study) -> Finding:
        """The analyzer's finding for a study."""
        return self._answer(study, SEED)

    def _answer(self, study: Study, seed: int) -> Finding:
        return finding_of(self.analyzer, type(self.analyzer).__name__, study, seed=seed)

    @cached_property
    def finding(self) -> Finding:
        """The finding for the analyzer's own study."""
        return self.answer(self.study())

    @cached_property
    def again(self) -> Finding:
        """The finding of a second run."""
        return self.answer(self.study())

    @cached_property
    def drawn(self) -> tuple[Finding, ...]:
        """Findings with the default and three other seeds."""
        others = (self._answer(self.study(), SEED + k) for k in (1, 2, 3))
        return (self.finding, *others)


def settings_are_fields_of_a_frozen_dataclass(asked: Asked) -> None:
    """Settings are JSON scalars, and building from them gives the same analyzer."""
    require_settings(asked.analyzer, "analyzer")


def it_leaves_model_fit_data_and_random_state_alone(asked: Asked) -> None:
    """The analysis changes nothing else and leaves no hook."""
    study = asked.study()
    with Untouched(lambda: state_of_study(study)):
        _ = asked.again


def one_seed_gives_one_finding(asked: Asked) -> None:
    """Findings are bit-identical."""
    (one, tensors), (other, others) = packed(asked.finding), packed(asked.again)
    assert one == other, "two findings with one seed differ"
    different = [n for n in tensors if digest_of({n: tensors[n]}) != digest_of({n: others[n]})]
    assert not different, f"with one seed {', '.join(different[:3])} differ"


def blocks_and_padding_do_not_matter(asked: Asked) -> None:
    """Results do not depend on the block size, the amount of padding or its values.

    Estimates may differ by rounding; random ones also by four of their standard errors, or by four
    times the range over four seeds. Names and arrays must agree unless the seed changes them too.
    """
    found = asked.answer(changed(asked.study(), in_small_blocks))
    again = values(found)
    if again.keys() != values(asked.finding).keys():
        names = {tuple(sorted(values(one))) for one in asked.drawn}
        other = sorted(again.keys() ^ values(asked.finding).keys())
        assert len(names) > 1, f"{', '.join(other)}: present for one block size only"
    for name, array in asked.finding.arrays.items():
        if not alike(array, found.arrays.get(name)):
            digests = {digest_of({name: one.arrays[name]}) for one in asked.drawn}
            assert len(digests) > 1, f"the array {name} differs in blocks of five paths"
    for estimate in asked.finding.estimates:
        name, value = estimate.name, estimate.value
        if name not in again or not math.isfinite(value):
            continue  # a name may say which of several was the largest
        apart, slack = abs(again[name] - value), 1e-3 * abs(value) + 1e-6
        if apart > slack:
            seeds = [values(one).get(name, value) for one in asked.drawn]
            spread = max(seeds) - min(seeds)
            spread += (estimate.stderr or 0.0) if spread > 0 else 0.0
            said = f"{name} is {estimate}, and {again[name]:.4g} in blocks of five paths"
            assert apart <= slack + 4 * spread, said


def alike(one: Tensor, other: Tensor | None) -> bool:
    """Equal up to rounding; the number of trailing NaN may differ."""
    if other is None or one.ndim != other.ndim:
        return False
    mine, its = (each.double()[~each.double().isnan()] for each in (one, other))
    if mine.shape != its.shape:
        return False
    most = float(mine.abs().max()) if len(mine) else 0.0
    return torch.allclose(mine, its, rtol=1e-3, atol=1e-3 * most + 1e-6)


def values(finding: Finding) -> dict[str, float]:
    """Estimates by name."""
    return {estimate.name: estimate.value for estimate in finding.estimates}


def a_model_in_bfloat16_will_do(asked: Asked) -> None:
    """Analyzers that use the model also work in bfloat16."""
    if {"model", "attention"} & (asked.analyzer.needs | asked.analyzer.wants):
        asked.answer(asked.study("bfloat16"))


def states_that_are_not_numbers_are_refused(asked: Asked) -> None:
    """Non-finite states raise an error of sdelens.errors, or are not used at all."""
    try:
        finding = asked.answer(changed(asked.study(), not_numbers))
    except SdelensError:
        return
    except Exception as error:
        said = "NaN was refused by an error outside sdelens.errors: use require_finite"
        raise AssertionError(f"{said} ({type(error).__name__}: {error})") from error
    same = packed(finding)[0] == packed(asked.finding)[0]
    assert same, "NaN in the states was not refused: use sdelens.paths.trajectories.require_finite"


def findings_are_whole(asked: Asked) -> None:
    """Findings have a headline, estimates with finite errors, captions and axis labels."""
    finding = asked.finding
    views = "+".join(map(str, asked.study().views))
    assert finding.view == views or asked.analyzer.scope != "view", f"the view is {views}"
    for name in ("headline", "reading"):
        assert getattr(finding, name).strip(), f"{name} is empty"
    for estimate in finding.estimates:
        assert isinstance(estimate, Estimate), f"{estimate!r} is not an Estimate"
        assert estimate.stderr is None or not estimate.stderr < 0, (
            f"{estimate.name}: error below 0"
        )
        assert str(estimate), estimate.name
    for strip in finding.strips:
        assert len(strip.tokens) == len(strip.values), f"{strip.name}: tokens without values"
    for figure in finding.figures:
        assert figure.caption.strip(), f"the figure {figure.name} has no caption"


def findings_are_saved_and_loaded(asked: Asked) -> None:
    """A finding survives saving as JSON and safetensors."""
    with TemporaryDirectory() as folder:
        save_finding(asked.finding, Path(folder))
        loaded = load_finding(Path(folder))
    (one, tensors), (other, others) = packed(asked.finding), packed(loaded)
    assert one == other, "a finding that was saved and loaded differs"
    assert digest_of(tensors) == digest_of(others), "its arrays differ"


def findings_stand_in_a_report(asked: Asked) -> None:
    """A report contains the finding with all figures."""
    report = Report(title="small", verdict=(), findings=(asked.finding,))
    page = plugin_with("reporter", "page").load()().page(report)
    assert asked.finding.analyzer in page, "the report does not name the analyzer"


ANALYZER: tuple[Callable[[Asked], None], ...] = (
    settings_are_fields_of_a_frozen_dataclass,
    it_leaves_model_fit_data_and_random_state_alone,
    one_seed_gives_one_finding,
    blocks_and_padding_do_not_matter,
    a_model_in_bfloat16_will_do,
    states_that_are_not_numbers_are_refused,
    findings_are_whole,
    findings_are_saved_and_loaded,
    findings_stand_in_a_report,
)
