"""Owns one open file: its bytes, its dirt, and when they are stored (design 7).

Must not know handles' numbers, listings or who may call what.

::

             write, truncate                 store
    clean ───────────────────> dirty ───────────────────> storing ───> clean
                                 ^                           │
                                 └────────── failed <────────┘
                                   write, fsync, last chance

All descriptors of one name share one ``OpenFile``: they see the same bytes. It reads one version of
the object, the one it was opened on. The first write makes a spool; what is not overwritten is
fetched into it only when it is needed.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from cosfs import interrupts
from cosfs.clock import Clock
from cosfs.errors import (
    AlreadyExists,
    CosfsError,
    NotFound,
    ObjectChanged,
    Stale,
    StoreError,
    StoreFailed,
)
from cosfs.model import Attributes, Base, Entry, Metadata, Version
from cosfs.store.base import Store
from cosfs.vfs.attributes import AttributeKeeper
from cosfs.vfs.blocks import BLOCK_SIZE, BlockCache
from cosfs.vfs.catalog import Catalog
from cosfs.vfs.descriptors import Descriptor
from cosfs.vfs.journal import Journal, overwrite_record
from cosfs.vfs.metacache import Times
from cosfs.vfs.pathlocks import PathLocks
from cosfs.vfs.pending import Kept, reason_of
from cosfs.vfs.segments import Content
from cosfs.vfs.spool import Spool

log = logging.getLogger(__name__)

#: The kernel reads ahead: how long a program may take over what it was sent last.
_READING_S: Final = 2.0

#: Bytes that are copied into a spool at once.
_FILL_SIZE: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Services:
    """What open files work with."""

    store: Store
    catalog: Catalog
    keeper: AttributeKeeper
    locks: PathLocks
    blocks: BlockCache
    journal: Journal
    clock: Clock
    spool_folder: Path
    check_overwrites: bool


class OpenFile:
    """See the module's text.

    Thread safety: ``_lock`` guards the state. It is held while missing bytes are fetched, but not
    while the file is stored: then ``_storing`` keeps writers out and lets readers in.
    """

    def __init__(
        self, services: Services, path: str, entry: Entry | None, spool: Spool | None = None
    ) -> None:
        """Open ``entry`` at ``path``, or with ``None`` a new file that is not stored yet.

        ``spool`` holds unstored content of before.
        """
        self._services = services
        self._lock = interrupts.Condition(threading.RLock())
        self._storing = False
        self.path = path
        #: Where the store has it: differs from ``path`` once the name was removed.
        self.store_path = path
        #: What the store holds; ``None`` before the first store of a new file.
        self.entry = entry
        self.removed = False
        #: The name that was taken for a rename which failed, and could not be given back.
        self.lost_name = ""
        #: Changes of attributes that are not stored, once the name was removed: nor will they be.
        self.attributes = Attributes()
        #: The first store must not replace a file that somebody else made (O_EXCL).
        self.exclusive = False
        #: Tells what this one has made from what others have, as long as that is not settled.
        self._nonce = secrets.token_hex(16) if entry is None else ""
        #: Names content without a digest: nothing else tells it from that of another open.
        self._mark = secrets.token_hex(8)
        #: The entry whose content was named last, and its name: each read asks for it.
        self._named: Entry | None = None
        self._name: Content
        #: What stands beside a new file, and travels with its first store.
        self.new_metadata = Metadata()
        self.descriptors: set[Descriptor] = set()
        #: Why the bytes as they are could not be stored: told to all that wrote, until they change
        #: or a store succeeds.
        self.failure: StoreFailed | None = None
        self._attempts = 0
        #: What the content that could not be stored completely is to carry.
        self._kept: Metadata | None = None
        #: What an attempt that failed may have stored all the same.
        self._tried: Version | None = None
        self._spool: Spool | None = spool
        self._dirty = entry is None or spool is not None
        #: Nothing of the old content is kept or was read: the last writer wins.
        self._blind = entry is None
        self._size = entry.size if entry is not None else 0
        self._mtime_ns = self._changed_ns = services.clock.wall_ns()
        #: A program has set the time of the bytes as they are.
        self._mtime_is_set = False
        #: The kernel takes it for as long as another version.
        self._is_misjudged = False
        #: When the kernel asked for bytes of it last (monotonic seconds).
        self._last_read = -math.inf
        if spool is not None:
            self._size = spool.size
        elif entry is None:
            self._make_spool()

    # -- state -------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        return self._size

    @property
    def mtime_ns(self) -> int:
        """When the local bytes changed, or what a program says about that."""
        return self._mtime_ns

    @property
    def changed_ns(self) -> int:
        """When the local bytes changed, whatever a program says about that."""
        return self._changed_ns

    def set_mtime(self, mtime_ns: int) -> None:
        """Let the bytes as they are have this time; it travels with them."""
        with self._lock:
            self._mtime_ns = mtime_ns
            self._mtime_is_set = True

    @property
    def is_dirty(self) -> bool:
        """Whether there is something that the store does not hold."""
        return self._dirty and not self.removed

    @property
    def has_local_state(self) -> bool:
        """Whether attributes must come from here rather than from the catalog."""
        return self.has_local_bytes or self.removed

    @property
    def has_local_bytes(self) -> bool:
        """Whether it was changed since it was opened: size and time are those of the bytes here."""
        return self._spool is not None

    # -- bytes -------------------------------------------------------------------------------

    def read_into(self, descriptor: Descriptor, offset: int, into: memoryview) -> int:
        """Fill ``into`` from ``offset``; return how many bytes there were, fewer mean the end.

        Raises:
            Stale: somebody else replaced or removed the version that is open.
        """
        while True:
            where = self.store_path
            try:
                with self._lock:
                    if self._spool is not None:
                        self._fill(offset, offset + len(into))
                        return self._spool.read_into(offset, into)
                    self._last_read = self._services.clock.monotonic()
                    if self._is_misjudged and not descriptor.is_direct:
                        raise Stale(self.path, "replaced by a file of another size")
                    self._blind = False
                    content = self._content()
            except Stale:
                if self._has_moved(where):
                    continue
                raise
            try:
                return self._services.blocks.read_into(
                    content, lambda: self.store_path, offset, into, descriptor.stream
                )
            except (ObjectChanged, NotFound) as error:
                if self._is_ours_by_now(content, where):
                    continue
                self._services.catalog.cache.forget(self.path)
                raise Stale(self.path, "replaced or removed by somebody else") from error

    def _is_ours_by_now(self, content: Content, where: str) -> bool:
        """Tell whether it is this mount that has written or renamed what was being read."""
        with self._lock:
            if self._spool is not None or self._content() != content:
                return True
        return self._has_moved(where)

    def _has_moved(self, where: str) -> bool:
        """Tell whether this mount has renamed what was at ``where``; waits if it is about to."""
        if self.store_path != where:
            return True
        # A rename holds it from before the store moves the file until we know the new name.
        with self._services.locks.holding(self.path):
            return self.store_path != where

    def note_told(self, size: int) -> None:
        """Note that the kernel believes the name to have ``size``, maybe that of another version.

        It ends all reads there, and fills them with zeros up to there. A shorter one may thus have
        cut off a reader, unless that had been sent everything some time before.
        """
        if self.has_local_state or self.entry is None:
            return
        with self._lock:
            self._is_misjudged = size != self.entry.size
            if size >= self.entry.size:
                return
            horizon = self._services.clock.monotonic() - _READING_S
            for one in list(self.descriptors):
                # What one descriptor reads, the kernel gives to all of them.
                has_pages = one.has_pages or self._last_read >= one.opened
                is_done = one.stream.end >= self.entry.size and self._last_read <= horizon
                if not one.is_direct and has_pages and not is_done:
                    one.is_cut = True

    def write(self, descriptor: Descriptor, offset: int, data: bytes) -> None:
        """Put ``data`` at ``offset``. Raises ``NoSpace`` when the spool's disk is full."""
        with self._changing() as spool:
            spool.write(offset, data)
            self._note_change(spool)
            descriptor.wrote = True

    def truncate(self, length: int, descriptor: Descriptor | None = None) -> None:
        """Make the file ``length`` bytes long."""
        with self._changing() as spool:
            if length != spool.size:
                spool.truncate(length)
            if length == 0 and not self.descriptors_that_wrote():
                self._blind = True
            self._note_change(spool)
            if descriptor is not None:
                descriptor.wrote = True

    def descriptors_that_wrote(self) -> list[Descriptor]:
        """Return the descriptors with unstored writes."""
        with self._lock:
            return [descriptor for descriptor in list(self.descriptors) if descriptor.wrote]

    # -- storing -----------------------------------------------------------------------------

    def store(self) -> bool:
        """Store what is dirty; returns when the store holds it: whether there was anything.

        Raises:
            StoreFailed: it could not be stored; its cause says why. The bytes stay here.
        Cost: 1 request up to the store's limit of one upload; 1 more when metadata is not known.
        """
        seen = self._attempts
        while True:
            path = self.path
            # Held first: a rename, which holds it too, may change the path until then.
            with self._services.locks.holding(path):
                if self.path == path:
                    return self._store_as(path, seen)

    def _store_as(self, path: str, seen: int) -> bool:
        with self._lock:
            self.settle()
            if not self.is_dirty:
                return False
            if self.failure is not None and self._attempts != seen:
                # Somebody tried while we waited: trying once more each would take for ever.
                raise self.failure
            self._attempts += 1
            assert self._spool is not None
            spool = self._spool
            self._storing = True
        try:
            with self._lock:
                self._fill(0, self._size)
            mtime_ns = self._mtime_ns if self._mtime_is_set else None
            self._kept = self._metadata_to_keep()
            with self._services.keeper.travelling(path, self._kept, mtime_ns) as metadata:
                entry = self._write(path, spool, metadata)
            self._note_stored(entry, spool)
        except Exception as error:
            cause = error if isinstance(error, CosfsError) else CosfsError(repr(error))
            if isinstance(cause, StoreError) and self._kept is not None:
                with suppress(CosfsError, OSError):  # what cannot be read was not stored
                    self._tried = spool.version()
            with self._lock:
                self.failure = failure = StoreFailed(self.path, cause)
            raise failure from error
        finally:
            with self._lock:
                self._storing = False
                self._lock.notify_all()
        return True

    def _write(self, path: str, spool: Spool, metadata: Metadata) -> Entry:
        """Store content and metadata; should we die between the two, the next mount goes on."""
        journal = self._services.journal
        # Beside a text of the owner even attributes may not travel with content.
        is_at_risk = self.entry is not None and metadata.properties
        if is_at_risk:
            journal.put("overwrites", path, overwrite_record(spool.version(), metadata))
        staged: list[str] = []

        def staging(place: str) -> None:
            journal.put("staged", place, {"path": path})
            staged.append(place)
        base = Base(self.entry, is_needed=not self._blind and self._services.check_overwrites)
        write = partial(self._services.store.write_file, path, spool, metadata=metadata, base=base)
        write = partial(write, staging=staging, nonce=self._nonce if self.exclusive else "")
        try:
            entry = write(create_only=self.exclusive)
        except AlreadyExists:
            if not self._is_made_here(path):
                raise
            entry = write(create_only=False)
        # After a failure they stay: whether the store could take back what it had is not known.
        for place in staged:
            journal.drop("staged", place)
        if is_at_risk:
            journal.drop("overwrites", path)
        return entry

    def _is_made_here(self, path: str) -> bool:
        """Tell whether what is in the way of a new file is of its own attempt, which then failed.

        Cost: 1 request after such an attempt.
        """
        if self._tried is not None:
            with suppress(NotFound):
                return self._services.store.stat_file(path).nonce == self._nonce
        return False

    def note_metadata(self, metadata: Metadata) -> None:
        """Note what a program has set beside the content, should its store be tried again."""
        if self._kept is not None:
            self._kept = metadata

    @property
    def may_be_stored(self) -> bool:
        """Whether the store has something under the file's name, as far as can be known."""
        return self.entry is not None or self._tried is not None

    def settle(self) -> None:
        """Wait until no store is under way: before the file's bytes or name change."""
        with self._lock:
            while self._storing:
                self._lock.wait()

    def close(self) -> None:
        """Give the spool back."""
        with self._lock:
            spool, self._spool = self._spool, None
            if spool is not None:
                spool.close()

    def give_up(self) -> Kept | None:
        """Give the spool back, but leave its bytes where they are; return what they are."""
        cause = None if self.failure is None else self.failure.cause
        with self._lock:
            spool, self._spool = self._spool, None
            if spool is None:
                return None
            spool.close(keep=True)
            return Kept(
                path=self.path,
                data=spool.file,
                size=spool.size,
                since=self._services.clock.wall(),
                reason=reason_of(cause),
                mtime_ns=self._mtime_ns,
                base=None if self.entry is None else self.entry.version,
                missing=tuple(spool.missing(0, spool.size)),
                metadata=self.new_metadata,
                is_conflict=isinstance(cause, (AlreadyExists, ObjectChanged, Stale)),
            )

    # -- inside ------------------------------------------------------------------------------

    def _content(self) -> Content:
        entry = self.entry
        if entry is not self._named:
            assert entry is not None
            self._named, self._name = entry, Content.of(entry.version, self._mark)
        return self._name

    @contextmanager
    def _changing(self) -> Iterator[Spool]:
        """Hold the lock around a change of the bytes, which no store may be reading."""
        with self._lock:
            self.settle()
            yield self._spool if self._spool is not None else self._make_spool()

    def _make_spool(self) -> Spool:
        size = self.entry.size if self.entry is not None else 0
        self._spool = Spool(self._services.spool_folder, self.path, size)
        return self._spool

    def _note_change(self, spool: Spool) -> None:
        self._size = spool.size
        self._dirty = True
        self.failure = None
        self._mtime_ns = self._changed_ns = self._services.clock.wall_ns()
        self._mtime_is_set = False

    def _fill(self, start: int, end: int) -> None:
        """Fetch what is missing of a range into the spool."""
        assert self._spool is not None
        gaps = self._spool.missing(start, end)
        if not gaps:
            return
        self._blind = False
        content = self._content()
        self._spool.check_room(sum(gap_end - at for at, gap_end in gaps))
        buffer = memoryview(bytearray(min(_FILL_SIZE, end - start)))
        for at, gap_end in gaps:
            while at < gap_end:
                try:
                    count = self._services.blocks.read_into(
                        content, lambda: self.store_path, at, buffer[: gap_end - at], until=gap_end
                    )
                except (ObjectChanged, NotFound) as error:
                    raise Stale(self.path, "replaced or removed by somebody else") from error
                self._spool.fill(at, bytes(buffer[:count]))
                at += count

    def _metadata_to_keep(self) -> Metadata:
        """Return what the new content must carry on from the old one.

        Raises:
            ObjectChanged: the content builds on a version that the store holds no longer.
        """
        if self.entry is None:
            return self.new_metadata
        known = self._services.catalog.cache.metadata(self.path, self.entry.version)
        if known is not None:
            return known
        try:
            now = self._services.store.stat_file(self.store_path)
        except NotFound:
            # Removed by somebody else: there is nothing to keep, and nothing to lose.
            return Metadata()
        is_other = now.version not in (self.entry.version, self._tried)
        if self._kept is not None and not is_other:
            # An attempt has failed half-way: what is there may lack what it was to carry.
            return self._kept
        if is_other and not self._blind and self._services.check_overwrites:
            raise ObjectChanged(
                "somebody else replaced the file meanwhile; the content was not stored",
                path=self.path,
            )
        return now.metadata or Metadata()

    def _note_stored(self, entry: Entry, spool: Spool) -> None:
        cache = self._services.catalog.cache
        with self._lock:
            times = cache.times(self.path, None if self.entry is None else self.entry.version)
            self.entry = entry
            self.exclusive = False
            self._blind = False
            self._dirty = False
            self.failure = None
            self._kept = self._tried = None
            for descriptor in list(self.descriptors):
                descriptor.wrote = False
            if not self.removed:
                cache.put(self.path, entry)
                ctime_ns = max(times.ctime_ns or 0, self._changed_ns)
                times = Times(self._mtime_ns, times.atime_ns, ctime_ns)
                cache.set_times(self.path, entry.version, times)
            if entry.size <= BLOCK_SIZE:
                self._services.blocks.keep(self._content(), spool.read_at(0, entry.size))
