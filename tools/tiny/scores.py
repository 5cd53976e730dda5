"""Held-out scores of the model with unigram and bigram baselines, and the model card."""

import argparse
import math
from pathlib import Path

import torch
from corpus import CONTEXT, VOCABULARY, Corpus, encode
from torch.nn.functional import cross_entropy
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

CARD = Path(__file__).with_name("card.md")


@torch.no_grad()
def losses(model: GPT2LMHeadModel, documents: list[list[int]]) -> tuple[float, int]:
    """Summed nats and number of tokens, in windows that overlap by half a context."""
    half, total, count = CONTEXT // 2, 0.0, 0
    device = next(model.parameters()).device
    for ids in documents:
        scored = 1
        while scored < len(ids):
            start = max(0, scored - half)
            window = torch.tensor([ids[start : start + CONTEXT]], device=device)
            logits = model(window, use_cache=False).logits[0, scored - start - 1 : -1]
            nats = cross_entropy(logits.float(), window[0, scored - start :], reduction="sum")
            total, count = total + nats.item(), count + len(logits)
            scored = start + window.shape[1]
    return total, count


@torch.no_grad()
def permutation_loss(model: GPT2LMHeadModel, documents: list[list[int]], seed: int) -> float:
    """Mean increase in nats of a target's loss when the tokens before it are permuted.

    Each document has one target position, at least 32; BOS is not permuted.
    """
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    rises = []
    for ids in documents:
        if len(ids) < 40:
            continue
        longest = min(len(ids), CONTEXT)
        target = int(torch.randint(32, longest, (1,), generator=generator))
        context = torch.tensor(ids[:target])
        order = torch.cat(
            [torch.zeros(1, dtype=torch.long), 1 + torch.randperm(target - 1, generator=generator)]
        )
        both = torch.stack([context, context[order]]).to(device)
        nats = -model(both, use_cache=False).logits[:, -1].log_softmax(-1)[:, ids[target]]
        rises.append((nats[1] - nats[0]).item())
    return sum(rises) / len(rises)


def count_baselines(train: list[list[int]], held_out: list[list[int]]) -> tuple[float, float]:
    """Summed nats of an add-one unigram and of a bigram interpolated with it."""
    size = VOCABULARY
    flat = torch.tensor([i for ids in train for i in ids])
    unigram = torch.bincount(flat, minlength=size).double() + 1
    unigram /= unigram.sum()
    pairs = torch.cat([torch.tensor(ids[:-1]) * size + torch.tensor(ids[1:]) for ids in train])
    bigram = torch.bincount(pairs, minlength=size * size).view(size, size).double()
    seen, kinds = bigram.sum(1, keepdim=True), (bigram > 0).sum(1, keepdim=True)
    # Witten-Bell: the weight of the unigram is the share of new continuations
    smooth = (bigram + kinds.clamp(min=1) * unigram) / (seen + kinds.clamp(min=1))
    first = torch.cat([torch.tensor(ids[:-1]) for ids in held_out])
    second = torch.cat([torch.tensor(ids[1:]) for ids in held_out])
    return -unigram[second].log().sum().item(), -smooth[first, second].log().sum().item()


def evaluate(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast, texts: Corpus, seed: int
) -> dict[str, float]:
    """Held-out bits per character with two baselines, and the loss from permuted contexts."""
    model.eval()
    held_out = encode(tokenizer, texts.held_out)
    characters = sum(map(len, texts.held_out))
    bits = 1 / (math.log(2) * characters)
    nats, tokens = losses(model, held_out)
    unigram, bigram = count_baselines(encode(tokenizer, texts.train), held_out)
    return {
        "bits_per_character": nats * bits,
        "unigram_bits_per_character": unigram * bits,
        "bigram_bits_per_character": bigram * bits,
        "nats_per_token": nats / tokens,
        "permutation_rise_nats": permutation_loss(model, held_out, seed),
        "held_out_documents": len(held_out),
        "held_out_characters": characters,
    }


def write_card(out: Path, scores: dict[str, float], options: argparse.Namespace) -> None:
    """Write the model card with its scores filled in."""
    tokens = options.steps * options.batch * CONTEXT / 1e6
    numbers = {name: f"{value:.2f}" for name, value in scores.items()}
    card = CARD.read_text().format(
        steps=options.steps, tokens=f"{tokens:.1f}", seed=options.seed, **numbers
    )
    documents = {name: f"{int(scores[name]):,}" for name in scores if name.startswith("held_out")}
    for name, value in documents.items():
        card = card.replace(numbers[name], value)
    (out / "README.md").write_text(card)
