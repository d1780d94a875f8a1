"""Owns how entries look to ``stat``; must not know where they come from."""

from __future__ import annotations

import stat
from hashlib import blake2b

from cosfs import paths
from cosfs.config import ViewOptions
from cosfs.model import Attributes, Entry
from cosfs.vfs.metacache import Times
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

    def mode(self, attributes: Attributes, *, is_folder: bool) -> int:
        """Return the whole ``st_mode`` of a name."""
        if attributes.mode is not None:
            # The store tells folders from files; a type that contradicts it is not believed.
            if is_folder:
                return stat.S_IFDIR | stat.S_IMODE(attributes.mode)
            kind = stat.S_IFMT(attributes.mode)
            if kind in (0, stat.S_IFDIR):
                return stat.S_IFREG | stat.S_IMODE(attributes.mode)
            return attributes.mode
        if is_folder:
            return stat.S_IFDIR | self._view.folder_mode
        return stat.S_IFREG | self._view.file_mode

    def explicit(self, given: Attributes, *, is_folder: bool) -> Attributes:
        """Return what of a new name's attributes differs from what it would show anyway."""
        mode = None if given.mode is None else stat.S_IMODE(given.mode)
        kind = 0 if given.mode is None else stat.S_IFMT(given.mode)
        default = self._view.folder_mode if is_folder else self._view.file_mode
        is_plain = kind in (0, stat.S_IFDIR if is_folder else stat.S_IFREG)
        return Attributes(
            mode=None if is_plain and mode == default else given.mode,
            uid=None if given.uid == self._view.uid else given.uid,
            gid=None if given.gid == self._view.gid else given.gid,
            rdev=given.rdev,
        )

    def set_gid_group(self, attributes: Attributes) -> int | None:
        """Return the group of a folder that gives it to the names made in it; else ``None``."""
        if attributes.mode is None or not attributes.mode & stat.S_ISGID:
            return None
        return self._view.gid if attributes.gid is None else attributes.gid

    def build(
        self, path: str, entry: Entry, attributes: Attributes, times: Times, subfolders: int
    ) -> Attrs:
        """Return what ``stat`` shows for ``entry``."""
        mtime = self.mtime_ns(entry, attributes, times)
        ctime = times.ctime_ns or max(entry.ctime_ns, mtime)
        attrs = self._attrs(path, entry.is_folder, entry.size, mtime, ctime, attributes, times)
        return attrs._replace(nlink=_NLINK_FOLDER + subfolders) if subfolders else attrs

    def mtime_ns(self, entry: Entry, attributes: Attributes, times: Times) -> int:
        """Return the time that a name shows: a program's, this mount's, the server's.

        A folder's moves whenever a name in it comes or goes, whatever a program has set before.
        """
        if entry.is_folder and times.mtime_ns is not None:
            return times.mtime_ns
        if attributes.mtime_ns is not None:
            return attributes.mtime_ns
        if times.mtime_ns is not None:
            return times.mtime_ns
        return entry.mtime_ns or self._started_ns

    def build_open(
        self,
        path: str,
        size: int,
        mtime_ns: int,
        ctime_ns: int,
        attributes: Attributes,
        times: Times,
        *,
        removed: bool,
    ) -> Attrs:
        """Return what ``stat`` shows for a file whose truth is its open file."""
        attrs = self._attrs(path, False, size, mtime_ns, ctime_ns, attributes, times)
        return attrs._replace(nlink=0) if removed else attrs

    def _attrs(
        self,
        path: str,
        is_folder: bool,
        size: int,
        mtime: int,
        ctime: int,
        given: Attributes,
        times: Times,
    ) -> Attrs:
        view = self._view
        return Attrs(
            mode=self.mode(given, is_folder=is_folder),
            nlink=_NLINK_FOLDER if is_folder else _NLINK_FILE,
            uid=view.uid if given.uid is None else given.uid,
            gid=view.gid if given.gid is None else given.gid,
            size=size,
            atime_ns=mtime if times.atime_ns is None else times.atime_ns,
            mtime_ns=mtime,
            ctime_ns=ctime,
            ino=inode(path),
            blocks=(size + 511) // 512,
            rdev=given.rdev or 0,
        )
