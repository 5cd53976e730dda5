"""Figures and reports that contain everything, and a strict reader of HTML."""

from html.parser import HTMLParser

import torch

from sdelens.report import Estimate, Figure, Finding, Layer, Panel, Report, Strip, Table
from sdelens.seeds import generator

HOSTILE = (
    "<script>alert(1)</script>",
    "</title></style><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "{{ 7 * 7 }}{% raw %}",
    "$x^$ \\frac",
    "\x00\x1b\ud800",
    "日本語 🙂 \u202e",
    "]]>",
)


VOID = {"meta", "br", "wbr", "img", "hr", "input", "link"}


def every_mark(*, words=()):
    """Every mark in one figure."""
    random = generator(0)
    x = torch.arange(5.0)
    y, u, v = torch.randn(3, 5, generator=random)
    words = words or ("a", " b", "\n", "d", "e")
    path = (
        Layer("band", {"x": x, "low": y - 1, "high": y + 1}, "interval", 1),
        Layer("line", {"x": x, "y": y}, "mean", dashed=True),
        Layer("scatter", {"x": x, "y": y}, words[0]),
        Layer("words", {"x": x, "y": y}, words=words),
    )
    rest = (
        Layer("arrows", {"x": x, "y": y, "u": u, "v": v}, "drift", 2),
        Layer("bars", {"x": x, "y": y, "low": y - 1, "high": y + 1}, words=words),
    )
    z = torch.randn(3, 5, generator=random)
    heat = (Layer("heat", {"x": x, "y": torch.arange(3.0), "z": z}, "nats"),)
    panels = (
        Panel("position", words[1], path, words[2], share="all"),
        Panel("x", "y", rest, share="all"),
        Panel("position", "layer", heat, "heat"),
    )
    return Figure("every mark", panels, f"Caption {words[0]}")


def shared_axes(*, words=()):
    """A figure of two panels that share their limits."""
    far = torch.tensor([0.0, 100.0])
    near = torch.tensor([0.0, 1.0])
    panels = tuple(
        Panel("t", "x", (Layer("line", {"x": t, "y": t}, name),), name, share="plane")
        for name, t in (("far", far), ("near", near))
    )
    return Figure("lines", panels, "Two lines.")


def report(text, figures=()):
    """A report that says `text` wherever one can."""
    finding = Finding(
        analyzer="losses",
        view="L02",
        headline=text,
        reading=text,
        estimates=(Estimate(text, 0.1, 0.02, text), Estimate("no error", 1.0)),
        figures=figures,
        strips=(Strip(text, (text, "\n", " a"), (0.5, -1.0, float("nan")), text),),
        prompt=text,
    )
    return Report(
        title=text,
        verdict=(text,),
        tables=(Table(text, ("mean", text), ((text, text),), text),),
        findings=(finding, finding),
        failures={text: text},
        provenance={text: text},
    )


class Reader(HTMLParser):
    """Tags, attributes and text; an error where tags do not close as they opened."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend((tag, *pair) for pair in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend((tag, *pair) for pair in attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
