"""Fits of several views, in one batch or in turn."""

import pytest
import torch

from sdelens.fitting.fit import ViewTask, fit_view, fit_views
from sdelens.fitting.options import FitOptions
from sdelens.interfaces import load
from sdelens.paths.split import split
from sdelens.paths.trajectories import Trajectories


def test_views_that_are_fitted_together_are_as_if_each_were_fitted_alone():
    noise = torch.randn(40, 21, 3, generator=torch.Generator().manual_seed(0))
    views = [
        ViewTask(Trajectories.from_states(x, 1.0), seed)
        for seed, x in enumerate((noise.cumsum(1), noise, 5 * noise.cumsum(1).tanh()))
    ]
    sides, groups = split(list(range(40)), seed=0), {number: number for number in range(40)}
    probe = load("probe", "neural")(width=8, noise_width=8, epochs=2, least_steps=30)
    how = {"kind": "neural", "state_dependent": True}
    together = fit_views(views, sides, groups, probe, FitOptions(), **how)
    for view, fitted in zip(views, together, strict=True):
        alone = fit_view(view.paths, sides, groups, probe, FitOptions(seed=view.seed), **how)
        ours, theirs = fitted.record.scores, alone.record.scores
        assert ours["held_out_nll_per_dim"] == pytest.approx(
            theirs["held_out_nll_per_dim"], abs=2e-3
        )
        # baselines are fitted one view after another: the same numbers
        assert ours["baselines"]["linear"]["nll_per_dim_state_dependent"] == pytest.approx(
            theirs["baselines"]["linear"]["nll_per_dim_state_dependent"]
        )
        assert fitted.record.history[0].train == pytest.approx(
            alone.record.history[0].train, rel=1e-3
        )


def test_views_of_unlike_widths_are_fitted_in_turn():
    noise = torch.randn(40, 21, 3, generator=torch.Generator().manual_seed(0))
    views = [ViewTask(Trajectories.from_states(noise[..., :d], 1.0), 0) for d in (2, 3)]
    sides, groups = split(list(range(40)), seed=0), {number: number for number in range(40)}
    probe = load("probe", "neural")(width=8, noise_width=8, epochs=1, least_steps=5)
    found = fit_views(views, sides, groups, probe, FitOptions(), kind="neural")
    assert [
        len(fitted.drift(0.0, torch.zeros(d))) for fitted, d in zip(found, (2, 3), strict=True)
    ] == [2, 3]
