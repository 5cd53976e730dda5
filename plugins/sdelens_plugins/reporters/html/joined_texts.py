"""Joins what findings know of the tokens of one text, for the views token by token.

A text is that of a `StatePath`. Strips over the same tokens, or over their beginning, belong to
it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from sdelens.report import Figure, Finding, Layer, Panel, StatePath, Strip
from sdelens.wording import visible
from sdelens_plugins.reporters.html.token_strips import ColouredStrip

DIGITS = 5
"""Significant digits of the numbers in the page."""
MAP = "Values of the coloured texts, by token, in the layers from bottom to top:"
Tokens = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class JoinedText:
    """One text: its tokens, and by view its states in a plane and its quantities."""

    tokens: Tokens
    views: tuple[str, ...]
    """Views with a state path or a strip, by depth."""
    paths: dict[str, StatePath]
    quantities: dict[str, dict[str, Strip]]
    """Strips by name and by view, those of one name on a common scale."""

    def data(self) -> dict[str, Any]:
        """The text as JSON, for the script of the page."""
        return {
            "tokens": [visible(token) or "∅" for token in self.tokens],
            "breaks": [k for k, token in enumerate(self.tokens) if "\n" in token],
            "views": self.views,
            "planes": [_plane(self.paths.get(view)) for view in self.views],
            "quantities": [_quantity(own, self.views) for own in self.quantities.values()],
        }

    def maps(self) -> list[Figure]:
        """The quantities that differ between views, by view and position; seen without scripts."""
        quantities = self.quantities.values()
        varying = [own for own in quantities if len({strip.values for strip in own.values()}) > 1]
        panels = [self._map(own) for own in varying]
        return [Figure("map", tuple(panels), f"{MAP} {', '.join(self.views)}.")] if panels else []

    def _map(self, own: dict[str, Strip]) -> Panel:
        rows = [own[view].values if view in own else () for view in self.views]
        count = max(map(len, rows))
        z = torch.tensor([[*row, *[math.nan] * (count - len(row))] for row in rows])
        x, y = (torch.arange(1.0, 1 + size) for size in (count, len(rows)))
        first = ColouredStrip(next(iter(own.values())))
        heat = Layer("heat", {"x": x, "y": y, "z": z}, first.strip.unit, signed=first.signed)
        return Panel("token", "layer", (heat,), first.strip.name)


def joined_texts(findings: Sequence[Finding]) -> list[JoinedText]:
    """The texts of the state paths of a report, each with the strips over its tokens."""
    paths = [(f.view, path) for f in findings for path in f.paths]
    # strips that a finding proposes for the first screen come first
    proposed = sorted(
        ((f.view, strip, strip.name != f.summary.strip) for f in findings for strip in f.strips),
        key=lambda each: each[2],
    )
    strips = [(view, strip) for view, strip, _ in proposed]
    known = [path.tokens for _, path in paths] + [strip.tokens for _, strip in strips]
    longest: list[Tokens] = []
    for tokens in sorted(known, key=len, reverse=True):
        if not any(_begins(text, tokens) for text in longest):
            longest.append(tokens)
    anchored = [text for text in longest if any(_begins(text, p.tokens) for _, p in paths)]
    return [_joined(text, paths, strips) for text in anchored]


def _joined(
    text: Tokens, paths: Iterable[tuple[str, StatePath]], strips: Iterable[tuple[str, Strip]]
) -> JoinedText:
    own_paths: dict[str, StatePath] = {}
    quantities: dict[str, dict[str, Strip]] = {}
    for view, path in paths:
        if _begins(text, path.tokens):
            own_paths.setdefault(view, path)
    for view, strip in strips:
        if _begins(text, strip.tokens):
            quantities.setdefault(strip.name, {}).setdefault(view, strip)
    views = {*own_paths, *(view for own in quantities.values() for view in own)}
    order = sorted(views, key=lambda view: (view != "embed", view))
    return JoinedText(
        text,
        tuple(order),
        own_paths,
        {name: _on_one_scale(own, order) for name, own in quantities.items()},
    )


def _begins(text: Tokens, tokens: Tokens) -> bool:
    return text[: len(tokens)] == tokens


def _on_one_scale(own: dict[str, Strip], order: Sequence[str]) -> dict[str, Strip]:
    """Strips of several views with the smallest scale that has the values of all."""
    ends = [end for strip in own.values() for end in ColouredStrip(strip).ends]
    scale = (min(ends), max(ends))
    return {view: replace(own[view], scale=scale) for view in order if view in own}


def _quantity(own: dict[str, Strip], views: Sequence[str]) -> dict[str, Any]:
    first = ColouredStrip(next(iter(own.values())))
    return {
        "name": first.strip.name,
        "unit": first.strip.unit,
        "ends": list(map(_number, first.ends)),
        "signed": first.signed,
        "values": [_numbers(own[view].values) if view in own else None for view in views],
        "notes": [own[view].notes if view in own else () for view in views],
    }


def _plane(path: StatePath | None) -> dict[str, Any] | None:
    if path is None:
        return None
    covariance = path.covariance.flatten(1)[:, [0, 1, 3]]
    columns = {"states": path.states, "means": path.mean, "covariances": covariance}
    rows = {name: [_numbers(row) for row in part.tolist()] for name, part in columns.items()}
    return {"axes": path.axes, **rows}


def _numbers(values: Iterable[float]) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
