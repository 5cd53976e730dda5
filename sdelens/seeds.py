"""Seeds for every stage, derived from the seed of the run."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256

import torch


def derive(seed: int, *stage: object) -> int:
    """A seed for a stage: the first 63 bits of sha256 of the run's seed and the stage's names.

    Stages do not depend on whether other stages ran.

    >>> derive(0, "fit", "L06") == derive(0, "fit", "L06")
    True
    >>> derive(0, "fit", "L06") == derive(0, "fit", "L07")
    False
    """
    text = "\x1f".join([str(seed), *map(str, stage)])
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *stage: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A random generator for a stage, independent of the global random state."""
    return torch.Generator(device).manual_seed(derive(seed, *stage))


def own_random_state(device: torch.device | str) -> AbstractContextManager[None]:
    """Restore the global random state, and that of a CUDA device, after the block."""
    return torch.random.fork_rng([device] if torch.device(device).type == "cuda" else [])


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
