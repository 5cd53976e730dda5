"""Chains whose motion has known parts."""

import pytest

from sdelens.states.sampling import Sampler
from tests.chain import Chain, chain_study
from tests.plugins.analyzers.decomposition.chains import TEXTS, linear


@pytest.fixture(scope="module")
def chain():
    return Chain()


@pytest.fixture(scope="module")
def rho(chain):
    return chain.a / (1 - chain.c)


@pytest.fixture(scope="module")
def study(studies):
    return studies[0]


@pytest.fixture(scope="module")
def studies(chain, rho):
    """Independent texts of the chain."""
    law = linear(rho)
    return [chain_study(chain, law, sampler=Sampler(), seed=seed) for seed in range(TEXTS)]
