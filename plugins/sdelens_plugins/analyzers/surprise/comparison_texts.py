"""Held-out texts beside texts unlike them, each scored by the fit and by the language model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path as File

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.language.next_token import next_tokens
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

USUAL = "test documents"
OTHERS = "validation documents"
GIVEN = "given texts"


@dataclass(frozen=True, eq=False)
class ComparisonTexts:
    """Texts of one kind, scored; documents are numbered from 0."""

    surprise: Surprisal
    nll: Float[Tensor, " row"]
    """The surprisal of the token that each step reaches, in nats."""
    unit: Int[Tensor, " document"]
    """What each document is drawn with."""
    paired: bool
    """Whether document i is made from test document i."""

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
    held: HeldOutDocuments,
    *,
    texts: str | None,
    span: int,
    seed: int,
) -> Mapping[str, ComparisonTexts]:
    """Test documents first, then validation documents, then texts unlike them."""
    if held.documents is None:
        raise ValueError("the tokens of the held-out documents are needed")
    documents, first = held.documents, held.first.long()
    begins = torch.tensor([b for d in documents for b in begins_word(model.decode(d.tokens))])
    ends = [end for end in (model.card.bos, model.card.eos) if end is not None]
    # what precedes the first recorded state stays as it is
    keep = documents.start.clamp(min=_skipped(study))
    made = {
        "words shuffled": shuffled_words(documents, begins, keep, derive(seed, "words")),
        "gibberish": gibberish(
            documents, keep, seed, vocabulary=model.card.vocabulary, banned=ends
        ),
        "loops": loops(documents, keep, seed, span=span),
    }
    unit = held.unit[held.numbers]
    usual = _scored(study, model, documents, _renumbered(held.paths, held), unit, paired=True)
    found = {USUAL: usual, **_others(study, model, held)}
    for name, altered in made.items():
        paths = _captured(study, model, altered, first)
        found[name] = _scored(study, model, altered, paths, unit, paired=True)
    if texts:
        given = _given(model, texts, documents, len(unit))
        paths = _captured(study, model, given, first.median().expand(len(given)))
        found[GIVEN] = _scored(study, model, given, paths, torch.arange(len(given)), paired=False)
    return found


def _skipped(study: Study) -> int:
    _, viewed = study.single
    return 1 if viewed.fitted.origin is None else viewed.fitted.origin.skip_first


def _captured(
    study: Study, model: LanguageModel, documents: Documents, first: Int[Tensor, " document"]
) -> Paths:
    """The states of texts from the position on from which each is scored."""
    view, _ = study.single
    recording = record(model, documents, [view.site], skip_first=_skipped(study))
    return trimmed(recording.view(view), dict(enumerate(first.tolist())))


def _renumbered(paths: Paths, held: HeldOutDocuments) -> list[Trajectories]:
    """Blocks whose documents are numbered as `held` has them."""
    return [replace(block, document=held.row(block.document)) for block in paths]


def _others(
    study: Study, model: LanguageModel, held: HeldOutDocuments
) -> dict[str, ComparisonTexts]:
    """Documents of the same kind as the test documents, which cannot be told from them."""
    _, viewed = study.single
    numbers = sorted({int(d) for block in viewed.validation for d in block.document})
    numbers = numbers[: len(held.numbers)]
    every = list(study.documents)
    documents = Documents.of(every[number] for number in numbers)
    start = int(held.first.median())
    paths = trimmed(viewed.validation.select(numbers), dict.fromkeys(numbers, start))
    known = torch.tensor(numbers)
    blocks = [
        replace(block, document=torch.searchsorted(known, block.document.cpu())) for block in paths
    ]
    if not any(bool(block.steps.any()) for block in blocks):
        return {}
    unit = torch.unique(held.unit[known], return_inverse=True)[1]
    return {OTHERS: _scored(study, model, documents, blocks, unit, paired=False)}


def _given(model: LanguageModel, file: str, documents: Documents, count: int) -> Documents:
    """The paragraphs of a text file, as long as the test documents are in the middle."""
    try:
        text = File(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"texts must name a UTF-8 text file, but {file!r} cannot be read"
        ) from error
    length = max(2, int(documents.lengths.median()) - 1)
    parts = [part.strip() for part in text.split("\n\n") if part.strip()]
    found = documents_of(model, parts[:count], length=length) if parts else None
    if found is None or int(found.lengths.max()) < 3:
        raise UsageError(f"texts must hold paragraphs of a few words, but {file!r} has none")
    return found


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
    known = next_tokens(model, documents)
    nll = known.at(surprise.document, surprise.position.long())[1]
    return ComparisonTexts(surprise, nll, unit, paired)
