"""Part files: slices become a content.

Owns writing slices to their place and hashing them in order while others arrive; must not know the
index, sessions' rules or codes.

Threading: one `Assembly` may be used by many pool threads at once. Its lock guards the set of
stored slices and who hashes; no lock is held while bytes are written or hashed.
"""

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterable, Sequence

from cosfs.server.content import Buffer, Content, write_all_at
from cosfs.server.sha1 import new_sha1
from cosfs.server.switches import MIB

_READ_BYTES = 1 << 20


class Assembly:
    """The part file of one unfinished upload."""

    def __init__(
        self, path: str, file_size: int, slice_size: int, stored: Iterable[int]
    ) -> None:
        """Remember the file; `stored` are the starts of slices that are in it already."""
        self._path = path
        self._file_size = file_size
        self._slice_size = slice_size
        self._stored = set(stored)
        self._condition = threading.Condition()
        self._is_hashing = False
        self._restart()

    def _restart(self) -> None:
        self._hashed = 0
        self._sha1 = new_sha1()
        self._sha256 = hashlib.sha256()
        self._states: list[str] | None = []

    def store(self, start: int, data: Sequence[Buffer]) -> None:
        """Write a slice to its place; the same again is the same as once. Blocks.

        A slice that is sent again with other bytes replaces the first one.
        """
        fd = self._open()
        try:
            with self._condition:
                is_known = start in self._stored
            if not is_known:
                write_all_at(fd, data, start)
                with self._condition:
                    self._stored.add(start)
            else:
                self._store_again(fd, start, b"".join(data))
        finally:
            os.close(fd)

    def hash_ahead(self) -> None:
        """Hash what is complete from the front, so that the end need not wait for it. Blocks."""
        with contextlib.suppress(FileNotFoundError):  # The upload may have ended meanwhile.
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._hash_on(fd)
            finally:
                os.close(fd)

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _store_again(self, fd: int, start: int, data: bytes) -> None:
        if os.pread(fd, len(data), start) == data:
            return
        with self._condition:
            self._condition.wait_for(lambda: not self._is_hashing)
            write_all_at(fd, [data], start)
            if start < self._hashed:
                self._restart()

    def _hash_on(self, fd: int) -> None:
        """Hash what is complete from the front, unless another thread is at it."""
        with self._condition:
            if self._is_hashing:
                return
            self._is_hashing = True
        try:
            while True:
                with self._condition:
                    start = self._hashed
                    if start not in self._stored or start >= self._file_size:
                        # Given up under the lock: a slice stored from now on finds nobody hashing.
                        self._is_hashing = False
                        self._condition.notify_all()
                        return
                self._hash_slice(fd, start)
        except BaseException:
            with self._condition:
                self._restart()
                self._is_hashing = False
                self._condition.notify_all()
            raise

    def _hash_slice(self, fd: int, start: int) -> None:
        end = min(start + self._slice_size, self._file_size)
        position = start
        while position < end:
            data = os.pread(fd, min(_READ_BYTES, end - position), position)
            if not data:
                raise OSError(f"{self._path} is shorter than its slices")
            self._sha1.update(data)
            self._sha256.update(data)
            position += len(data)
        state = self._sha1.state()
        if state is None:
            self._states = None
        elif self._states is not None:
            self._states.append(state)
        self._hashed = end

    def complete(self) -> Content | None:
        """Hash what is left and return the content; None when a slice is missing. Blocks."""
        fd = self._open()
        try:
            with self._condition:
                self._condition.wait_for(lambda: not self._is_hashing)
            self._hash_on(fd)
        finally:
            os.close(fd)
        with self._condition:
            self._condition.wait_for(lambda: not self._is_hashing)
            if self._hashed < self._file_size:
                return None
            # The index keeps states of MiB slices, the size that goes with `uploadparts`.
            states = self._states if self._slice_size == MIB else None
            sha1, sha256 = self._sha1.hexdigest(), self._sha256.hexdigest()
        return Content(self._file_size, sha1, sha256, states=states)


def compute_states(path: str, slice_size: int) -> list[str] | None:
    """Return the SHA-1 state after each slice of a file; None when states cannot be had. Blocks."""
    sha1 = new_sha1()
    states = []
    with open(path, "rb", buffering=0) as stream:
        while data := stream.read(slice_size):
            sha1.update(data)
            state = sha1.state()
            if state is None:
                return None
            states.append(state)
    return states
