"""Owns what is known of one descriptor of an open file; must not know the file's bytes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cosfs.vfs import processes
from cosfs.vfs.streams import Stream

if TYPE_CHECKING:
    from cosfs.vfs.openfile import OpenFile


class Descriptor:
    """One open of a file: what it may do, who opened it, and whether it has unstored writes."""

    __slots__ = (
        "file",
        "has_pages",
        "is_cut",
        "is_direct",
        "is_fresh",
        "is_mappable",
        "opened",
        "opener",
        "stream",
        "wrote",
    )

    def __init__(self, file: OpenFile, opener: int, opened: float) -> None:
        self.file = file
        #: Thread group that opened it; 0 if unknown. And when (monotonic seconds).
        self.opener = opener
        self.opened = opened
        self.stream = Stream()
        #: Nothing was read yet: the kernel may not have taken note of its opening.
        self.is_fresh = True
        #: Whether the kernel passes every read on, whatever it knows of the file, or may answer
        #: reads without us.
        self.is_direct = False
        self.has_pages = False
        #: Whether the kernel may have ended reading too early, with the size of another version.
        self.is_cut = False
        self.wrote = False
        #: Whether writes may come of a mapping, long after the program made them.
        self.is_mappable = False

    def is_ended_by(self, pid: int) -> bool:
        """Tell whether a close by thread ``pid`` is that of the opener, or that one is gone."""
        if pid <= 0 or self.opener in (0, pid):
            return True
        group = processes.thread_group(pid)
        return group == self.opener or not processes.is_alive(self.opener)

    def note_flags(self, flags: int) -> None:
        """Note how it was opened: to write through a mapping, the kernel asks for both rights."""
        self.is_mappable = flags & os.O_ACCMODE == os.O_RDWR
