"""Plugins that do what a variable says, and one that depends on all that they may have changed."""

# ruff: noqa: F401  the statements use these

import atexit
import builtins
import gc
import logging
import math
import os
import random
import resource
import signal
import sys
import threading
import time
import warnings
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

import sdelens
import sdelens.seeds
from sdelens.report import Estimate, Finding
from sdelens_plugins.sources.sampled import SampledSource

print("on import")


class Kept(list):
    """What is kept; it can have finalizers."""


class Leaving:
    """An object that ends the process when it is removed."""

    kept = None

    def __del__(self):
        os._exit(0)


def late(function, *arguments):
    """Call a function soon, in a thread."""
    threading.Thread(target=lambda: (time.sleep(0.05), function(*arguments))).start()


KNOWN = dict(globals()) | {"kept": Kept()}
"""What the statements may use."""


def act(view, tensors):
    """Do what the variable says; returns an answer that it may have given."""
    names = KNOWN | {"view": view, "tensors": tensors, "answer": Finding(view, "Odd.", "")}
    exec(os.environ["HOSTILE"], names)
    return names["answer"]


@dataclass(frozen=True)
class Base:
    needs: ClassVar[frozenset[str]] = frozenset()
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"


@sdelens.analyzer("hostile")
@dataclass(frozen=True)
class Hostile(Base):
    """Does what the variable says."""

    def analyze(self, study, *, seed):
        view, viewed = study.single
        return act(str(view), [*viewed.fitted.law.tensors().values()])


@sdelens.analyzer("sensitive")
@dataclass(frozen=True)
class Sensitive(Base):
    """Depends on everything that it should not depend on."""

    def analyze(self, study, *, seed):
        view, viewed = study.single
        tensors = viewed.fitted.law.tensors().values()
        layer = torch.nn.Linear(3, 3)
        values = {
            "random": random.random() if "beartype" not in sys.modules else 0.0,
            "numpy": float(np.random.rand()) + float(np.mean([1.0, 2.0])),
            "torch": float(torch.rand(1)) + float(torch.exp(torch.tensor(0.3))),
            "type": float(torch.tensor(0.1)) + torch.get_num_threads() + math.sqrt(2.0),
            "law": sum(float(tensor.double().sum()) for tensor in tensors),
            "layer": float(layer(torch.ones(3)).detach().float().sum()),
            "product": float((torch.rand(64, 64) @ torch.rand(64, 64)).detach().sum()),
            "gradient": float(layer(torch.ones(3)).sum().requires_grad),
            "seed": float(sdelens.seeds.derive(seed, "x") % 1000),
            "folder": float(len(str(Path.cwd()))) + sum(map(len, sorted(os.environ))),
        }
        return Finding(str(view), "Same.", "", tuple(Estimate(k, v) for k, v in values.items()))


@sdelens.source("hostile")
@dataclass(frozen=True)
class HostileSource(SampledSource):
    """Does the same."""

    def documents(self, model, *, seed):
        if act("L01", []) is None:
            return None
        return super().documents(model, seed=seed)
