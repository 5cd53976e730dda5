"""The rule, by a table: evidence and the class that it allows, and the sentences it prints."""

import re
from dataclasses import replace

import pytest

from sdelens.evidence import process_class as classes
from sdelens.evidence.effects import Effect
from sdelens.evidence.process_class import CLASSES, Evidence, classify
from sdelens.evidence.statements import REMARKS, RULED_OUT, statements
from sdelens.testing import systems

SURE = 0.0001


def effect(name, value, threshold, tolerance=None, stderr=SURE):
    return Effect(name, float(value), stderr, 100, threshold, tolerance=tolerance)


def evidence(
    *,
    gain=0.1,
    misfit=0,
    changes=(0, 0),
    memory=(0, 0),
    differences=(0, 0),
    tails=0.1,
    jump=None,
    mixture=0,
    folded=None,
    share=1.0,
    lagged=(0, 0),
    **unsure,
):
    """All beyond doubt, but for those named with a standard error as well."""
    error = {name.removesuffix("_error"): value for name, value in unsure.items()}

    def made(name, value, threshold, tolerance=None):
        return effect(name, value, threshold, tolerance, error.get(name, SURE))

    def pair(name, values):
        return tuple(made(name, value, classes.SHOWN, classes.MEMORY) for value in values)

    return Evidence(
        gain=made("gain", gain, 0.0),
        misfit=made("misfit", misfit, classes.MEMORY),
        changes=pair("changes", changes),
        memory=pair("memory", memory),
        differences=tuple(made("differences", v, 0.002, 0.05) for v in differences),
        mixture=made("mixture", mixture, classes.MIXTURE),
        tails=made("tails", tails, classes.HEAVY),
        embeddable=float(share),
        orientation=None if folded is None else made("folded", folded, 0.05),
        lagged=tuple(made("lagged", value, classes.LAGGED) for value in lagged),
        jump=None if jump is None else made("jump", jump, classes.TAILS),
    )


TABLE = [
    (evidence(), classes.COMPATIBLE),
    (evidence(jump=0.0), classes.COMPATIBLE),
    (evidence(share=0.95), classes.COMPATIBLE),
    (evidence(share=0.945), classes.DISCRETE_GAUSSIAN),
    # an effect on the fit alone decides nothing where paths simulated from it agree
    (evidence(misfit=0.1), classes.COMPATIBLE),
    (evidence(folded=0.0), classes.COMPATIBLE),
    (evidence(folded=0.3), classes.DISCRETE_GAUSSIAN),
    (evidence(gain=0.0), classes.NO_BETTER),
    # a small gain is one: how small depends on the sampling interval
    (evidence(gain=0.001), classes.COMPATIBLE),
    # an estimate above its threshold is not enough
    (evidence(gain=0.02, gain_error=0.01), classes.CANNOT_TELL),
    (evidence(memory=(0.006, 0)), classes.NON_MARKOV),
    (evidence(memory=(0, 0.02)), classes.NON_MARKOV),
    (evidence(memory=(0.006, 0), memory_error=0.002), classes.CANNOT_TELL),
    # one below the threshold is not enough either, where its interval holds it
    (evidence(memory=(0.004, 0), memory_error=0.002), classes.CANNOT_TELL),
    (evidence(changes=(0.006, 0)), classes.TIME_DEPENDENT),
    (evidence(changes=(0.003, 0), changes_error=0.002), classes.CANNOT_TELL),
    (evidence(differences=(0.006, 0)), classes.HETEROGENEOUS),
    (evidence(differences=(0.04, 0), differences_error=0.02), classes.CANNOT_TELL),
    (evidence(jump=0.5), classes.JUMP),
    (evidence(jump=0.3, jump_error=0.1), classes.CANNOT_TELL),
    # tails alone are no jumps: a diffusion observed rarely may have them
    (evidence(tails=0.6), classes.COMPATIBLE),
    (evidence(tails=0.6, mixture=0.3), classes.DISCRETE_NON_GAUSSIAN),
    # nor does a gain in squares decide anything if their mean does not exist
    (evidence(tails=0.6, mixture=0.3, gain=0.0), classes.DISCRETE_NON_GAUSSIAN),
    (evidence(mixture=0.02), classes.DISCRETE_NON_GAUSSIAN),
    (evidence(mixture=0.006, mixture_error=0.002), classes.CANNOT_TELL),
    (evidence(lagged=(0, 0.3)), classes.CANNOT_TELL),
    (evidence(lagged=(0, 0.3), misfit=0.1), classes.CANNOT_TELL),
    # the mean folds whether or not the fit knows it
    (evidence(lagged=(0, 0.3), misfit=0.1, folded=0.3), classes.DISCRETE_GAUSSIAN),
    (evidence(lagged=(0, 0), lagged_error=0.1), classes.CANNOT_TELL),
    (evidence(lagged=()), classes.CANNOT_TELL),
    # what is shown stands, whatever the fit is worth
    (evidence(gain=0, memory=(1, 1), jump=1, mixture=1), classes.NON_MARKOV),
    (evidence(gain=0, differences=(1, 1), mixture=1), classes.HETEROGENEOUS),
    (evidence(gain=0, jump=1, mixture=1), classes.JUMP),
    # the past of a path tells which path it is: no more than knowing the path does
    (evidence(memory=(0.01, 0), differences=(0.02, 0)), classes.HETEROGENEOUS),
    (evidence(memory=(0.03, 0), differences=(0.02, 0)), classes.NON_MARKOV),
    # the first rule that applies
    (evidence(memory=(0, 1), changes=(1, 1), jump=1, mixture=1), classes.NON_MARKOV),
    (evidence(changes=(1, 1), jump=1, mixture=1), classes.TIME_DEPENDENT),
    (evidence(jump=1, mixture=1, share=0), classes.JUMP),
    (evidence(mixture=1, share=0), classes.DISCRETE_NON_GAUSSIAN),
    # what is called Markov must be known to be
    (evidence(memory=(0.004, 0), memory_error=0.002, mixture=0.02, mixture_error=SURE),
     classes.CANNOT_TELL),
]  # fmt: skip


