"""The parts of the motion of every layer: in words, numbers and stacked bars."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.interval import Interval
from sdelens.laws.law import prefixed
from sdelens.report import Estimate, Figure, Layer, Panel, counted
from sdelens.states.recording import View
from sdelens_plugins.analyzers.common.held_out_prefixes import HeldOutPrefixes
from sdelens_plugins.analyzers.common.intervals import estimate, line_with_band, with_interval
from sdelens_plugins.analyzers.common.layer_axis import layer_number
from sdelens_plugins.analyzers.decomposition.measurement import Measurement
from sdelens_plugins.analyzers.decomposition.shares import Decomposition

LABELS = {name: name for name in ("drift", "misfit", "memory", "unreached", "sampler")} | {
    "text": "text is not the model",
    "model": "left to the model",
}
SERIES = {name: min(number, 4) for number, name in enumerate(LABELS)} | {"text": 3}


@dataclass(frozen=True, eq=False)
class DecompositionResults:
    """What is shown of a decomposition."""

    views: tuple[View, ...]
    layers: tuple[Decomposition, ...]
    spread: tuple[Float[Tensor, " dim"], ...]
    held: HeldOutPrefixes
    found: Measurement

    @property
    def names(self) -> tuple[str, ...]:
        """The parts."""
        return self.layers[0].names

    def headline(self) -> str:
        """The last layer in full, and how drift goes by layer."""
        last = self.layers[-1]
        parts = ", ".join(
            f"{LABELS[name]} {with_interval(last.shares[0, k], 2)}"
            for k, name in enumerate(self.names)
        )
        said = (
            f"Of the motion at {self.views[-1]}, over {counted(last.units, 'held-out document')}: "
            f"{parts}; the gain of the drift is {with_interval(last.gains[0], 2)}. The return to "
            "the "
            f"mean alone, without a fit, would be {with_interval(last.reversion[0], 2)}."
        )
        if len(self.layers) == 1:
            return said
        drift = [float(layer.shares.value[0, 0]) for layer in self.layers]
        low, high = (pick(range(len(drift)), key=drift.__getitem__) for pick in (min, max))
        return (
            f"{said} Over {len(drift)} layers the drift's share runs from {drift[low]:.2f} "
            f"({self.views[low]}) to {drift[high]:.2f} ({self.views[high]})."
        )

    def estimates(self) -> tuple[Estimate, ...]:
        """Of every layer; of classes and positions at the last."""
        found = [
            Estimate("next tokens tried", float(self.found.tokens)),
            Estimate(
                "surprisal less entropy of the texts",
                self.found.agreement.excess,
                self.found.agreement.stderr,
                "nats per token (0 if the model wrote them with these settings)",
            ),
        ]
        for view, layer, spread in zip(self.views, self.layers, self.spread, strict=True):
            found += self._of(f"{view}", layer, 0)
            for number, name in enumerate(("drift", "misfit", "memory")):
                gain = layer.gains[number]
                found.append(estimate(f"{view}: gain of {name}", gain, "(1 is calibrated)"))
            against = "over the motion that occurred"
            found.append(
                estimate(f"{view}: motion by branches, less 1", layer.discrepancy, against)
            )
            deviation = float(spread.median())
            found.append(
                Estimate(f"{view}: median training deviation", deviation, unit="(metric)")
            )
        last = self.layers[-1]
        for group in (k for part in self.held.common_groups(last.count) for k in part):
            found += self._of(f"{self.views[-1]}, {self.held.names[group]}", last, group)
        return tuple(found)

    def _of(self, name: str, layer: Decomposition, group: int) -> list[Estimate]:
        many = f"{int(layer.count[group]):,} prefixes"
        return [
            *(
                estimate(
                    f"{name}: {LABELS[part]}", layer.shares[group, k], f"of the motion ({many})"
                )
                for k, part in enumerate(self.names)
            ),
            estimate(
                f"{name}: return to the mean alone",
                layer.reversion[group],
                "of the motion (to compare with drift; no part of the sum)",
            ),
            estimate(f"{name}: motion", layer.motion[group], "variances per dimension"),
        ]

    def arrays(self) -> dict[str, Tensor]:
        """Every share, gain and motion: by layer, group and part."""
        named: dict[str, Tensor] = {"layer": self._x(), "edges": self.held.edges}
        for what in ("shares", "reversion", "gains", "motion", "discrepancy"):
            whole = Interval.stack(getattr(layer, what) for layer in self.layers)
            named |= prefixed(**{what: whole.tensors()})
        named["count"] = torch.stack([layer.count for layer in self.layers])
        rows = zip(self.views, self.spread, strict=True)
        return named | {f"{view}.deviation": spread for view, spread in rows}

    def _x(self) -> Float[Tensor, " layer"]:
        return torch.tensor([layer_number(view) for view in self.views]).double()

    def figures(self) -> tuple[Figure, ...]:
        """Stacked by layer, the same with intervals, and by class and position where common."""
        both = (self._stacked(), self._courses()) if len(self.views) > 1 else (self._stacked(),)
        return tuple(figure for figure in (*both, self._groups()) if figure.panels)

    def _stacked(self) -> Figure:
        shares = torch.stack([layer.shares.value[0] for layer in self.layers])
        words = tuple(str(view) for view in self.views)
        panel = Panel("", "share of the motion", self._bars(shares, words))
        return Figure(
            "layers",
            (panel,),
            "What the motion from one token's state to the next is made of, by layer "
            f"({counted(self.layers[0].units, 'held-out document')}). From below: what the fit "
            "foretells; what a larger probe on the same state adds; what earlier states add; "
            f"{self._rest()} It does not show that the motion is a diffusion, nor that what is "
            "unreached could not be reached.",
        )

    def _rest(self) -> str:
        if self.names[-1] == "sampler":
            return (
                "the rest of the model's own expected motion, which none of them foretells; and "
                "the noise of drawing the next token, which nothing could foretell."
            )
        return (
            "by how much the text is not the model's; and what the model's own next tokens would "
            "leave."
        )

    def _bars(self, shares: Float[Tensor, "bar part"], words: Sequence[str]) -> tuple[Layer, ...]:
        """Parts above zero stand on each other, those below hang from each other."""
        x = torch.arange(len(words)).double()
        above, below = shares.clamp(min=0), shares.clamp(max=0)
        base = (above.cumsum(1) - above).where(shares >= 0, below.cumsum(1) - below)
        return tuple(
            Layer(
                "bars",
                {"x": x, "y": shares[:, k], "base": base[:, k]},
                LABELS[name],
                SERIES[name],
                words=tuple(words),
            )
            for k, name in enumerate(self.names)
        )

    def _courses(self) -> Figure:
        big = [k for k, name in enumerate(self.names) if name in ("drift", "sampler", "model")]
        small = [k for k in range(len(self.names)) if k not in big]
        panels = tuple(
            Panel("layer", "share of the motion", tuple(self._lines(few)), title)
            for few, title in ((big, "Large parts"), (small, "Small parts"))
        )
        caption = "The same shares with 95% intervals over held-out documents; scales differ."
        return Figure("intervals", panels, caption)

    def _lines(self, parts: Sequence[int]) -> list[Layer]:
        found: list[Layer] = []
        for k in parts:
            whole = Interval.stack(layer.shares[0, k] for layer in self.layers)
            name = self.names[k]
            found += line_with_band(self._x(), whole, LABELS[name], SERIES[name])
        return found

    def _groups(self) -> Figure:
        last, titles = self.layers[-1], ("By the last token", "By position")
        panels = tuple(
            Panel(
                "",
                "share of the motion",
                self._bars(last.shares.value[few], [self._short(k) for k in few]),
                title,
            )
            for few, title in zip(self.held.common_groups(last.count), titles, strict=True)
            if few
        )
        caption = (
            f"The same parts at {self.views[-1]} by the class of the prefix's last token and by "
            "its position; each bar is of its own motion, and the coefficients are those of all "
            "prefixes. Parts below zero are negative, and those above sum to 1 less them."
        )
        return Figure("groups", panels, caption)

    def _short(self, group: int) -> str:
        return self.held.names[group].removeprefix("positions ")
