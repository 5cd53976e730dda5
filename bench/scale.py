"""Cost of a log density by noise family, for d = 768."""

import time
from statistics import median

import torch

from sdelens.laws.noise_families.low_rank import LowRankScale
from sdelens.laws.scale import DiagonalScale, FullScale, Scale, ScaledCorrelation

DIM, BATCH, RANK, PASSES = 768, 256, 32, 50


def scales() -> dict[str, Scale]:
    """One scale per noise family; state-dependent ones have standard deviations per residual."""
    random = torch.Generator().manual_seed(0)
    std = 0.5 + torch.rand(BATCH, DIM, generator=random)
    constant = 0.5 + torch.rand(DIM, generator=random)
    columns = torch.randn(DIM, RANK, generator=random) / RANK**0.5
    root = torch.linalg.cholesky(columns @ columns.mT + constant.square().diag())
    return {
        "diagonal": DiagonalScale(std),
        f"correlated:{RANK}, constant": LowRankScale(constant, columns),
        f"correlated:{RANK}, scaled": ScaledCorrelation(std, LowRankScale(constant, columns)),
        "full, scaled": ScaledCorrelation(std, FullScale(root)),
    }


def measure(rounds: int = 15) -> list[dict]:
    """Milliseconds per batch, medians over interleaved rounds, and the ratio to diagonal noise."""
    residual = torch.randn(BATCH, DIM, generator=torch.Generator().manual_seed(1))
    forms = scales()
    clock: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, scale in forms.items():
            start = time.perf_counter()
            for _ in range(PASSES):
                scale.log_density(residual)
            clock[name].append(1000 * (time.perf_counter() - start) / PASSES)
    times = {name: median(taken) for name, taken in clock.items()}
    return [
        {"noise": name, "ms": taken, "ratio": taken / times["diagonal"]}
        for name, taken in times.items()
    ]


if __name__ == "__main__":
    for row in measure():
        print(row)
