"""Views in order of depth, and the labels of that axis."""

from sdelens.fitting.study import Study
from sdelens.states.recording import View


def in_order(study: Study) -> list[View]:
    """The views by depth, the embedding first."""
    return sorted(study.views, key=row_of)


def row_of(view: View) -> float:
    """The number of a layer; -1 for the embedding."""
    return -1.0 if view.site.kind == "embed" else float(view.site.layer)


def layer_label(study: Study) -> str:
    """What the numbers of `row_of` are."""
    embedded = any(view.site.kind == "embed" for view in study.views)
    return "layer (-1: embedding)" if embedded else "layer"
