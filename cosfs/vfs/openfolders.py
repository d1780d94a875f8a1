"""Owns the listings of open folders; must not know how names come and go, nor handles of files."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass

from cosfs import paths
from cosfs.vfs.attrs import inode
from cosfs.vfs.catalog import Catalog
from cosfs.vfs.files import OpenFiles
from cosfs.vfs.handles import HandleTable
from cosfs.vfs.status import Status
from cosfs.vfs.types import DirEntry


@dataclass
class _OpenFolder:
    path: str
    entries: Sequence[DirEntry]
    is_read: bool = False


class OpenFolders:
    """Keeps for each open folder the names that it had when it was opened, or rewound.

    Thread safety: any method from any thread, as the kernel reads one open folder in one thread at
    a time.
    """

    def __init__(self, catalog: Catalog, status: Status, files: OpenFiles) -> None:
        self._catalog = catalog
        self._status = status
        self._files = files
        self._open: HandleTable[_OpenFolder] = HandleTable()

    def open(self, path: str) -> int:
        """Take a snapshot of a folder's names. Cost: its pages, 0 when its listing is known."""
        return self._open.add(_OpenFolder(path, self._entries(path)))

    def path(self, fh: int) -> str:
        """Return where the folder is now."""
        return self._open.get(fh).path

    def read(self, fh: int) -> Sequence[DirEntry]:
        """Return the snapshot, without ``.`` and ``..``. Cost: none."""
        folder = self._open.get(fh)
        folder.is_read = True
        return folder.entries

    def rewind(self, fh: int) -> None:
        """Read from the start: a folder that was read before is looked at again, as POSIX says.

        Cost: 0, or as ``open``.
        """
        folder = self._open.get(fh)
        if folder.is_read:
            folder.entries = self._entries(folder.path)

    def moved(self, old: str, new: str) -> None:
        """Let open folders follow the rename of ``old``, which may be a file."""
        for folder in self._open.all():
            if folder.path == old or paths.is_inside(folder.path, old):
                folder.path = paths.moved(folder.path, old, new)

    def close(self, fh: int) -> None:
        """Drop the snapshot."""
        self._open.remove(fh)

    def _entries(self, path: str) -> Sequence[DirEntry]:
        self._files.await_replacing(path)
        types = {
            name: self._status.type_bits(paths.join(path, name), entry)
            for name, entry in self._catalog.read(path).items()
        }
        types.update(dict.fromkeys(self._files.unstored_in(path), stat.S_IFREG))
        return [
            DirEntry(name, inode(paths.join(path, name)), type_bits)
            for name, type_bits in sorted(types.items())
        ]
