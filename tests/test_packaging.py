"""The wheel, installed where nothing of the repository is in reach."""

import json
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.metadata import entry_points

import pytest


def test_installed_entry_points_are_those_of_the_project(root):
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]["entry-points"]
    for group, names in declared.items():
        found = {e.name: e.value for e in entry_points(group=group) if e.dist.name == "sdelens"}
        assert found == names, "run: make install"


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # without isolation hatchling must be here; with it, a package registry must be in reach
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(folder)]
    subprocess.run([*pip, str(root)], check=True, capture_output=True)
    (file,) = folder.glob("sdelens-*.whl")
    return file


@pytest.fixture(scope="module")
def clean(wheel, tmp_path_factory):
    """A new environment with the wheel; what it depends on comes from this one."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    target = [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target"]
    subprocess.run([*target, str(packages), str(wheel)], check=True, capture_output=True)
    # a folder named in a .pth comes after site-packages, and its own .pth files, which would put
    # the repository on the path, are not read
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def run(python, code):
    return subprocess.run(
        [python, "-c", code], cwd="/", capture_output=True, text=True, timeout=120, check=True
    ).stdout


@pytest.mark.slow
def test_the_wheel_holds_three_packages_and_what_they_read(wheel, root):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "sdelens",
        "sdelens_cli",
        "sdelens_plugins",
    }
    plugins = root / "plugins" / "sdelens_plugins"
    for file in plugins.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            assert str(file.relative_to(root / "plugins")) in names
    templates = root / "cli" / "sdelens_cli" / "templates"
    assert {f"sdelens_cli/templates/{file.name}" for file in templates.iterdir()} <= set(names)


@pytest.mark.slow
def test_an_installed_wheel_lists_its_plugins_and_adds_no_common_names(clean):
    listed = json.loads(
        run(
            clean,
            "import sys; sys.argv[1:] = ['plugins', 'list', '--json'];"
            "from sdelens_cli.main import main; main()",
        )
    )
    assert ("probe", "neural") in {(row["kind"], row["name"]) for row in listed["plugins"]}
    code = (
        "from importlib.util import find_spec; import sdelens;"
        "names = ['cli', 'plugins', 'tests', 'docs', 'bench', 'tools'];"
        "print(sdelens.__file__, [n for n in names if find_spec(n)])"
    )
    where, found = run(clean, code).split(maxsplit=1)
    assert "site-packages" in where
    assert found.strip() == "[]"


@pytest.mark.slow
def test_an_installed_wheel_fits(clean):
    code = (
        "import sdelens, torch; states = torch.randn(40, 20, 2).cumsum(1);"
        "print(sdelens.fit(states, probe='constant').dt)"
    )
    assert run(clean, code).strip() == "1.0"
