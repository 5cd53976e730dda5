"""Pictures of a run's report and of the command line, by headless Chromium.

    python tools/screenshots.py [RUN] [--out screenshots]

Chromium is spoken to through a pair of pipes, in its own protocol (Chrome DevTools), so that a
page has the width asked for, however narrow, and its picture the whole height.
"""

import argparse
import base64
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
WIDTHS = (400, 1400)
THEMES = ("light", "dark")
COLUMNS = 100
PATIENCE = 300
"""Seconds after which a browser that does not answer is given up."""
SDELENS = Path(sys.executable).with_name("sdelens")
CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|(\r)|(\n)")


class Browser:
    """One page of a headless Chromium."""

    def __init__(self, program: str, profile: Path) -> None:
        read, self._write = map(_high, os.pipe())
        reply, write = map(_high, os.pipe())
        self._replies = os.fdopen(reply, "rb")
        silent = os.open(os.devnull, os.O_WRONLY)
        # the protocol's pipes are the file descriptors 3 and 4
        moves = [(os.POSIX_SPAWN_DUP2, a, b) for a, b in ((read, 3), (write, 4), (silent, 2))]
        command = [program, *FLAGS, f"--user-data-dir={profile}"]
        self._process = os.posix_spawn(program, command, os.environ, file_actions=moves)
        for end in (read, write, silent):
            os.close(end)
        self._count, self._session = 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        opened = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = opened["sessionId"]
        self.call("Page.enable")

    def call(self, method: str, **params):
        """The result of a method of the protocol."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._received()).get("id") != self._count:
            pass  # an event
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _received(self) -> dict:
        text = bytearray()
        while (byte := self._replies.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("Chromium ended before it answered")
            text += byte
        return json.loads(text)

    def picture(self, page: Path, file: Path, *, width: int, theme: str) -> tuple[int, int]:
        """The whole page as PNG; its width and height, as the page needs them."""
        feature = {"name": "prefers-color-scheme", "value": theme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self._resize(width, 200)
        self.call("Page.navigate", url=page.resolve().as_uri())
        while self._evaluated("document.readyState") != "complete":
            time.sleep(0.05)
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        self._resize(width, int(size["height"]))
        shot = self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))
        return int(size["width"]), int(size["height"])

    def _evaluated(self, expression: str):
        return self.call("Runtime.evaluate", expression=expression)["result"]["value"]

    def _resize(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def close(self) -> None:
        """End the browser and wait until it is gone."""
        self._session = None
        with suppress(RuntimeError, OSError):  # it may be gone before it answers
            self.call("Browser.close")
        os.waitpid(self._process, 0)


def _high(descriptor: int) -> int:
    """The same file under a number that is not 3 or 4."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved


def terminal(command: list[str]) -> str:
    """What a command writes on a terminal, colours included."""
    leader, follower = pty.openpty()
    settings = {"COLUMNS": str(COLUMNS), "LINES": "50", "TERM": "xterm-256color"}
    with subprocess.Popen(
        command,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=os.environ | settings,
        start_new_session=True,
    ) as process:
        os.close(follower)
        written = b"".join(iter(lambda: _read(leader), b""))
    if process.returncode:
        raise SystemExit(
            f"{' '.join(command)} ended with {process.returncode}: {written.decode()}"
        )
    return left_on_screen(written.decode("utf-8", "replace"))


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 2**16)
    except OSError:  # the other end is closed
        return b""


def left_on_screen(written: str) -> str:
    """Lines as they stand when all is done: progress that was drawn over is gone."""
    rows, row, end = [""], 0, 0
    for control in CONTROL.finditer(written):
        rows[row] += written[end : control.start()]
        end = control.end()
        count, letter, back, down = control.groups()
        if down:
            row += 1
            rows += [""] * (row + 1 - len(rows))
        elif back and written[end : end + 1] not in ("\n", "\r"):
            rows[row] = ""  # what is drawn over is drawn whole
        elif letter == "A":
            row = max(0, row - int(count or 1))
        elif letter == "K":
            rows[row] = ""
        elif letter == "m":
            rows[row] += control[0]
    return "\n".join(rows).rstrip()


def drawing(command: list[str], output: str) -> str:
    """A page with a command and its output on a terminal; it needs no font from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(Text(f"$ {' '.join(command)}", style="bold"))
    console.print(Text.from_ansi(output))
    svg = console.export_svg(title="sdelens")
    own = re.sub(r"@font-face\s*{.*?}", "", svg, flags=re.DOTALL)
    return f'<!doctype html><meta charset="utf-8"><body style="margin: 0">{own}'


def commands(run: Path) -> dict[str, list[str]]:
    """What is shown of the command line, by the name of its picture."""
    own = json.loads((run / "manifest.json").read_text())["argv"]
    return {
        "plan": [*own, "--dry-run"],
        "table": own,
        "analyze": ["analyze", "--help"],
        "plugins": ["plugins", "list"],
    }


def pictures(run: Path, out: Path, browser: Browser, folder: Path) -> None:
    """All pictures; a line on each, and a warning where a page is wider than its window."""
    for theme in THEMES:
        for width in WIDTHS:
            file = out / f"report-{theme}-{width}.png"
            needs, height = browser.picture(run / "report.html", file, width=width, theme=theme)
            wide = f": the page is {needs} wide" if needs > width else ""
            print(f"{file} {width} x {height}{wide}")
    for name, words in commands(run).items():
        page = folder / f"{name}.html"
        page.write_text(drawing(["sdelens", *words], terminal([str(SDELENS), *words])))
        file = out / f"cli-{name}.png"
        _, height = browser.picture(page, file, width=1000, theme="light")
        print(f"{file} 1000 x {height}")


def main() -> None:
    """Make the pictures, or say why not."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/demo"))
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    options = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        print("no chromium is installed: the pictures are skipped")
        return
    if not (options.run / "report.html").is_file():
        raise SystemExit(f"{options.run} holds no report.html: run make demo first")
    signal.alarm(PATIENCE)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        browser = Browser(program, Path(temporary) / "profile")
        try:
            pictures(options.run, options.out, browser, Path(temporary))
        finally:
            browser.close()


if __name__ == "__main__":
    main()
