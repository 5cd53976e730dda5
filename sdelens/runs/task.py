"""A job, ready to be done: its plugins built, all checked that needs no model."""

from dataclasses import dataclass, replace

from sdelens.errors import UsageError
from sdelens.interfaces import build_plugin
from sdelens.paths.documents import Documents
from sdelens.paths.split import LEAST
from sdelens.protocols import Probe, SizedSource, Source
from sdelens.runs.in_memory import GIVEN, GivenSource
from sdelens.runs.job import Job
from sdelens.settings import described


@dataclass(frozen=True)
class Task:
    """A job with every setting spelt out, and the plugins that it names."""

    job: Job
    source: Source
    probe: Probe

    @classmethod
    def of(cls, job: Job, documents: Documents | None = None) -> "Task":
        """All that can be checked without a model: names, settings, forms."""
        source = source_of(job, documents)
        probe: Probe = build_plugin("probe", job.probe, job.probe_settings)
        if job.target == "branched" and probe.looks_back:
            raise UsageError(
                f"--target branched gives single steps, but the probe {job.probe} looks further "
                "back: choose another --probe, or leave --target out"
            )
        if isinstance(source, SizedSource) and source.documents_wanted < LEAST:
            raise UsageError(
                f"at least {LEAST} documents are needed, so that some can be held out, got "
                f"{source.documents_wanted}: give a larger --documents"
            )
        if documents is None:
            job = replace(job, source_settings=described(source))
        resolved = replace(job, probe_settings=described(probe))
        return cls(resolved, source, probe)


def source_of(job: Job, documents: Documents | None) -> Source:
    """The plugin that a job names; texts in memory go before it."""
    if documents is not None:
        return GivenSource(documents)
    if job.source == GIVEN:
        raise UsageError(
            "the texts of this job were given in Python, where it can be fitted again: name "
            "others with --texts or --dataset"
        )
    source: Source = build_plugin("source", job.source, job.source_settings)
    return source
