"""Damaged and hostile run folders: what is refused, and with which words."""

import json
import os
import shutil
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file

import sdelens
from sdelens.errors import BrokenPlugin, UsageError
from sdelens.report import Estimate, Figure, Finding
from sdelens.runs.engine import execute
from sdelens.runs.findings import load_finding, save_finding
from sdelens.runs.folder import clear, sweep, within
from sdelens.runs.pairing import Pairing
from sdelens.runs.run import Run
from sdelens.runs.run_analyzers import finding_of, write_finding
from sdelens.runs.run_report import report_of
from sdelens.runs.saved_findings import findings_of
from sdelens.store import file_digest, read_json, write_json

FIT = "fits/L01"


@pytest.fixture
def copy(run, tmp_path):
    """A copy of a finished run that a test may damage."""
    return Run(shutil.copytree(run.folder, tmp_path / "run"))


def changed(file, **items):
    value = json.loads(file.read_text())
    file.write_text(json.dumps({k: v for k, v in (value | items).items() if v is not ...}))


WRONG = (
    # file, field and value: what the sentence says
    ("manifest.json", "threads", "four", r"manifest\.json: threads must be a valid integer, got"),
    ("manifest.json", "model", ..., r"manifest\.json: model is missing"),
    ("manifest.json", "state", "finished", r"manifest\.json: state must be 'running', 'done'"),
    ("manifest.json", "seed", 10**30, r"manifest\.json: seed must be that of the settings"),
    (
        "config.json",
        "seed",
        7,
        r"config\.json must have the settings of manifest\.json.*seed: 0 there, 7 here",
    ),
    (f"{FIT}/config.json", "members", 10**30, r"config\.json: members must be less than or equal"),
    (f"{FIT}/config.json", "members", 3, r"config\.json: must be as the fit wrote it"),
    (f"{FIT}/config.json", "dt", -1.0, r"config\.json: dt must be greater than 0, got -1\.0"),
    (f"{FIT}/config.json", "site", {"kind": "block", "layer": 0}, "site must be that of L01"),
    (f"{FIT}/config.json", "density", "exact", r"config\.json: must be as the fit wrote it"),
    (f"{FIT}/metrics.json", "fit", {}, r"metrics\.json: fit\.increment_r2 is missing"),
    (f"{FIT}/metrics.json", "transitions", 1e400, r"metrics\.json is not JSON"),
    (f"{FIT}/metrics.json", "tokens", 1, r"metrics\.json: must be as the fit wrote it"),
    (f"{FIT}/DONE", "metrics.json", ..., r"DONE: metrics\.json must have a sha256"),
)


@pytest.mark.parametrize(("name", "field", "value", "said"), WRONG)
def test_a_wrong_field_is_named_with_its_file_and_what_is_expected(copy, name, field, value, said):
    changed(copy.folder / name, **{field: value})
    with pytest.raises(UsageError, match=said):
        report_of(Run(copy.folder))


TENSORS = {
    "deleted": (lambda t: t.pop("basis.means"), r"basis\.means must be float64.*'no such tensor'"),
    "cut": (
        lambda t: t.update({"basis.spread": t["basis.spread"][:-1]}),
        r"basis\.spread must be",
    ),
    "integer": (lambda t: t.update({"basis.spread": t["basis.spread"].int()}), "got 'int32"),
    "NaN": (lambda t: t["basis.spread"].fill_(torch.nan), r"basis\.spread must be finite"),
    "near": (lambda t: t["basis.spread"].add_(1), "must be as the fit wrote it"),
}


@pytest.mark.parametrize("way", TENSORS)
def test_a_wrong_tensor_is_named(copy, way):
    change, said = TENSORS[way]
    file = copy.folder / FIT / "sde.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)
    with pytest.raises(UsageError, match=rf"sde\.safetensors: .*{said}"):
        sdelens.load(copy.folder)


