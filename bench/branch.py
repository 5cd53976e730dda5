"""Tokens per second of branching against a bare batched step of one token after a cached prefix.

The bare step is a forward pass of one new token in two rows per text, with hooks that read every
block; its caches are computed in advance. The time of branching includes reading the texts,
computing the next-token distributions, drawing tokens and running them.
"""

import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from capture import models
from transformers import DynamicCache

from sdelens.branching.branch_sampler import BranchSampler
from sdelens.branching.prefixes import Prefixes
from sdelens.branching.token_choice import TokenChoice
from sdelens.models import language_model
from sdelens.paths.documents import Document, Documents
from sdelens.protocols import Site
from sdelens.states.generation import sample
from sdelens.states.sampling import Sampler

BRANCHES = 2


def branched(model, prefixes, sites) -> tuple[int, float]:
    """Number of branched tokens, and the seconds taken."""
    tokens, start = 0, time.perf_counter()
    for text in BranchSampler(Sampler(), TokenChoice(BRANCHES))(model, prefixes, sites, seed=0):
        for _, ahead in text.pieces():
            tokens += ahead[sites[0]].shape[:3].numel()
    return tokens, time.perf_counter() - start


@torch.no_grad()
def stepped(model, ids, sites, every: int) -> tuple[int, float]:
    """Number of tokens and seconds of bare steps at every `every`-th prefix of the same texts."""
    tokens, seconds = 0, 0.0
    rows = ids.repeat_interleave(BRANCHES, 0)
    whole = model.run(rows, keep=True).past
    for end in range(every // 2, ids.shape[1], every):
        past = cropped(whole, end)
        start = time.perf_counter()
        model.run(rows[:, end : end + 1], past=past, keep=True, read=sites)
        seconds += time.perf_counter() - start
        tokens += len(rows)
    return tokens, seconds


def cropped(past, length: int) -> DynamicCache:
    """A cache of the first `length` positions."""
    parts = [(layer.keys, layer.values) for layer in past.layers]
    return DynamicCache([(k[..., :length, :], v[..., :length, :]) for k, v in parts])


def ratio(model, ids: torch.Tensor, every: int, rounds: int) -> dict:
    """Medians over interleaved rounds, after one warm-up round."""
    sites = [Site("block", k) for k in range(model.card.blocks)]
    documents = Documents.of(Document(tuple(row)) for row in ids.tolist())
    prefixes = Prefixes.all_of(documents, skip_first=0)
    pairs = []
    for _ in range(rounds + 1):
        timed = branched(model, prefixes, sites), stepped(model, ids, sites, every)
        pairs.append([tokens / seconds for tokens, seconds in timed])
    pairs = pairs[1:]
    return {
        "model": f"{model.card.blocks} blocks, d {model.card.width}",
        "shape": f"{len(ids)} x {ids.shape[1]}",
        "tokens_per_second": median(own for own, _ in pairs),
        "by_step": median(step for _, step in pairs),
        "ratio": median(own / step for own, step in pairs),
    }


def measure(rounds: int = 3) -> list[dict]:
    """Measure the embedded model and a full-size GPT-2 with random weights."""
    tiny = language_model("tiny", device="cpu")
    texts = sample(tiny, Sampler(ignore_eos=True), documents=16, length=200, seed=0)
    written = Documents.of(texts).padded()
    with TemporaryDirectory() as folder:
        large, _ = models(Path(folder))
    ids = torch.randint(0, 50257, (8, 96), generator=torch.Generator().manual_seed(1))
    return [ratio(tiny, written, 8, rounds), ratio(large, ids, 8, 1)]


if __name__ == "__main__":
    for row in measure():
        print(row)
