"""Owns telling a caller how far a transfer is; must not know which one it is."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cosfs.model import Source

#: Called with bytes done and bytes in all, by one thread at a time.
Callback = Callable[[int, int], None]


class CallbackFailed(Exception):
    """Carries what a caller's function raised through the transfer, which it ends."""

    def __init__(self, cause: BaseException) -> None:
        self.cause = cause
        super().__init__("the progress function failed")


class Progress:
    """Counts bytes and tells a callback, if there is one. Thread-safe."""

    def __init__(self, callback: Callback | None, total: int) -> None:
        self._callback = callback
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Note that ``count`` more bytes are done."""
        with self._lock:
            self._done += count
            self._tell()

    def set(self, done: int) -> None:
        """Note that ``done`` bytes are done, fewer than before when something is repeated."""
        with self._lock:
            if done != self._done:
                self._done = done
                self._tell()

    def tell(self, done: int, total: int) -> None:
        """Pass on what someone else counted."""
        with self._lock:
            self._done, self._total = done, total
            self._tell()

    def _tell(self) -> None:
        if self._callback is None:
            return
        try:
            self._callback(self._done, self._total)
        except Exception as error:
            raise CallbackFailed(error) from error


class WatchedSource:
    """A source that tells how far it was read: what was read last is on its way."""

    def __init__(self, source: Source, progress: Progress) -> None:
        self._source = source
        self._progress = progress

    @property
    def size(self) -> int:
        return self._source.size

    def read_at(self, offset: int, length: int) -> bytes:
        self._progress.set(offset)
        return self._source.read_at(offset, length)
