"""What drift and diffusion say: the words that a push along them raises and lowers."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Study, Viewed
from sdelens.language.patching import last_site
from sdelens.language.texts import Places, asked, held_out, model_of
from sdelens.report import Finding
from sdelens.seeds import derive
from sdelens_plugins.analyzers.readout.figures import figures, strips
from sdelens_plugins.analyzers.readout.logit_change import (
    UNITS,
    as_long_as,
    isotropic,
    leading,
    logit_change,
)
from sdelens_plugins.analyzers.readout.summary import (
    ReadoutSummary,
    arrays,
    estimates,
    on_ranks,
    on_words,
    ranks,
)

NUMBERS = 2**26
"""Entries of covariances that are held in memory together."""
READING = (
    "Each state is pushed by what the fit expects of the next step (the drift, over one step) or "
    "by one standard deviation along a leading direction of its noise, and the model's own law of "
    "the next word is read with and without the push: through the rest of the network from the "
    "fit's layer on, with all earlier states left as they are, and through the final norm and the "
    "unembedding alone (the logit lens), which is the same thing at the last layer. A push of "
    "some length always raises some words: they mean something only where the law changes by more "
    "than under random directions of the same length. There are two kinds: uniform on the sphere, "
    "most of which lie where states hardly vary and the network hardly listens, and increments of "
    "training texts, the harder null: a drift that is not above them says no more than the step "
    "of any other text would. Ranks are shares of these directions with a smaller divergence, so "
    "that 50% is chance; errors are over documents. The sign of a direction of the noise is "
    "arbitrary: one way and the other are both shown. Whether the drift points at the words to "
    "come is told by the gains in log probability, which are compared with those of training "
    "increments and of a push all the way to the mean state; the drift does not know which word "
    "comes next, and what it raises is what follows on average. Pushed states may lie where the "
    "model never is; nothing here shows that the model itself computes with the drift."
)


@dataclass(frozen=True)
class ReadoutAnalyzer:
    """The words that the drift and the leading directions of the noise raise and lower.

    The first `tokens` states of the prompt, or of a test document, are shown with `words` words
    each, by change of their `by` (logit or probability), and `directions` of the noise; ranks are
    among `random` directions of each kind, at
    `places` states of each of the first `documents` test documents.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde", "model"})
    scope: ClassVar[str] = "view"

    tokens: int = 24
    words: int = 5
    by: str = "logit"
    directions: int = 2
    random: int = 16
    documents: int = 24
    places: int = 2

    def __post_init__(self) -> None:
        for name in ("tokens", "words", "directions", "random", "documents", "places"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}")

        if self.by not in UNITS:
            raise UsageError(f"by must be {' or '.join(UNITS)}, got {self.by!r}")

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, _ = study.single
        text = asked(study, tokens=self.tokens)
        shown = self._read(study, Places.all_of(text), derive(seed, "shown"))
        texts = held_out(study, documents=self.documents, states=3)
        many = shown
        if texts:
            places = Places.spread(texts, each=self.places, before_end=2)
            many = self._read(study, places, derive(seed, "documents"))
        spoken = model_of(study)
        return Finding(
            analyzer="readout",
            view=str(view),
            headline=f"{on_ranks(many)} {on_words(spoken.decode, text, shown)}",
            reading=READING,
            estimates=estimates(many),
            arrays=arrays(text, shown, many),
            figures=figures(spoken.decode, text, shown, ranks(many), len(texts), self.by),
            strips=strips(spoken.decode, text, shown, self.words, self.by),
            prompt=study.prompt,
        )

    def _read(self, study: Study, places: Places, seed: int) -> ReadoutSummary:
        """All pushes of some states, read both ways."""
        view, viewed = study.single
        model = model_of(study)
        pushes = self._pushes(viewed, places, seed)
        targets = torch.stack([places.word(1), places.word(2)], dim=1)
        ways = {"network": (view.site, places), "lens": (last_site(model), places.alone())}
        found = {
            name: logit_change(
                model, site, at, pushes, words=self.words, by=self.by, targets=targets
            )
            for name, (site, at) in ways.items()
        }
        # a narrow state has fewer directions than were asked for
        directions = min(self.directions, places.states.shape[1])
        return ReadoutSummary(places, pushes, found, directions, self.random)

    def _pushes(
        self, viewed: Viewed, places: Places, seed: int
    ) -> Float[Tensor, "place push dim"]:
        """Drift, noise one way and the other, to the mean state, then random directions."""
        fitted, x = viewed.fitted, places.states
        drift, noise = step_of(fitted, places, self.directions)
        both = torch.stack([noise, -noise], dim=2).flatten(1, 2)
        count, dim = x.shape
        sphere = isotropic(count, 2 * self.random, dim, seed=seed)
        some = next(iter(viewed.train.transitions(count * self.random, derive(seed, "train"))))
        steps = (some.following - some.x).cpu()
        steps = steps[torch.arange(count * self.random) % len(steps)].reshape(count, -1, dim)
        centre = fitted.basis.mean_at(places.times + fitted.dt) - x
        null = (
            as_long_as(drift, sphere[:, : self.random]),
            as_long_as(drift, steps),
            as_long_as(noise[:, 0], sphere[:, self.random :]),
        )
        return torch.cat([drift[:, None], both, centre[:, None], *null], dim=1)


def step_of(
    fitted: Fitted, places: Places, directions: int
) -> tuple[Float[Tensor, "place dim"], Float[Tensor, "place direction dim"]]:
    """The expected increment of one step, and the leading directions of its noise."""
    x = places.states
    drifts: list[Tensor] = []
    noises: list[Tensor] = []
    for index in torch.split(torch.arange(len(x)), max(1, NUMBERS // x.shape[1] ** 2)):
        step = fitted.transition(places.times[index], x[index])
        drifts.append(step.mean - x[index].to(step.mean))
        if noises and step.covariance.stride(0) == 0:  # the same for all, and known already
            noises.append(noises[0][:1].expand(len(index), -1, -1))
        else:
            noises.append(leading(step.covariance, directions))
    return torch.cat(drifts), torch.cat(noises)
