r"""How drift, noise and gain change from one set of states to another along the same texts.

Two runs have states of the same width along the same texts, for example without and with an
intervention. Let :math:`m(x)` be the mean of the next state under the fit to each run, and
:math:`|\cdot|_P` a norm that both share: each coordinate is divided by the root of the mean of its
two training variances. By document the sums are those of

- the drift, :math:`|m(x)-x|_P^2`, the squared length of the expected step,
- the noise, :math:`|x'-m(x)|_P^2`, what this step leaves unexplained, lack of fit included,
- the gain, :math:`\log p(x'|x) - \log p_0(x')`, of the fit with constant noise over
  independent states at each position (:math:`p_0`), in nats.

The change of the drift or noise is half the logarithm of the ratio of the two totals, that is, the
logarithm of the ratio of two root mean squares, with a bootstrap of documents in pairs; that of
the gain is a difference, with Student's t. All three change their sign if the runs are exchanged,
and none depends on the unit or the origin of both states; if only the second run's states are
scaled by a, drift and noise change by log a, and the gain by 0.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.estimation.selection import selected
from sdelens.evidence.bootstrap import Bootstrap, by_unit
from sdelens.evidence.interval import Interval
from sdelens.evidence.scorecard import past, pieces
from sdelens.fitting.baselines import TERMS, constant_laws, noise_spec, refitted
from sdelens.fitting.fitted import log_density
from sdelens.fitting.study import Viewed
from sdelens.laws.law import Law
from sdelens.paths.basis import Basis
from sdelens.paths.moments import Moments, times_of
from sdelens.seeds import derive


@dataclass(frozen=True, eq=False)
class PairedChange:
    """The changes from the first to the second run, over all documents and by document."""

    drift: Interval
    """Logarithm of the ratio of the drifts' root mean squares."""
    noise: Interval
    """Logarithm of the ratio of the residuals' root mean squares."""
    gain: Interval
    """Difference of the gains, in nats per dimension."""
    unit: Int[Tensor, " document"]
    """The number of each document, or of each group of documents."""
    by_document: Float[Tensor, "change document"]
    """The three changes of each document."""

    @classmethod
    @torch.no_grad()
    def of(cls, one: Viewed, other: Viewed, unit: Int[Tensor, " document"]) -> "PairedChange":
        """Compare two runs on their held-out documents; `unit` is the group of each document.

        Raises `UsageError` if the states have different widths or the runs hold out different
        transitions.
        """
        metric = _shared_metric(one.fitted.basis, other.fitted.basis)
        first, second = (_sums(each, metric, unit) for each in (one, other))
        count = first[0]
        if not torch.equal(count, second[0]):
            raise UsageError(
                f"the runs must hold out the same transitions, got {int(count.sum()):,} and "
                f"{int(second[0].sum()):,}: fit both to the same texts with the same seed"
            )
        seen = count.nonzero()[:, 0]
        before, after = first[:, seen], second[:, seen]
        bootstrap = Bootstrap.of(before[0], seed=derive(0, "paired change"))
        whole = _changes(before.sum(1), after.sum(1))
        drawn = _changes(*(sums @ bootstrap.weights.mT for sums in (before, after)))
        sizes = bootstrap.interval(whole, drawn)
        gained = after[3] - before[3]
        each = torch.cat([_changes(before, after), (gained / before[0])[None]])
        return cls(sizes[0], sizes[1], Interval.ratio(gained, before[0]), seen, each)


def _changes(
    before: Float[Tensor, "quantity *series"], after: Float[Tensor, "quantity *series"]
) -> Float[Tensor, "size *series"]:
    """Half the logarithms of the ratios of drift and noise, from sums of transitions and both."""
    return (after[1:3] / before[1:3]).log() / 2


def _shared_metric(one: Basis, other: Basis) -> Float[Tensor, " dim"]:
    """One over the mean of the two training variances of each coordinate, per dimension."""
    widths = [len(basis.spread) for basis in (one, other)]
    if widths[0] != widths[1]:
        raise UsageError(
            f"states of {widths[0]} and {widths[1]} coordinates have no drift and noise to "
            "compare: give two runs of models of the same width"
        )
    variance = (one.spread.double().square() + other.spread.double().square()) / 2
    return 1 / variance / len(variance)


def _sums(
    viewed: Viewed, metric: Float[Tensor, " dim"], unit: Int[Tensor, " document"]
) -> Float[Tensor, "quantity unit"]:
    """Transitions, drift, noise and gain of the held-out documents, summed by unit."""
    fitted = viewed.fitted
    basis, law = fitted.basis, fitted.law
    fit, independent = _constant_noise(viewed)
    total = torch.zeros(4, int(unit.max()) + 1, dtype=torch.float64)
    for block in pieces(fitted.encoded(viewed.test)):
        steps, now = block.steps, past(block)
        mean, here = law.predict(now).mean, now.states
        times = block.times.expand(block.mask.shape)
        shift = basis.mean_at(times[:, 1:]) - basis.mean_at(times[:, :-1])
        moved = (mean - here) @ basis.decoder + shift
        residual = (block.states[:, 1:] - mean) @ basis.decoder
        gain = log_density(fit, block) - log_density(independent, block)
        sizes = (value.double().square() @ metric for value in (moved, residual))
        rows = (torch.ones_like(gain), *sizes, gain / basis.latent)
        columns = torch.stack([row.double()[steps] for row in rows])
        document = block.document[:, None].expand(steps.shape)[steps]
        total += by_unit(columns, unit[document.cpu()], total.shape[1])
    return total


def _constant_noise(viewed: Viewed) -> tuple[Law, Law]:
    """The fit's mean and independent states at each position, with constant noise."""
    fitted = viewed.fitted
    train, validation = fitted.encoded(viewed.train), fitted.encoded(viewed.validation)
    times = times_of(train)
    seen, held = Moments.of(train, times), Moments.of(validation, times)
    spec = noise_spec(fitted.record, seen.dim)
    name = "iid_position"
    means = {name: selected(seen, held, TERMS[name])}
    laws = constant_laws(means, seen, held, spec, train)
    return refitted(fitted.law, train, validation, spec), laws[name]
