"""Owns how entries look to ``stat``; must not know where they come from."""

from __future__ import annotations

import stat
from hashlib import blake2b

from cosfs import paths
from cosfs.config import ViewOptions
from cosfs.model import Attributes, Entry
from cosfs.vfs.types import Attrs

_NLINK_FOLDER = 2
_NLINK_FILE = 1


def inode(path: str) -> int:
    """Return the inode number of ``path``: the same on every mount and after every remount.

    Programs that remember inode numbers (git's index) then find files unchanged.
    """
    if path == paths.ROOT:
        return 1
    digest = blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1 or 2


class AttrsBuilder:
    """Puts together what the store knows, what programs set, and the mount's defaults."""

    def __init__(self, view: ViewOptions, started_ns: int) -> None:
        """``started_ns`` stands in for times that nobody knows."""
        self._view = view
        self._started_ns = started_ns

    def build(self, path: str, entry: Entry, attributes: Attributes) -> Attrs:
        """Return what ``stat`` shows for ``entry``."""
        mtime = attributes.mtime_ns
        if mtime is None:
            mtime = entry.mtime_ns or self._started_ns
        return self._attrs(path, entry.is_folder, entry.size, mtime, entry.ctime_ns, attributes)

    def build_open(
        self, path: str, size: int, mtime_ns: int, attributes: Attributes, *, removed: bool
    ) -> Attrs:
        """Return what ``stat`` shows for a file whose truth is its open file."""
        attrs = self._attrs(path, False, size, mtime_ns, mtime_ns, attributes)
        return attrs._replace(nlink=0) if removed else attrs

    def _attrs(
        self, path: str, is_folder: bool, size: int, mtime: int, ctime: int, given: Attributes
    ) -> Attrs:
        view = self._view
        if is_folder:
            mode = stat.S_IFDIR | (view.folder_mode if given.mode is None else given.mode)
        else:
            mode = stat.S_IFREG | (view.file_mode if given.mode is None else given.mode)
        return Attrs(
            mode=mode,
            nlink=_NLINK_FOLDER if is_folder else _NLINK_FILE,
            uid=view.uid if given.uid is None else given.uid,
            gid=view.gid if given.gid is None else given.gid,
            size=size,
            atime_ns=mtime if given.atime_ns is None else given.atime_ns,
            mtime_ns=mtime,
            ctime_ns=max(ctime, mtime),
            ino=inode(path),
            blocks=(size + 511) // 512,
        )
