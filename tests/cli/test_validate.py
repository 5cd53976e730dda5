"""`sdelens validate`, for a probe of ours and for one in a file."""

import json

import pytest

from sdelens.errors import SdelensError
from sdelens_cli.commands import app

OWN = '''
from dataclasses import dataclass
from sdelens_plugins.probes.linear import LinearProbe

@dataclass(frozen=True)
class Mine(LinearProbe):
    """A probe of its author's."""
'''
SMALL = ("--system", "ornstein-uhlenbeck-1", "--transitions", 400, "--seeds", 2)


def test_one_json_object_holds_every_row(sdelens):
    systems = ("--system", "double-well", "--system", "discrete-markov")
    done = sdelens("validate", "--probe", "linear", *SMALL, *systems, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    printed = json.loads(done.stdout)
    assert printed["probe"] == "linear"
    names = [row["system"] for row in printed["rows"]]
    assert names == ["ornstein-uhlenbeck-1", "double-well", "discrete-markov"]
    ornstein, well, _ = printed["rows"]
    assert ornstein["drift_ratio"]["stderr"] > 0
    assert ornstein["transitions"] == 400
    assert ornstein["seeds"] == 2
    assert well["drift_ratio"] is None
    assert 0.8 < well["predicted"]["value"] < 1


def test_a_probe_in_a_file_is_found_without_its_name(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    words = ("--plugin", file, *SMALL, "--set", "probe.ridge=0.0", "--quiet")
    app(["validate", *map(str, words)], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "Mine: 400 transitions" in printed
    assert "ornstein-uhlenbeck-1" in printed


FAILING = (
    OWN
    + """
    def fit(self, train, validation, *, seed, watch):
        raise KeyError("no")
"""
)
WRONG = {
    "no probe": ((), 2, "--probe NAME"),
    "unknown probe": (("--probe", "liner"), 3, "'linear'"),
    "unknown system": (("--probe", "linear", "--system", "double-wel"), 3, "'double-well'"),
    "unknown setting": (("--probe", "linear", *SMALL, "--set", "probe.rigde=1"), 3, "'ridge'"),
    "no file": (("--plugin", "nowhere.py"), 2, "no such file"),
    "no class": (("--plugin", "{own}", "--probe", "Yours"), 3, "Mine"),
    "broken file": (("--plugin", "{broken}"), 6, "ZeroDivisionError"),
    "empty file": (("--plugin", "{empty}"), 2, "must define one probe"),
    "failing probe": (("--plugin", "{failing}", *SMALL), 6, "Mine failed: KeyError: 'no'"),
    "one member": (("--probe", "linear", "--ensemble", 1), 2, "at least 2"),
}
"""Name: arguments, exit code, what the sentence holds."""


@pytest.mark.parametrize("name", WRONG)
def test_what_goes_wrong_is_one_sentence_and_a_code(tmp_path, name):
    arguments, code, said = WRONG[name]
    files = {"own": OWN, "broken": "1 / 0\n", "empty": "x = 1\n", "failing": FAILING}
    for stem, text in files.items():
        (tmp_path / f"{stem}.py").write_text(text)
    paths = {stem: tmp_path / f"{stem}.py" for stem in files}
    words = [str(argument).format(**paths) for argument in arguments]
    with pytest.raises(SdelensError) as raised:
        app(["validate", *words], standalone_mode=False)
    assert raised.value.exit_code == code
    assert said in str(raised.value)
