"""Plugins by name."""

import subprocess
import sys
import tomllib
from importlib.metadata import entry_points

import pytest

from sdelens.errors import BrokenPlugin, UnknownName, UsageError
from sdelens.interfaces import load
from sdelens.registry import (
    API,
    KINDS,
    OURS,
    forget,
    installed,
    plugin,
    plugin_with,
    plugins,
    registered,
)


def install(folder, distribution, entries):
    """An installed distribution, as pip leaves it: metadata and entry points."""
    info = folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(entries)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on the path in which a test can install distributions."""
    monkeypatch.syspath_prepend(tmp_path)
    installed.cache_clear()
    yield tmp_path
    installed.cache_clear()


@pytest.fixture(autouse=True)
def own_session():
    """What a test registers is gone after it."""
    before = registered()
    yield
    forget(before)


def test_two_distributions_that_claim_one_name_are_both_named_when_it_is_asked_for(site):
    for distribution in ("tea-probes", "coffee-probes"):
        install(site, distribution, "[sdelens.probes]\nbrew = json:loads\n")
    for ask in (lambda: plugin("probe", "brew"), plugins("probe")["brew"].load):
        with pytest.raises(UsageError, match="'brew', coffee-probes and tea-probes: uninstall"):
            ask()
    assert plugin("probe", "linear").load(), "everything else works"


def test_a_strangers_plugin_cannot_take_the_name_of_a_built_in(site):
    install(site, "tea-probes", "[sdelens.probes]\nlinear = json:loads\n")
    with pytest.raises(UsageError, match="sdelens and tea-probes"):
        plugin("probe", "linear")


@pytest.mark.parametrize(
    ("value", "seen"),
    [("", set()), ("tea-probes", {"brew"}), ("Tea_Probes, other", {"brew"}), ("other", set())],
)
def test_the_environment_names_the_distributions_that_are_seen(site, monkeypatch, value, seen):
    install(site, "tea-probes", "[sdelens.probes]\nbrew = json:loads\n")
    assert "brew" in plugins("probe")
    installed.cache_clear()
    monkeypatch.setenv("SDELENS_LOAD_PLUGINS", value)
    assert set(plugins("probe")) & {"brew"} == seen
    assert "linear" in plugins("probe"), "ours always are"


@pytest.mark.parametrize(
    ("written", "upgrade"), [(API + 1, "sdelens"), (0, "tea-probes"), ("new", "tea-probes")]
)
def test_a_plugin_for_another_api_is_told_from_ours_before_it_is_made(site, written, upgrade):
    stem = f"tea_api_{written}"
    (site / f"{stem}.py").write_text(
        f"class Brew:\n    api = {written!r}\n    def __init__(self): 1/0\n"
    )
    install(site, "tea-probes", f"[sdelens.probes]\nbrew = {stem}:Brew\n")
    said = (
        rf"'brew' of tea-probes 1\.2 was written for plugin api {written}, but this sdelens has "
    )
    with pytest.raises(BrokenPlugin, match=rf"{said}api {API}: upgrade {upgrade}$"):
        load("probe", "brew")


def test_one_distribution_found_twice_is_no_conflict(site, monkeypatch):
    for copy in ("one", "two"):
        install(site / copy, "tea-probes", "[sdelens.probes]\nbrew = json:loads\n")
        monkeypatch.syspath_prepend(site / copy)
    assert plugins("probe")["brew"].distribution == "tea-probes"


def test_a_broken_plugin_is_broken_only_when_it_is_loaded(site):
    (site / "tea_broken.py").write_text("import no_such_module_at_all\n")
    install(site, "tea-probes", "[sdelens.probes]\nbrew = tea_broken:Brew\n")
    found = plugin("probe", "brew")
    assert (found.distribution, found.version) == ("tea-probes", "1.2")
    with pytest.raises(BrokenPlugin, match=r"'brew' of tea-probes 1\.2.*no_such_module_at_all"):
        found.load()


def test_a_module_that_ends_the_process_is_broken_too(site):
    (site / "tea_exit.py").write_text("import sys\nsys.exit('no licence')\n")
    install(site, "tea-probes", "[sdelens.probes]\nbrew = tea_exit:Brew\n")
    with pytest.raises(BrokenPlugin, match="SystemExit: no licence"):
        load("probe", "brew")


def test_a_plugin_whose_class_is_missing_is_broken(site):
    install(site, "tea-probes", "[sdelens.probes]\nbrew = json:NoSuchClass\n")
    with pytest.raises(BrokenPlugin, match="NoSuchClass"):
        load("probe", "brew")


def test_a_plugin_is_found_by_a_method_built_in_ones_first_and_broken_ones_skipped(site):
    install(
        site, "tea-models", "[sdelens.models]\na_broken = no_such_module:M\nb = json:decoder\n"
    )
    install(site, "tea-reporters", "[sdelens.reporters]\na = html:escape\n")
    assert plugin_with("reporter", "svg").load()().svg
    assert plugin_with("reporter", "page").distribution == OURS
    assert plugin_with("model", "load").distribution == OURS
    assert plugin_with("model", "JSONDecoder").name == "b", "another distribution's"
    with pytest.raises(UnknownName, match="no reporter has the method paint: install"):
        plugin_with("reporter", "paint")


def test_if_no_plugin_has_a_method_the_cause_of_a_broken_one_is_raised(site, monkeypatch):
    install(site, "tea-models", "[sdelens.models]\nb = json:decoder\n")
    # a module that is None in sys.modules cannot be imported
    for found in plugins("model").values():
        if found.distribution == OURS:
            monkeypatch.setitem(sys.modules, found.target.partition(":")[0], None)
    with pytest.raises(BrokenPlugin, match=r"the model .* of sdelens .* does not load: Module"):
        plugin_with("model", "load")
    assert plugin_with("model", "JSONDecoder").name == "b", "another one that has the method"


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(UnknownName, match=r"No probe named 'liner'\. Did you mean 'linear'"):
        load("probe", "liner")


def test_listing_imports_nothing_heavy():
    code = (
        "import sys; from sdelens.registry import KINDS, plugins\n"
        "names = [name for kind in KINDS for name in plugins(kind)]\n"
        "assert 'file' in names, names\n"
        "heavy = {'torch', 'transformers', 'transformer_lens', 'datasets', 'pandas', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_the_installed_entry_points_are_those_of_pyproject(root):
    # an editable install does not see new ones until it is installed again: make install
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    for kind in KINDS:
        group = f"sdelens.{kind}s"
        installed = {
            entry.name: entry.value
            for entry in entry_points(group=group)
            if entry.dist and entry.dist.name == "sdelens"
        }
        assert installed == project["entry-points"].get(group, {}), group
