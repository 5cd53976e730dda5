"""Studies of fits to plain tensors, as analyzers receive them."""

import sdelens
from sdelens.fitting.study import Study, Viewed
from sdelens.paths.documents import Document, Documents
from sdelens.paths.from_arrays import GivenPaths
from sdelens.paths.split import split
from sdelens.protocols import Site
from sdelens.states.recording import View


def study_of(states, *, dt=None, **how):
    """The fit of `sdelens.fit`, with the sides of its own split."""
    fitted = sdelens.fit(states, dt=dt, **how)
    paths = GivenPaths.of(states, dt or 1.0).paths
    count = len(paths.document)
    viewed = Viewed.of(fitted, paths, split(range(count), seed=0))
    documents = Documents.of([Document((0, 1))] * count)
    return Study("tensor", {View(Site("block", 0)): viewed}, documents)
