"""What a real model expects of the next token, against its logits taken one text at a time."""

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.language import next_token
from sdelens.language.next_token import predict_next_tokens
from sdelens.paths.documents import Document, Documents


@pytest.fixture(scope="module")
def texts(stories):
    """Texts of unequal length."""
    words = ("Once upon a time", "The dog ran to the big red house.", "Hi")
    ids = ([stories.card.bos, *stories.encode(text)] for text in words)
    return Documents.of(Document(tuple(each)) for each in ids)


def test_entropy_and_surprisal_are_those_of_each_text_by_itself(stories, texts):
    found = predict_next_tokens(stories, texts)
    for row, document in enumerate(texts):
        ids = torch.tensor([document.tokens])
        law = stories.run(ids, logits=True).logits[0].double().softmax(-1)
        end = len(document.tokens)
        entropy = -(law * law.log()).sum(-1)
        nats = -law[:-1].gather(1, ids[0, 1:, None])[:, 0].log()
        torch.testing.assert_close(found.entropy[row, :end], entropy, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.surprisal[row, : end - 1], nats, rtol=1e-4, atol=1e-4)
        assert found.entropy[row, end:].isnan().all()
        assert found.surprisal[row, end - 1 :].isnan().all()


def test_entropy_lies_between_nothing_and_that_of_a_uniform_choice(stories, texts):
    entropy = predict_next_tokens(stories, texts).entropy
    known = entropy[entropy.isfinite()]
    assert float(known.min()) > 0
    assert float(known.max()) < float(torch.tensor(float(stories.card.vocabulary)).log())


def test_batches_do_not_change_what_is_found(stories, texts, monkeypatch):
    whole = predict_next_tokens(stories, texts)
    monkeypatch.setattr(next_token, "LOGITS", 1)
    single = predict_next_tokens(stories, texts)
    torch.testing.assert_close(whole.entropy, single.entropy, equal_nan=True, rtol=1e-4, atol=1e-4)


def test_values_are_found_by_row_and_position(stories, texts):
    known = predict_next_tokens(stories, texts)
    entropy, nats = known.at(torch.tensor([1, 0]), torch.tensor([2, 0]))
    assert entropy.tolist() == [known.entropy[1, 2], known.entropy[0, 0]]
    assert nats.tolist() == [known.surprisal[1, 2], known.surprisal[0, 0]]


def test_texts_longer_than_the_context_are_refused(stories):
    long = Documents.of([Document((1,) * (stories.card.context + 1))])
    with pytest.raises(UsageError, match="context"):
        predict_next_tokens(stories, long)
