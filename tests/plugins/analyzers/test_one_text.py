"""Analyzers that colour different numbers of tokens are about one text."""

import pytest

from sdelens.protocols import Site
from sdelens.states.sampling import Sampler
from sdelens_plugins.analyzers.importance.analyzer import ImportanceAnalyzer
from sdelens_plugins.analyzers.readout.analyzer import ReadoutAnalyzer
from sdelens_plugins.analyzers.surprise.analyzer import SurpriseAnalyzer
from sdelens_plugins.analyzers.trajectory.analyzer import TrajectoryAnalyzer
from sdelens_plugins.analyzers.uncertainty.analyzer import UncertaintyAnalyzer
from sdelens_plugins.reporters.html.joined_texts import joined_texts
from tests.spoken import linear_study


@pytest.fixture(scope="module")
def uneven(model):
    """A study whose test documents are longer one after the other."""
    from sdelens.paths.documents import Document, Documents
    from sdelens.states.capturing import record
    from sdelens.states.generation import sample

    written = sample(model, Sampler(ignore_eos=True), documents=24, length=24, seed=0)
    texts = Documents.of(
        Document(each.tokens[: 9 + 2 * max(0, k - 16)]) for k, each in enumerate(written)
    )
    site = Site("block", 1)
    captured = record(model, texts, [site], skip_first=1)
    sides = (range(12), range(12, 16), range(16, 24))
    return linear_study(captured, texts, site, sides, basis="standard", model=model)


def test_strips_of_all_analyzers_join_the_path_of_the_longest_document(uneven):
    analyzers = (
        TrajectoryAnalyzer(tokens=5),
        SurpriseAnalyzer(span=2, bins=2),
        UncertaintyAnalyzer(permutations=1),
        ReadoutAnalyzer(tokens=4, random=2, documents=2),
        ImportanceAnalyzer(tokens=6, documents=2, nodes=2),
    )
    (text,) = joined_texts([each.analyze(uneven, seed=0) for each in analyzers])
    assert len(text.tokens) == 22, "the longest document, after its first position"
    lengths = {name: len(strip["L01"].values) for name, strip in text.quantities.items()}
    assert lengths["surprise of the fit"] == 22
    assert lengths["entropy of the model's next token"] == 22
    assert lengths["change of the next-token distribution by the drift"] == 4
    assert 6 in lengths.values(), "importance"
