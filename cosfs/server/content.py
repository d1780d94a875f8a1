"""Content files.

Owns the folders below the data folder and the files in them: contents named by their SHA-256,
parts of unfinished uploads, temporary files; and spools, which take in a request's content. Must
not know the index: whoever calls decides what is kept.

A content file is written under `tmp/`, complete, and then renamed, so a name under `objects/` is
never half a content.

Threading: `Spool` belongs to the event loop and hands blocking work to the pool; the methods of
`ContentFiles` may be called in any thread, for different names at the same time.
"""

import asyncio
import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

# What is smaller stays in memory: every slice (at most 3 MiB), most uploads.
MEMORY_BYTES = 4 << 20
# What is smaller is hashed and written at once instead of by a thread.
INLINE_BYTES = 64 << 10
# A thread is given this much at a time; while it is busy, this much may wait for it.
_BATCH_BYTES = 512 << 10
_AHEAD_BYTES = 4 << 20

# The system takes at most 1024 buffers in one call.
_VECTOR = 512

Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Content:
    """Received content with its digests; in memory (`data`) or in a temporary file (`path`)."""

    size: int
    sha1: str
    sha256: str
    data: bytes | None = None
    path: str | None = None
    # SHA-1 states after each MiB, where they were computed.
    states: list[str] | None = None


