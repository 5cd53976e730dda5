"""Who receives progress of a fit in Python."""

import sys
from contextlib import contextmanager

from rich.console import Console

import sdelens
from sdelens.registry import Plugin
from sdelens.runs.observer import ContainedObserver, NullObserver, Observer, at_hand
from sdelens.states.capturing import encode_document
from sdelens_cli.screen import Screen
from tests.plugins.models.attach.held import TEXTS


class Counting:
    """An observer that counts."""

    def __init__(self):
        self.done = {}

    @contextmanager
    def stage(self, name, total, unit):
        self.done[name] = [0, total]

        def done(steps, remark="", total=None):
            self.done[name][0] += steps

        yield done

    def planned(self, plan):
        self.texts = plan.texts

    def told(self, sentence):
        pass


def test_an_observer_is_told_how_far_the_work_is(plain, tokenizer):
    lens, observer = sdelens.attach(plain, tokenizer=tokenizer), Counting()
    recording = lens.capture(TEXTS, layers=0, observer=observer)
    tokens = sum(len(encode_document(lens.model, text)) for text in TEXTS)
    assert recording.shards == 1
    assert observer.done == {"capture": [tokens, tokens]}
    lens.fit(TEXTS, layers=0, probe="linear", observer=observer)
    assert {"model", "texts", "capture", "fit L00"} <= observer.done.keys()
    assert observer.texts == "24 given in Python"


def test_a_notebook_that_cannot_draw_bars_gets_none_and_no_warning(monkeypatch):
    monkeypatch.setattr("sdelens_cli.screen.find_spec", lambda name: None)
    screen = Screen()
    screen.console = Console(stderr=True, force_jupyter=True)
    with screen.stage("fit", 3, "epochs") as done:  # warnings are errors here
        done(1)


def test_in_a_notebook_the_installed_observer_draws_and_elsewhere_nobody(monkeypatch):
    assert isinstance(at_hand(), NullObserver)
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    observer = at_hand()
    assert type(observer).__module__ == "sdelens_cli.screen"
    assert isinstance(observer, Observer)


def test_an_observer_that_fails_is_left_out_and_ours_goes_first(monkeypatch, capsys):
    def broken():
        raise RuntimeError("oh")

    kinds = {"broken": broken, "bare": object, "quiet": NullObserver}
    known = {
        name: Plugin("observer", name, f"a-{name}", "1", "", lambda kind=kind: kind)
        for name, kind in kinds.items()
    }
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr("sdelens.runs.observer.plugins", lambda _: known)
    assert isinstance(at_hand(), NullObserver)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "left out: the observer 'broken' of a-broken 1: oh"
    assert "'bare'" in second
    known["screen"] = Plugin("observer", "screen", "sdelens", "1", "", lambda: Counting)
    assert isinstance(at_hand(), Counting)
    assert not capsys.readouterr().err


def test_a_message_is_shown_once_in_a_run_and_again_in_another():
    received = []
    observer = NullObserver()
    observer.told = received.append
    for _ in range(2):
        run = ContainedObserver(observer)
        for layer in range(3):
            run.told("the data are few")
            run.warned("the data are few")
            run.told(f"layer {layer}")
    assert received == 2 * ["the data are few", "layer 0", "layer 1", "layer 2"]
