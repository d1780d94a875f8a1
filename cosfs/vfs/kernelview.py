"""Owns what the kernel was told, so that its pages of files are kept or bypassed rightly.

Must not know how it was told. The rules are from experiment: the kernel cuts buffered reads at the
size it was last told, and keeps pages over an ``open`` only if that asks for it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Final

from cachetools import LRUCache

from cosfs.model import Version

_MAX_FILES: Final = 100_000


class KernelView:
    """Remembers, by path, the size told and the version whose pages the kernel holds.

    Thread-safe. What fell out of memory is answered on the safe side.
    """

    def __init__(self, on_told: Callable[[str, int], None]) -> None:
        """``on_told`` is called with a path and the size that the kernel now believes it has."""
        self._on_told = on_told
        self._lock = threading.Lock()
        #: A plain dictionary, the oldest first: every stat puts one in, and an LRU cache is slower.
        self._told: dict[str, int] = {}
        self._pages: LRUCache[str, Version] = LRUCache(_MAX_FILES)
        #: Folders that it takes for set-gid, with their group.
        self._set_gid: LRUCache[str, int] = LRUCache(_MAX_FILES)
        #: The last open that drops the pages, until the kernel has surely done so.
        self._dropping: LRUCache[str, tuple[int, Version]] = LRUCache(_MAX_FILES)

    def told(self, path: str, size: int) -> None:
        """Note the size in a reply."""
        with self._lock:
            self._tell(path, size)
        self._on_told(path, size)

    def told_folder(self, path: str, group: int | None) -> None:
        """Note the group of a set-gid folder in a reply (``None``: it is not set-gid)."""
        if group is None and not self._set_gid:
            return
        with self._lock:
            if group is None:
                self._set_gid.pop(path, None)
            else:
                self._set_gid[path] = group

    def set_gid_group(self, path: str) -> int | None:
        """Return the group of a folder that was told to be set-gid."""
        with self._lock:
            return self._set_gid.get(path)

    def changed(self, path: str, size: int) -> None:
        """Note a write or truncate through the kernel: it knows the size, its pages are no version.

        Should the change never be stored, its pages must not be taken for the old version's.
        """
        with self._lock:
            self._tell(path, size)
            self._disown(path)
        self._on_told(path, size)

    def opened(
        self, path: str, fh: int, version: Version | None, size: int
    ) -> tuple[bool, bool]:
        """Return ``(keep_cache, direct_io)`` for an open of ``version`` (None: not stored yet).

        Pages of content without a digest are never kept, as nothing tells it from other content.
        Others are not kept before ``used`` is called for an open that has dropped what was there:
        between our answer and that, another open must not be told to keep them.
        """
        with self._lock:
            keep = version is not None and self._pages.get(path) == version
            if not keep:
                self._disown(path)
                if version is not None and version.digest:
                    self._dropping[path] = fh, version
            return keep, self._told.get(path) != size

    def holds(self, path: str, version: Version) -> bool:
        """Tell whether the kernel may have pages of ``version`` of ``path``."""
        with self._lock:
            return self._pages.get(path) == version

    def used(self, path: str, fh: int) -> None:
        """Note the first read through ``fh``: the kernel is done with opening it."""
        with self._lock:
            opened, version = self._dropping.get(path, (0, None))
            if opened == fh and version is not None:
                self._pages[path] = version
                del self._dropping[path]

    def renamed(self, old: str, new: str) -> None:
        """Note that the kernel knows the file at ``old`` as ``new``."""
        with self._lock:
            self._told.pop(new, None)
            self._disown(new)
            if old in self._told:
                self._told[new] = self._told.pop(old)
            if old in self._pages:
                self._pages[new] = self._pages.pop(old)
            self._disown(old)

    def mixed(self, path: str) -> None:
        """Note that the kernel may hold pages of two versions of ``path``: none is to be kept."""
        with self._lock:
            self._disown(path)

    def forget(self, path: str) -> None:
        """Forget a name that is gone."""
        with self._lock:
            self._told.pop(path, None)
            self._disown(path)

    def _tell(self, path: str, size: int) -> None:
        self._told[path] = size
        if len(self._told) > _MAX_FILES:
            # Several at once, as finding the oldest one takes longer the more went before it.
            for old in list(itertools.islice(self._told, _MAX_FILES // 16)):
                self._told.pop(old, None)

    def _disown(self, path: str) -> None:
        self._pages.pop(path, None)
        self._dropping.pop(path, None)
