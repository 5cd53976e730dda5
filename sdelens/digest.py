"""Hashes of plain values."""

import json
from hashlib import sha256
from typing import Any


def digest(value: Any) -> str:
    """sha256 of a JSON value: equal values have equal digests."""
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
