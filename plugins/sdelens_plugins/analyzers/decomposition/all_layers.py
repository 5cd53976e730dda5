"""Linear fits to every layer of a model, also to layers that the run did not fit."""

from dataclasses import replace

from sdelens.errors import UsageError
from sdelens.fitting.fitted import Fitted, Record
from sdelens.fitting.study import Study, Viewed
from sdelens.interfaces import load
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.trajectories import Paths, began, dt_of
from sdelens.protocols import Probe, ignore_epoch
from sdelens.seeds import derive
from sdelens.settings import described
from sdelens.states.capturing import record, sites_of
from sdelens.states.recording import View

LINEAR = "linear"


def linear_fits(study: Study, *, seed: int) -> Study:
    """A study of the same documents and split, with a linear fit to the output of every block.

    States are captured again; coordinates are standardised. Raises `UsageError` without the model
    of the run, along the depth, or if hooks of the user changed the states that were fitted.
    """
    if any(view.axis == "layer" for view in study.views):
        raise UsageError(
            "linear fits at every layer need the token axis, but this run was fitted along the "
            "depth: fit with --axis token"
        )
    viewed = next(iter(study.views.values()))
    origin = viewed.fitted.origin
    if study.model is None or origin is None:
        raise UsageError("linear fits at every layer need the language model of the run")
    if not origin.repeatable:
        raise UsageError(
            "your hooks changed the states of this run while they were captured, so those "
            "of other layers cannot be captured in the same way: capture all layers at once"
        )
    sites = sites_of("all", study.model)
    recording = record(study.model, study.documents, sites, skip_first=origin.skip_first)
    sides = [sorted(began(s)) for s in (viewed.train, viewed.validation, viewed.test)]
    views = {}
    for view in map(View, sites):
        paths = recording.view(view)
        train, validation, test = (paths.select(side) for side in sides)
        fitted = _linear(train, validation, derive(seed, view))
        fitted = replace(fitted, origin=recording.origin, view=view)
        views[view] = Viewed(fitted, train, validation, test)
    return replace(study, views=views)


def _linear(train: Paths, validation: Paths, seed: int) -> Fitted:
    probe: Probe = load("probe", LINEAR)()
    basis = fit_basis(BasisSpec(), train)
    fit = probe.fit(basis.view(train), basis.view(validation), seed=seed, watch=ignore_epoch)
    fit_record = Record(LINEAR, described(probe), probe.density, dt_of(train), seed, fit.history)
    return Fitted(fit.law, basis, fit_record)
