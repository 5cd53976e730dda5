"""The type checker of the tests: beartype, at a cost that small computations can bear.

A fit calls some functions thousands of times with the same shapes: after FIRST calls in one test,
one call in OFTEN is checked. A function inside a function is another one at each call of the outer
one: its checks are compiled once.
"""

from contextlib import contextmanager
from functools import wraps

import beartype as library

FIRST, OFTEN = 100, 20
_tests = 0
_paused = False
_compiled = {}


def pytest_runtest_setup():
    """Count calls from zero again."""
    global _tests
    _tests += 1


@contextmanager
def paused():
    """No checks, which draw the item of a sequence that they look at from the global state."""
    global _paused
    _paused = True
    try:
        yield
    finally:
        _paused = False


def beartype(checkable):
    """`beartype.beartype`, which leaves out most of very many calls."""
    if isinstance(checkable, type):
        return library.beartype(checkable)
    if "<locals>" not in checkable.__qualname__:
        return sampled(checkable)
    annotations = tuple(checkable.__annotations__.items())
    key = checkable.__module__, checkable.__qualname__, checkable.__code__.co_varnames, annotations
    if key not in _compiled:
        _compiled[key] = sampled(checkable)
    return _compiled[key]


def sampled(checkable):
    """The function with the checks of its first calls in each test, and of some later ones."""
    checked = library.beartype(checkable)
    test = calls = 0

    @wraps(checkable)
    def sometimes(*args, **kwargs):
        nonlocal test, calls
        if test != _tests:
            test, calls = _tests, 0
        calls += 1
        if not _paused and (calls <= FIRST or calls % OFTEN == 0):
            return checked(*args, **kwargs)
        return checkable(*args, **kwargs)

    return sometimes
