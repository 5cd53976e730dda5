"""Views in order of depth, and the layer axis of figures."""

from sdelens.fitting.study import Study
from sdelens.states.recording import View


def views_by_depth(study: Study) -> list[View]:
    """The views by depth, the embedding first."""
    return sorted(study.views, key=layer_number)


def layer_number(view: View) -> float:
    """The number of the view's layer; -1 for the embedding."""
    return -1.0 if view.site.kind == "embed" else float(view.site.layer)


def layer_label(study: Study) -> str:
    """The label of an axis of layer numbers."""
    embedded = any(view.site.kind == "embed" for view in study.views)
    return "layer (-1: embedding)" if embedded else "layer"
