"""Owns local files that downloads end in: written beside, renamed when complete; must not know COS.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import threading
from types import TracebackType


class LocalFile:
    """A file that takes its name with ``commit`` and leaves no trace without it.

    It is made in the folder of ``path``, takes the mode of a file that it replaces, and goes where
    a symbolic link points. What is no regular file (a device, a pipe) is written to directly; then
    ``is_replaced`` is false and it can only be written from front to back.

    Thread safety: ``write_at`` by any number of threads, the rest by one. The lock keeps one that
    outlives an interrupted call from writing to what is opened next under the descriptor's number.
    """

    def __init__(self, path: str) -> None:
        """Open it.

        Raises:
            OSError: it cannot be written there.
        """
        self._lock = threading.Lock()
        self._is_open = True
        self._final = os.path.realpath(path)
        self._temporary = ""
        try:
            found = os.stat(self._final)
        except FileNotFoundError:
            found = None
        if found is not None and stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(f"{path} is a folder")
        self.is_replaced = found is None or stat.S_ISREG(found.st_mode)
        if not self.is_replaced:
            self._fd = os.open(self._final, os.O_WRONLY | os.O_CLOEXEC)
            return
        folder = os.path.dirname(self._final)
        self._temporary = os.path.join(folder, f".cosfs-{secrets.token_hex(8)}.part")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._fd = os.open(self._temporary, flags, 0o666)
        if found is not None:
            with contextlib.suppress(OSError):
                os.fchmod(self._fd, stat.S_IMODE(found.st_mode))

    def write(self, view: memoryview) -> None:
        """Append all of ``view``."""
        while len(view):
            view = view[os.write(self._fd, view) :]

    def write_at(self, view: memoryview, offset: int) -> None:
        """Write all of ``view`` at ``offset``."""
        with self._lock:
            if not self._is_open:
                raise OSError(errno.EBADF, "the call has ended")
            while len(view):
                count = os.pwrite(self._fd, view, offset)
                view, offset = view[count:], offset + count

    def read_into(self, view: memoryview, offset: int) -> int:
        """Read back what was written; return how many bytes."""
        return os.preadv(self._fd, [view], offset)

    def clear(self) -> None:
        """Begin again at the beginning."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)

    def commit(self) -> None:
        """Give the file its name; from here on it is the user's."""
        if self._temporary:
            os.replace(self._temporary, self._final)
            self._temporary = ""

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._is_open = False
            os.close(self._fd)
        if self._temporary:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)
