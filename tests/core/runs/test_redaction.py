"""What a run's files say of its user's machine."""

import errno
import json
from pathlib import Path

import pytest

from sdelens.runs.hub import pushed
from sdelens.runs.redaction import redact
from sdelens.runs.run import Run


def reduced(tmp_path, settings, argv=(), *, more=None):
    copy, run = tmp_path / "copy", tmp_path / "runs" / "mine"
    (copy / "analysis").mkdir(parents=True)
    manifest = {"settings": {"model": "gpt2", "source_settings": {}} | settings}
    manifest |= {"argv": list(argv), "platform": "Linux-6.1.0-host-x86_64"}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    (copy / "analysis" / "left_out.json").write_text(json.dumps(more or {}))
    left = [copy / "report.html", copy / "analysis" / "mine" / "L00.traceback.txt"]
    for file in left:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(tmp_path))
    redact(copy, run)
    assert not any(file.exists() for file in left)
    return json.loads((copy / "manifest.json").read_text()), json.loads(
        (copy / "analysis" / "left_out.json").read_text()
    )


def test_paths_become_names_and_names_of_the_hub_stay(tmp_path):
    texts, model = str(tmp_path / 'a "b"' / "notes.txt"), "~/models/own"
    argv = ["fit", "--model", model, f"--set=source.path={texts}", "--probe", "linear"]
    said = f"{texts} is empty, {tmp_path / 'runs' / 'mine'} too; see {Path.home()}/x"
    settings = {"model": model, "source_settings": {"path": texts, "name": "roneneldan/Tiny"}}
    manifest, left_out = reduced(tmp_path, settings, argv, more={"readout": said})
    assert manifest["settings"]["model"] == "own"
    assert manifest["settings"]["source_settings"] == {
        "path": "notes.txt",
        "name": "roneneldan/Tiny",
    }
    assert manifest["argv"][1:4] == ["--model", "own", "--set=source.path=notes.txt"]
    assert manifest["platform"] == "Linux"
    assert left_out == {"readout": "notes.txt is empty, mine too; see ~/x"}


def test_a_relative_path_of_texts_is_reduced_also_from_another_folder(tmp_path):
    manifest, _ = reduced(tmp_path, {"source_settings": {"path": "private/notes.txt"}})
    assert manifest["settings"]["source_settings"] == {"path": "notes.txt"}


def test_a_full_disk_here_is_not_taken_for_a_hub_that_cannot_be_reached(tmp_path):
    def full(run, place):
        raise OSError(errno.ENOSPC, "No space left on device", str(place))

    with pytest.raises(OSError, match="No space left on device"):
        pushed(Run(tmp_path), "me/run", full, private=True, token=None)
