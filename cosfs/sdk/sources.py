"""Owns reading content that is to be stored: files, bytes, file objects; must not know requests.

Each is a ``model.Source``: any part may be read, by any number of threads.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from cosfs.errors import SourceFailed
from cosfs.model import Source


class FileSource:
    """A local file; its size is that of when it was opened.

    The lock keeps a thread that outlives an interrupted call from reading what is opened next under
    the number of a descriptor that was closed.
    """

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._lock = threading.Lock()
        self._is_open = True
        self.size = os.fstat(self._fd).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        data = b""
        with self._lock:
            if not self._is_open:
                raise OSError(errno.EBADF, "the call has ended")
            while len(data) < length:
                more = os.pread(self._fd, length - len(data), offset + len(data))
                if not more:
                    break
                data = data + more if data else more
        return data

    def close(self) -> None:
        """End all reading."""
        with self._lock:
            self._is_open = False
            os.close(self._fd)


class BufferSource:
    """Bytes, or what looks like them."""

    def __init__(self, data: Any) -> None:
        self._view = memoryview(data).cast("B")
        self.size = len(self._view)

    def read_at(self, offset: int, length: int) -> bytes:
        return bytes(self._view[offset : offset + length])


class StreamSource:
    """What a binary file object holds from where it stands to its end. One thread reads at a time.

    Never by its descriptor: what it reads there may be something else (compressed, for example).
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        with _foreign():
            self._begin = stream.tell()
            self.size = max(0, stream.seek(0, os.SEEK_END) - self._begin)

    def read_at(self, offset: int, length: int) -> bytes:
        data = b""
        with self._lock, _foreign():
            self._stream.seek(self._begin + offset)
            while len(data) < length:
                more = self._stream.read(length - len(data))
                if not more:
                    break
                data += more
        return data

    def restore(self) -> None:
        """Leave the file object where it stood."""
        with _foreign():
            self._stream.seek(self._begin)


@contextmanager
def _foreign() -> Iterator[None]:
    """Turn whatever a file object of someone else raises into ``SourceFailed``."""
    try:
        yield
    except Exception as error:
        raise SourceFailed(f"data cannot be read ({type(error).__name__}: {error})") from error


@contextmanager
def open_file(path: str) -> Iterator[Source]:
    """Open a local file for the time of one call.

    Raises:
        SourceFailed: it cannot be opened.
    """
    try:
        source = FileSource(path)
    except OSError as error:
        raise SourceFailed(f"local_file {path} cannot be read ({error.strerror})") from error
    try:
        yield source
    finally:
        source.close()


@contextmanager
def open_data(data: Any) -> Iterator[Source]:
    """Take bytes, or a file object, for the time of one call; leave the latter where it stood.

    Raises:
        SourceFailed: the file object cannot be read.
    """
    if not hasattr(data, "read"):
        yield BufferSource(data)
        return
    source = StreamSource(data)
    try:
        yield source
    except BaseException:
        # Left at its end, the same file object would be stored as an empty file by the next call.
        with suppress(SourceFailed):
            source.restore()
        raise
    source.restore()
