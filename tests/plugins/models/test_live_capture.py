"""What is recorded while a user runs the model, against states captured from the same texts."""

import copy

import pytest
import torch
from torch import nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

import sdelens
from sdelens.errors import OutOfMemory, UsageError
from sdelens.models import language_model
from tests.small import TEXT, small_model

# float32, relative to the largest state: a text at once, or a position at a time through the cache
CLOSE = 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def tokenizer(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


@pytest.fixture(scope="module")
def model(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture
def lens(model, tokenizer):
    return sdelens.attach(model, tokenizer=tokenizer)


def rows_of(recording, site):
    return {
        int(number): states[seen]
        for block in recording.view(site)
        for number, states, seen in zip(block.document, block.states, block.mask, strict=True)
    }


def assert_same(tape, lens, texts=None):
    """The tape's texts are these, and its states those of capturing its texts."""
    if texts is not None:
        assert [list(document.tokens) for document in tape.documents] == texts
    captured = lens.capture(tape.documents, layers=tape.layers, skip_first=tape.skip_first)
    for site in tape.sites:
        one, two = rows_of(tape.recording, site), rows_of(captured, site)
        assert one.keys() == two.keys()
        for number, states in one.items():
            assert states.shape == two[number].shape
            scale = float(two[number].abs().max()) if len(states) else 1.0
            assert float((states - two[number]).abs().max()) <= CLOSE * scale


def test_generate_is_recorded_position_by_position(lens, model, tokenizer):
    ids = tokenizer("the cat sat", return_tensors="pt")
    with lens.record(layers="embed,all") as tape:
        out = model.generate(**ids, max_new_tokens=12, do_sample=False, eos_token_id=None)
    assert_same(tape, lens, [out[0, :-1].tolist()])  # the last is drawn, and never read
    assert tape.skipped == {}


def test_a_batch_that_is_padded_at_the_left_has_the_states_of_each_text_alone(
    lens, model, tokenizer
):
    tokenizer.padding_side = "left"
    batch = tokenizer([*TEXT[:3], "the"], return_tensors="pt", padding=True)
    with lens.record(layers=2) as tape:
        out = model.generate(**batch, max_new_tokens=6, do_sample=False, eos_token_id=None)
    columns = batch["input_ids"].shape[1]
    lengths = batch["attention_mask"].sum(1)
    texts = [
        row[columns - int(length) : -1].tolist() for row, length in zip(out, lengths, strict=True)
    ]
    assert_same(tape, lens, texts)


def test_rows_that_have_ended_are_not_recorded_on(lens, model, tokenizer):
    tokenizer.padding_side = "left"
    eos = tokenizer.eos_token_id
    batch = tokenizer(list(TEXT), return_tensors="pt", padding=True)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        with lens.record(layers=1) as tape:
            out = model.generate(**batch, max_new_tokens=20, do_sample=True, temperature=4.0)
    columns = batch["input_ids"].shape[1]
    new = out[:, columns:]
    ended = [row.tolist().index(eos) if eos in row else None for row in new]
    drawn = [20 if at is None else at + 1 for at in ended]
    read = int(new.shape[1]) - 1
    expected = [
        int(mask.sum()) + min(count, read)
        for mask, count in zip(batch["attention_mask"], drawn, strict=True)
    ]
    assert tape.documents.lengths.tolist() == expected
    assert_same(tape, lens)


def test_a_users_own_loop_with_a_cache_is_one_text(lens, model):
    ids = torch.tensor([[5, 9, 30, 7]])
    with lens.record(layers=2) as tape, torch.no_grad():
        out = model(input_ids=ids[:, :2], use_cache=True)
        cache = out.past_key_values
        model(input_ids=ids[:, 2:3], past_key_values=cache)
        model(input_ids=ids[:, 3:], past_key_values=cache)
    assert_same(tape, lens, [ids[0].tolist()])


def test_passes_without_a_common_cache_are_texts_of_their_own(lens, model):
    random = torch.Generator().manual_seed(0)
    batches = [torch.randint(1, 320, (40, 6), generator=random) for _ in range(3)]
    with lens.record(layers=0) as tape, torch.no_grad():
        for batch in batches:
            model(batch, attention_mask=torch.ones_like(batch))
    assert_same(tape, lens, torch.cat(batches).tolist())
    assert tape.recording.shards == 2  # shards are written while it runs


def test_padding_at_the_right_is_left_out(lens, model, tokenizer):
    tokenizer.padding_side = "right"
    batch = tokenizer([TEXT[0], "the cat"], return_tensors="pt", padding=True)
    with lens.record(layers=1) as tape, torch.no_grad():
        model(**batch)
    assert tape.documents.lengths.tolist() == batch["attention_mask"].sum(1).tolist()
    assert_same(tape, lens)


def test_what_is_cut_off_the_cache_is_cut_off_the_tape(lens, model):
    cache = DynamicCache()
    with lens.record(layers=1) as tape, torch.no_grad():
        model(input_ids=torch.tensor([[5, 9, 30]]), past_key_values=cache)
        cache.crop(-1)
        model(input_ids=torch.tensor([[7]]), past_key_values=cache)
    assert_same(tape, lens, [[5, 9, 7]])


def test_a_hook_of_the_user_changes_what_is_recorded_also_one_set_inside(lens, model):
    ids = torch.tensor([[5, 9, 30, 7]])
    site = 1
    with lens.record(layers=site, skip_first=0) as tape, torch.no_grad():
        handle = model.transformer.h[site].register_forward_hook(lambda _, __, out: 0 * out + 3)
        model(input_ids=ids)
        handle.remove()
    (states,) = rows_of(tape.recording, site).values()
    assert torch.equal(states, torch.full_like(states, 3.0))
    assert not tape.recording.origin.repeatable


def test_a_pass_that_goes_on_from_before_the_tape_is_left_out_and_said(lens, model):
    with torch.no_grad():
        cache = model(input_ids=torch.tensor([[5, 9]]), use_cache=True).past_key_values
        with lens.record(layers=1) as tape:
            model(input_ids=torch.tensor([[7]]), past_key_values=cache)
    assert sum(tape.skipped.values()) == 1
    with pytest.raises(UsageError, match=r"nothing was captured: .*filled before the capture"):
        _ = tape.recording


def test_embeddings_in_place_of_ids_are_left_out_and_said(lens, model):
    with lens.record(layers=1) as tape, torch.no_grad():
        model(inputs_embeds=torch.zeros(1, 3, 16))
    with pytest.raises(UsageError, match="was given no token ids"):
        _ = tape.recording


def test_what_was_heard_before_an_error_is_kept(lens, model):
    kept = []

    def work():
        with lens.record(layers=1) as tape, torch.no_grad():
            kept.append(tape)
            model(input_ids=torch.tensor([[5, 9, 30]]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert_same(kept[0], lens, [[5, 9, 30]])


def test_states_that_are_not_finite_are_left_out_and_the_run_goes_on(lens, model):
    def spoil(module, args, out):
        return out.masked_fill((args[0] == 7)[..., None], torch.nan)

    handle = model.transformer.wte.register_forward_hook(spoil)
    kept, ids = [], torch.tensor([[5, 9, 30], [5, 7, 30]])

    def work():
        with lens.record(layers=1) as tape, torch.no_grad():
            kept.append(tape)
            for _ in range(3):
                model(input_ids=ids)
            raise ZeroDivisionError

    try:
        with pytest.raises(ZeroDivisionError):
            work()
    finally:
        handle.remove()
    assert kept[0].skipped == {"its states are not finite": 3}
    assert_same(kept[0], lens, [[5, 9, 30]] * 3)


def test_a_disk_that_is_full_does_not_stop_the_users_run(lens, model, monkeypatch):
    def full(*_):
        raise OutOfMemory("no room is left on the disk")

    monkeypatch.setattr("sdelens.states.recording.write_tensors", full)
    ids = torch.randint(1, 320, (64, 3), generator=torch.Generator().manual_seed(0))
    kept = []

    def work():
        with lens.record(layers=1) as tape, torch.no_grad():
            kept.append(tape)
            model(input_ids=ids)
            model(input_ids=ids)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert kept[0].skipped == {"it could not be stored (no room is left on the disk)": 1}


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

    lens = sdelens.attach(Wrapped(language_model(folder, device="cpu")))
    with pytest.raises(UsageError, match="cannot be listened to"):
        lens.record()