class ContentFiles:
    """The folders `objects/`, `parts/` and `tmp/`."""

    def __init__(self, root: Path) -> None:
        for name in ("objects", "parts", "tmp"):
            (root / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._objects = str(root / "objects")
        self._parts = str(root / "parts")
        self._tmp = str(root / "tmp")
        for shard in range(256):
            Path(f"{self._objects}/{shard:02x}").mkdir(mode=0o700, exist_ok=True)
        self._numbers = itertools.count()

    # Paths are texts: building a Path for every download takes longer than opening the file.

    def path(self, name: str) -> str:
        """Return the path of a content file."""
        return f"{self._objects}/{name[:2]}/{name}"

    def part_path(self, name: str) -> str:
        """Return the path of the part file of an upload."""
        return f"{self._parts}/{name}"

    def new_path(self) -> str:
        """Return an unused path for a temporary file."""
        return f"{self._tmp}/{os.getpid()}-{next(self._numbers)}"

    def adopt(self, content: Content) -> None:
        """Make a received content a content file; its temporary file is used up.

        Two or three system calls, unless the content is in memory and large.
        """
        target = self.path(content.sha256)
        if content.path is not None:
            os.rename(content.path, target)
            return
        source = self.new_path()
        with open(source, "xb", buffering=0) as stream:
            write_all(stream.fileno(), [content.data or b""])
        os.rename(source, target)

    def adopt_part(self, part: str, name: str) -> None:
        """Make a part file a content file, too; the part file stays until `discard_part`.

        Were it renamed, a process killed before the index says so would lose answered slices.
        """
        source = self.new_path()
        os.link(self.part_path(part), source)
        os.rename(source, self.path(name))

    def retire(self, path: str) -> str | None:
        """Take a file out of sight and return its new path for `os.unlink` in a thread."""
        hidden = self.new_path()
        try:
            os.rename(path, hidden)
        except FileNotFoundError:
            return None
        return hidden

    def iter_contents(self) -> Iterator[str]:
        """Yield the name of every content file."""
        for shard in range(256):
            with os.scandir(f"{self._objects}/{shard:02x}") as entries:
                yield from (entry.name for entry in entries)

    def iter_parts(self) -> Iterator[str]:
        """Yield the name of every part file."""
        with os.scandir(self._parts) as entries:
            yield from (entry.name for entry in entries)

    def clear_tmp(self) -> int:
        """Remove every temporary file and return how many there were."""
        names = os.listdir(self._tmp)
        for name in names:
            os.unlink(f"{self._tmp}/{name}")
        return len(names)


class Spool:
    """Takes in the content of one request: in memory at first, then in a temporary file.

    Writing and hashing of the file happen in the pool while the next bytes arrive. Exactly one of
    `settle` and `discard` must be called last (`discard` may follow `settle`, and be repeated).
    """

    def __init__(self, files: ContentFiles, pool: Executor, limit: int, expected: int = 0) -> None:
        """Remember where to write.

        Args:
            limit: what goes beyond this many bytes is counted and dropped.
            expected: about how many bytes will come; if too many for memory, the file is begun
                with the first of them.
        """
        self._memory_bytes = 0 if expected > MEMORY_BYTES else MEMORY_BYTES
        self._files = files
        self._pool = pool
        self._limit = limit
        self.size = 0
        self._pending: list[Buffer] = []
        self._pending_size = 0
        self._path: str | None = None
        self._fd = -1
        self._busy: asyncio.Future[None] | None = None

    @property
    def is_too_large(self) -> bool:
        """Whether more came than the limit allows."""
        return self.size > self._limit

    async def write(self, data: Buffer) -> None:
        """Take in some bytes, which must not change afterwards. Waits when the disk is slow."""
        self.size += len(data)
        if self.is_too_large:
            self._pending.clear()
            return
        self._pending.append(data)
        self._pending_size += len(data)
        if self._path is None and self._pending_size <= self._memory_bytes:
            return
        is_idle = self._busy is None or self._busy.done()
        if self._pending_size >= (_BATCH_BYTES if is_idle else _AHEAD_BYTES):
            await self._flush()

    async def _flush(self) -> None:
        if self._path is None:
            self._path = self._files.new_path()
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._sha1 = hashlib.sha1(usedforsecurity=False)
            self._sha256 = hashlib.sha256()
        if self._busy is not None:
            await self._busy
        batch, self._pending, self._pending_size = self._pending, [], 0
        loop = asyncio.get_running_loop()
        self._busy = loop.run_in_executor(self._pool, self._absorb, batch)

    def _absorb(self, batch: list[Buffer]) -> None:
        write_all(self._fd, batch)
        for data in batch:
            self._sha1.update(data)
            self._sha256.update(data)

    async def read(self) -> Sequence[Buffer]:
        """Return everything, in pieces. For contents that fit into memory."""
        if self._path is None:
            return tuple(self._pending)
        content = await self.settle()
        assert content.path is not None
        loop = asyncio.get_running_loop()
        return (await loop.run_in_executor(self._pool, Path(content.path).read_bytes),)

    def _join(self) -> bytes:
        if len(self._pending) != 1 or not isinstance(self._pending[0], bytes):
            self._pending = [b"".join(self._pending)]
        data = self._pending[0]
        assert isinstance(data, bytes)
        return data

    async def settle(self) -> Content:
        """Finish hashing and writing, and return the content."""
        if self._path is None:
            return await self._settle_memory()
        await self._flush()
        if self._busy is not None:
            await self._busy
            self._busy = None
        os.close(self._fd)
        self._fd = -1
        return Content(
            self.size, self._sha1.hexdigest(), self._sha256.hexdigest(), path=self._path
        )

    async def _settle_memory(self) -> Content:
        data = self._join()
        if len(data) <= INLINE_BYTES:
            return _hash_memory(data)
        loop = asyncio.get_running_loop()
        content = await loop.run_in_executor(self._pool, _hash_memory, data)
        path = self._files.new_path()
        await loop.run_in_executor(self._pool, _write_file, path, data)
        self._path = path
        return Content(content.size, content.sha1, content.sha256, path=path)

    async def discard(self) -> None:
        """Remove what is left of the content, if anything."""
        if self._busy is not None:
            await asyncio.gather(self._busy, return_exceptions=True)
            self._busy = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
        self._pending.clear()


def _hash_memory(data: bytes) -> Content:
    sha1 = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    return Content(len(data), sha1, hashlib.sha256(data).hexdigest(), data=data)


def _write_file(path: str, data: bytes) -> None:
    with open(path, "xb", buffering=0) as stream:
        write_all(stream.fileno(), [data])


def write_all(fd: int, buffers: Sequence[Buffer]) -> None:
    """Write every buffer to a descriptor, however the system cuts the writes."""
    views = [memoryview(data) for data in buffers if len(data)]
    while views:
        _drop_written(views, os.writev(fd, views[:_VECTOR]))


def write_all_at(fd: int, buffers: Sequence[Buffer], offset: int) -> None:
    """Write every buffer, one after another from an offset on."""
    views = [memoryview(data) for data in buffers if len(data)]
    while views:
        written = os.pwritev(fd, views[:_VECTOR], offset)
        offset += written
        _drop_written(views, written)


def _drop_written(views: list[memoryview], written: int) -> None:
    while views and written >= len(views[0]):
        written -= len(views.pop(0))
    if written:
        views[0] = views[0][written:]
