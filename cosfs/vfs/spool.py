"""Owns the local file that holds what was written and is not stored yet; must not know stores.

A spool file is private (0600) and sparse. It knows which of its bytes are there (``present``);
the others are still in the store's version of the file, and the open file fetches them when they
are needed.

What is written from front to back is digested on the way, so that a close of a large file has only
to send. What is written otherwise is digested when it is asked for.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cosfs.digests import Digests, Trail
from cosfs.errors import FileTooLarge, FsError, NoSpace, SpoolFailed
from cosfs.model import Version
from cosfs.vfs.extents import Extents

_ERRORS: dict[int, type[FsError]] = {
    errno.ENOSPC: NoSpace,
    errno.EDQUOT: NoSpace,
    errno.EFBIG: FileTooLarge,
}


class Spool:
    """The bytes of one open file on the local disk.

    Is a ``digests.DigestedSource`` once nothing is missing.

    Raises ``NoSpace`` or ``FileTooLarge`` where the local disk cannot take more; what was there
    before such an error stays readable.

    Thread safety: ``read_at`` from any thread; the changing methods under the open file's lock, and
    ``digests`` where nothing is changed meanwhile, by one thread at a time.
    """

    def __init__(self, folder: Path, path: str, size: int) -> None:
        """Make an empty spool of ``size`` bytes, none of them present, for the file at ``path``."""
        self._path = path
        self.size = 0
        self.present = Extents()
        self._trail = Trail()
        self._is_shared = False
        try:
            # As tempfile would, at a third of its price.
            self.file = folder / f"{secrets.token_hex(8)}.data"
            self._fd = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _translated(error, path) from error
        if size:
            self._resize(size)

    @classmethod
    def adopt(cls, file: Path, path: str, missing: Iterable[tuple[int, int]]) -> Spool:
        """Take up what an earlier spool of ``path`` left in ``file``, all but what is missing."""
        spool = cls.__new__(cls)
        spool._path = path
        spool._trail = Trail()
        try:
            spool._fd = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise _translated(error, path) from error
        spool.file = file
        spool._is_shared = False
        spool.size = os.fstat(spool._fd).st_size
        spool.present = Extents()
        at = 0
        for start, end in (*missing, (spool.size, spool.size)):
            spool.present.add(at, start)
            at = end
        return spool

    def read_at(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``, fewer at the end."""
        length = min(length, self.size - offset)
        pieces = []
        while length > 0:
            piece = os.pread(self._fd, length, offset)
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_into(self, offset: int, into: memoryview) -> int:
        """Fill ``into`` from ``offset``; return how many bytes there were, fewer at the end."""
        length = min(len(into), self.size - offset)
        count = 0
        while count < length:
            got = os.preadv(self._fd, [into[count:length]], offset + count)
            if not got:
                break
            count += got
        return count

    def digests(self) -> Digests:
        """Return the digests of the whole; reads what was not written from front to back."""
        return self._trail.read(self)

    def version(self) -> Version:
        """Return which version of an object this content is; reads as ``digests`` does."""
        return Version(self.digests().sha, self.size)

    def share(self, target: Path) -> None:
        """Let ``target`` be a file with this content, which no later change reaches.

        The two are one file until the next change here. Raises ``OSError``.
        """
        os.link(self.file, target)
        self._is_shared = True

    def _own(self) -> None:
        """Go on with a copy of what was shared, as it is to be changed."""
        if not self._is_shared:
            return
        draft = self.file.with_suffix(".own")
        try:
            shutil.copyfile(self.file, draft)
            draft.chmod(0o600)
            descriptor = os.open(draft, os.O_RDWR | os.O_CLOEXEC)
            draft.rename(self.file)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise _translated(error, self._path) from error
        # The number stays, as others may be reading by it.
        os.dup2(descriptor, self._fd, inheritable=False)
        os.close(descriptor)
        self._is_shared = False

    def write(self, offset: int, data: bytes) -> None:
        """Put ``data`` at ``offset``; bytes between the old end and ``offset`` become zeros."""
        self._own()
        end = offset + len(data)
        view = memoryview(data)
        self._trail.rewind(offset)
        try:
            while view:
                written = os.pwrite(self._fd, view, end - len(view))
                view = view[written:]
        except OSError as error:
            # What of it did get there must not show up behind a later end.
            os.ftruncate(self._fd, self.size)
            raise _translated(error, self._path) from error
        if offset == self._trail.size:
            self._trail.update(data)
        if offset > self.size:
            self.present.add(self.size, offset)
        self.present.add(offset, end)
        self.size = max(self.size, end)

    def check_room(self, size: int) -> None:
        """Raise ``NoSpace`` if the disk has no ``size`` bytes left: do not fill it in vain."""
        disk = os.fstatvfs(self._fd)
        if disk.f_bavail * disk.f_frsize < size:
            raise NoSpace(self._path, f"the spool's disk has no {size} bytes left")

    def fill(self, offset: int, data: bytes) -> None:
        """Put ``data`` fetched from the store into a gap; the size stays as it is."""
        self.write(offset, data)

    def truncate(self, length: int) -> None:
        """Make the file ``length`` bytes long; what is added are zeros."""
        self._own()
        old = self.size
        self._trail.rewind(length)
        self._resize(length)
        if length < old:
            self.present.cut(length)
        else:
            self.present.add(old, length)

    def _resize(self, length: int) -> None:
        try:
            os.ftruncate(self._fd, length)
        except OSError as error:
            raise _translated(error, self._path) from error
        self.size = length

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the ranges below ``end`` (and the file's size) that are not here."""
        return self.present.gaps(start, min(end, self.size))

    def close(self, *, keep: bool = False) -> None:
        """Close the file and, unless ``keep``, remove it."""
        os.close(self._fd)
        if not keep:
            with suppress(FileNotFoundError):
                os.unlink(self.file)


def _translated(error: OSError, path: str) -> FsError:
    known = _ERRORS.get(error.errno or 0)
    if known is not None:
        return known(path, f"the spool's disk says: {error.strerror}")
    return SpoolFailed(path, f"the spool's disk says: {error.strerror}")
