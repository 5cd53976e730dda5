"""Documents and tokenizer of the embedded model `tiny`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tokenizers import ByteLevelBPETokenizer
from transformers import PreTrainedTokenizerFast

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
    passage: list[str] = []
    for paragraph in text.split("\n\n"):
        passage.append(paragraph.strip())
        if sum(map(len, passage)) >= PASSAGE:
            yield "\n\n".join(passage)
            passage = []
    if passage:
        yield "\n\n".join(passage)


def wrapped(text: str) -> str:
    """The text; without blank lines in it, each line becomes a paragraph."""
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
    """Train a byte-level BPE tokenizer with `VOCABULARY` entries, in Hugging Face format."""
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
    """Token ids of each document, preceded by the separator."""
    bos = tokenizer.convert_tokens_to_ids(SEPARATOR)
    return [[bos, *ids] for ids in tokenizer(texts, verbose=False)["input_ids"]]
