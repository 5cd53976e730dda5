"""Screenshots of a run's report and of the command line, by headless Chromium.

python tools/screenshots.py [RUN] [--out screenshots]
"""

import argparse
import json
import os
import pty
import re
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from browser import PROGRAM, chromium
from playwright.sync_api import Browser
from rich.console import Console
from rich.text import Text

WIDTHS = (400, 1400)
THEMES = ("light", "dark")
COLUMNS = 100
PATIENCE = 300
"""Time limit in seconds."""
SDELENS = Path(sys.executable).with_name("sdelens")
CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|(\r)|(\n)")


def picture(
    browser: Browser, page: Path, file: Path, *, width: int, theme: str
) -> tuple[int, int]:
    """Write the whole page as PNG; return the width and height that the page needs."""
    tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=theme)
    tab.goto(page.resolve().as_uri())
    tab.screenshot(path=file, full_page=True)
    size = tab.evaluate("[document.documentElement.scrollWidth, document.body.scrollHeight]")
    tab.close()
    return tuple(size)


def terminal(command: list[str]) -> str:
    """Output of a command on a terminal, with colours."""
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
    """Lines on the screen at the end, without overwritten progress lines."""
    rows, row, end = [""], 0, 0
    for control in CONTROL.finditer(written):
        rows[row] += written[end : control.start()]
        end = control.end()
        count, letter, back, down = control.groups()
        if down:
            row += 1
            rows += [""] * (row + 1 - len(rows))
        elif back and written[end : end + 1] not in ("\n", "\r"):
            rows[row] = ""  # overwritten lines are always rewritten completely
        elif letter == "A":
            row = max(0, row - int(count or 1))
        elif letter == "K":
            rows[row] = ""
        elif letter == "m":
            rows[row] += control[0]
    return "\n".join(rows).rstrip()


def drawing(command: list[str], output: str) -> str:
    """HTML page of a terminal with a command and its output, without external fonts."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(Text(f"$ {' '.join(command)}", style="bold"))
    console.print(Text.from_ansi(output))
    svg = console.export_svg(title="sdelens")
    own = re.sub(r"@font-face\s*{.*?}", "", svg, flags=re.DOTALL)
    return f'<!doctype html><meta charset="utf-8"><body style="margin: 0">{own}'


def commands(run: Path) -> dict[str, list[str]]:
    """Commands of the screenshots, by image name."""
    own = json.loads((run / "manifest.json").read_text())["argv"]
    return {
        "plan": [*own, "--dry-run"],
        "table": own,
        "analyze": ["analyze", "--help"],
        "plugins": ["plugins", "list"],
    }


def pictures(run: Path, out: Path, browser: Browser, folder: Path) -> None:
    """Make all screenshots and print one line for each, noting pages wider than the window."""
    for theme in THEMES:
        for width in WIDTHS:
            file = out / f"report-{theme}-{width}.png"
            needs, height = picture(browser, run / "report.html", file, width=width, theme=theme)
            wide = f": the page is {needs} wide" if needs > width else ""
            print(f"{file} {width} x {height}{wide}")
    for name, words in commands(run).items():
        page = folder / f"{name}.html"
        page.write_text(drawing(["sdelens", *words], terminal([str(SDELENS), *words])))
        file = out / f"cli-{name}.png"
        _, height = picture(browser, page, file, width=1000, theme="light")
        print(f"{file} 1000 x {height}")


def main() -> None:
    """Make the screenshots, or report why they are skipped."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/demo"))
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    options = parser.parse_args()
    if PROGRAM is None:
        print("chromium is not installed: screenshots are skipped")
        return
    if not (options.run / "report.html").is_file():
        raise SystemExit(f"expected {options.run}/report.html, found none: run make demo first")
    signal.alarm(PATIENCE)
    options.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as temporary, chromium() as browser:
        pictures(options.run, options.out, browser, Path(temporary))


if __name__ == "__main__":
    main()
