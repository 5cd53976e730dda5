"""The rule, by a table: evidence and the class that it allows."""

from dataclasses import replace

import pytest

from sdelens.evidence import process_class as classes
from sdelens.evidence.effects import Effect
from sdelens.evidence.process_class import CLASSES, Evidence, classify
from sdelens.testing import systems

SURE = 0.0001


def effect(value, threshold, stderr=SURE):
    return Effect("effect", float(value), stderr, 100, threshold)


def evidence(*, gain=0.1, memory=(0, 0), jump=None, mixture=0, share=1.0, lagged=(0, 0), **unsure):
    """All beyond doubt, but for those named with a standard error as well."""
    error = {name.removesuffix("_error"): value for name, value in unsure.items()}

    def made(name, value, threshold):
        return effect(value, threshold, error.get(name, SURE))

    return Evidence(
        gain=made("gain", gain, classes.GAIN),
        memory=tuple(made("memory", value, classes.MEMORY) for value in memory),
        jump=None if jump is None else made("jump", jump, classes.TAILS),
        mixture=made("mixture", mixture, classes.MIXTURE),
        embeddable=float(share),
        lagged=tuple(made("lagged", value, classes.LAGGED) for value in lagged),
    )


def test_from_fewer_than_ten_documents_no_class_is_assigned():
    nine = replace(effect(0.1, classes.GAIN), groups=9)
    verdict = classify(replace(evidence(), gain=nine))
    assert verdict.kind == classes.CANNOT_TELL
    assert "needs 10 held-out documents, but there are 9" in verdict.because
    assert not nine.shown
    assert not nine.absent
    assert "inf" not in f"{nine}"


TABLE = [
    (evidence(), classes.COMPATIBLE),
    (evidence(jump=0.0), classes.COMPATIBLE),
    (evidence(share=0.95), classes.COMPATIBLE),
    (evidence(share=0.945), classes.DISCRETE_GAUSSIAN),
    (evidence(gain=0.009), classes.NO_BETTER),
    # an estimate above its threshold is not enough
    (evidence(gain=0.02, gain_error=0.01), classes.NO_BETTER),
    (evidence(memory=(0.006, 0)), classes.NON_MARKOV),
    (evidence(memory=(0, 0.02)), classes.NON_MARKOV),
    (evidence(memory=(0.006, 0), memory_error=0.002), classes.CANNOT_TELL),
    # one below the threshold is not enough either, where its interval holds it
    (evidence(memory=(0.004, 0), memory_error=0.002), classes.CANNOT_TELL),
    (evidence(jump=0.5), classes.JUMP),
    (evidence(jump=0.15, jump_error=0.1), classes.CANNOT_TELL),
    (evidence(mixture=0.02), classes.DISCRETE_NON_GAUSSIAN),
    (evidence(mixture=0.006, mixture_error=0.002), classes.CANNOT_TELL),
    (evidence(lagged=(0, 0.3)), classes.CANNOT_TELL),
    (evidence(lagged=(0, 0), lagged_error=0.1), classes.CANNOT_TELL),
    (evidence(lagged=()), classes.CANNOT_TELL),
    # the first rule that applies
    (evidence(gain=0, memory=(1, 1), jump=1, mixture=1), classes.NO_BETTER),
    (evidence(memory=(0, 1), jump=1, mixture=1), classes.NON_MARKOV),
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
    assert "0.005" in said


def test_of_the_lagged_moments_the_most_doubtful_is_listed():
    effects = evidence(lagged=(0.01, 0.08, 0.02)).effects
    assert [e.value for e in effects] == [0.1, 0, 0, 0, 0.08]


def test_reference_systems_expect_classes_that_exist():
    assert set().union(*(system.expected for system in systems().values())) <= set(CLASSES)
