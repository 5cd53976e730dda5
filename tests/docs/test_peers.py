"""The page of peers is what was measured; the peers themselves are not needed."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "peers.json"
RIVALS = ("numpy", "sklearn", "deeptime", "sfi", "kramersmoyal", "pydaddy", "pymle", "torchsde")


def module(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "bench" / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def results():
    return json.loads(RESULTS.read_text())


def test_the_page_is_what_was_measured(results):
    written = (ROOT / "docs" / "peers.md").read_text()
    assert written == module("peers_page").page(results), "run: python bench/peers.py --page"


def test_every_rival_was_measured_on_every_system_shown(results):
    linear = {f"ornstein-uhlenbeck-{dim}" for dim in (1, 2, 16, 64, 768)}
    assert set(results["systems"]) == linear | {"double-well", "diffeomorphic-8"}
    for rows in results["systems"].values():
        assert {"sdelens", "torchsde", "sfi", "kramersmoyal", "pydaddy", "pymle"} <= {
            row["peer"] for row in rows
        }
    assert set(RIVALS) <= {row["peer"] for row in results["systems"]["ornstein-uhlenbeck-1"]}


def test_every_rival_has_its_settings_stated(results):
    peers = {row["peer"] for rows in results["systems"].values() for row in rows}
    assert peers <= set(module("peers_page").NOTES)


def row(peer, drift, seconds, covariance=0.1):
    tries = [
        {"drift_nmse": d, "covariance_error": covariance, "seconds": seconds, "memory": 2**20}
        for d in drift
    ]
    return {"peer": peer, "setting": "plain", "given": "nothing", "tries": tries}


OURS = row("sdelens", [0.10, 0.12, 0.14], seconds=1.0)


@pytest.mark.parametrize(
    ("peer", "said"),
    [
        (row("other", [0.08, 0.10, 0.12], seconds=2.0), ["more accurate in drift"]),
        (row("other", [0.10, 0.12, 0.14], seconds=0.5), ["as accurate in 0.5 s against 1 s"]),
        (row("other", [0.16, 0.18, 0.20], seconds=0.5), []),
        (row("other", [0.05, 0.19, 0.11], seconds=2.0), []),
        (row("other", [0.0999, 0.1199, 0.1399], seconds=2.0), []),
        (row("other", [0.10, 0.12, 0.14], seconds=2.0, covariance=0.05), ["in covariance"]),
        ({"peer": "other", "setting": "", "given": "", "tries": [{"failed": "no"}]}, []),
    ],
)
def test_a_win_is_beyond_the_standard_error_of_the_paired_difference(peer, said):
    lines = module("peers_page").wins({"a-system": [OURS, peer]})
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines, strict=True))


def test_a_failure_is_a_row_with_its_reason():
    failed = [{"failed": "no more | than two"}]
    shown = module("peers_page").table([OURS | {"tries": failed}])
    assert "does not run: no more / than two" in shown
