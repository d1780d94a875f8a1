"""Owns the bytes that are measured with: no two contents are equal, and none costs time to make.

A server that knows a content already needs none of its bytes, so equal ones would measure nothing.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

from .sizes import MIB

_numbers = itertools.count()
_NOISE = os.urandom(MIB)


def slices(size: int) -> Iterator[bytes]:
    """Yield a new content of ``size`` bytes in slices of 1 MiB."""
    number = next(_numbers)
    for offset in range(0, size, MIB):
        stamp = f"{os.getpid()} {number} {offset}".encode().ljust(64)
        yield (stamp + _NOISE[64:])[: min(MIB, size - offset)]


def small(size: int) -> bytes:
    """Return a new content of at most 1 MiB."""
    return b"".join(slices(size))
