"""Documents must be ones that the model has tokens for, and states must be moderate numbers."""

from inspect import unwrap

import pytest
import torch
from transformers import AutoTokenizer

import sdelens
from sdelens.errors import BadNumbers, UsageError
from sdelens.paths.documents import Document, Documents
from sdelens.protocols import Site
from sdelens.runs.in_memory import documents_given
from sdelens.states.requirements import LARGEST, require_moderate_states
from sdelens.testing.small_model import small_model
from sdelens_plugins.models.location import embedded
from tests.small import sentences


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            1e30,
            "at most 1e[+]15 in size, but block1 of document 3 has 1e[+]30 at position 7",
        ),
        (-1e16, "block1 of document 3 has -1e[+]16 at position 7"),
        (torch.inf, "must be finite, but block1 of document 3 is not at position 7"),
        (torch.nan, "must be finite, but block1 of document 3 is not at position 7"),
    ],
)
def test_a_state_is_named_by_layer_document_and_position(value, said):
    states = torch.ones(2, 4, 3)
    place = torch.tensor([2, 3]), torch.arange(4, 8).expand(2, -1)
    require_moderate_states(states * LARGEST, Site("block", 1), *place)
    states[1, 3, 2] = value
    with pytest.raises(BadNumbers, match=said):
        require_moderate_states(states, Site("block", 1), *place)


@pytest.mark.parametrize("factor", [1e30, torch.inf, torch.nan])
def test_states_that_overflow_end_a_capture_and_are_left_out_of_a_live_one(factor):
    def enlarge(module, args, out):
        return (out[0] * factor, *out[1:]) if isinstance(out, tuple) else out * factor

    model = small_model().plain.model
    lens = sdelens.attach(model)
    handle = model.transformer.h[1].register_forward_hook(enlarge)
    try:
        with pytest.raises(BadNumbers, match=r"block1 of document 0 .* at position 1"):
            lens.capture([[1, 2, 3, 4]], layers="all")
        with lens.record(layers=1) as live, torch.no_grad():
            model(input_ids=torch.tensor([[1, 2, 3]]))
    finally:
        handle.remove()
    assert live.skipped == {"its states are not finite, or exceed 1e+15": 1}


def test_ids_outside_the_vocabulary_are_refused_before_a_pass():
    model = small_model()
    outside = Documents.of([Document((1, 2, model.card.vocabulary))])
    with pytest.raises(UsageError, match=r"token ids of .* are 0 to .*: remove padding, or give"):
        sdelens.capture(model, outside)


def test_a_tokenizer_of_another_model_is_noticed():
    tokenizer = AutoTokenizer.from_pretrained(embedded()["tiny"])
    lens = sdelens.attach(small_model().plain.model, tokenizer=tokenizer)
    with pytest.raises(UsageError, match="give the tokenizer of this model"):
        lens.capture(sentences(1))


def test_texts_that_are_all_empty_say_so():
    lens = sdelens.attach(small_model())
    for texts in ([""] * 100, [[]] * 100):
        with pytest.raises(UsageError, match="all 100 are empty"):
            lens.fit(texts, layers=1)
    with pytest.raises(UsageError, match="all 2 are empty"):
        sdelens.capture(small_model(), ["", ""])
    with pytest.raises(UsageError, match="the longest of 2 has 1"):
        lens.capture([[1, 2], [3]])


def test_texts_that_are_no_unicode_or_no_texts_are_named_by_number():
    lens, texts = sdelens.attach(small_model()), sentences(3)
    with pytest.raises(UsageError, match="text 3 must be Unicode, but its character 2"):
        lens.capture([*texts, "a \ud83d"])
    for wrong in (None, b"bytes", ["a"], [1.5]):
        with pytest.raises(UsageError, match="text 3"):
            unwrap(documents_given)(lens.model, [*texts, wrong])  # past the check of types
