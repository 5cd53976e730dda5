"""Train the embedded model `tiny`: a small GPT-2 on public-domain books and HelpSteer2.

    python tools/train_tiny.py --bfloat16 --out plugins/sdelens_plugins/assets/tiny

Documents are passages of whole paragraphs (books) and prompt-response pairs (HelpSteer2). Every
tenth document of a file is held out, by index: `index % 10 == 9`; the two responses to one prompt
share an index. The tokenizer, too, sees training documents only.

The learning rate is constant, then falls linearly to zero over the last `cooldown` share of the
steps, so that a run can be prolonged from its checkpoint. Batches depend on (seed, step) alone: on
one machine the result is a function of the seed and the number of steps.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

BOOKS = ("genesis_kjv", "inaugural", "jules_verne", "shakespeare", "state_of_the_union", "walden")
SEPARATOR = "<|endoftext|>"
PASSAGE = 3000  # characters
CONTEXT = 256
VOCABULARY = 4096


@dataclass(frozen=True)
class Corpus:
    """Training and held-out documents."""

    train: list[str]
    held_out: list[str]


def passages(text: str) -> Iterator[str]:
    """Consecutive paragraphs, joined until a passage reaches `PASSAGE` characters."""
    held: list[str] = []
    for paragraph in text.split("\n\n"):
        held.append(paragraph.strip())
        if sum(map(len, held)) >= PASSAGE:
            yield "\n\n".join(held)
            held = []
    if held:
        yield "\n\n".join(held)


def wrapped(text: str) -> str:
    """A text without its hard line breaks where it has no blank lines to mark paragraphs by."""
    return text if "\n\n" in text else text.replace("\n", "\n\n")


def corpus(data: Path) -> Corpus:
    """All documents of the books and of HelpSteer2, split by index within each file."""
    groups: list[list[tuple[str, ...]]] = []
    for book in BOOKS:
        text = wrapped((data / "books" / f"{book}.txt").read_text(errors="replace"))
        groups.append([(passage,) for passage in passages(text)])
    for part in ("train", "eval"):
        rows = json.loads((data / "helpsteer2" / f"{part}.json").read_text(errors="replace"))
        groups.append(
            [tuple(f"{row['prompt']}\n\n{answer}" for answer in row["responses"]) for row in rows]
        )
    split: dict[bool, list[str]] = {False: [], True: []}
    for group in groups:
        for index, documents in enumerate(group):
            split[index % 10 == 9].extend(documents)
    return Corpus(split[False], split[True])


def train_tokenizer(texts: list[str], out: Path) -> PreTrainedTokenizerFast:
    """Byte-level BPE of `VOCABULARY` entries, in Hugging Face's format."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        texts, VOCABULARY, min_frequency=2, special_tokens=[SEPARATOR], show_progress=False
    )
    out.mkdir(parents=True, exist_ok=True)
    bpe.save(str(out / "tokenizer.json"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(out / "tokenizer.json"),
        bos_token=SEPARATOR,
        eos_token=SEPARATOR,
        unk_token=SEPARATOR,
        model_max_length=CONTEXT,
    )
    tokenizer.save_pretrained(out)
    return tokenizer


def encode(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    """Token ids of each document, the separator in front."""
    bos = tokenizer.convert_tokens_to_ids(SEPARATOR)
    return [[bos, *ids] for ids in tokenizer(texts, verbose=False)["input_ids"]]


def batch(stream: Tensor, starts: Tensor, size: int, seed: int, step: int) -> Tensor:
    """Windows of one token more than the context; a quarter of them begin a document."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    last = len(stream) - CONTEXT - 1
    offsets = torch.randint(last, (size,), generator=generator)
    chosen = starts[torch.randint(len(starts), (size // 4,), generator=generator)]
    offsets[: size // 4] = chosen.clamp(max=last)
    return stream[offsets[:, None] + torch.arange(CONTEXT + 1)]


def new_model(seed: int) -> GPT2LMHeadModel:
    """8 blocks of width 128, 4 heads, no dropout."""
    torch.manual_seed(seed)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=CONTEXT,
            n_embd=128,
            n_layer=8,
            n_head=4,
            activation_function="gelu_pytorch_tanh",  # the fused form of gelu_new
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def optimizers(model: GPT2LMHeadModel) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for embeddings, gains and biases."""
    blocks = [p for n, p in model.named_parameters() if ".h." in n and p.ndim == 2]
    others = [p for n, p in model.named_parameters() if not (".h." in n and p.ndim == 2)]
    return [
        torch.optim.Muon(blocks, lr=0.006, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=0.004, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def schedule(step: int, steps: int, cooldown: float) -> float:
    """Warm up over 50 steps, stay, then fall linearly to zero."""
    return min(1.0, (step + 1) / 50, (steps - step) / (cooldown * steps))


def train(
    model: GPT2LMHeadModel, stream: Tensor, starts: Tensor, options: argparse.Namespace
) -> None:
    """Minimise next-token cross-entropy; write and resume from `checkpoint`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).train()
    steppers = optimizers(model)
    rates = [[group["lr"] for group in stepper.param_groups] for stepper in steppers]
    first = resume(model, steppers, options.checkpoint)
    half = torch.autocast(device.type, torch.bfloat16, enabled=options.bfloat16)
    begun = time.time()
    for step in range(first, options.steps):
        scale = schedule(step, options.steps, options.cooldown)
        for stepper, base in zip(steppers, rates, strict=True):
            for group, rate in zip(stepper.param_groups, base, strict=True):
                group["lr"] = rate * scale
        tokens = batch(stream, starts, options.batch, options.seed, step).to(device)
        with half:
            logits = model(input_ids=tokens[:, :-1], use_cache=False).logits
        loss = cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for stepper in steppers:
            stepper.step()
            stepper.zero_grad(set_to_none=True)
        if step % 20 == 0:
            done = (step - first + 1) * options.batch * CONTEXT
            print(f"{step} {loss.item():.4f} {done / (time.time() - begun):.0f} tok/s", flush=True)
        stays = step < options.steps * (1 - options.cooldown)
        if stays and (step + 1) % options.every == 0:
            save_checkpoint(model, steppers, step + 1, options.checkpoint)


def save_checkpoint(
    model: GPT2LMHeadModel, steppers: list[torch.optim.Optimizer], step: int, path: Path
) -> None:
    """Everything that `resume` needs, in one file, replaced whole."""
    state = {"model": model.state_dict(), "steppers": [s.state_dict() for s in steppers]}
    torch.save({**state, "step": step}, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def resume(model: GPT2LMHeadModel, steppers: list[torch.optim.Optimizer], path: Path) -> int:
    """Load the checkpoint, if there is one; the step to go on from."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for stepper, saved in zip(steppers, state["steppers"], strict=True):
        stepper.load_state_dict(saved)
    return int(state["step"])


@torch.no_grad()
def losses(model: GPT2LMHeadModel, documents: list[list[int]]) -> tuple[float, int]:
    """Summed nats over all tokens of all documents, in windows of half a context's overlap."""
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
    """Rise in nats of a target's loss when the tokens before it are permuted, from position 32.

    For each document one target position; its preceding tokens, BOS apart, in random order.
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
    """Held-out bits per character beside two baselines, and the use of order."""
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


def save(model: GPT2LMHeadModel, out: Path) -> None:
    """Half precision; `gelu_new` is the same function under the name that GPT-2 uses."""
    model.config.activation_function = "gelu_new"
    model.half().cpu().save_pretrained(out)


def write_card(out: Path, scores: dict[str, float], options: argparse.Namespace) -> None:
    """The model card: what it is, its scores, what it was made from, what it is not good for."""
    tokens = options.steps * options.batch * CONTEXT / 1e6
    numbers = {name: f"{value:.2f}" for name, value in scores.items()}
    card = CARD.format(steps=options.steps, tokens=f"{tokens:.1f}", seed=options.seed, **numbers)
    documents = {name: f"{int(scores[name]):,}" for name in scores if name.startswith("held_out")}
    for name, value in documents.items():
        card = card.replace(numbers[name], value)
    (out / "README.md").write_text(card)


CARD = """---
license: cc-by-4.0
language: en
---

# tiny

A GPT-2 of 8 blocks, width 128, 4 heads, context 256 and a byte-level BPE vocabulary of 4,096,
small enough to come with sdelens. It is there so that everything can be tried and tested on a
language model that was really trained, without a download.

## Scores

On held-out documents: every tenth document of each file, by index (`index % 10 == 9`), of which
there are {held_out_documents}, with {held_out_characters} characters. A document is a passage of
whole paragraphs of about 3,000 characters of a book, or a prompt with a response; the two
responses to one prompt are on the same side. Passages of one book are on both sides, so that names
and themes are familiar: these are scores on unseen passages, not on unseen books.

| | bits per character |
|---|---|
| this model | {bits_per_character} |
| bigram (Witten-Bell, same tokens) | {bigram_bits_per_character} |
| unigram (same tokens) | {unigram_bits_per_character} |

{nats_per_token} nats per token. With the preceding tokens of a context in random order (same
target token, positions from 32 on) the loss rises by {permutation_rise_nats} nats: the model uses
the order of its context.

## Training

`tools/train_tiny.py` in the repository, seed {seed}: {steps} steps of 32 x 256 tokens ({tokens}
million), Muon and AdamW, weights stored in half precision.

## Data

- Jules Verne (numbers replaced by words), William Shakespeare, Henry David Thoreau's *Walden*,
  Genesis in the King James version: out of copyright.
- State of the Union and inaugural addresses of presidents of the United States: public domain.
- A sample of 1,000 prompts with their responses from
  [HelpSteer2](https://huggingface.co/datasets/nvidia/HelpSteer2) by NVIDIA, under
  [CC-BY-4.0](https://creativecommons.org/licenses/by/4.0/); prompt and response were joined into
  one text, and nothing else was changed.

The weights are given under CC-BY-4.0 as well.

## What it is not good for

It writes grammatical fragments in the voice of its books and knows nothing: no facts, no
instructions, no dialogue. It repeats the views of its sources, some of them centuries old. What is
found in its dynamics need not hold for large models; it is for trying the tool and for tests.
"""


def parse() -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, default=Path("tiny-checkpoint.pt"))
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--cooldown", type=float, default=0.3)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--evaluate-only", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Train, save, and print the scores of the saved half-precision weights."""
    options = parse()
    texts = corpus(options.data)
    if options.evaluate_only:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(options.out)
    else:
        tokenizer = train_tokenizer(texts.train, options.out)
        documents = encode(tokenizer, texts.train)
        lengths = torch.tensor([0, *map(len, documents)])
        stream = torch.tensor([i for ids in documents for i in ids])
        print(f"{len(documents)} documents, {len(stream)} tokens", flush=True)
        model = new_model(options.seed)
        train(model, stream, lengths.cumsum(0)[:-1], options)
        save(model, options.out)
    model = GPT2LMHeadModel.from_pretrained(options.out, dtype=torch.float32)
    scores = evaluate(model, tokenizer, texts, options.seed)
    write_card(options.out, scores, options)
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
