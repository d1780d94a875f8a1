"""Owns how much memory file content may take, and the buffers it lies in; must not know content.

The bound is exact: whoever needs more than is free waits until others have given some back.
"""

from __future__ import annotations

import mmap
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from cosfs import interrupts

#: Smaller buffers come from the heap; these go back to the system at once when they are dropped.
_MAPPED_MIN: Final = 64 * 1024

_HUGE_PAGE: Final = 2 * 1024 * 1024


class Memory:
    """``limit`` bytes, taken and given back.

    Waiting cannot lock up as long as nobody waits who holds a part that others wait for: take one
    part, use it, give it back or make it evictable, and only then take the next.

    Thread safety: ``lock`` guards everything; all methods but ``holding`` are called under it.
    """

    def __init__(
        self, limit: int, kept_size: int, lock: threading.Lock, evict: Callable[[], bool]
    ) -> None:
        """Keep dropped buffers of ``kept_size`` for the next one of that size.

        The system clears the pages of new ones, which takes longer than filling them. ``evict``
        gives something back that could be had again; it returns whether there was anything.
        """
        self.limit = limit
        self.taken = 0
        self._kept_size = kept_size
        self._kept: list[memoryview] = []
        self._lock = lock
        self._evict = evict
        self._queue: deque[threading.Event] = deque()

    def try_buffer(self, size: int) -> memoryview | None:
        """Return a buffer of ``size`` bytes if that needs no waiting, with anything in it."""
        if self._queue or not self._make_room(size):
            return None
        return self._buffer(size)

    def buffer(self, size: int) -> memoryview:
        """Return a buffer of ``size`` bytes; first come, first served. May let go of the lock.

        Raises ``Interrupted``, as ``holding`` does.
        """
        self._wait_for(size)
        return self._buffer(size)

    def give_back(self, buffer: memoryview) -> None:
        """Take back a buffer that nobody uses any more."""
        if len(buffer) == self._kept_size and not buffer.readonly:
            self._kept.append(buffer)
        self.give(len(buffer))

    def give(self, size: int) -> None:
        """Take back bytes."""
        self.taken -= size
        self.nudge()

    def nudge(self) -> None:
        """Let whoever waits first look again: something was given back or may be evicted."""
        if self._queue:
            self._queue[0].set()

    def try_take(self, size: int) -> bool:
        """Take bytes that the caller has a buffer for, if that needs no waiting."""
        if self._queue or not self._make_room(size):
            return False
        self._take(size)
        return True

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Take bytes for a while, at most all there are; waits for them. Not under the lock."""
        size = min(size, self.limit)
        with self._lock:
            self._wait_for(size)
            self._take(size)
        try:
            yield
        finally:
            with self._lock:
                self.give(size)

    def _wait_for(self, size: int) -> None:
        """Return, holding the lock all along since then, when ``size`` bytes may be taken."""
        if not self._queue and self._make_room(size):
            return
        turn = threading.Event()
        self._queue.append(turn)
        try:
            while self._queue[0] is not turn or not self._make_room(size):
                turn.clear()
                self._lock.release()
                try:
                    interrupts.wait(turn)
                finally:
                    self._lock.acquire()
        finally:
            self._queue.remove(turn)
            self.nudge()

    def _make_room(self, size: int) -> bool:
        while self.taken + size > self.limit:
            if not self._evict():
                return False
        return True

    def _take(self, size: int) -> None:
        self.taken += size
        # What is kept for the next one is memory too.
        while self._kept and self.taken + len(self._kept) * self._kept_size > self.limit:
            self._kept.pop()

    def _buffer(self, size: int) -> memoryview:
        if size == self._kept_size and self._kept:
            buffer = self._kept.pop()
        else:
            buffer = _new_buffer(size)
        self._take(size)
        return buffer


def _new_buffer(size: int) -> memoryview:
    if size < _MAPPED_MIN:
        return memoryview(bytearray(size))
    buffer = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if size >= _HUGE_PAGE:
        # Filled to its end anyway; 512 times fewer pages to be cleared and looked up.
        with suppress(OSError):  # a kernel without them
            buffer.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(buffer)
