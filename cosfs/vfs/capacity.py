"""Owns what ``statfs`` shows; must not know where anything is.

A bucket has no size (reference 6): shown is what the user says, and a petabyte otherwise. Used is
what is known of it, which is what lies in the folders whose listing is cached just now; what the
bucket holds in all nobody could say without listing all of it. Free space never ends, as programs
refuse to write where it is 0.
"""

from __future__ import annotations

import threading
from typing import Final

from cosfs import paths
from cosfs.clock import Clock
from cosfs.vfs.metacache import MetaCache
from cosfs.vfs.types import FsStats

_BLOCK: Final = 4096
_FILES: Final = 1 << 32

#: The part of the whole that is always free.
_ALWAYS_FREE: Final = 100

#: How long an answer is given again: a look at all listings takes milliseconds.
_MEMORY_S: Final = 5.0


class Capacity:
    """Thread safety: any method from any thread."""

    def __init__(self, cache: MetaCache, clock: Clock, size: int) -> None:
        """``size`` in bytes."""
        self._cache = cache
        self._clock = clock
        self._blocks = max(1, size // _BLOCK)
        self._lock = threading.Lock()
        self._known: FsStats | None = None
        self._known_at = 0.0

    def stats(self) -> FsStats:
        """Return what is known. Cost: none."""
        with self._lock:
            now = self._clock.monotonic()
            if self._known is None or now - self._known_at >= _MEMORY_S:
                self._known, self._known_at = self._look(), now
            return self._known

    def _look(self) -> FsStats:
        usage = self._cache.usage()
        used = -(-usage.bytes // _BLOCK)
        return FsStats(
            block_size=_BLOCK,
            blocks=self._blocks,
            blocks_free=max(self._blocks - used, self._blocks // _ALWAYS_FREE, 1),
            files=_FILES,
            files_free=_FILES - usage.listed,
            name_max=paths.NAME_MAX,
        )
