"""Paths through the depth of a model, and the jobs that ask for them."""

from dataclasses import asdict

import pytest
import torch

from sdelens.digest import digest
from sdelens.errors import UsageError
from sdelens.paths.documents import Document, Documents
from sdelens.paths.trajectories import Paths
from sdelens.protocols import Site
from sdelens.runs.job import ELSEWHERE, Job
from sdelens.states import depth as module
from sdelens.states.capturing import record, sites_of
from sdelens.states.recording import DEPTH, View


@pytest.fixture(scope="module")
def documents():
    """70 documents of 3 to 12 tokens, two shards."""
    rows = [[(7 * i + t) % 65 for t in range(3 + i % 10)] for i in range(70)]
    return Documents.of(Document((0, *row[1:])) for row in rows)


@pytest.fixture(scope="module")
def recording(char_gpt2, documents, tmp_path_factory):
    sites = sites_of("embed,all", char_gpt2)
    return record(char_gpt2, documents, sites, cache=tmp_path_factory.mktemp("states"))


def joined(paths):
    """All paths of equal length as one block's parts."""
    blocks = list(paths)
    names = ("states", "tokens", "document")
    return tuple(torch.cat([getattr(block, name) for block in blocks]) for name in names)


def test_each_token_has_a_path_from_the_embedding_through_every_block(recording, documents):
    paths = recording.view(DEPTH)
    assert isinstance(paths, Paths)
    tokens = int((documents.lengths - 1).sum())  # the first position is skipped
    states, said, document = joined(paths)
    assert states.shape == (tokens, 5, 64)
    for block in paths:
        assert block.mask.all()
        assert block.times.tolist() == [[0.0, 1.0, 2.0, 3.0, 4.0]]
    expected = [t for d in documents for t in d.tokens[1:]]
    assert said.tolist() == [[t] * 5 for t in expected]
    assert document.tolist() == [i for i, d in enumerate(documents) for _ in d.tokens[1:]]


def test_the_states_at_each_depth_are_those_of_the_token_axis(recording):
    states, _, _ = joined(recording.view(DEPTH))
    for depth, view in enumerate(recording.views):
        along = torch.cat([block.states[block.mask] for block in recording.view(view)])
        assert torch.equal(states[:, depth], along)


def test_documents_are_what_is_selected_and_their_paths_stay_together(recording, documents):
    chosen = [2, 3, 65]
    _, _, document = joined(recording.view(DEPTH).select(chosen))
    counts = torch.bincount(document, minlength=70)
    assert counts.nonzero()[:, 0].tolist() == chosen
    assert counts[chosen].tolist() == [int(documents.lengths[d]) - 1 for d in chosen]


def test_small_blocks_hold_the_same_paths_in_the_same_order(recording, monkeypatch):
    whole = joined(recording.view(DEPTH).select(range(5, 70)))
    for piece in (10 * 5 * 64, 2 * 5 * 64):  # one document; two of its tokens
        monkeypatch.setattr(module, "PIECE", piece)
        blocks = list(recording.view(DEPTH).select(range(5, 70)))
        assert len(blocks) > 60
        assert all(block.states.numel() <= max(piece, 11 * 5 * 64) for block in blocks)
        parts = joined(recording.view(DEPTH).select(range(5, 70)))
        assert all(map(torch.equal, parts, whole))


def test_each_step_comes_exactly_once_in_an_epoch(recording):
    paths = recording.view(DEPTH)
    batches = list(paths.transitions(200, seed=1))
    seen = torch.cat([torch.cat([b.t[:, None], b.x, b.following], 1) for b in batches])
    flat = [block.flat() for block in paths]
    stored = torch.cat([torch.cat([b.t[:, None], b.x, b.following], 1) for b in flat])
    assert sorted(map(tuple, seen.tolist())) == sorted(map(tuple, stored.tolist()))
    assert not torch.equal(seen, stored)


def test_paths_of_tokens_before_a_position_are_masked_and_none_is_lost(recording, documents):
    found = recording.masked(DEPTH, [4, 5], {4: 3, 5: 1})
    everything = recording.view(DEPTH).select([4, 5])
    for block, whole in zip(found, everything, strict=True):
        assert torch.equal(block.states, whole.states)
    tokens = [block.tokens[block.mask.all(1), 0] for block in found]
    expected = list(documents)[4].tokens[3:] + list(documents)[5].tokens[1:]
    assert torch.cat(tokens).tolist() == list(expected)
    assert all(bool((block.mask.all(1) == block.mask.any(1)).all()) for block in found)


def test_a_recording_without_every_block_has_no_paths_through_the_depth(char_gpt2, documents):
    part = record(char_gpt2, documents.slice(0, 2), sites_of("embed,0-2", char_gpt2))
    with pytest.raises(UsageError, match="need the embedding and every block"):
        part.view(DEPTH)


def test_the_view_of_the_depth_is_none_of_the_embedding():
    assert (str(DEPTH), DEPTH.label) == ("depth", "depth")
    assert View(Site("embed")) != DEPTH


# --- jobs


def test_the_hash_of_a_job_is_what_it_was_before_there_were_another_axis_and_target():
    job, later = Job(layers="2", probe="linear"), ("axis", "target", "branches", "bos")
    before = {k: v for k, v in asdict(job).items() if k not in (*ELSEWHERE, *later)}
    assert job.hash8 == digest(before)[:8]
    assert Job.of({k: v for k, v in job.json().items() if k not in later}) == job
    assert Job(axis="layer").hash8 != Job().hash8
    assert Job(axis="layer").name == f"tiny-depth-{Job(axis='layer').hash8}"


def test_a_path_through_the_depth_takes_no_layer():
    with pytest.raises(UsageError, match="passes through every layer: remove --layer 3"):
        Job(axis="layer", layers="3")
    with pytest.raises(UsageError, match="--axis must be token, layer; got 'time'"):
        Job(axis="time")
