"""Paths in their first two principal components."""

from itertools import islice

from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.trajectories import Paths
from sdelens.report import Figure, Layer, Panel
from sdelens.wording import counted

UNIT = "standard deviations"
CAPTION = (
    "States of {label} along {texts} in the first two principal components of all recorded "
    "states, after each coordinate is standardised ({share:.0%} of the variance). Paths that "
    "cross here need not meet in the other dimensions."
)


def plot(paths: Paths, label: str, *, documents: int) -> Figure:
    """Plot the first `documents` paths with at least two states as lines."""
    plane = fit_basis(BasisSpec("pca:2"), paths)
    rows = (
        (int(number), z[seen])
        for block in plane.view(paths)
        for number, seen, z in zip(block.document, block.mask, block.states, strict=True)
        if int(seen.sum()) > 1
    )
    lines = tuple(
        Layer("line", {"x": z[:, 0], "y": z[:, 1]}, f"text {number}", series)
        for series, (number, z) in enumerate(islice(rows, documents))
    )
    words = {"label": label, "texts": counted(len(lines), "text"), "share": float(plane.explained)}
    panel = Panel(f"component 1, {UNIT}", f"component 2, {UNIT}", lines, equal=True)
    return Figure("portrait", (panel,), CAPTION.format(**words))
