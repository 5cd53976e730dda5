"""Sections of an analysis that do not apply to a run."""


class SectionSkipped(Exception):
    """A section does not apply to this run; the message says why."""
