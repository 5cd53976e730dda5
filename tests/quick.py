"""Analyzers that answer soon."""

from dataclasses import fields

from sdelens.interfaces import load

SHORT = {
    "exponents": 2,
    "paths": 4,
    "steps": 10,
    "long_run": 100,
    "states": 32,
    "documents": 10,
    "nodes": 2,
    "nulls": 20,
    "starts": 8,
    "draws": 4,
    "projections": 10,
    "permutations": 4,
    "tokens": 6,
    "centres": 16,
    "prefixes": 12,
    "listed": 64,
    "drawn": 8,
    "drift": "-1,1",
    "diffusion": "0,2",
    "temperatures": "0.7,1",
    "apart": 3,
}
"""Settings that make an answer short, of whichever analyzer has them."""


def quick(name):
    """The analyzer of that name with the short settings that it has."""
    kind = load("analyzer", name)
    known = {field.name for field in fields(kind)}
    return kind(**{k: v for k, v in SHORT.items() if k in known})
