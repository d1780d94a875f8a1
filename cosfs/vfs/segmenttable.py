"""Owns all segments and their memory: added, ready, used, dropped; must not know who fetches them.

A segment that was dropped gives its memory back when nobody uses it any more.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from cosfs.vfs.memory import Memory
from cosfs.vfs.segments import Content, Segment, Segments
from cosfs.vfs.streams import Run


class SegmentTable:
    """The segments of all contents; those that are ready go, least recently used first.

    Thread safety: all methods are called under ``lock``, as are those of ``memory`` but one.
    """

    def __init__(self, limit: int, piece_max: int, lock: threading.Lock) -> None:
        """Hold ``limit`` bytes, mostly in segments of ``piece_max``."""
        self.memory = Memory(limit, piece_max, lock, self._evict_oldest)
        self._contents: dict[Content, Segments] = {}
        self._ready: OrderedDict[Segment, None] = OrderedDict()
        #: Bytes fetched ahead, or being fetched, that nobody has read yet.
        self.unread = 0

    def of(self, content: Content) -> Segments | None:
        """Return what is here of a content, or on its way; ``None``: nothing."""
        return self._contents.get(content)

    def add(self, segment: Segment) -> None:
        """Take in a segment that has its buffer; it is not ready."""
        segments = self._contents.setdefault(segment.content, Segments())
        segments.is_checked = False
        segments.add(segment)
        if segment.run is not None:
            self.unread += len(segment.data)

    def make_ready(self, segment: Segment) -> None:
        """Note that a segment has its bytes, and wake those who wait for them."""
        segment.is_ready = True
        self._ready[segment] = None
        segment.wake()

    def touch(self, segment: Segment) -> None:
        """Note that a ready segment was of use."""
        self._ready.move_to_end(segment)

    def note_read(self, segment: Segment) -> None:
        """Note that somebody reads what may have been fetched ahead."""
        if segment.run is not None:
            segment.run = None
            self.unread -= len(segment.data)

    def leave(self, segment: Segment) -> None:
        """Note that a user needs a segment no more."""
        segment.users -= 1
        if segment.is_dropped and not segment.users:
            self._give_back(segment)
        self.memory.nudge()

    def drop(self, segment: Segment) -> None:
        """Forget a segment, and wake those who wait for it."""
        self.note_read(segment)
        segments = self._contents[segment.content]
        segments.remove(segment)
        if not len(segments):
            del self._contents[segment.content]
        self._ready.pop(segment, None)
        segment.is_dropped = True
        if not segment.users:
            self._give_back(segment)
        segment.wake()

    def abandon(self, content: Content, run: Run) -> None:
        """Drop what was fetched ahead for a run that has ended, as far as nobody uses it."""
        segments = self._contents.get(content)
        for segment in segments.within(run.begin, run.planned) if segments else ():
            if segment.run is not run:
                continue
            if not segment.is_begun:
                self.drop(segment)
                continue
            self.note_read(segment)
            if segment.is_ready:
                self._ready.move_to_end(segment, last=False)
            else:
                segment.is_unwanted = not segment.users

    def _give_back(self, segment: Segment) -> None:
        # Its traceback holds the segment, and parts of the buffer.
        segment.error = None
        data, segment.data = segment.data, memoryview(b"")
        self.memory.give_back(data)

    def _evict_oldest(self) -> bool:
        for segment in self._ready:
            if not segment.users:
                self.drop(segment)
                return True
        return False
