"""Owns which kinds of work of a mount have threads of their own, and how many; not what they do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from cosfs.vfs.statsahead import WINDOW

#: Threads for each kind of work that callers may leave behind, or wait in for long; more than FUSE
#: ever has for callers. None is there before it is needed.
_LEFT_BEHIND: Final = 2048

#: Threads that hash what is read front to back, for all readers together.
_HASHERS: Final = 2


class Pools:
    """The threads of one mount. None starts before its first task: a fork may come first."""

    def __init__(self, parallel: int) -> None:
        self._all: list[ThreadPoolExecutor] = []
        self.lookups = self._pool("lookup", parallel)
        self.ahead = self._pool("ahead", WINDOW)
        self.content = self._pool("content", parallel)
        self.hashing = self._pool("hash", _HASHERS)
        self.changes = self._pool("change", parallel)
        #: Of their own, as those of a folder's rename are waited for under its locks.
        self.moves = self._pool("move", parallel)
        #: Those that a caller who gives up leaves behind take one until they end.
        self.questions = self._pool("question", _LEFT_BEHIND)
        self.callers = self._pool("caller", _LEFT_BEHIND)

    def end(self) -> None:
        """Wait until what was begun has ended; what was not is not done."""
        for pool in self._all:
            pool.shutdown(wait=True, cancel_futures=True)

    def _pool(self, name: str, threads: int) -> ThreadPoolExecutor:
        pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._all.append(pool)
        return pool
