"""Random weights that leave the global random state unchanged."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sdelens.seeds import own_random_state


@contextmanager
def drawing(device: torch.device, seed: int) -> Iterator[None]:
    """Draws inside the block depend only on the seed, on the CPU and on the device."""
    with own_random_state(device):
        # only these generators: torch.manual_seed would seed every device
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
