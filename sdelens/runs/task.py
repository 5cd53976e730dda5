"""A validated job with its plugins, before a model is loaded."""

from dataclasses import dataclass, replace

from sdelens.errors import UsageError
from sdelens.interfaces import build_plugin
from sdelens.paths.documents import Documents
from sdelens.paths.split import LEAST
from sdelens.protocols import Probe, SizedSource, Source, TruncatedSource
from sdelens.runs.in_memory import GIVEN, GivenSource
from sdelens.runs.job import Job
from sdelens.settings import described

SHORTEST = 2
"""Tokens of a text, so that it has a transition."""


@dataclass(frozen=True)
class Task:
    """A job with all settings resolved, and its plugins."""

    job: Job
    source: Source
    probe: Probe

    @classmethod
    def of(cls, job: Job, documents: Documents | None = None) -> "Task":
        """Check everything that does not need a model: names, settings, noise families."""
        source = source_of(job, documents)
        probe: Probe = build_plugin("probe", job.probe, job.probe_settings)
        if job.target == "branched" and probe.looks_back:
            raise UsageError(
                f"--target branched provides single transitions, but the probe {job.probe} uses "
                "earlier states: choose another --probe, or remove --target"
            )
        if isinstance(source, SizedSource) and source.documents_wanted < LEAST:
            raise UsageError(
                f"at least {LEAST} documents are needed so that some can be held out, got "
                f"{source.documents_wanted}: give a larger --documents"
            )
        own = None if documents is not None else source
        if isinstance(own, TruncatedSource) and own.length < SHORTEST:
            raise UsageError(
                f"texts need at least {SHORTEST} tokens, got {own.length}: give a larger --length"
            )
        if documents is None:
            job = replace(job, source_settings=described(source))
        resolved = replace(job, probe_settings=described(probe))
        return cls(resolved, source, probe)


def source_of(job: Job, documents: Documents | None) -> Source:
    """The source of a job; texts in memory take precedence."""
    if documents is not None:
        return GivenSource(documents)
    if job.source == GIVEN:
        raise UsageError(
            "the texts of this job were given in Python: fit it again there, or give others with "
            "--texts or --dataset"
        )
    source: Source = build_plugin("source", job.source, job.source_settings)
    return source
