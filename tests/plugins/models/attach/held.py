"""Models that their user holds."""

import torch
from torch import nn

from tests.small import sentences

TEXTS = sentences(24)


QUICK = {"epochs": 1, "least_steps": 60, "width": 8, "noise_width": 8}


def blocks_in(model):
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers


class Toy(nn.Module):
    """A model of no library: a causal running mean between two maps."""

    def __init__(self, vocabulary=320, width=12):
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.mix = nn.Linear(width, width)
        self.out = nn.Linear(width, vocabulary)

    def forward(self, ids):
        counts = torch.arange(1, ids.shape[1] + 1)[:, None]
        return self.out(self.mix(self.words(ids).cumsum(1) / counts))
