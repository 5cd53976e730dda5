"""Small GPT-2 folders and bridges on them."""

import torch


def blocks_in(model):
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers


def tokens_for(model, rows=2, length=20):
    random = torch.Generator().manual_seed(1)
    return torch.randint(0, model.card.vocabulary, (rows, length), generator=random)
