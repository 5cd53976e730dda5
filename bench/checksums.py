"""Time of a capture to disk with checksums against one without, and of verification.

The states of all blocks are recorded in turn with and without checksums. The difference is smaller
than the noise of a loaded machine, so the checksums themselves are timed as well, one after
another, although they overlap with the computation.
"""

import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch
from capture import models

from sdelens.models import language_model
from sdelens.paths.documents import Document, Documents
from sdelens.states.capturing import record, sites_of
from sdelens.states.recording import Recording
from sdelens.store import checksum


def timed(model, documents) -> tuple[float, float, Recording]:
    """Seconds and processor seconds of a capture, and its recording."""
    start, used = time.perf_counter(), time.process_time()
    recording = record(model, documents, sites_of("embed,all", model))
    return time.perf_counter() - start, time.process_time() - used, recording


def round_of(model, documents, first: bool) -> dict:
    """Seconds of one capture with and one without checksums, of the checksums, and of loading."""
    found = {}
    for having in (first, not first):
        replaced = checksum if having else lambda file: ""
        with patch("sdelens.states.recording.checksum", replaced):
            *found[having], recording = timed(model, documents)
        if having:
            files = sorted(recording.folder.glob("*.safetensors"))
            start = time.perf_counter()
            for file in files:
                checksum(file)
            middle = time.perf_counter()
            Recording.load(recording.folder)
            end = time.perf_counter()
            size = sum(file.stat().st_size for file in files)
    seconds, processor = found[False]
    return {
        "seconds": seconds,
        "mebibytes": size / 2**20,
        "wall": found[True][0] / seconds,
        "processor": found[True][1] / processor,
        "checksums": (middle - start) / seconds,
        "load": (end - middle) / seconds,
    }


def shares(name: str, model, shape: tuple[int, int], rounds: int) -> dict:
    """Medians over rounds in alternating order, after one warm-up round."""
    ids = torch.randint(
        2, model.card.vocabulary, shape, generator=torch.Generator().manual_seed(0)
    )
    documents = Documents.of(Document(tuple(row)) for row in ids.tolist())
    found = [round_of(model, documents, number % 2 == 0) for number in range(rounds + 1)][1:]
    medians = {key: median(one[key] for one in found) for key in found[0]}
    return {"model": name, "shape": f"{shape[0]} x {shape[1]}"} | medians


def measure(rounds: int = 6) -> list[dict]:
    """Measure the embedded model, whose states cost least, and a full-size GPT-2."""
    with TemporaryDirectory() as folder:
        large, _ = models(Path(folder))
    small = language_model("tiny", device="cpu")
    return [
        shares("embedded", small, (256, 200), rounds),
        shares("GPT-2", large, (8, 256), rounds),
    ]


if __name__ == "__main__":
    for row in measure():
        print(row)
