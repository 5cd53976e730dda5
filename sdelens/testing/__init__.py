"""Reference processes with known truth, and conformance checks for plugins.

>>> from sdelens.testing import ornstein_uhlenbeck
>>> ornstein_uhlenbeck(dim=2).simulate(paths=3, length=50, seed=0).shape
torch.Size([3, 50, 2])
"""

from sdelens.testing.chain import discrete_markov as discrete_markov
from sdelens.testing.conformance import check_analyzer as check_analyzer
from sdelens.testing.conformance import check_probe as check_probe
from sdelens.testing.conformance import check_source as check_source
from sdelens.testing.diffeomorphic import diffeomorphic as diffeomorphic
from sdelens.testing.double_well import double_well as double_well
from sdelens.testing.geometric import geometric_brownian_motion as geometric_brownian_motion
from sdelens.testing.hidden import coloured_noise as coloured_noise
from sdelens.testing.hidden import hidden_ornstein_uhlenbeck as hidden_ornstein_uhlenbeck
from sdelens.testing.jump import jump_ornstein_uhlenbeck as jump_ornstein_uhlenbeck
from sdelens.testing.lorenz import noisy_lorenz as noisy_lorenz
from sdelens.testing.ornstein_uhlenbeck import ornstein_uhlenbeck as ornstein_uhlenbeck
from sdelens.testing.oscillator import van_der_pol as van_der_pol
from sdelens.testing.square_root import cox_ingersoll_ross as cox_ingersoll_ross
from sdelens.testing.system import System as System


def systems() -> dict[str, System]:
    """All reference systems at their default parameters, by name."""
    every = [
        *(ornstein_uhlenbeck(dim) for dim in (1, 2, 16, 64)),
        geometric_brownian_motion(),
        cox_ingersoll_ross(),
        diffeomorphic(),
        double_well(),
        van_der_pol(),
        noisy_lorenz(),
        jump_ornstein_uhlenbeck(),
        hidden_ornstein_uhlenbeck(),
        coloured_noise(),
        discrete_markov(),
    ]
    return {system.name: system for system in every}
