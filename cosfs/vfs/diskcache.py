"""Owns content on the local disk, where later mounts find it; must not know who wants it, or why.

A block is a file ``ab/DIGEST-SIZE-START-LENGTH``: a head with a checksum, then bytes of the content
with that digest and size. Blocks are as large as what was fetched lets them be: powers of two, each
at a multiple of its own length. Nothing here is needed: what is missing or damaged is fetched, and
the folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from cosfs.clock import Clock
from cosfs.model import Version
from cosfs.vfs.streams import MIB, PIECE_MAX, UNIT
from cosfs.vfs.types import DiskUsage

log = logging.getLogger(__name__)

_MAGIC: Final = b"cosfs block 1\n\0\0"
_SUM_SIZE: Final = 32
_HEAD_SIZE: Final = len(_MAGIC) + _SUM_SIZE

_NAME: Final = re.compile(r"[0-9a-f]{40}-[0-9]+-[0-9]+-[0-9]+")
_DIGEST: Final = re.compile(r"[0-9a-f]{40}")
_NEW: Final = "new-"

#: Lengths of blocks, the largest first.
_LENGTHS: Final = tuple(
    UNIT << power for power in reversed(range((PIECE_MAX // UNIT).bit_length()))
)

#: Bytes that may wait to be written; more are not kept.
_QUEUE_MAX: Final = 32 * MIB

#: A file takes whole pages of the disk.
_PAGE: Final = 4096

#: What was being written so long ago will never be ready.
_STALE_S: Final = 3600.0

#: How long the end of a mount waits for a disk that does not answer.
_PATIENCE_S: Final = 10.0


class Block(NamedTuple):
    """Which bytes of which content."""

    version: Version
    start: int
    length: int

    @property
    def name(self) -> str:
        version = self.version
        return f"{version.digest}-{version.size}-{self.start}-{self.length}"

    @property
    def cost(self) -> int:
        return _cost(self.length + _HEAD_SIZE)

    @classmethod
    def all_at(cls, version: Version, offset: int) -> Iterator[Block]:
        """Yield the blocks that can hold the byte at ``offset``, the largest first."""
        before = None
        for length in _LENGTHS:
            start = offset - offset % length
            block = cls(version, start, min(length, version.size - start))
            if block != before:
                yield block
            before = block

    @classmethod
    def all_within(cls, version: Version, begin: int, end: int) -> Iterator[Block]:
        """Yield the largest blocks that lie within ``begin <= b < end``."""
        at = -(-begin // UNIT) * UNIT
        while at < end:
            fitting = (
                block
                for block in cls.all_at(version, at)
                if block.start == at and at + block.length <= end
            )
            block = next(fitting, None)
            if block is None:
                return
            yield block
            at += block.length


class DiskCache:
    """Blocks in a folder, least recently used out first, ``limit`` bytes of the disk at most.

    Several mounts may share the folder: each looks anew what there is whenever it has written a
    quarter of its limit. No method raises: what goes wrong with the disk is logged once.

    Thread safety: any method from any thread; writing is done by one of its own.
    """

    def __init__(self, folder: Path, limit: int, clock: Clock) -> None:
        self.limit = limit
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        #: What is known to be there, least recently used first, and what it takes of the disk.
        self._blocks: OrderedDict[str, int] = OrderedDict()
        self._bytes = 0
        self._queue: deque[tuple[Block, bytes]] = deque()
        #: Bytes that wait or are being written.
        self._queued = 0
        self._written = 0
        #: How many want that what is put waits for the disk.
        self._patient = 0
        self._hits = self._misses = 0
        #: Contents of which something wrong was found.
        self._distrusted: set[Version] = set()
        self._has_complained = self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="disk-cache", daemon=True)

    def start(self) -> None:
        """Begin to look what is there, and to write: after the fork."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and end."""
        with self._lock:
            self._is_stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_S)

    def usage(self) -> DiskUsage:
        """Return what is there, and how often it was of use."""
        with self._lock:
            return DiskUsage(self._bytes, self.limit, self._hits, self._misses)

    def takes(self, version: Version) -> bool:
        """Tell whether such content is kept here."""
        return bool(_DIGEST.fullmatch(version.digest)) and version not in self._distrusted

    # -- reading -----------------------------------------------------------------------------

    def read(self, version: Version, offset: int, into: memoryview) -> int:
        """Fill ``into`` from ``offset`` on; return how many bytes from its beginning were here."""
        if not self.takes(version):
            return 0
        done = 0
        while done < len(into):
            count = self._read_some(version, offset + done, into[done:])
            with self._lock:
                if count:
                    self._hits += 1
                else:
                    self._misses += 1
            if not count:
                break
            done += count
        return done

    def held_until(self, version: Version, offset: int) -> int:
        """Return up to where the bytes from ``offset`` on are here. They are not looked at."""
        if not self.takes(version):
            return offset
        while offset < version.size:
            for block in Block.all_at(version, offset):
                if self._path(block.name).exists():
                    offset = block.start + block.length
                    break
            else:
                break
        return offset

    def _read_some(self, version: Version, offset: int, into: memoryview) -> int:
        for block in Block.all_at(version, offset):
            before = offset - block.start
            is_all_wanted = not before and block.length <= len(into)
            data = into[: block.length] if is_all_wanted else memoryview(bytearray(block.length))
            if self._load(block, data):
                count = min(block.length - before, len(into))
                if not is_all_wanted:
                    into[:count] = data[before : before + count]
                return count
        return 0

    def _load(self, block: Block, into: memoryview) -> bool:
        """Read and check a whole block; tell whether it was there."""
        path = self._path(block.name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            self._forget(block.name)
            return False
        except OSError as error:
            self._complain(error)
            return False
        try:
            head = bytearray(_HEAD_SIZE)
            count = os.readv(descriptor, [head, into])
            is_good = (
                count == len(head) + len(into) == os.fstat(descriptor).st_size
                and head == _head(block, into)
            )
            if is_good:
                os.utime(descriptor)
        except OSError as error:
            self._complain(error)
            is_good = False
        finally:
            os.close(descriptor)
        if not is_good:
            log.info("%s is damaged: it is deleted, and fetched", path)
            self._delete(block.name)
            return False
        with self._lock:
            if block.name not in self._blocks:
                self._blocks[block.name] = block.cost
                self._bytes += block.cost
            self._blocks.move_to_end(block.name)
        return True

    # -- writing -----------------------------------------------------------------------------

    def put(self, version: Version, offset: int, data: memoryview) -> None:
        """Keep a copy of ``data`` from ``offset`` on, a little later; not if too much waits."""
        if not self.takes(version):
            return
        for block in Block.all_within(version, offset, offset + len(data)):
            with self._lock:
                if self._patient:
                    self._changed.wait_for(
                        lambda: self._queued <= _QUEUE_MAX - PIECE_MAX or self._is_stopping
                    )
                is_refused = self._is_stopping or self._queued + block.length > _QUEUE_MAX
                if is_refused or block.name in self._blocks:
                    continue
                self._queued += block.length
            begin = block.start - offset
            copy = bytes(data[begin : begin + block.length])
            with self._lock:
                self._queue.append((block, copy))
                self._changed.notify_all()

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Let ``put`` wait for the disk, so that all is kept."""
        with self._lock:
            self._patient += 1
        try:
            yield
        finally:
            with self._lock:
                self._patient -= 1

    def settle(self) -> None:
        """Return when what was put is written."""
        with self._lock:
            self._changed.wait_for(lambda: not self._queued or self._is_stopping)

    @staticmethod
    def cost_of(size: int) -> int:
        """Return about what a content takes of the disk when it is read front to back."""
        return sum(block.cost for block in Block.all_within(Version("", size), 0, size)) + (
            size // 32
        )

    def distrust(self, version: Version) -> None:
        """Delete what is here of a content, and keep nothing of it as long as this mount lives."""
        if not self.takes(version):
            return
        with self._lock:
            self._distrusted.add(version)
        prefix = f"{version.digest}-{version.size}-"
        try:
            names = os.listdir(self._path(prefix).parent)
        except OSError as error:
            log.debug("nothing of %s is there: %s", prefix, error)
            return
        for name in names:
            if name.startswith(prefix):
                self._delete(name)

    def _run(self) -> None:
        self._look()
        while True:
            with self._lock:
                self._changed.wait_for(lambda: self._queue or self._is_stopping)
                if not self._queue:
                    return
                block, data = self._queue.popleft()
            try:
                self._write(block, data)
            except OSError as error:
                self._complain(error)
            with self._lock:
                self._queued -= len(data)
                self._changed.notify_all()
            if self._written > self.limit // 4:
                self._look()

    def _write(self, block: Block, data: bytes) -> None:
        if block.cost > self.limit or not self.takes(block.version):
            return
        self._make_room(block.cost)
        path = self._path(block.name)
        path.parent.mkdir(0o700, parents=True, exist_ok=True)
        # Of mode 0600.
        descriptor, new = tempfile.mkstemp(prefix=_NEW, dir=self._folder)
        try:
            try:
                _write_all(descriptor, _head(block, memoryview(data)))
                _write_all(descriptor, data)
            finally:
                os.close(descriptor)
            with self._lock:
                if block.version in self._distrusted:
                    os.unlink(new)
                    return
                os.rename(new, path)
                self._bytes += block.cost - self._blocks.pop(block.name, 0)
                self._blocks[block.name] = block.cost
                self._written += block.cost
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(new)
            raise

    def _make_room(self, size: int) -> None:
        while True:
            with self._lock:
                if not self._blocks or self._bytes + size <= self.limit:
                    return
                oldest = next(iter(self._blocks))
            self._delete(oldest)

    # -- the folder --------------------------------------------------------------------------

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name

    def _look(self) -> None:
        """Find out what is there, and when it was used last."""
        self._written = 0
        found: list[tuple[int, str, int]] = []
        try:
            self._folder.mkdir(0o700, parents=True, exist_ok=True)
            for folder in list(os.scandir(self._folder)):
                if folder.name.startswith(_NEW):
                    self._delete_stale(folder)
                elif len(folder.name) == 2 and folder.is_dir(follow_symlinks=False):
                    found += _blocks_in(folder)
        except OSError as error:
            self._complain(error)
        found.sort()
        with self._lock:
            self._blocks = OrderedDict((name, size) for _, name, size in found)
            self._bytes = sum(self._blocks.values())
        self._make_room(0)

    def _delete_stale(self, new: os.DirEntry[str]) -> None:
        with suppress(FileNotFoundError):
            if new.stat(follow_symlinks=False).st_mtime < self._clock.wall() - _STALE_S:
                os.unlink(new.path)

    def _delete(self, name: str) -> None:
        self._forget(name)
        try:
            self._path(name).unlink(missing_ok=True)
        except OSError as error:
            self._complain(error)

    def _forget(self, name: str) -> None:
        with self._lock:
            self._bytes -= self._blocks.pop(name, 0)

    def _complain(self, error: OSError) -> None:
        with self._lock:
            is_first, self._has_complained = not self._has_complained, True
        level = logging.WARNING if is_first else logging.DEBUG
        log.log(level, "the disk cache fails, reading goes on without: %s", error)


def _blocks_in(folder: os.DirEntry[str]) -> Iterator[tuple[int, str, int]]:
    """Yield when each block was used last, its name and what it takes of the disk."""
    # Another mount may delete them, or somebody all of them.
    with suppress(FileNotFoundError):
        for file in list(os.scandir(folder.path)):
            if _NAME.fullmatch(file.name):
                with suppress(FileNotFoundError):
                    status = file.stat(follow_symlinks=False)
                    yield status.st_mtime_ns, file.name, _cost(status.st_size)


def _cost(size: int) -> int:
    return -(-size // _PAGE) * _PAGE


def _head(block: Block, data: memoryview) -> bytes:
    checksum = hashlib.sha256(block.name.encode("ascii"))
    checksum.update(data)
    return _MAGIC + checksum.digest()


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