def test_the_form_of_an_earlier_fit_without_digests_is_checked(copy):
    (copy.folder / FIT / "DONE").write_text("")
    changed(copy.folder / FIT / "config.json", tensors=...)
    assert len(sdelens.load(copy.folder).views) == 2
    file = copy.folder / FIT / "sde.safetensors"
    tensors = load_file(file)
    name = next(name for name in sorted(tensors) if name.startswith("law."))
    save_file({k: t for k, t in tensors.items() if k != name}, file)
    with pytest.raises(UsageError, match=r"sde\.safetensors cannot be read by the probe neural"):
        sdelens.load(copy.folder)


def test_damaged_documents_are_named(copy):
    file = copy.folder / "documents.safetensors"
    tensors = load_file(file)
    for change, said in (
        ({"offsets": tensors["offsets"].flip(0)}, "offsets must increase from 0"),
        ({"side": tensors["side"] + 1}, "side must be 0 to 2"),
        ({"start": tensors["start"][:-1]}, r"group must be Int"),
        ({"side": tensors["side"].flip(0)}, "must be as the fit wrote it"),
    ):
        save_file(tensors | change, file)
        with pytest.raises(UsageError, match=rf"documents\.safetensors: ({said})"):
            _ = Run(copy.folder).documents


@pytest.mark.parametrize("text", ["[" * 5000, '{"a": ' * 5000, "9" * 5000, "\ud800", "NaN", "3"])
def test_no_text_is_read_as_a_manifest_with_a_traceback(copy, text):
    (copy.folder / "manifest.json").write_text(text, errors="surrogatepass")
    with pytest.raises(UsageError, match=r"manifest\.json"):
        _ = Run(copy.folder).manifest
    with pytest.raises(UsageError, match="not a run"):
        sdelens.load(copy.folder)


PIPES = ("manifest.json", f"{FIT}/metrics.json", f"{FIT}/DONE", "analysis/mine/L01/finding.json")


@pytest.mark.parametrize("name", PIPES)
def test_a_pipe_is_not_waited_for(copy, name):
    write_finding(copy, Finding(view="L01", analyzer="mine", headline="h", reading="r"), "inputs")
    file = copy.folder / name
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(UsageError, match=rf"{file.name} is not a file"):
        report_of(sdelens.load(copy.folder).run)
    with pytest.raises(UsageError, match=r"is not a file"):
        _ = read_json(file), file_digest(file)


def test_a_manifest_may_leave_out_what_is_optional(copy):
    plugins = [
        {k: v for k, v in row.items() if k != "sha256"} | {"distribution": "tea"}
        for row in copy.manifest["plugins"]
    ]
    changed(copy.folder / "manifest.json", plugins=plugins, fingerprints=..., documents=...)
    again = Run(copy.folder)
    assert "tea" in report_of(again).provenance["plugins"]
    view = again.views[0]
    assert Pairing(again, again, view).obstacles == ("texts that the manifest does not describe",)


# --- symbolic links


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "secret" / "key.txt"
    file.parent.mkdir()
    file.write_text("a secret")
    return file


def test_a_copy_has_nothing_that_is_behind_a_link(copy, secret, tmp_path):
    finding = Finding(view="L01", analyzer="mine", headline="h", reading="r")
    write_finding(copy, finding, "inputs")
    (copy.folder / "analysis" / "mine" / "L01" / "key.txt").symlink_to(secret)
    (copy.folder / "analysis" / "more").symlink_to(secret.parent)
    (copy.folder / "report.html").symlink_to(secret)
    saved = sdelens.load(copy.folder).save(tmp_path / "saved")
    files = [file for file in saved.rglob("*") if file.is_file()]
    assert saved / "analysis" / "mine" / "L01" / "finding.json" in files
    assert not any("key" in f.name or b"a secret" in f.read_bytes() for f in files)


def test_a_run_whose_own_file_is_a_link_is_not_copied(copy, tmp_path):
    file = copy.folder / "documents.safetensors"
    file.replace(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"documents\.safetensors is a symbolic link"):
        sdelens.load(copy.folder).save(tmp_path / "saved")


