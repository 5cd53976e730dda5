"""A figure as CSV, with everything needed to draw it again, and back."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from itertools import groupby, zip_longest
from operator import itemgetter

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from sdelens.report import Figure, Layer, Panel

ROLES = ("x", "y", "base", "low", "high", "u", "v", "z")
"""The roles of a layer's values, each of which has a column."""
COLUMNS = (
    *("panel", "title", "x label", "y label", "equal", "share", "x scale", "y scale"),
    *("layer", "mark", "label", "series", "dashed", "signed"),
    *("row", "point", "word"),
    *ROLES,
)
Row = Mapping[str, str]
FORMULA = re.compile(r"'*(\n*[=+\-@＝＋－＠]|[\t\r])")  # noqa: RUF001
"""The beginning of a text that a spreadsheet would execute, with apostrophes before it or not."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


def to_csv(figure: Figure) -> str:
    """One row for each point, with the settings of its panel and layer; floats are exact.

    A text that a spreadsheet would take for a formula has an apostrophe before it.

    Each cell of a heat map is a point, whose `row` is that of the map. A layer without points, or
    a panel without layers, has one row.
    """
    sink = StringIO()
    writer = csv.writer(sink)  # lines end in \r\n, so that a word with a line break is quoted
    writer.writerow(COLUMNS)
    for number, panel in enumerate(figure.panels):
        axes = [number, panel.title, panel.x, panel.y, int(panel.equal), panel.share]
        axes += [panel.x_scale, panel.y_scale]
        if not panel.layers:
            writer.writerow(map(_quoted, axes))
        for place, layer in enumerate(panel.layers):
            settings = [place, layer.mark, layer.label, layer.series]
            settings += [int(layer.dashed), int(layer.signed)]
            points = list(_points(layer)) or [[]]
            writer.writerows(map(_quoted, [*axes, *settings, *point]) for point in points)
    return sink.getvalue()


def _quoted(cell: object) -> object:
    """The cell, with an apostrophe before what is neither a number nor safe in a spreadsheet."""
    if not isinstance(cell, str) or NUMBER.fullmatch(cell) or not FORMULA.match(cell):
        return cell
    return f"'{cell}"


def _unquoted(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def _points(layer: Layer) -> Iterator[list[object]]:
    """Row, number, word and values of each point."""
    values, words, width = layer.values, layer.words, 0
    if layer.mark == "heat":
        height, width = values["z"].shape
        values = {
            "x": repeat(values["x"], "x -> (y x)", y=height),
            "y": repeat(values["y"], "y -> (y x)", x=width),
            "z": rearrange(values["z"], "y x -> (y x)"),
        }
        words = words * height
    columns = (values[role].tolist() if role in values else () for role in ROLES)
    for number, (word, *point) in enumerate(zip_longest(words, *columns, fillvalue="")):
        yield [*(divmod(number, width) if width else ("", number)), word, *point]


def from_csv(text: str, *, name: str = "", caption: str = "") -> Figure:
    """The figure that was written; name and caption are not part of the CSV."""
    read = csv.DictReader(StringIO(text, newline=""), restval="")
    rows = ({name: _unquoted(cell) for name, cell in row.items()} for row in read)
    panels = (list(group) for _, group in groupby(rows, itemgetter("panel")))
    return Figure(name, tuple(map(_panel, panels)), caption)


def _panel(rows: Sequence[Row]) -> Panel:
    layers = (list(group) for number, group in groupby(rows, itemgetter("layer")) if number)
    first = rows[0]
    return Panel(
        x=first["x label"],
        y=first["y label"],
        layers=tuple(map(_layer, layers)),
        title=first["title"],
        equal=first["equal"] == "1",
        share=first["share"],
        x_scale=first["x scale"],  # type: ignore[arg-type]
        y_scale=first["y scale"],  # type: ignore[arg-type]
    )


def _layer(rows: Sequence[Row]) -> Layer:
    first = rows[0]
    values = {role: _values(rows, role) for role in ROLES if first[role]}
    words = tuple(row["word"] for row in rows)
    if first["mark"] == "heat":
        width = 1 + max(int(row["point"]) for row in rows)
        cells = {role: rearrange(v, "(y x) -> y x", x=width) for role, v in values.items()}
        values = {"x": cells["x"][0], "y": cells["y"][:, 0], "z": cells["z"]}
        words = words[:width]
    return Layer(
        mark=first["mark"],  # type: ignore[arg-type]
        values=values,
        label=first["label"],
        series=int(first["series"]),
        dashed=first["dashed"] == "1",
        words=words if any(words) else (),
        signed=first["signed"] == "1",
    )


def _values(rows: Sequence[Row], role: str) -> Float[Tensor, " point"]:
    numbers = [float(row[role]) for row in rows if row[role]]
    return torch.tensor(numbers, dtype=torch.float64)
