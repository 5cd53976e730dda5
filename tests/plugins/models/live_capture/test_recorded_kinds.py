"""Recording modules, bridges and named layers; a tape that is fitted."""

import copy

import pytest
import torch
from torch import nn
from transformer_lens.model_bridge import TransformerBridge

import sdelens
from sdelens.errors import UsageError
from sdelens.models import language_model
from tests.plugins.models.live_capture.recorded import assert_same


class Reader(nn.Module):
    """A model of no library that reads ids itself, with a mask as its second argument."""

    def __init__(self):
        super().__init__()
        self.words = nn.Parameter(torch.arange(320 * 4.0).reshape(320, 4).sin())
        self.mix = nn.Linear(4, 4)

    def forward(self, ids, attention_mask=None):
        del attention_mask  # of what is at the right, which no earlier position sees
        return self.mix(self.words[ids].cumsum(1))


def test_a_module_is_recorded_however_it_is_given_its_ids():
    reader = Reader()
    lens = sdelens.attach(reader, hook="mix")
    ids = torch.tensor([[5, 9, 30, 7], [8, 2, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    with lens.record(skip_first=0) as tape, torch.no_grad():
        reader(ids[:1])
        reader(ids=ids[:1])
        reader(ids, mask)
    one = ids[0].tolist()
    assert tape.skipped == {}
    assert_same(tape, lens, [one, one, one, [8, 2]])


def test_a_model_is_recorded_at_a_named_layer(lens, model, tokenizer):
    named = sdelens.attach(model, tokenizer=tokenizer, hook="transformer.h.1")
    ids = torch.tensor([[5, 9, 30]])
    with named.record() as tape:
        out = model.generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=None)
    assert_same(tape, named, [out[0, :-1].tolist()])


def test_a_bridge_is_recorded_as_it_generates(model, tokenizer):
    bridge = TransformerBridge.boot_transformers(
        "theirs", hf_model=copy.deepcopy(model), tokenizer=copy.deepcopy(tokenizer), device="cpu"
    )
    lens = sdelens.attach(bridge)
    ids = torch.tensor([[5, 9, 30, 7]])
    with lens.record(layers="embed,2") as tape, torch.no_grad():
        bridge(ids)
        out = bridge.generate(
            ids,
            max_new_tokens=5,
            do_sample=False,
            verbose=False,
            stop_at_eos=False,
            return_type="tokens",
        )
    first, second = (list(document.tokens) for document in tape.documents)
    assert first == ids[0].tolist()
    assert second == out[0].tolist()[: len(second)]
    assert len(second) >= out.shape[1] - 1
    assert_same(tape, lens)


def test_a_tape_is_fitted_and_its_states_are_saved_with_it(lens, model, tmp_path):
    random = torch.Generator().manual_seed(0)
    batch = torch.randint(1, 320, (24, 14), generator=random)
    with lens.record(layers="0,2") as tape, torch.no_grad():
        handle = model.transformer.h[1].register_forward_hook(lambda _, __, out: 0.5 * out)
        model(input_ids=batch)
        handle.remove()
    study = lens.fit(tape, probe="linear")
    assert [str(view) for view in study.views] == ["L00", "L02"]
    study.save(tmp_path / "taped")
    again = sdelens.load(tmp_path / "taped", model=model)
    for view, viewed in study.views.items():
        (here,), (there,) = viewed.test, again.views[view].test
        assert torch.equal(here.states, there.states)


def test_a_model_that_cannot_be_listened_to_is_refused(folder):
    class Wrapped:
        def __init__(self, inner):
            self.card, self.encode, self.decode = inner.card, inner.encode, inner.decode
            self.run, self.untrained = inner.run, inner.untrained
            self.library, self.device, self.hooked = "", inner.device, inner.hooked

    lens = sdelens.attach(Wrapped(language_model(folder, device="cpu")))
    with pytest.raises(UsageError, match="cannot be recorded through"):
        lens.record()