@pytest.mark.parametrize("link", ["fits", "fits/L01"])
def test_clearing_leaves_another_run_alone(copy, run, tmp_path, link):
    other = shutil.copytree(run.folder, tmp_path / "other")
    (other / "fits" / "L01" / ".half.tmp").touch()
    before = sorted(file for file in other.rglob("*"))
    shutil.rmtree(copy.folder / link)
    (copy.folder / link).symlink_to(other / link)
    sweep(copy.folder)
    clear(copy.folder)
    assert sorted(file for file in other.rglob("*")) == before
    assert not (copy.folder / "fits").exists()


@pytest.mark.parametrize("link", ["analysis", "analysis/mine", "analysis/mine/L01/figures"])
def test_nothing_is_written_through_a_link(copy, secret, link):
    place = copy.folder / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(secret.parent)
    finding = Finding(view="L01", analyzer="mine", headline="h", reading="r")
    with pytest.raises(UsageError, match="is a symbolic link"):
        write_finding(copy, finding, "inputs")
    assert [file.name for file in secret.parent.rglob("*")] == ["key.txt"]


def test_a_link_at_a_temporary_name_is_removed(secret, tmp_path):
    (tmp_path / f".x.json.{os.getpid()}.tmp").symlink_to(secret)
    write_json(tmp_path / "x.json", 1)
    assert secret.read_text() == "a secret"


# --- names


@dataclass(frozen=True)
class MineAnalyzer:
    needs: ClassVar = frozenset()
    wants: ClassVar = frozenset()
    scope: ClassVar = "view"
    found: object = field(default=None, init=False)

    def analyze(self, study, *, seed):
        return self.found


@pytest.mark.parametrize("name", ["../up", "/abs", "..", "", "a\0b", "a\nb", "a\\b", "x" * 300])
def test_a_name_that_leads_elsewhere_is_the_fault_of_its_analyzer(name, run, tmp_path):
    named = Finding("L01", "h", "r", figures=(Figure(name, (), "c"),))
    for found in (Finding(name, "h", "r"), named):
        analyzer = MineAnalyzer()
        object.__setattr__(analyzer, "found", found)
        with pytest.raises(BrokenPlugin, match=r"the name of a (view|figure) must"):
            finding_of(analyzer, "mine", run.study(), seed=0)
    with pytest.raises(UsageError, match="the name of a folder must"):
        within(tmp_path, name)


def test_a_saved_finding_that_names_another_place_is_refused(copy):
    place = copy.folder / "analysis" / "mine" / "L01"
    save_finding(Finding(view="../../up", analyzer="mine", headline="h", reading="r"), place)
    with pytest.raises(UsageError, match="must be those of its folder"):
        findings_of(copy)


def test_a_changed_finding_is_refused(tmp_path):
    finding = Finding("L01", "h", "r", estimates=(Estimate("gain", 0.5),))
    for change, said in (
        ({"headline": "other"}, "must be the digest"),
        ({"headline": 3}, "(headline must be a valid string|must be a Finding)"),
        ({"reading": ...}, "must have the field reading"),
        ({"estimates": [{"$tensor": "x"}]}, r"estimates\.0 must be a tensor"),
    ):
        save_finding(finding, tmp_path)
        changed(tmp_path / "finding.json", **change)
        with pytest.raises(UsageError, match=rf"finding\.json: .*{said}"):
            load_finding(tmp_path)


@pytest.mark.parametrize("name", ["source_settings", "probe_settings"])
def test_settings_of_a_plugin_are_an_object(copy, name):
    file = copy.folder / "manifest.json"
    changed(file, settings=copy.manifest["settings"] | {name: []})
    with pytest.raises(UsageError, match=rf"manifest\.json\.{name} must be"):
        _ = Run(copy.folder).job


def test_a_run_with_a_damaged_manifest_can_be_overwritten(copy):
    job = copy.job
    changed(copy.folder / "manifest.json", threads="four")
    with pytest.raises(UsageError, match="threads must be"):
        execute(job, copy.folder, resume=True)
    assert execute(job, copy.folder, overwrite=True).manifest["state"] == "done"
