"""Owns which bytes of one content are in memory or on their way; must not know who wants them."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from cosfs.model import Version
from cosfs.vfs.streams import Run


@dataclass(frozen=True, slots=True)
class Content:
    """Identifies the bytes that a reader wants.

    ``version`` is what the store must hold; ``mark`` tells contents apart that have no digest.
    """

    version: Version
    mark: str = ""

    @classmethod
    def of(cls, version: Version, mark: str) -> Content:
        """Name an object's content: by digest alone if it has one, so that renames cost nothing."""
        return cls(version, "" if version.digest else mark)


class Segment:
    """Some bytes of a content: waiting to be fetched, being fetched, ready, or dropped.

    ``data`` may be given to something else when nobody uses it: ``users`` counts those who read it
    or wait for it. ``run`` is what it was fetched ahead for, until it is read or the run ends;
    when nobody wants it any more while it is being fetched, it ``is_unwanted``.
    """

    __slots__ = (
        "_done", "content", "data", "end", "error", "is_begun", "is_dropped", "is_ready",
        "is_unwanted", "run", "start", "users",
    )  # fmt: skip

    def __init__(self, content: Content, start: int, data: memoryview, run: Run | None) -> None:
        self.content = content
        self.start = start
        self.end = start + len(data)
        self.data = data
        self.run = run
        self.users = 0
        self.is_begun = self.is_ready = self.is_dropped = self.is_unwanted = False
        self.error: Exception | None = None
        self._done: threading.Event | None = None

    def waiting(self) -> threading.Event:
        """Return what is set when it is ready or dropped. Called under the cache's lock."""
        if self._done is None:
            self._done = threading.Event()
            if self.is_ready or self.is_dropped:
                self._done.set()
        return self._done

    def wake(self) -> None:
        """Wake those who wait. Called under the cache's lock."""
        if self._done is not None:
            self._done.set()


class Segments:
    """The segments of one content, sorted and disjoint. Thread safety: none; the owner locks."""

    __slots__ = ("_segments", "_starts", "is_checked")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._segments: list[Segment] = []
        #: All that is here was found to have the content's digest.
        self.is_checked = False

    def __len__(self) -> int:
        return len(self._segments)

    def at(self, offset: int) -> Segment | None:
        """Return the segment that holds the byte at ``offset``."""
        place = bisect_right(self._starts, offset) - 1
        if place < 0:
            return None
        segment = self._segments[place]
        return segment if offset < segment.end else None

    def within(self, begin: int, end: int) -> list[Segment]:
        """Return the segments that hold any byte of ``begin <= b < end``, in order."""
        place = bisect_right(self._starts, begin) - 1
        first = place if place >= 0 and self._segments[place].end > begin else place + 1
        return self._segments[first : bisect_left(self._starts, end)]

    def gap(self, offset: int, begin: int, end: int) -> tuple[int, int]:
        """Return the part of ``begin <= b < end`` around ``offset`` that no segment holds."""
        place = bisect_right(self._starts, offset)
        if place:
            begin = max(begin, self._segments[place - 1].end)
        if place < len(self._starts):
            end = min(end, self._starts[place])
        return begin, end

    def add(self, segment: Segment) -> None:
        place = bisect_left(self._starts, segment.start)
        self._starts.insert(place, segment.start)
        self._segments.insert(place, segment)

    def remove(self, segment: Segment) -> None:
        place = bisect_left(self._starts, segment.start)
        del self._starts[place], self._segments[place]
