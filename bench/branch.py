"""Tokens per second of branching against a bare batched step of one token behind a cached prefix.

The bare step is what one would write with the same library: two rows for each text, their caches
as long as the prefix, one new token each, hooks that read every block; its caches are there
already. Branching reads the texts, finds the laws, draws, and feeds, all of it timed.
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
from sdelens.states.sampling import Sampler, sample

BRANCHES = 2


def branched(model, prefixes, sites) -> tuple[int, float]:
    """Next tokens tried, and seconds from first to last."""
    tokens, start = 0, time.perf_counter()
    for text in BranchSampler(Sampler(), TokenChoice(BRANCHES))(model, prefixes, sites, seed=0):
        for _, ahead in text.pieces():
            tokens += ahead[sites[0]].shape[:3].numel()
    return tokens, time.perf_counter() - start


@torch.no_grad()
def stepped(model, ids, sites, every: int) -> tuple[int, float]:
    """As many texts, step by step, at some of the prefixes; only the steps are timed."""
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
    """The first so many positions of a cache, as a cache of their own."""
    parts = [(layer.keys, layer.values) for layer in past.layers]
    return DynamicCache([(k[..., :length, :], v[..., :length, :]) for k, v in parts])


def ratio(model, ids: torch.Tensor, every: int, rounds: int) -> dict:
    """Medians of interleaved rounds, the first of which warms up."""
    sites = [Site("block", k) for k in range(model.card.blocks)]
    documents = Documents.of(Document(tuple(row)) for row in ids.tolist())
    prefixes = Prefixes.all_of(documents, skip_first=0)
    pairs = []
    for _ in range(rounds + 1):
        ours = branched(model, prefixes, sites)
        bare = stepped(model, ids, sites, every)
        pairs.append((ours[0] / ours[1], bare[0] / bare[1]))
    pairs = pairs[1:]
    return {
        "model": f"{model.card.blocks} blocks, d {model.card.width}",
        "shape": f"{len(ids)} x {ids.shape[1]}",
        "tokens_per_second": median(own for own, _ in pairs),
        "by_step": median(step for _, step in pairs),
        "ratio": median(own / step for own, step in pairs),
    }


def measure(rounds: int = 3) -> list[dict]:
    """The embedded model and a full-size GPT-2 with random weights."""
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
