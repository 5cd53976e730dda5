"""A report with everything that the interactive views need."""

import torch

from sdelens.report import Dose, DoseSeries, Estimate, Finding, Report, StatePath, Strip
from sdelens.summary import Summary

TOKENS = tuple(
    word
    for k in range(10)
    for word in (" the", f" cat{k}", "</script><script>alert(1)</script>", "\n")
)
VIEWS = ("embed", "L02", "L10")


def state_path(turn=0.0, tokens=TOKENS):
    """States on a spiral, each predicted a little inside of it with unit covariance."""
    t = torch.arange(float(len(tokens)))
    states = torch.stack([t * (t / 4 + turn).cos(), t * (t / 4 + turn).sin()], 1)
    covariance = torch.tensor([[2.0, 0.5], [0.5, 1.0]]).expand(len(tokens), 2, 2)
    ahead = torch.cat([states[1:], states[-1:]]) * 0.95
    return StatePath(tokens, ("PC 1 (40%)", "PC 2 (20%)"), states, ahead, covariance)


def strips(layer):
    """Surprise by layer on all tokens, and entropy with words on the first thirty."""
    surprise = tuple(float(k % 7 + 10 * layer) for k in range(len(TOKENS)))
    notes = tuple(f"raises “word{k}”" for k in range(30))
    entropy = Strip(
        "entropy", TOKENS[:30], tuple(0.1 * k - 1 for k in range(30)), "nats", notes=notes
    )
    return Strip("surprise", TOKENS, surprise, "nats/dimension"), entropy


def dose(number):
    """A dose whose text repeats its number."""
    texts = tuple(
        Strip(arm, (f" {arm}{number}", "<b>"), (0.1 * number, 0.0), "nats", (0.0, 1.0))
        for arm in ("fit", "control")
    )
    effects = (
        Estimate("KL", 0.1 * number, 0.01, "nats"),
        Estimate("KL", 0.2 * number, 0.01, "nats"),
    )
    return Dose(f"drift {number}", texts, effects)


def report(views=VIEWS):
    """Paths of one analyzer and strips of another at each view, and doses at the last."""
    findings = []
    for k, view in enumerate(views):
        findings += [
            Finding(view, "A path.", "", analyzer="path", paths=(state_path(k),)),
            Finding(
                view,
                "Colours.",
                "",
                strips=strips(k),
                analyzer="colours",
                summary=Summary(strip="surprise"),
            ),
        ]
    series = DoseSeries("dose of the drift", tuple(map(dose, range(4))), 1, "<i>Once")
    findings.append(Finding(views[-1], "It moves.", "", doses=(series,), analyzer="steer"))
    return Report("Views", ("A verdict.",), findings=tuple(findings))
