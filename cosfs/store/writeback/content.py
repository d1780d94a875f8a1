"""Owns the local files that hold content which is to be stored; must not know where it belongs.

A file is complete before it has its name here, and is never changed under that name.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from cosfs.digests import STEP, Digests, Trail, digests_of
from cosfs.errors import FsError, NoSpace, SpoolFailed
from cosfs.model import Source
from cosfs.store import content


class ContentFolder:
    """The files of one mount. Thread safety: any method from any thread."""

    def __init__(self, folder: Path, *, is_synced: bool) -> None:
        """With ``is_synced``, what was taken survives a power loss."""
        self.folder = folder
        self._is_synced = is_synced

    def take(self, name: str, path: str, source: Source) -> str:
        """Let ``name`` be a file with the content of ``source``, which is for ``path``.

        Returns its SHA-1. Raises ``NoSpace``.
        """
        file = self.file(name)
        try:
            if not self._shared(source, file):
                self._copy(source, file)
            if self._is_synced:
                sync(file)
                sync(self.folder)
        except OSError as error:
            file.unlink(missing_ok=True)
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            kind: type[FsError] = NoSpace if is_full else SpoolFailed
            raise kind(path, f"the queue's disk says: {error.strerror}") from error
        return digests_of(source).sha

    def file(self, name: str) -> Path:
        """Return where the content ``name`` is."""
        return self.folder / name

    def drop(self, name: str) -> None:
        """Remove content."""
        if name:
            with suppress(FileNotFoundError):
                os.unlink(self.file(name))

    def names(self) -> list[str]:
        """Return the names of all content that is here."""
        return [file.name for file in self.folder.glob("*.data")]

    def keep_only(self, wanted: Collection[str]) -> None:
        """Remove content that nothing refers to: nobody was promised anything about it."""
        for file in self.folder.glob("*.*"):
            if file.suffix in (".data", ".new") and file.name not in wanted:
                file.unlink()

    @staticmethod
    def _shared(source: Source, file: Path) -> bool:
        # A test against the protocol would take longer than the sharing.
        share: Callable[[Path], None] | None = getattr(source, "share", None)
        if share is None:
            return False
        try:
            share(file)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            return False
        return True

    @staticmethod
    def _copy(source: Source, file: Path) -> None:
        draft = file.with_suffix(".new")
        try:
            with open(draft, "xb", opener=_private) as stream:
                for data in content.chunks(source):
                    stream.write(data)
            draft.rename(file)
        finally:
            draft.unlink(missing_ok=True)


class StoredFile:
    """A file as a ``model.Source``, open until ``close``, whose SHA-1 is known to be ``sha``.

    What differs from that is refused by whoever it is sent to.
    """

    def __init__(self, file: Path, sha: str) -> None:
        self._descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self._descriptor).st_size
        self._sha = sha

    def digests(self) -> Digests:
        """Return what was said of it, or of something long, what it is: see ``DigestedSource``."""
        return Digests(self._sha, ()) if self.size < STEP else Trail().read(self)

    def read_at(self, offset: int, length: int) -> bytes:
        pieces = []
        while length > 0:
            piece = os.pread(self._descriptor, length, offset)
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        os.close(self._descriptor)


def _private(file: str, flags: int) -> int:
    return os.open(file, flags | os.O_CLOEXEC, 0o600)


def sync(file: Path) -> None:
    """Let what a file or folder holds survive a power loss. Raises ``OSError``."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
