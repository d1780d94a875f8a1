"""Owns one lock per path for as long as somebody needs it; must not know what is done under it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


class PathLocks:
    """Makes changes of one object's content or metadata come one after the other.

    Such a lock is held while the store is asked: read, merge and write of metadata must not
    interleave with each other or with an upload. It is taken before every other lock. Thread-safe;
    a thread may take the lock of a path that it holds again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, tuple[threading.RLock, int]] = {}

    @contextmanager
    def holding(self, *paths: str) -> Iterator[None]:
        """Hold the locks of all ``paths``, taken in one order whoever asks."""
        with ExitStack() as stack:
            for path in sorted(set(paths)):
                stack.enter_context(self._holding_one(path))
            yield

    @contextmanager
    def _holding_one(self, path: str) -> Iterator[None]:
        with self._lock:
            lock, users = self._locks.get(path) or (threading.RLock(), 0)
            self._locks[path] = lock, users + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, users = self._locks[path]
                if users == 1:
                    del self._locks[path]
                else:
                    self._locks[path] = lock, users - 1
