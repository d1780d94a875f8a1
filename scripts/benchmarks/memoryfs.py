"""A file system in memory on cosfs's binding: ``python -m benchmarks.memoryfs MOUNTPOINT``.

It shows what the kernel, libfuse and the binding cost when nothing else does. One folder of plain
files; each open drops the kernel's pages, so that every byte is asked for.
"""

from __future__ import annotations

import stat
import sys
import threading

from cosfs.errors import NotFound
from cosfs.fuse import binding
from cosfs.fuse.operations import FileInfo, Operations
from cosfs.vfs.types import Attrs, DirEntry


class MemoryOperations(Operations):
    """The calls that reading and writing need. What the kernel asks for besides is answered as a
    mount does, which never looks further than the name of a foreign extended attribute.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_path: dict[str, int] = {}
        self._bytes: dict[int, bytearray] = {}
        self._last = 1

    def init(self, _path: str) -> None:
        """Nothing has to be started."""

    def mappable(self) -> list[str]:
        return []

    def getattr(self, path: str, fh: int | None = None) -> Attrs:
        if path == "/":
            return Attrs(stat.S_IFDIR | 0o755, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0)
        number = fh if fh is not None else self._by_path.get(path)
        if number is None:
            raise NotFound(path)
        size = len(self._bytes[number])
        return Attrs(stat.S_IFREG | 0o644, 1, 0, 0, size, 0, 0, 0, number, -(-size // 512), 0)

    def create(self, path: str, mode: int, fi: FileInfo) -> None:
        with self._lock:
            self._last += 1
            self._by_path[path] = fi.fh = self._last
            self._bytes[fi.fh] = bytearray()

    def open(self, path: str, fi: FileInfo) -> None:
        fi.fh = self._by_path[path]

    def read(self, fh: int, offset: int, into: memoryview) -> int:
        with memoryview(self._bytes[fh])[offset : offset + len(into)] as found:
            into[: len(found)] = found
            return len(found)

    def write(self, fh: int, offset: int, data: bytes) -> int:
        self._bytes[fh][offset : offset + len(data)] = data
        return len(data)

    def truncate(self, path: str | None, length: int, fi: FileInfo | None = None) -> None:
        content = self._bytes[fi.fh if fi is not None else self._by_path[path or ""]]
        del content[length:]
        content.extend(bytes(length - len(content)))

    def flush(self, _path: str | None, fi: FileInfo) -> None:
        """Nothing has to be stored."""

    def release(self, _path: str | None, fi: FileInfo) -> None:
        """Nothing has to be given back."""

    def rename(self, old: str, new: str) -> None:
        """An open file that is unlinked gets another name first."""
        self._by_path[new] = self._by_path.pop(old)

    def unlink(self, path: str) -> None:
        del self._bytes[self._by_path.pop(path)]

    def opendir(self, path: str) -> int:
        return 0

    def releasedir(self, _path: str | None, fh: int) -> None:
        """Nothing has to be given back."""

    def readdir(self, fh: int) -> list[DirEntry]:
        return [
            DirEntry(path[1:], number, stat.S_IFREG) for path, number in self._by_path.items()
        ]


def main() -> None:
    """Mount, and return after SIGTERM or an umount."""
    binding.serve(MemoryOperations(), sys.argv[1], {"fsname": "memory"}, on_ready=lambda: None)


if __name__ == "__main__":
    main()
