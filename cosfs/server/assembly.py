"""Part files: slices become a content.

Owns writing slices to their place and hashing them in order while others arrive; must not know the
index, sessions' rules or codes.

Threading: one `Assembly` may be used by many pool threads at once. Its condition guards the set of
stored slices and who hashes; it is not held while bytes are written or hashed. One thread writes at
a time: the system lets no more write one file, and makes the others spin.
"""

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence

from cosfs.server.content import Buffer, Content, write_all_at
from cosfs.server.sha1 import new_sha1
from cosfs.server.switches import MIB

_READ_BYTES = 1 << 20
# What has arrived of late is hashed from memory; this much of an upload may wait there.
_KEPT_BYTES = 16 << 20


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
        self._kept_most = _KEPT_BYTES // slice_size
        self._condition = threading.Condition()
        self._writing = threading.Lock()
        self._is_hashing = False
        self._kept: dict[int, Sequence[Buffer]] = {}
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
                with self._writing:
                    write_all_at(fd, data, start)
                with self._condition:
                    self._stored.add(start)
                    if start >= self._hashed and len(self._kept) < self._kept_most:
                        self._kept[start] = data
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
            self._kept.pop(start, None)
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
                    kept = self._kept.pop(start, None)
                self._hash_slice(fd, start, kept)
        except BaseException:
            with self._condition:
                self._restart()
                self._is_hashing = False
                self._condition.notify_all()
            raise

    def _hash_slice(self, fd: int, start: int, kept: Sequence[Buffer] | None) -> None:
        end = min(start + self._slice_size, self._file_size)
        for data in self._read(fd, start, end) if kept is None else kept:
            self._sha1.update(bytes(data))
            self._sha256.update(data)
        state = self._sha1.state()
        if state is None:
            self._states = None
        elif self._states is not None:
            self._states.append(state)
        self._hashed = end

    def _read(self, fd: int, position: int, end: int) -> Iterator[bytes]:
        while position < end:
            data = os.pread(fd, min(_READ_BYTES, end - position), position)
            if not data:
                raise OSError(f"{self._path} is shorter than its slices")
            yield data
            position += len(data)

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
