"""Peak anonymous memory of capture and fit for 50,000 and 500,000 tokens."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path


def anonymous() -> int:
    """RssAnon of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise OSError("expected RssAnon in /proc/self/status, found none: run this benchmark on Linux")


class Peak:
    """Largest RssAnon, sampled every 5 ms in a thread."""

    def __init__(self) -> None:
        self.bytes, self.on = 0, True
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while self.on:
            self.bytes = max(self.bytes, anonymous())
            time.sleep(0.005)

    def stop(self) -> int:
        """Stop sampling and return the peak in bytes."""
        self.on = False
        self.thread.join()
        return self.bytes


def work(tokens: int) -> dict[str, int]:
    """Peak memory after capturing and fitting `tokens` tokens of the embedded model."""
    import torch

    from sdelens.fitting.fit import fit_view
    from sdelens.interfaces import load
    from sdelens.models import language_model
    from sdelens.paths.documents import Document, Documents
    from sdelens.paths.split import split
    from sdelens.states.capturing import record, sites_of

    model = language_model("tiny")
    random = torch.Generator().manual_seed(0)
    rows = torch.randint(1, model.card.vocabulary, (tokens // 200, 200), generator=random)
    documents = Documents.of(Document((0, *row)) for row in rows.tolist())
    peak = Peak()
    recording = record(model, documents, sites_of(6, model))
    captured = peak.bytes
    groups = dict(enumerate(documents.group.tolist()))
    sides = split(list(groups.values()), seed=0)
    probe = load("probe", "neural")(epochs=1, least_steps=0, width=64)
    fit_view(recording.view(6), sides, groups, probe, kind="neural", state_dependent=True)
    return {"tokens": tokens, "capture": captured, "capture_and_fit": peak.stop()}


def measure(sizes: tuple[int, ...] = (50_000, 500_000)) -> dict:
    """Measure each size in a separate process, and the ratio of the last peak to the first."""
    found = []
    for size in sizes:
        command = [sys.executable, __file__, str(size)]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(json.loads(out.stdout.splitlines()[-1]))
    first, last = found[0], found[-1]
    return {"sizes": found, "ratio": last["capture_and_fit"] / first["capture_and_fit"]}


if __name__ == "__main__":
    print(json.dumps(work(int(sys.argv[1])) if len(sys.argv) > 1 else measure()))
