"""Tokens per second of a capture pass against a hand-written pass that stops at the same block."""

import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from sdelens.protocols import Site
from sdelens_plugins.models.bridge import BridgeModel


class Cut(Exception):
    """Raised to end the hand-written pass."""


def models(folder: Path) -> tuple[BridgeModel, GPT2LMHeadModel]:
    """A full-size GPT-2 with random weights, as a model of sdelens and as a plain module."""
    torch.manual_seed(0)
    plain = GPT2LMHeadModel(GPT2Config()).eval().requires_grad_(False)
    plain.save_pretrained(folder)
    words = Tokenizer(WordLevel({"<s>": 0, "a": 1}, unk_token="<s>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="<s>")
    tokenizer.save_pretrained(folder)
    return BridgeModel.load(str(folder), device="cpu"), plain


def by_hand(model: GPT2LMHeadModel, layer: int, tokens: torch.Tensor) -> torch.Tensor:
    """Output of a block, read by a forward hook that ends the pass."""
    kept = []

    def hook(module, args, out):
        kept.append(out[0] if isinstance(out, tuple) else out)
        raise Cut

    handle = model.transformer.h[layer].register_forward_hook(hook)
    try:
        model(tokens, use_cache=False)
    except Cut:
        pass
    finally:
        handle.remove()
    return kept[0]


@torch.no_grad()
def ratio(ours: BridgeModel, plain, layer: int, rows: int, length: int, rounds: int) -> dict:
    """Medians over interleaved passes."""
    tokens = torch.randint(0, 50257, (rows, length), generator=torch.Generator().manual_seed(1))
    site = Site("block", layer)
    pairs = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        ours.run(tokens, read=[site])
        middle = time.perf_counter()
        by_hand(plain, layer, tokens)
        pairs.append((middle - start, time.perf_counter() - middle))
    pairs = pairs[1:]  # the first pass is a warm-up
    mine = median(own for own, _ in pairs)
    return {
        "layer": layer,
        "shape": f"{rows} x {length}",
        "tokens_per_second": rows * length / mine,
        "ratio": median(hand / own for own, hand in pairs),
    }


def measure(rounds: int = 9) -> list[dict]:
    """Measure three layers at one batch shape, and layer 6 at a second shape."""
    with TemporaryDirectory() as folder:
        ours, plain = models(Path(folder))
    shapes = [(6, 8, 256), (11, 8, 256), (0, 8, 256), (6, 1, 1024)]
    return [ratio(ours, plain, *shape, rounds) for shape in shapes]


if __name__ == "__main__":
    for row in measure():
        print(row)
