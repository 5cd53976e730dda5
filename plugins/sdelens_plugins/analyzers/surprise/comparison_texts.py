"""Held-out texts and texts unlike them, scored by the fit and by the language model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path as File

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.language.next_token import predict_next_tokens
from sdelens.language.surprisal import Surprisal
from sdelens.language.token_class import begins_word
from sdelens.paths.documents import Documents
from sdelens.paths.trajectories import Paths, Trajectories
from sdelens.protocols import LanguageModel
from sdelens.seeds import derive
from sdelens.states.capturing import documents_of, record
from sdelens.states.recording import trimmed
from sdelens_plugins.analyzers.common.held_out_documents import HeldOutDocuments
from sdelens_plugins.analyzers.surprise.corruptions import gibberish, loops, shuffled_words

TEST = "test documents"
VALIDATION = "validation documents"
USER_TEXTS = "given texts"


@dataclass(frozen=True, eq=False)
class ComparisonTexts:
    """Scored texts of one kind; documents are numbered from 0."""

    surprise: Surprisal
    nll: Float[Tensor, " row"]
    """The surprisal of the token that each step reaches, in nats."""
    unit: Int[Tensor, " document"]
    """The resampling unit of each document."""
    paired: bool
    """Whether document i is a corruption of test document i."""

    @property
    def fit(self) -> Float[Tensor, " document"]:
        """The fit's nats per token and dimension."""
        return self.surprise.mean(self.surprise.nats, len(self.unit))

    @property
    def model(self) -> Float[Tensor, " document"]:
        """The model's nats per token: the logarithm of its perplexity."""
        return self.surprise.mean(self.nll, len(self.unit))


def comparison_texts(
    study: Study,
    model: LanguageModel,
    held_out: HeldOutDocuments,
    *,
    texts: str | None,
    span: int,
    seed: int,
) -> Mapping[str, ComparisonTexts]:
    """Test documents first, then validation documents, then texts unlike them."""
    if held_out.documents is None:
        raise ValueError("the tokens of the held-out documents are needed")
    documents, first = held_out.documents, held_out.first.long()
    begins = torch.tensor([b for d in documents for b in begins_word(model.decode(d.tokens))])
    special = [token for token in (model.card.bos, *model.card.ends) if token is not None]
    # tokens before the first recorded state stay unchanged
    keep = documents.start.clamp(min=_skipped(study))
    corruptions = {
        "words shuffled": shuffled_words(documents, begins, keep, derive(seed, "words")),
        "gibberish": gibberish(
            documents, keep, seed, vocabulary=model.card.vocabulary, banned=special
        ),
        "loops": loops(documents, keep, seed, span=span),
    }
    unit = held_out.unit[held_out.numbers]
    test = _scored(study, model, documents, _renumbered(held_out), unit, paired=True)
    kinds = {TEST: test, **_validation(study, model, held_out)}
    for name, corrupted in corruptions.items():
        paths = _captured(study, model, corrupted, first)
        kinds[name] = _scored(study, model, corrupted, paths, unit, paired=True)
    if texts:
        given = _user_texts(model, texts, documents, len(unit))
        paths = _captured(study, model, given, first.median().expand(len(given)))
        unit = torch.arange(len(given))
        kinds[USER_TEXTS] = _scored(study, model, given, paths, unit, paired=False)
    return kinds


def _skipped(study: Study) -> int:
    _, viewed = study.single
    return 1 if viewed.fitted.origin is None else viewed.fitted.origin.skip_first


def _captured(
    study: Study, model: LanguageModel, documents: Documents, first: Int[Tensor, " document"]
) -> Paths:
    """The states of texts, each from its first scored position on."""
    view, _ = study.single
    recording = record(model, documents, [view.site], skip_first=_skipped(study))
    return trimmed(recording.view(view), dict(enumerate(first.tolist())))


def _renumbered(held_out: HeldOutDocuments) -> list[Trajectories]:
    """Blocks with the document numbers of `held_out`."""
    return [replace(block, document=held_out.row(block.document)) for block in held_out.paths]


def _validation(
    study: Study, model: LanguageModel, held_out: HeldOutDocuments
) -> dict[str, ComparisonTexts]:
    """Validation documents, which are of the same kind as test documents; none if too short."""
    _, viewed = study.single
    numbers = sorted({int(d) for block in viewed.validation for d in block.document})
    numbers = numbers[: len(held_out.numbers)]
    all_documents = list(study.documents)
    documents = Documents.of(all_documents[number] for number in numbers)
    start = int(held_out.first.median())
    paths = trimmed(viewed.validation.select(numbers), dict.fromkeys(numbers, start))
    index = torch.tensor(numbers)
    blocks = [
        replace(block, document=torch.searchsorted(index, block.document.cpu())) for block in paths
    ]
    if not any(bool(block.steps.any()) for block in blocks):
        return {}
    unit = torch.unique(held_out.unit[index], return_inverse=True)[1]
    return {VALIDATION: _scored(study, model, documents, blocks, unit, paired=False)}


def _user_texts(model: LanguageModel, file: str, documents: Documents, count: int) -> Documents:
    """The paragraphs of a text file, cut to the median length of the test documents."""
    try:
        text = File(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"texts must name a UTF-8 text file, but {file!r} cannot be read"
        ) from error
    length = max(2, int(documents.lengths.median()) - 1)
    parts = [part.strip() for part in text.split("\n\n") if part.strip()]
    given = documents_of(model, parts[:count], length=length) if parts else None
    if given is None or int(given.lengths.max()) < 3:
        raise UsageError(f"texts must contain paragraphs of a few words, but {file!r} has none")
    return given


def _scored(
    study: Study,
    model: LanguageModel,
    documents: Documents,
    paths: Iterable[Trajectories],
    unit: Int[Tensor, " document"],
    *,
    paired: bool,
) -> ComparisonTexts:
    _, viewed = study.single
    surprise = Surprisal.of(viewed.fitted, paths)
    nll = predict_next_tokens(model, documents).at(surprise.document, surprise.position.long())[1]
    return ComparisonTexts(surprise, nll, unit, paired)
