"""The memory that a run takes at its peak, from sizes known before its model is loaded."""

from dataclasses import dataclass

from sdelens.origin import ModelCard
from sdelens.states.capturing import SHARD
from sdelens.states.generation import BATCH, CACHED
from sdelens.states.passes import BATCH_TOKENS

LIBRARIES = 540 * 2**20
"""Python with the libraries of models."""
BYTES = {"float64": 8, "float32": 4}
"""Bytes per number; 2 for others."""
LAYER_VALUES = 20
"""Values per coordinate and token that a forward pass has in memory together."""
LAWS = 5
"""Copies of the next-token laws of a batch."""
MATRICES = 45
"""Matrices of squares of the coordinates, in float64, at the peak of a linear fit with its
baselines: moments of two sides, and one candidate for each penalty."""


@dataclass(frozen=True)
class RunSizes:
    """What the memory of a run depends on."""

    card: ModelCard
    layers: int
    length: int
    """Tokens of a text, without its prompt."""
    prompt: int
    """Tokens of a prompt."""
    documents: int
    samples: bool
    """Whether the texts are sampled from the model."""

    @property
    def weights(self) -> int:
        """Number of weights of a decoder with this width, blocks and vocabulary."""
        return self.card.width * (12 * self.card.blocks * self.card.width + self.card.vocabulary)

    @property
    def peak(self) -> int:
        """Bytes at the peak: libraries, weights, and the largest of sampling, capture and fit."""
        own = BYTES.get(self.card.dtype, 2)
        most = max(self._sampling(own), self._capture(own), self._fit())
        return LIBRARIES + own * self.weights + most

    def _sampling(self, own: int) -> int:
        """The key-value cache of a batch of texts, and their next-token laws."""
        if not self.samples:
            return 0
        longest = self.prompt + self.length
        rows = max(1, min(BATCH, self.documents, CACHED // longest))
        width = self.card.cache_width or self.card.width
        cache = rows * longest * self.card.blocks * 2 * width * own
        return cache + LAWS * 4 * rows * self.card.vocabulary

    def _capture(self, own: int) -> int:
        """The values of one pass."""
        tokens = max(BATCH_TOKENS, self.prompt + self.length)
        return tokens * self.card.width * LAYER_VALUES * own + self._pool()

    def _fit(self) -> int:
        """Moments and candidates of one layer at a time, and the states of a pool of shards."""
        return MATRICES * 8 * self.card.width**2 + self._pool()

    def _pool(self) -> int:
        """States of the texts that are shuffled together, at all layers."""
        texts = min(SHARD, self.documents)
        longest = self.prompt + self.length
        return 4 * (3 + self.layers) * texts * longest * self.card.width
