"""Fits to the answers of a model, and its own next-token law along them."""

import pytest
import torch

import sdelens
from sdelens.branching.branch_sampler import BranchSampler
from sdelens.branching.prefixes import Prefixes
from sdelens.branching.sampler_check import SurprisalCheck
from sdelens.branching.token_choice import TokenChoice
from sdelens.errors import SdelensError
from sdelens.interfaces import build_plugin
from sdelens.language.chat import conversation, prompt_ids
from sdelens.paths.documents import Document, Documents
from sdelens.protocols import Site
from sdelens.seeds import derive
from sdelens.states.generation import continue_texts
from sdelens.states.sampling import Sampler


def test_answers_to_prompts_are_fitted_with_held_out_prompts(chat):
    prompts = [
        f"the {word}?"
        for word in [
            "cat",
            "dog",
            "bird",
            "wind",
            "tree",
            "sea",
            "sun",
            "mat",
            "door",
            "book",
            "ships",
        ]
    ]
    study = sdelens.attach(chat).fit(
        prompts=prompts,
        answers=3,
        length=12,
        layers=1,
        probe="linear",
        source_settings={"temperature": 0.8, "top_k": 40, "repetition_penalty": 1.3},
    )
    run = study.run
    assert run.sampler == Sampler(0.8, top_k=40, repetition_penalty=1.3)
    assert len(run.documents) == 33
    sides = run.split.train, run.split.validation, run.split.test
    groups = [{int(run.documents.group[number]) for number in side} for side in sides]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 11
    first = run.recording.view(run.views[0])
    begins = torch.cat([block.times[:, 0] for block in first])
    assert begins.tolist() == run.documents.start.tolist()
    stored = run.manifest["settings"]["source_settings"]
    assert stored["prompts"] == prompts
    again = build_plugin("source", "sampled", stored)
    assert list(again.documents(chat, seed=derive(0, "source"))) == list(run.documents)
    found = study.analyze("decomposition", every=1)
    assert "temperature 0.8, top-k 40, repetition penalty 1.3" in found.reading


def test_another_law_than_that_of_the_texts_is_noticed(chat):
    law, other = Sampler(0.3, repetition_penalty=3.0), Sampler(0.3)
    asked = [prompt_ids(chat, conversation(f"{word}?")) for word in "abcdefghijkl" * 4]
    prompts = [Document(tuple(ids)) for ids in asked]
    texts = Documents.of(continue_texts(chat, law, prompts, length=30, seed=0))
    prefixes = Prefixes.all_of(texts)

    def check(sampler):
        branching, sums = BranchSampler(sampler, TokenChoice()), SurprisalCheck(prefixes)
        for batch in branching(chat, prefixes, [Site("block", 0)], seed=0):
            sums.add(batch)
        return sums.result(branching, "float32")

    assert check(law).holds
    assert not check(other).holds


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompts": [" "]}, "all are empty"),
        ({"prompts": []}, "list of strings, or the name of a file"),
        ({"texts": ["a"] * 12, "prompts": ["b"]}, "prompts= applies only to sampled texts"),
        ({"prompts": "nowhere/data"}, "no dataset named|not in the local cache"),
    ],
)
def test_prompts_in_python_that_cannot_be_used_are_refused(chat, settings, message):
    with pytest.raises(SdelensError, match=message):
        sdelens.attach(chat).fit(layers=0, probe="linear", **settings)
