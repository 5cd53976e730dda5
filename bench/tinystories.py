"""Held-out scores on layer 1 of TinyStories-656K, by mean and by noise.

The data are 768 documents of BOS and 200 tokens, sampled at temperature 1 without end of text;
states are standardised.
"""

import json
from pathlib import Path

from sdelens.fitting.comparison import FitProgress, comparisons
from sdelens.fitting.options import FitOptions
from sdelens.interfaces import load
from sdelens.models import language_model
from sdelens.paths.documents import Documents
from sdelens.paths.split import first_new, split
from sdelens.protocols import FitTask
from sdelens.states.capturing import capture
from sdelens.states.generation import sample
from sdelens.states.recording import trimmed
from sdelens.states.sampling import Sampler

MODEL = Path(__file__).parents[2] / "shared" / "models" / "TinyStories-656K"


def recorded(documents: int, cache: Path | None):
    """Sample documents and capture the states of layer 1."""
    model = language_model(str(MODEL))
    drawn = sample(model, Sampler(ignore_eos=True), documents=documents, length=200, seed=0)
    sampled = Documents.of(drawn)
    return sampled, capture(model, sampled, layers=1, cache=cache)


def scored(documents: Documents, recording, noise: str, *, tables: bool):
    """Scores of a neural fit, on all test transitions and on new prefixes alone."""
    groups = dict(enumerate(documents.group.tolist()))
    sides = split(list(groups.values()), seed=0)
    paths = recording.view(1)
    [comparison] = comparisons(
        [FitTask(paths.select(sides.train), paths.select(sides.validation), 0)],
        load("probe", "neural")(noise=noise),
        FitOptions(),
        state_dependent=tables,
        progress=FitProgress(
            lambda epoch: print(
                f"  epoch {epoch.number}: {epoch.validation['diffusion']:.4f}", flush=True
            )
        ),
    )
    test = paths.select(sides.test)
    new = first_new(documents.padded(), sides.train, sides.test)
    return comparison.scores(test, groups, trimmed(test, new))


def measure(noises=("diagonal", "correlated:32", "correlated:64"), cache: Path | None = None):
    """Scores by noise; the state-dependent baselines are fitted for diagonal noise only."""
    documents, recording = recorded(768, cache)
    found = {}
    for noise in noises:
        print(noise, flush=True)
        found[noise] = scored(documents, recording, noise, tables=noise == "diagonal")
    return found


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
