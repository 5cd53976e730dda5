"""Extreme jobs: a result, or one sentence.

python -m tests.campaigns.extremes
"""

import json
import shutil

from tests.campaigns.children import run
from tests.campaigns.texts import left
from tests.campaigns.trials import Trial, main
from tests.small import WORDS, sentences, small_model

FIT = ("fit", "--probe", "linear", "--layer", "1", "--no-cache")
SMALL = ("--documents", 12, "--length", 12)
SECONDS = 120
"""Time of jobs that are not refused, and have much to do."""
CAPPED = {"`--length 10**9`": 256, "a context of 8": 8, "a context of 8, longer texts": 8}
"""Jobs that ask for longer texts than the context of the model, which is said in the plan."""


def campaign(number, seed, folder):
    """Yield each job once; there are no more than `number`."""
    place = folder / "trial"
    for name, arguments, codes in list(jobs(folder))[:number]:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        ended = run((*FIT, *arguments, "--out", place / "run"), place, patience=SECONDS)
        wrong = (
            None if ended.code in codes else f"exit {ended.code}, expected {codes}: {ended.err}"
        )
        if name in CAPPED and f"end at its context of {CAPPED[name]}" not in ended.err:
            wrong = wrong or f"the plan does not say that texts end at the context: {ended.err}"
        much = "much" in name and ended.code == 0  # and may take its time
        problem = None if much else ended.problem
        dry = "--dry-run" in arguments
        yield Trial(
            "extreme options and sizes",
            name,
            problem or wrong or (None if dry else left(ended, place)),
        )


def jobs(folder):
    """Names, arguments, and the exit codes that are right."""
    folder.mkdir(parents=True, exist_ok=True)
    long, many = folder / "long.txt", folder / "many.txt"
    long.write_text("\n".join(f"{text} {WORDS * 900}" for text in sentences(10)))
    many.write_text("\n".join(sentences(3000)))
    context = with_context(small_model(folder / "model"), 8)
    yield "`--seed 10**30`", (*SMALL, "--seed", 10**30), (0, 2)
    yield "`--seed -1`", (*SMALL, "--seed", -1), (0, 2)
    for value in ("nan", "inf", "-inf", "0", "-1", "1e308", "1e-308"):
        yield f"`--temperature {value}`", (*SMALL, "--temperature", value), (0, 2)
    yield "`--documents 10**9`", ("--documents", 10**9, "--length", 12), (2, 5)
    yield "`--documents 10**9 --dry-run`", ("--documents", 10**9, "--dry-run"), (0, 2, 5)
    yield "`--documents 10**30`", ("--documents", 10**30), (2, 5)
    yield "`--length 10**9`", ("--documents", 12, "--length", 10**9), (0,)
    yield "200,000 tokens, much to do", ("--texts", long), (0,)
    yield "3,000 texts, much to do", ("--texts", many), (0,)
    yield "a context of 8", ("--model", context, "--documents", 20), (0,)
    yield "a context of 8, longer texts", ("--model", context, *SMALL), (0,)
    yield "`--ensemble 10**9`", (*SMALL, "--ensemble", 10**9), (2, 5)
    yield "`--skip-first 10**9`", (*SMALL, "--skip-first", 10**9), (2,)


def with_context(folder, size):
    """The model, with fewer positions."""
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(folder)
    model.transformer.wpe.weight.data = model.transformer.wpe.weight.data[:size].clone()
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_positions": size}))
    return folder


if __name__ == "__main__":
    main(campaign, 100)
