"""Damages files of texts and fits to them: a finished run, or one sentence.

python -m tests.campaigns.texts 300 --seed 0
"""

import csv
import json
import shutil
from random import Random

from tests.campaigns.children import run
from tests.campaigns.damage import DEEP, NUMBERS, OTHERS, WORDS, no_file, of_bytes, of_lines
from tests.campaigns.trials import Trial, main
from tests.small import sentences

FORMATS = ("txt", "jsonl", "csv", "parquet")
FIT = ("fit", "--probe", "linear", "--length", 12, "--layer", 1, "--no-cache", "-q")


def campaign(number, seed, folder):
    """Yield so many fits to damaged files, of one format after another."""
    place = folder / "trial"
    for k in range(seed, seed + number):
        random, kind = Random(k), FORMATS[k % len(FORMATS)]
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        file = place / f"texts.{kind}"
        write(file, rows_of(random, kind))
        ways = [of_bytes, no_file, lambda *_: "rows"]
        done = random.choice([*ways, of_lines] if kind == "jsonl" else ways)(file, random)
        ended = run((*FIT, "--texts", file, "--out", place / "run"), place)
        yield Trial(f"damaged .{kind} files", f"{k}, {done}", ended.problem or left(ended, place))


def left(ended, place):
    """What is wrong with what a fit has left."""
    manifest = place / "run" / "manifest.json"
    state = json.loads(manifest.read_text())["state"] if manifest.exists() else None
    if (ended.code == 0) != (state == "done"):
        return f"exit {ended.code}, but the state is {state}"
    if ended.code and len(ended.err) > 1500:
        return f"a long sentence: {ended.err[:300]}"
    return f"an escape sequence: {ended.err!a}" if "\x1b" in ended.err else None


def rows_of(random, kind):
    """Thirty texts, some of which are none."""
    others = [w for w in WORDS if w != DEEP]
    if kind in ("jsonl", "parquet"):
        others += [v for v in (*NUMBERS, *OTHERS) if not isinstance(v, dict)]
    rows = sentences(30)
    for at in random.sample(range(30), random.randrange(4)):
        rows[at] = random.choice(others)
    return rows


def write(file, rows):
    """Write the texts in the format of the file."""
    if file.suffix == ".parquet":
        return write_parquet(file, rows)
    with file.open("w", encoding="utf-8", errors="surrogatepass", newline="") as handle:
        if file.suffix == ".csv":
            csv.writer(handle).writerows([["text"], *([row] for row in rows)])
        elif file.suffix == ".jsonl":
            handle.writelines(json.dumps({"text": row}) + "\n" for row in rows)
        else:
            handle.writelines(f"{row}\n" for row in rows)
    return None


def write_parquet(file, rows):
    """Write a column of the type of the first row that is no text, if there is any."""
    import pyarrow
    from pyarrow import parquet

    odd = [row for row in rows if not isinstance(row, str) or "\ud800" in row]
    for column in (odd, rows, [row for row in rows if row not in odd]):
        try:
            parquet.write_table(pyarrow.table({"text": column or rows}), file)
        except (pyarrow.ArrowException, UnicodeError, OverflowError):
            continue
        return


if __name__ == "__main__":
    main(campaign, 300)
