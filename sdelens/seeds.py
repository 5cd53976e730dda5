"""Seeds for every stage, derived from the run's one seed."""

from contextlib import AbstractContextManager
from hashlib import sha256

import torch


def derive(seed: int, *stage: object) -> int:
    """A seed for a stage: the first 63 bits of sha256 over the run's seed and the stage's names.

    No stage depends on whether another one ran.

    >>> derive(0, "fit", "L06") == derive(0, "fit", "L06")
    True
    >>> derive(0, "fit", "L06") == derive(0, "fit", "L07")
    False
    """
    text = "\x1f".join([str(seed), *map(str, stage)])
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *stage: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A random generator of its own for a stage; the global random state is left alone."""
    return torch.Generator(device).manual_seed(derive(seed, *stage))


def own_random_state(device: torch.device | str) -> AbstractContextManager[None]:
    """The global random state is afterwards what it was, whatever others' code draws within.

    That of a CUDA device too, if one is given.
    """
    return torch.random.fork_rng([device] if torch.device(device).type == "cuda" else [])
