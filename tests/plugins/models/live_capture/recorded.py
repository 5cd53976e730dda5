"""A model and what is recorded of it."""

# float32, relative to the largest state: a text at once, or a position at a time through the cache
CLOSE = 1e-5


def rows_of(recording, site):
    return {
        int(number): states[seen]
        for block in recording.view(site)
        for number, states, seen in zip(block.document, block.states, block.mask, strict=True)
    }


def assert_same(tape, lens, texts=None):
    """The tape's texts are these, and its states those of capturing its texts."""
    if texts is not None:
        assert [list(document.tokens) for document in tape.documents] == texts
    captured = lens.capture(tape.documents, layers=tape.layers, skip_first=tape.skip_first)
    for site in tape.sites:
        one, two = rows_of(tape.recording, site), rows_of(captured, site)
        assert one.keys() == two.keys()
        for number, states in one.items():
            assert states.shape == two[number].shape
            scale = float(two[number].abs().max()) if len(states) else 1.0
            assert float((states - two[number]).abs().max()) <= CLOSE * scale
