"""Owns file content in memory: blocks by version, fetched once, ahead of a sequential reader.

Must not know paths' meaning, handles or what is written.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache

from cosfs import interrupts
from cosfs.errors import IntegrityError, Interrupted
from cosfs.model import Version
from cosfs.store.base import Store
from cosfs.vfs.types import ContentUsage

log = logging.getLogger(__name__)

#: Bytes of one fetch: large enough that a request's round trip is small beside its transfer.
BLOCK_SIZE: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """Identifies the bytes that a reader wants.

    ``version`` is what the store must hold; ``mark`` tells contents apart that have no digest.
    """

    version: Version
    mark: str = ""

    @classmethod
    def of(cls, version: Version, path: str, mtime_ns: int) -> Content:
        """Name an object's content: by digest alone if it has one, so that renames cost nothing."""
        return cls(version, "" if version.digest else f"{path}@{mtime_ns}")


class Stream:
    """How one open file is being read: where the last read ended, how far ahead to fetch.

    Reads of one file come in several threads and out of order; a read that begins within one
    block of where the last one ended counts as sequential.
    """

    __slots__ = ("end", "window")

    def __init__(self) -> None:
        self.end = 0
        self.window = 0

    def advance(self, offset: int, size: int, most: int) -> int:
        """Note a read; return how many blocks to fetch ahead of it, at most ``most``."""
        if abs(offset - self.end) <= BLOCK_SIZE:
            if offset // BLOCK_SIZE != (offset + size) // BLOCK_SIZE or self.window == 0:
                self.window = min(most, max(1, self.window * 2))
        else:
            self.window = 0
        self.end = offset + size
        return self.window


Key = tuple[Content, int]


class BlockCache:
    """Blocks of all open files, least recently used out first, bounded in bytes.

    Blocks being fetched count too: a window never asks for more than a quarter of the bound.

    Thread safety: any method from any thread; the lock is never held while a fetch runs.
    """

    def __init__(self, store: Store, executor: Executor, max_bytes: int, parallel: int) -> None:
        self._store = store
        self._executor = executor
        self._ahead = max(0, min(parallel, max_bytes // BLOCK_SIZE // 4))
        self._lock = threading.Lock()
        self._blocks: LRUCache[Key, bytes | bytearray] = LRUCache(
            max(max_bytes, BLOCK_SIZE), getsizeof=len
        )
        self._hits = self._fetches = 0
        self._fetching: dict[Key, Future[bytearray]] = {}

    def read(
        self,
        content: Content,
        where: Callable[[], str],
        offset: int,
        size: int,
        stream: Stream | None = None,
    ) -> bytes:
        """Return the bytes ``offset <= b < offset + size`` of ``content``, fewer only at its end.

        ``where`` gives the path at which the store holds the content when a fetch begins.

        Raises:
            ObjectChanged, NotFound: the store holds this version no longer.
            IntegrityError: a content of one block has other bytes each time.
            StoreError: it could not be read.
        Cost: 0 for what is here; else 1 request a block of ``BLOCK_SIZE``.
        """
        end = min(offset + size, content.version.size)
        if offset >= end:
            return b""
        first, last = offset // BLOCK_SIZE, (end - 1) // BLOCK_SIZE
        if stream is not None:
            ahead = stream.advance(offset, end - offset, self._ahead)
            final = (content.version.size - 1) // BLOCK_SIZE
            for index in range(first + 1, min(last + ahead, final) + 1):
                self._begin(content, index, where)
        pieces = []
        for index in range(first, last + 1):
            block = self._block(content, index, where)
            start = index * BLOCK_SIZE
            pieces.append(bytes(memoryview(block)[max(0, offset - start) : end - start]))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def usage(self) -> ContentUsage:
        """Return what is in memory, and how often it was of use."""
        with self._lock:
            return ContentUsage(
                bytes=int(self._blocks.currsize),
                limit=int(self._blocks.maxsize),
                hits=self._hits,
                fetches=self._fetches,
            )

    def keep(self, content: Content, data: bytes) -> None:
        """Keep the whole of a small content that the caller has at hand."""
        if 0 < len(data) <= BLOCK_SIZE and len(data) == content.version.size:
            with self._lock:
                self._blocks[(content, 0)] = data

    def _block(
        self, content: Content, index: int, where: Callable[[], str]
    ) -> bytes | bytearray:
        key = (content, index)
        while True:
            with self._lock:
                block = self._blocks.get(key)
                if block is not None:
                    self._hits += 1
                    return block
                future = self._fetching.get(key)
                if future is None:
                    mine = self._fetching[key] = Future()
                    self._fetches += 1
                    break
            try:
                return interrupts.result(future)
            except Interrupted:
                # Whoever fetched has given up; unless it is our caller too, the next one fetches.
                interrupts.check()
        self._fetch(key, where, mine)
        return mine.result()

    def _begin(self, content: Content, index: int, where: Callable[[], str]) -> None:
        """Fetch a block in the background, unless it is here or on its way."""
        key = (content, index)
        with self._lock:
            if key in self._blocks or key in self._fetching:
                return
            future = self._fetching[key] = Future()
            self._fetches += 1
        self._executor.submit(self._fetch, key, where, future)

    def _fetch(self, key: Key, where: Callable[[], str], future: Future[bytearray]) -> None:
        content, index = key
        start = index * BLOCK_SIZE
        try:
            block = self._read(content, where, start)
            if len(block) == content.version.size:
                block = self._checked(content, where, block)
        except Exception as error:
            with self._lock:
                del self._fetching[key]
            # Raised again by whoever waits for it; a block fetched ahead that nobody waits for
            # is fetched anew, and fails anew, when somebody wants it.
            log.debug("fetching block %d of %s failed: %s", index, content, error)
            future.set_exception(error)
            return
        with self._lock:
            del self._fetching[key]
            self._blocks[key] = block
        future.set_result(block)

    def _read(self, content: Content, where: Callable[[], str], start: int) -> bytearray:
        block = bytearray(min(BLOCK_SIZE, content.version.size - start))
        self._store.read_range(where(), start, memoryview(block), content.version)
        return block

    def _checked(
        self, content: Content, where: Callable[[], str], block: bytearray
    ) -> bytearray:
        """Return a whole content that has its digest, or that the server surely means.

        The digest of an object that another tool has uploaded in slices may be of something else
        (reference 3.12): the same bytes twice are believed, with a line in the log.
        """
        wanted = content.version.digest
        if not wanted or hashlib.sha1(block, usedforsecurity=False).hexdigest() == wanted:
            return block
        again = self._read(content, where, 0)
        if hashlib.sha1(again, usedforsecurity=False).hexdigest() == wanted:
            log.warning("%r arrived damaged and was fetched again", where())
            return again
        if again != block:
            raise IntegrityError("its bytes differ each time they are read", path=where())
        log.warning("%r does not have the digest that the server says", where())
        return block
