"""Building a model draws weights; nobody's random state shall notice."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch


def own_random_state(device: torch.device) -> AbstractContextManager[None]:
    """Building modules draws weights, even those that are then loaded; nobody shall notice."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


@contextmanager
def drawing(device: torch.device, seed: int) -> Iterator[None]:
    """What is drawn within depends on the seed alone."""
    with own_random_state(device):
        # the CPU's generator alone: torch.manual_seed would seed every device
        torch.default_generator.manual_seed(seed)
        yield
