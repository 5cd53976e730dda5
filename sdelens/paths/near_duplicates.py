"""Near-duplicate documents, found by MinHash and put into one group."""

import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from sdelens.paths.documents import Document, Documents

SHINGLE = 5
"""Tokens in a shingle."""
SIMILAR = 0.8
"""Jaccard similarity of the shingles of two documents from which they are near-duplicates."""
CANDIDATE = 0.6
"""Similarity from which MinHash, which can miss pairs close to its threshold, proposes a pair."""
PERMUTATIONS = 128


def grouped_near_duplicates(documents: Documents) -> tuple[Documents, int]:
    """Documents with near-duplicates in one group, and the number of groups that this removes.

    Two documents are near-duplicates if the sets of their shingles of `SHINGLE` consecutive tokens
    have a Jaccard similarity of at least `SIMILAR`, both over the whole documents and over their
    recorded parts: answers to the same long instruction are not alike because of it. Candidates
    are found by locality-sensitive hashing (Broder 1997; settings as in Lee et al. 2022,
    "Deduplicating training data makes language models better") and verified on the sets.
    """
    names, group = torch.unique(documents.group, return_inverse=True)
    pairs = group[torch.tensor(_near_duplicates(documents)).long().reshape(-1, 2)]
    graph = coo_matrix(
        (torch.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(names), len(names))
    )
    count, component = connected_components(graph, directed=False)
    merged: Tensor = torch.from_numpy(component)[group].long()
    # a group keeps the least of its names, so documents without duplicates are unchanged
    least = torch.full((count,), int(names.max())).scatter_reduce(
        0, merged, documents.group, "amin"
    )
    return documents.regrouped(least[merged]), len(names) - count


def _near_duplicates(documents: Documents) -> list[tuple[int, int]]:
    """Pairs of numbers of documents that are near-duplicates."""
    from datasketch import MinHash, MinHashLSH  # heavy

    listed = list(documents)
    first: dict[tuple[tuple[int, ...], int], int] = {}
    keys = ((document.tokens, document.start) for document in listed)
    found = [(first.setdefault(key, number), number) for number, key in enumerate(keys)]
    index = MinHashLSH(threshold=CANDIDATE, num_perm=PERMUTATIONS)
    whole = {number: _shingles(listed[number].tokens) for number in first.values()}
    for number, shingles in whole.items():  # exact copies are found already
        sketch = MinHash(num_perm=PERMUTATIONS)
        sketch.update_batch(sorted(shingles))
        found += [
            (other, number)
            for other in index.query(sketch)
            if _similarity(whole[other], shingles) >= SIMILAR
            and _similarity(_path(listed[other]), _path(listed[number])) >= SIMILAR
        ]
        index.insert(number, sketch)
    return found


def _path(document: Document) -> set[bytes]:
    return _shingles(document.tokens[document.start :])


def _shingles(tokens: tuple[int, ...]) -> set[bytes]:
    """The shingles of a text, as bytes; of a shorter one, the whole text."""
    width = 8
    ids = b"".join(token.to_bytes(width, "little") for token in tokens)
    ends = range(max(1, len(tokens) - SHINGLE + 1))
    return {ids[width * i : width * (i + SHINGLE)] for i in ends}


def _similarity(one: set[bytes], other: set[bytes]) -> float:
    """The Jaccard similarity of two sets that are not empty."""
    return len(one & other) / len(one | other)
