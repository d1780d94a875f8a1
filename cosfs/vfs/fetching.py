"""Owns where the bytes of a segment come from: the disk cache or the store; must not know memory.

Content that is fetched as a whole is compared with its digest here, wherever it comes from.
"""

from __future__ import annotations

from collections.abc import Callable

from cosfs.store.base import Store
from cosfs.vfs.diskcache import DiskCache
from cosfs.vfs.integrity import check_whole, has_digest
from cosfs.vfs.segments import Content, Segment


class Fetcher:
    """Thread safety: any method from any thread."""

    def __init__(self, store: Store, disk: DiskCache | None) -> None:
        self._store = store
        self._disk = disk

    def fill(self, segment: Segment, where: Callable[[], str]) -> None:
        """Fill a segment with its bytes.

        Raises what ``Store.read_range`` raises, and ``IntegrityError``. Cost: 1 request; 0 if the
        disk holds all of it.
        """
        content, data = segment.content, segment.data
        is_whole = len(data) == content.version.size
        found = 0 if self._disk is None else self._disk.read(content.version, segment.start, data)
        if is_whole and 0 < found:
            if found == len(data) and not has_digest(segment):
                self.distrust(content)
                found = 0
            # A part of it is not worth a digest of both.
            found = found if found == len(data) else 0
        if found == len(data):
            return
        self._ask(segment, where, found)
        if is_whole:
            check_whole(segment, where, lambda: self._ask(segment, where, 0))
        if self._disk is not None:
            self._disk.put(content.version, segment.start + found, data[found:])

    def distrust(self, content: Content) -> None:
        """Let all of a content come from the store: what the disk has of it may be damaged."""
        if self._disk is not None:
            self._disk.distrust(content.version)

    def _ask(self, segment: Segment, where: Callable[[], str], begin: int) -> None:
        self._store.read_range(
            where(), segment.start + begin, segment.data[begin:], segment.content.version
        )
