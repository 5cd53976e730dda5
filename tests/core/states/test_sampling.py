"""Text drawn from the model itself."""

import math

import pytest
import torch

from sdelens.errors import OutOfMemory, UsageError
from sdelens.states.generation import sample
from sdelens.states.sampling import Sampler


def drawn(model, sampler=None, *, documents=128, length=12, seed=0):
    settings = {"documents": documents, "length": length, "seed": seed}
    return [d.tokens for d in sample(model, sampler or Sampler(), **settings)]


def law(model, tokens, sampler):
    """Law of the next token after these, from one pass without a cache."""
    logits = model.run(torch.tensor([tokens]), logits=True).logits[0, -1]
    return sampler.probabilities(logits, model.card.ends)


def test_logits_through_the_cache_equal_those_without_it(shared_model):
    tokens = torch.randint(0, shared_model.card.vocabulary, (3, 20))
    whole = shared_model.run(tokens, logits=True).logits
    past = None
    for step in range(20):
        out = shared_model.run(tokens[:, step : step + 1], past=past, keep=True, logits=True)
        past = out.past
        # float32 sums in another order
        assert (out.logits[:, -1] - whole[:, step]).abs().max() < 1e-5 * whole.abs().max() + 1e-5


@pytest.mark.parametrize(
    "sampler",
    [Sampler(), Sampler(temperature=0.5), Sampler(top_p=0.8), Sampler(0.7, 0.9, True)],
    ids=["plain", "cold", "nucleus", "all"],
)
def test_sampled_frequencies_are_the_models_probabilities(char_gpt2, sampler):
    count = 3000
    first = torch.tensor([row[1] for row in drawn(char_gpt2, sampler, documents=count, length=1)])
    expected = law(char_gpt2, [0], sampler)
    found = first.bincount(minlength=65) / count
    deviation = (found - expected).abs()
    # 65 tokens looked at: 4.5 standard errors are passed by chance once in 2,000 runs; one draw
    # more where a token is so rare that its count is not near normal
    error = (expected * (1 - expected) / count).sqrt()
    assert (deviation <= 4.5 * error + 2 / count).all()
    assert (found[expected == 0] == 0).all()


def test_later_tokens_follow_the_law_given_the_earlier_ones(char_gpt2):
    # the log-probability that a text was given, summed along it, has the entropy as its mean:
    # the difference at each step is a martingale, so its standard error needs no independence
    sampler = Sampler(temperature=0.8)
    excess, variance, steps = 0.0, 0.0, 0
    for row in drawn(char_gpt2, sampler, documents=60, length=20, seed=4):
        tokens = torch.tensor([row])
        logits = char_gpt2.run(tokens, logits=True).logits[0, :-1]
        logs = sampler.probabilities(logits, char_gpt2.card.ends).log()
        probabilities = logs.exp()
        mean = (probabilities * logs).nan_to_num().sum(-1)
        spread = (probabilities * logs.square()).nan_to_num().sum(-1) - mean.square()
        taken = logs.gather(1, tokens[0, 1:, None])[:, 0]
        excess += float((taken - mean).sum())
        variance += float(spread.sum())
        steps += len(taken)
    assert steps > 300
    assert abs(excess) < 4 * math.sqrt(variance)


def test_the_nucleus_is_the_smallest_set_that_holds_top_p():
    logits = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05]).log()
    for top_p, kept in (
        (0.5, 1),
        (0.51, 2),
        (0.7, 2),
        (0.86, 4),
        (1e-9, 1),
        (1e-300, 1),
        (1.0, 5),
    ):
        found = Sampler(top_p=top_p).probabilities(logits, ())
        assert int((found > 0).sum()) == kept
        assert float(found.sum()) == pytest.approx(1)
    ties = Sampler(top_p=0.5).probabilities(torch.zeros(4), ())
    assert int((ties > 0).sum()) == 2


def test_eos_ends_a_text_and_is_kept(char_gpt2):
    eos = char_gpt2.card.eos
    rows = drawn(char_gpt2, length=40)
    assert {row[0] for row in rows} == {char_gpt2.card.bos}
    ended = [row for row in rows if len(row) < 41]
    assert ended
    assert all(row[-1] == eos for row in ended)
    assert all(eos not in row[1:-1] for row in rows)


def test_eos_that_is_banned_never_comes(char_gpt2):
    rows = drawn(char_gpt2, Sampler(ignore_eos=True), length=40)
    assert {len(row) for row in rows} == {41}
    assert all(char_gpt2.card.eos not in row[1:] for row in rows)


def test_a_text_never_passes_the_context(char_gpt2):
    rows = drawn(char_gpt2, Sampler(ignore_eos=True), documents=2, length=500)
    assert {len(row) for row in rows} == {char_gpt2.card.context}


def test_the_same_seed_gives_the_same_text_and_another_seed_another(stories):
    assert drawn(stories, documents=5, seed=1) == drawn(stories, documents=5, seed=1)
    assert drawn(stories, documents=5, seed=1) != drawn(stories, documents=5, seed=2)


def test_more_than_one_batch_gives_as_many_texts_all_different(char_gpt2):
    rows = drawn(char_gpt2, Sampler(ignore_eos=True), documents=130, length=30)
    assert len(rows) == 130
    assert len(set(rows)) == 130


def test_sampling_leaves_the_global_random_state_alone(char_gpt2):
    before = torch.random.get_rng_state()
    drawn(char_gpt2, documents=3)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_progress_counts_the_tokens_that_are_kept(char_gpt2):
    counted = []
    settings = {"documents": 20, "length": 20, "seed": 0, "watch": counted.append}
    rows = list(sample(char_gpt2, Sampler(), **settings))
    assert sum(counted) == sum(len(row.tokens) - 1 for row in rows)


@pytest.mark.parametrize(
    "settings", [{"temperature": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}]
)
def test_settings_that_make_no_law_are_refused(settings):
    with pytest.raises(UsageError, match="must be above 0"):
        Sampler(**{name: float(value) for name, value in settings.items()})


def test_memory_that_runs_out_while_sampling_is_a_clear_error(char_gpt2, monkeypatch):
    def run(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(char_gpt2), "run", run)
    with pytest.raises(OutOfMemory, match="one text was sampled after 1 tokens"):
        drawn(char_gpt2, documents=3)
