"""What is recorded while a user runs the model, against states captured from the same texts."""

import pytest
import torch
from transformers import DynamicCache

from sdelens.errors import OutOfMemory, UsageError
from tests.plugins.models.live_capture.recorded import assert_same, rows_of
from tests.small import TEXT


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
    assert kept[0].skipped == {"its states are not finite, or exceed 1e+15": 3}
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
