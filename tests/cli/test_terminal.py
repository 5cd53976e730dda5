"""Any encoding, closed or full streams, and hostile names: no traceback, no escape sequence."""

import io
import os
import re
import shlex
import subprocess

import pytest

from sdelens_cli.streams import Printable, Steady, escaped
from sdelens_cli.suggestions import again, command
from tests.small import COMMAND

EVIL = "\x1b]0;owned\x07\x1b[31m"


def shell(line, environment, cwd):
    """Run a line of bash, in which $SDELENS is the command."""
    return subprocess.run(
        ["bash", "-c", line.replace("sdelens ", shlex.join(COMMAND) + " ")],
        env=environment,
        cwd=cwd,
        capture_output=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("sdelens plugins list > /dev/full", 5, b"no room"),
        ("sdelens plugins list >&-", 0, b""),
        ("sdelens plugins list --json | head -c 1; exit ${PIPESTATUS[0]}", 0, b""),
        ("sdelens fit --layer foo 2> /dev/full", 2, b""),
        ("sdelens fit --layer foo 2>&- <&- >&-", 2, b""),
        (f"TERM=dumb sdelens $'--{EVIL}x'", 2, b"\\x1b[31m"),
        (f"PYTHONIOENCODING=ascii sdelens plugins info '\U0001f600{EVIL}'", 3, b"\\U0001f600"),
    ],
)
def test_streams_that_fail_and_names_that_are_hostile_give_one_sentence(
    line, code, said, environment, tmp_path
):
    found = shell(line, environment, tmp_path)
    assert found.returncode == code, found.stderr
    assert said in found.stderr
    assert bool(said) == bool(found.stderr)
    for part in (b"Traceback", b"Exception ignored", b"\x1b", b"\x07"):
        assert part not in found.stderr + found.stdout


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_whole_run_in_a_hostile_folder_is_printed_in_any_encoding(
    process, job, tmp_path, encoding
):
    out = tmp_path / f"a run\n\U0001f600 {EVIL}"
    variables = {"PYTHONIOENCODING": encoding, "TERM": "dumb"}
    fitted = process(*job, "--out", out, **variables)
    assert fitted.returncode == 0, fitted.stderr
    [line] = [line for line in fitted.stderr.splitlines() if line.startswith("next: ")]
    assert "\x1b" not in fitted.stderr + fitted.stdout
    # the suggested command works when pasted
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line.removeprefix('next: ')}"], capture_output=True
    ).stdout.split(b"\0")[:-1]
    assert [os.fsdecode(word) for word in words] == ["sdelens", "report", str(out)]
    found = process("analyze", out, "losses", "--prompt", f"the {EVIL} cat", **variables)
    assert found.returncode == 0, found.stderr
    assert "\x1b" not in found.stderr + found.stdout


def test_a_run_in_a_terminal_shows_no_escape_sequence_of_a_name():
    import sys

    from rich.progress import Progress, TextColumn
    from rich.text import Text

    from sdelens_cli.console import PlainConsole

    file = io.StringIO()
    console = PlainConsole(file=file, force_terminal=True, markup=False, emoji=False)
    console.print(Text(f"bold {EVIL}", style="bold"), f"[/b] :smile: {EVIL}")
    with Progress(TextColumn("{task.description}", markup=False), console=console) as progress:
        progress.add_task(f"task {EVIL}", total=1)
        print(f"printed \x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\ {EVIL}", file=sys.stdout)
    assert "\x1b[1m" in file.getvalue(), "its own styles are kept"
    shown = re.sub("\x1b\\[[0-9;]*m", "", file.getvalue())
    assert "[/b] :smile:" in shown
    assert not re.search("\x1b\\]|\x07|http://evil", shown)


def test_bytes_that_are_no_text_are_escaped_and_bars_of_libraries_pass():
    kept = io.BytesIO()
    stream = Printable(io.TextIOWrapper(kept, encoding="ascii", write_through=True), bars=True)
    stream.write("\r50% \u2588\n")
    stream.write("\x1b[A\x1b[A")
    stream.write("a\udcff\x1b[A\r\n")
    assert kept.getvalue() == b"\r50% \\u2588\n\x1b[A\x1b[Aa\\udcff\\x1b[A\\r\n"
    assert escaped("caf\xe9 \u202e\n") == "caf\xe9 \\u202e\n"


def test_a_failed_write_is_kept_and_later_ones_are_dropped():
    with open("/dev/full", "w") as full:  # noqa: PTH123
        stream = Steady(full)
        stream.write("text")
        stream.flush()
        stream.write("more")
        stream.flush()
    assert isinstance(stream.failure, OSError)


@pytest.mark.parametrize(
    "name", ["plain", "with space", "quo'te", "new\nline", "\U0001f600", "\udcff\x1b[31m", "-x"]
)
def test_a_suggested_command_gives_the_shell_the_words_that_were_meant(name):
    from pathlib import Path

    printed = command("report", Path(name), files=[Path("my plugin.py")])
    printf = f"printf '%s\\0' {printed}"
    words = subprocess.run(["bash", "-c", printf], capture_output=True).stdout.split(b"\0")[:-1]
    path = f"./{name}" if name == "-x" else name
    assert list(map(os.fsdecode, words)) == [
        *("sdelens", "report", path, "--plugin", "my plugin.py")
    ]


def test_commands_that_can_be_resumed_are_and_the_others_are_repeated():
    assert again(["fit", "--out", "my run"]) == "sdelens fit --resume --out 'my run'"
    assert again(["analyze", "run", "--", "-x"]) == "sdelens analyze --resume run -- -x"
    assert again(["fit", "--resume"]) == "sdelens fit --resume"
    assert again(["branch", "run"]) == "sdelens branch run"
