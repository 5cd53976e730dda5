"""A run that is killed, interrupted or terminated goes on to the same bytes."""

import signal
import subprocess
import time

import pytest

from tests.small import COMMAND

LAYERS = ("L00", "L01", "L02")
FILES = (
    "config.json",
    "documents.safetensors",
    *(f"fits/{v}/{n}" for v in LAYERS for n in ("sde.safetensors", "config.json", "metrics.json")),
)


def stopped(arguments, environment, ready, how):
    """Start the command, wait until something is there, and end it."""
    started = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background job ignores SIGINT, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not ready() and started.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    started.send_signal(how)
    _, said = started.communicate(timeout=300)
    return started.returncode, said


@pytest.mark.slow  # the campaign of kills has random moments
def test_a_run_stopped_again_and_again_ends_with_the_bytes_of_an_uninterrupted_one(
    process, sdelens, model, environment, tmp_path
):
    # thousands of tiny steps: a fit takes seconds, so that there is time to stop it
    small = ("--set", "probe.width=32", "--set", "probe.noise_width=32")
    steps = ("--set", "probe.least_steps=400", *small)
    fit = ("fit", "--model", model, "--layer", "0-2", "--documents", 150, "--length", 40, *steps)
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    environment = environment | {"SDELENS_CACHE": str(tmp_path / "cache")}
    cache = tmp_path / "cache" / "states"
    go_on = (*fit, "--out", broken, "--resume")

    code, _ = stopped(go_on, environment, (broken / "manifest.json").exists, signal.SIGKILL)
    assert code == -signal.SIGKILL
    code, _ = stopped(
        go_on, environment, (broken / "documents.safetensors").exists, signal.SIGKILL
    )
    assert code == -signal.SIGKILL
    code, _ = stopped(
        go_on, environment, lambda: any(cache.glob("*/*.safetensors")), signal.SIGTERM
    )
    assert code == 130
    assert not any(broken.glob("fits/*/DONE"))

    refused = sdelens(*fit, "--out", broken)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    assert "--overwrite" in refused.stderr

    launched = time.time_ns()

    def in_the_first_fit():
        # the process has noted something in the manifest, and all states are there
        noted = (broken / "manifest.json").stat().st_mtime_ns > launched
        return noted and any(cache.glob("*/index.json"))

    code, said = stopped(go_on, environment, in_the_first_fit, signal.SIGINT)
    assert code == 130
    assert "Continue with: sdelens fit" in said
    code, _ = stopped(go_on, environment, (broken / "fits/L00/DONE").exists, signal.SIGKILL)
    assert code == -signal.SIGKILL
    kept = (broken / "fits/L00/sde.safetensors").stat().st_mtime_ns
    assert not (broken / "fits/L02/DONE").exists()
    # as if it had been killed between its first two files, and while writing
    (broken / "config.json").unlink()
    (broken / ".config.json.99999.tmp").write_text("half")

    done = process(*go_on, "-q", SDELENS_CACHE=str(tmp_path / "cache"))
    assert (done.returncode, done.stdout) == (0, f"{broken}\n"), done.stderr
    assert (broken / "fits/L00/sde.safetensors").stat().st_mtime_ns == kept
    # another cache: its states are captured in one go
    done = sdelens(*fit, "--out", straight, "-q", SDELENS_CACHE=str(tmp_path / "fresh"))
    assert done.returncode == 0, done.stderr
    differing = [n for n in FILES if (straight / n).read_bytes() != (broken / n).read_bytes()]
    assert differing == []
    left = [file for place in (broken, cache) for file in place.rglob(".*")]
    assert left == [], "neither locks nor half-written states"
