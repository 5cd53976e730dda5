"""Train the embedded model `tiny`: a small GPT-2 on public-domain books and HelpSteer2.

    python tools/tiny/train.py --bfloat16 --out plugins/sdelens_plugins/assets/tiny

Documents are passages of whole paragraphs (books) and prompt-response pairs (HelpSteer2). Every
tenth document of a file is held out, by index: `index % 10 == 9`; the two responses to one prompt
share an index. The tokenizer is trained on training documents only.

The learning rate is constant, then falls linearly to zero over the last `cooldown` share of the
steps, so that training can be continued from a checkpoint. Batches depend only on (seed, step): on
one machine the result is determined by the seed and the number of steps.
"""

import argparse
import json
from pathlib import Path

import torch
from corpus import corpus, encode, train_tokenizer
from scores import evaluate, write_card
from training import new_model, save, train
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast


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
    model = GPT2LMHeadModel.from_pretrained(options.out, dtype=torch.float32, use_safetensors=True)
    scores = evaluate(model, tokenizer, texts, options.seed)
    write_card(options.out, scores, options)
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
