"""The model's own law of the next state, averaged over prefixes, at several layers."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.branching.next_state_law import NextStateLaws
from sdelens.evidence.bootstrap import Bootstrap
from sdelens.evidence.interval import Interval
from sdelens.states.recording import View
from sdelens_plugins.analyzers.common.held_out_prefixes import HeldOutPrefixes
from sdelens_plugins.analyzers.transition_law.comparison import LawComparison
from sdelens_plugins.analyzers.transition_law.trace_agreement import TraceAgreement

EIGENVECTORS = 8
"""Leading eigenvectors of S* that are kept."""


@dataclass(frozen=True, eq=False)
class LawAverages:
    """Averages of the next-state laws over groups of prefixes, with intervals over documents."""

    views: tuple[View, ...]
    held_out: HeldOutPrefixes
    laws: NextStateLaws
    seed: int

    @cached_property
    def count(self) -> Float[Tensor, "group unit"]:
        """Prefixes of each group and document."""
        return self._grouped(torch.ones_like(self.laws.words[:1]))[0]

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """The same draws of documents for all averages."""
        return Bootstrap.of(self.count[0], seed=self.seed)

    @cached_property
    def words(self) -> Interval:
        """Entropy and effective branches by group, ``[word, group]``."""
        return Interval.ratio(self._grouped(self.laws.words), self.count)

    @cached_property
    def noise(self) -> Interval:
        """Tr S* per dimension, ``[layer, group]``."""
        traces = torch.stack([self.laws.sites[view.site].noise.sampler for view in self.views])
        return Interval.ratio(self._grouped(traces), self.count)

    def _grouped(self, values: Float[Tensor, "series prefix"]) -> Tensor:
        sums = self.laws.by(values, self.held_out.cells, self.held_out.prefixes.units)
        return torch.einsum("gc,scu->sgu", self.held_out.groups, sums)

    @cached_property
    def comparisons(self) -> dict[View, LawComparison]:
        """The fit of each view and the baselines, compared with the model's own law."""
        return {
            view: LawComparison(view, self.laws.sites[view.site], self.count[0])
            for view in self.views
        }

    @cached_property
    def spectra(self) -> dict[View, tuple[Float[Tensor, " latent"], Float[Tensor, "latent few"]]]:
        """Eigenvalues of S*, largest first, and the leading eigenvectors, by view."""
        spectra = {}
        for view, comparison in self.comparisons.items():
            values, vectors = torch.linalg.eigh(comparison.directions.mean("sampler"))
            spectra[view] = values.flip(0), vectors.flip(1)[:, :EIGENVECTORS]
        return spectra

    def traces(self, view: View) -> TraceAgreement:
        """The size of the fit's noise compared with the model's own."""
        return TraceAgreement(self.laws.sites[view.site].noise, self.laws.unit, self.bootstrap)
