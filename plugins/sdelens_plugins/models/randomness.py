"""Fresh weights, drawn without anybody's random state noticing."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sdelens.seeds import own_random_state


@contextmanager
def drawing(device: torch.device, seed: int) -> Iterator[None]:
    """What is drawn within, on the CPU or the device, depends on the seed alone."""
    with own_random_state(device):
        # these generators alone: torch.manual_seed would seed every device
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
