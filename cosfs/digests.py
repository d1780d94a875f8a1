"""Owns the digests that uploads announce: of a content, of its beginnings; must not know stores.

A slice upload announces the inner state of SHA-1 after every slice (reference 3.8). They all come
from one pass over the bytes, which can be made while these are being written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from cosfs import sha1
from cosfs.errors import SourceFailed
from cosfs.model import Source

#: Bytes between two inner states, and read at once where there is something to be read.
STEP: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Digests:
    """The SHA-1 of a content in lower-case hex, and the inner state after every full ``STEP``.

    ``states`` is ``None`` where this machine's SHA-1 does not show its state.
    """

    sha: str
    states: tuple[str, ...] | None


class DigestedSource(Source, Protocol):
    """Content that knows its digests, or has less to read for them than all of itself."""

    def digests(self) -> Digests:
        """Return the digests of the whole. Raises ``OSError``, ``SourceFailed``."""
        ...


class Trail:
    """The digests of bytes that come in order, of which the last ones may be taken back.

    Thread safety: none; the owner locks.
    """

    def __init__(self) -> None:
        #: How many bytes from the beginning are digested.
        self.size = 0
        self._states: list[str] = []
        self._sha = _new_sha()

    def update(self, data: bytes) -> None:
        """Digest the bytes that follow."""
        at = 0
        while at < len(data):
            count = min(len(data) - at, STEP - self.size % STEP)
            self._sha.update(data if count == len(data) else data[at : at + count])
            at += count
            self.size += count
            if self.size % STEP == 0 and isinstance(self._sha, sha1.Sha1):
                self._states.append(self._sha.inner_state())

    def rewind(self, size: int) -> None:
        """Take back all but at most the first ``size`` bytes: what follows may be others now."""
        if size >= self.size:
            return
        steps = min(size // STEP, len(self._states))
        del self._states[steps:]
        self.size = steps * STEP
        self._sha = sha1.Sha1(self._states[-1], self.size) if steps else _new_sha()

    def read(self, source: Source) -> Digests:
        """Digest what is not digested of ``source`` yet, and return the digests of all of it.

        Raises:
            OSError: it cannot be read.
            SourceFailed: it is shorter than it says.
        """
        while self.size < source.size:
            length = min(STEP - self.size % STEP, source.size - self.size)
            data = source.read_at(self.size, length)
            if len(data) != length:
                raise SourceFailed("the content is shorter than it says")
            self.update(data)
        has_states = isinstance(self._sha, sha1.Sha1)
        return Digests(self._sha.hexdigest(), tuple(self._states) if has_states else None)


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


def _new_sha() -> _Hash:
    return sha1.Sha1() if sha1.available() else hashlib.sha1(usedforsecurity=False)


def digests_of(source: Source) -> Digests:
    """Return the digests of ``source``: what it knows, else by reading it once, a step at a time.

    Raises:
        SourceFailed: it cannot be read.
    """
    # A test against the protocol would take longer than digesting some kilobytes.
    known: Callable[[], Digests] | None = getattr(source, "digests", None)
    try:
        return Trail().read(source) if known is None else known()
    except OSError as error:
        raise SourceFailed(f"the content cannot be read ({error.strerror})") from error
