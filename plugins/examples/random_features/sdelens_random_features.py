"""A nonlinear drift by ridge regression on random features of a Gaussian kernel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import Ridge
from torch import Tensor

import sdelens
from sdelens.laws.constant_noise import ConstantNoise
from sdelens.laws.law import Mean, group_of
from sdelens.laws.sde import KernelSDE
from sdelens.paths.trajectories import Paths, dt_of, require_finite
from sdelens.protocols import Fit, Watch


@sdelens.probe("random-features")
@dataclass(frozen=True)
class RandomFeaturesProbe:
    """x' = x + W [phi(x), x] + c + noise, phi by Nystroem's method, W and c by ridge regression.

    Noise is constant and diagonal. `gamma` is the kernel's, per squared unit of the standardised
    state; None is one over their number.
    """

    api: ClassVar[int] = 1
    densities: ClassVar[tuple[str, ...]] = ("discrete",)
    looks_back: ClassVar[bool] = False
    density: str = "discrete"
    features: int = 64
    ridge: float = 1.0
    gamma: float | None = None

    def fit(self, train: Paths, validation: Paths, *, seed: int, watch: Watch) -> Fit:
        del validation, watch  # closed form
        steps = [require_finite(block).flat() for block in train]
        x = torch.cat([step.x for step in steps]).double().cpu().numpy()
        moved = torch.cat([s.following - s.x for s in steps]).double().cpu().numpy()
        gamma = 1 / x.shape[1] if self.gamma is None else self.gamma
        kernel = Nystroem(
            gamma=gamma, n_components=min(self.features, len(x)), random_state=seed % 2**32
        )
        inputs = np.hstack([kernel.fit_transform(x), x])
        fitted = Ridge(alpha=self.ridge).fit(inputs, moved)
        arrays = {
            "landmarks": kernel.components_,
            "normalization": kernel.normalization_,
            "weights": np.atleast_2d(fitted.coef_),
            "offset": np.atleast_1d(fitted.intercept_),
            "gamma": np.array(gamma),
        }
        ordered = {name: torch.tensor(a).float().contiguous() for name, a in arrays.items()}
        mean = RandomFeatures(**ordered)
        spread = (moved - fitted.predict(inputs).reshape(moved.shape)).std(0)
        return Fit(
            KernelSDE(
                mean, ConstantNoise.independent(torch.tensor(spread).float()), dt=dt_of(train)
            )
        )

    def restore(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> KernelSDE:
        mean = RandomFeatures(**group_of(dict(tensors), "mean"))
        noise = ConstantNoise.independent(tensors["noise.std"])
        return KernelSDE(mean, noise, dt=config["dt"])


@dataclass(frozen=True, eq=False)
class RandomFeatures(Mean):
    """What scikit-learn fitted, as tensors."""

    landmarks: Float[Tensor, "feature dim"]
    normalization: Float[Tensor, "feature feature"]
    weights: Float[Tensor, "dim both"]
    offset: Float[Tensor, " dim"]
    gamma: Float[Tensor, ""]

    def __call__(
        self,
        t: Float[Tensor, "*batch"],
        x: Float[Tensor, "*batch dim"],
        token: Int[Tensor, "*batch"],
    ) -> Float[Tensor, "*batch dim"]:
        del t, token  # the same at any time, after any token
        apart = (x[..., None, :] - self.landmarks).square().sum(-1)
        features = (-self.gamma * apart).exp() @ self.normalization.mT
        return x + torch.cat([features, x], dim=-1) @ self.weights.mT + self.offset

    def tensors(self) -> dict[str, Tensor]:
        return dict(vars(self))