@pytest.mark.parametrize(("known", "expected"), TABLE)
def test_the_first_rule_that_applies_gives_the_class(known, expected):
    assert classify(known).kind == expected


def test_the_table_has_every_class():
    assert {expected for _, expected in TABLE} == set(CLASSES)


def test_the_reason_holds_the_effect_that_decides():
    said = classify(evidence(memory=(0.006, 0.02))).because
    assert "0.020 [" in said
    assert "0.002" in said


@pytest.mark.parametrize("known", [evidence(), evidence(memory=(1, 1), mixture=1)])
def test_fewer_than_ten_documents_show_nothing(known):
    few = replace(known, misfit=replace(known.misfit, groups=9))
    verdict = classify(few)
    assert verdict.kind == classes.CANNOT_TELL
    assert statements(verdict, few) == (
        "Cannot tell: a class needs 10 held-out documents, but there are 9.",
    )


def test_of_the_lagged_moments_the_most_doubtful_is_listed():
    effects = evidence(lagged=(0.01, 0.08, 0.02)).effects
    assert [e.value for e in effects if e.name == "lagged"] == [0.08]


def test_reference_systems_expect_classes_that_exist():
    assert set().union(*(system.expected for system in systems().values())) <= set(CLASSES)


PRINTED = {
    "a Markov process in this state": (evidence(memory=(1, 0)), evidence(differences=(1, 0))),
    "one Markov law for all paths": (
        evidence(differences=(1, 0)),
        evidence(memory=(1, 0)),
    ),
    "a law that is constant along the path": (evidence(changes=(0, 1)), evidence()),
    "a diffusion, because of jumps": (evidence(jump=1), evidence(tails=1)),
    "a diffusion, because the mean reverses orientation": (evidence(folded=1), evidence(folded=0)),
    "Gaussian noise": (evidence(mixture=1), evidence()),
    "a linear SDE": (evidence(share=0), evidence(share=0.5)),
    "The fit misses part of the mean": (evidence(misfit=1), evidence()),
    "Memory may come from the differences between paths alone": (
        evidence(memory=(0.01, 0), differences=(0.02, 0)),
        evidence(memory=(1, 0), differences=(0.02, 0)),
    ),
    "Fourth moments of the noise may not exist": (evidence(tails=0.3), evidence()),
    "Simulated paths differ from the data over many steps": (
        evidence(lagged=(0, 0.3)),
        evidence(),
    ),
    "Not ruled out: lagged up to": (evidence(lagged=(0.1, 0.14), lagged_error=0.02), evidence()),
    "The fit does not gain over the best baseline": (evidence(gain=0), evidence()),
    "Not ruled out: memory up to": (evidence(memory=(0.004, 0), memory_error=0.002), evidence()),
    "Nothing is ruled out": (
        evidence(
            **{f"{name}_error": 1.0 for name in ("memory", "changes", "differences", "mixture")}
        ),
        evidence(),
    ),
    "This sample would have shown, with a power of 80%: ": (
        evidence(),
        evidence(memory=(1, 1), changes=(1, 1), differences=(1, 1), mixture=1),
    ),
}
"""Sentences with evidence that prints them and evidence that does not."""


@pytest.mark.parametrize("sentence", PRINTED)
def test_a_sentence_is_printed_if_and_only_if_the_evidence_says_so(sentence):
    triggers, others = PRINTED[sentence]
    printed = [statements(classify(known), known)[1:] for known in (triggers, others)]
    assert any(sentence in line for line in printed[0])
    assert not any(sentence in line for line in printed[1])


def test_every_sentence_is_tested():
    opening = re.compile(r"[^:({.]+")
    wanted = [opening.match(text)[0].strip() for text in (*RULED_OUT, *REMARKS)]
    assert all(any(text in sentence for sentence in PRINTED) for text in wanted)


def test_what_is_absent_is_ruled_out_with_its_size_and_what_is_open_with_its_upper_end():
    known = evidence(memory=(0.0, 0.004), memory_error=0.001)
    text = " ".join(statements(classify(known), known))
    assert "memory above 0.005" in text
    assert f"Not ruled out: memory up to {known.memory[1].high:.2g}." in text
