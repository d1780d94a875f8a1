"""Owns the file system as its adapter sees it: puts the parts together, opens, reads and writes.

Must not know HTTP, JSON, errno or the FUSE binding. Errors are those of ``errors``; which errno
they become is the adapter's table.

Locks, in the order in which they may be taken: that of a path, the table of open files, one open
file, the metadata cache. Only a path's and an open file's are held while the store is asked.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cosfs import interrupts, paths
from cosfs.clock import Clock
from cosfs.config import CacheOptions, DataOptions, ViewOptions
from cosfs.errors import IsFolder, NotFound, Stale, StoreFailed
from cosfs.model import Entry, Kind, Metadata, Scope
from cosfs.store.base import Store
from cosfs.vfs.attributes import AttributeKeeper
from cosfs.vfs.attrs import AttrsBuilder
from cosfs.vfs.background import Background, PatientStore
from cosfs.vfs.blocks import BlockCache
from cosfs.vfs.capacity import Capacity
from cosfs.vfs.catalog import Catalog
from cosfs.vfs.contenttypes import with_content_type
from cosfs.vfs.descriptors import Descriptor
from cosfs.vfs.diskcache import DiskCache
from cosfs.vfs.files import OpenFiles
from cosfs.vfs.filesahead import FilesAhead
from cosfs.vfs.folders import Folders
from cosfs.vfs.journal import AttributeJournal, Journal
from cosfs.vfs.kernelview import KernelView
from cosfs.vfs.leftovers import Leftovers
from cosfs.vfs.metacache import MetaCache, Unknown
from cosfs.vfs.names import Names
from cosfs.vfs.openfile import OpenFile, Services
from cosfs.vfs.openfolders import OpenFolders
from cosfs.vfs.pathlocks import PathLocks
from cosfs.vfs.pools import Pools
from cosfs.vfs.recovery import Recovery
from cosfs.vfs.smallfiles import SMALL_MAX, SmallFiles
from cosfs.vfs.status import Status, refuse_reserved
from cosfs.vfs.types import Attrs, Caller, DirEntry, FsStats, NotStored, Opened, Usage
from cosfs.vfs.warm import Warmer
from cosfs.vfs.xattrs import XAttrs

#: Setting this extended attribute, whatever its value, refreshes what is cached.
REFRESH: Final = "user.cos.refresh"


class FileSystem:
    """A store as a POSIX file system.

    Thread safety: every method from any thread, between ``start`` and ``stop``.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        cache: CacheOptions,
        view: ViewOptions,
        data: DataOptions,
        spool_dir: Path,
        journal_file: Path,
    ) -> None:
        pools = self._pools = Pools(data.parallel)
        self._background = Background(pools.callers)
        self._disk = (
            None if data.cache_dir is None else DiskCache(data.cache_dir, data.cache_bytes, clock)
        )
        blocks = self._blocks = BlockCache(
            store, pools, data.memory_bytes, data.parallel, self._disk
        )
        store = PatientStore(store, pools.questions)
        self._store = store
        self._clock = clock
        self._cache = MetaCache(cache, clock)
        self._capacity = Capacity(self._cache, clock, view.size_bytes)
        self._catalog = Catalog(store, self._cache, cache.attrs, pools.lookups, pools.ahead)
        locks = PathLocks()
        self._journal = Journal(journal_file)
        self._keeper = AttributeKeeper(
            store, self._catalog, AttributeJournal(self._journal), locks, clock, pools.changes,
            cache.attrs, at_once=data.write_back.is_on,
        )  # fmt: skip
        services = Services(
            store, self._catalog, self._keeper, locks, blocks, self._journal, clock, spool_dir,
            check_overwrites=data.overwrite == "check",
        )  # fmt: skip
        self._excl_at_open = data.excl == "open"
        self._guesses_content_types = data.content_type == "auto"
        self._files = OpenFiles(services, pools.changes, self._background)
        #: What is not stored and nobody has open: for whoever asks about it.
        self.leftovers = Leftovers(services, self._files, pools.changes)
        self._keeper.travels = self._files.is_dirty_at
        self._xattrs = XAttrs(store, self._catalog, self._files, locks)
        self._attrs = AttrsBuilder(view, clock.wall_ns())
        self._kernel = KernelView(self._files.note_told)
        self._status = Status(
            self._catalog, self._keeper, self._files, self._attrs, self._kernel, locks, clock
        )
        self._names = Names(
            store, self._catalog, self._keeper, self._files,
            Folders(store, self._catalog, self._files, pools.moves),
            blocks, self._status, self._attrs, self._kernel, locks, self._journal, clock,
        )  # fmt: skip
        small = SmallFiles(self._cache, self._files, self._kernel, blocks)
        # More than half of the memory would push out what was not read yet.
        room = data.memory_bytes // 2 // SMALL_MAX
        self._files_ahead = FilesAhead(pools.content, small.names_of, small.fetch, room)
        #: For whoever wants a tree to be here before programs ask for it.
        self.warmer = Warmer(
            self._catalog, self._files, blocks, self._disk, pools.content, data.parallel
        )
        self._open_folders = OpenFolders(self._catalog, self._status, self._files)
        self._is_stopped = False

    @property
    def kernel_ttl_s(self) -> float:
        """Seconds that the kernel may keep attributes and names on top of this cache."""
        return self._cache.kernel_ttl_s

    def start(self) -> None:
        """Begin to serve: after the fork. Finishes first what a killed mount had begun."""
        recovery = Recovery(self._store, self._journal, self._names)
        recovery.run()
        self._pools.changes.submit(recovery.clean)
        if self._disk is not None:
            self._disk.start()
        self._keeper.start()

    def stop(self) -> list[NotStored]:
        """Store what is dirty, end all threads; return what could not be stored and is kept."""
        if self._is_stopped:
            return []
        self._is_stopped = True
        self.warmer.stop()
        # Changes whose callers have left come to their end first.
        self._pools.callers.shutdown(wait=True)
        self._files.settle_hidden(all_of_them=True)
        not_stored = self._files.store_all()
        for path, error in self._keeper.stop():
            kept_in = str(self._journal.file)
            not_stored.append(NotStored(path, f"attributes: {error}", kept_in))
        self._pools.end()
        if self._disk is not None:
            self._disk.stop()
        self._journal.close()
        self._store.close()
        return not_stored

    # -- what a person asks ------------------------------------------------------------------

    def usage(self) -> Usage:
        """Return what is held at this moment."""
        return Usage(
            self._cache.usage(),
            self._blocks.usage(),
            None if self._disk is None else self._disk.usage(),
            self._files.usage(),
            self.leftovers.usage(),
        )

    def mappable(self) -> list[str]:
        """Return the paths of open files that programs may have changed through a mapping."""
        return self._files.mappable()

    def refresh(self, path: str) -> None:
        """Let everything at ``path`` and below it be asked for anew, whatever the TTL."""
        self._cache.refresh(path)

    # -- what stat shows ---------------------------------------------------------------------

    def getattr(self, path: str, fh: int | None = None) -> Attrs:
        """See ``Status.getattr``."""
        return self._status.getattr(path, fh)

    def chmod(self, path: str, mode: int) -> None:
        """See ``Status.chmod``."""
        self._status.chmod(path, mode)

    def chown(self, path: str, uid: int | None, gid: int | None) -> None:
        """See ``Status.chown``."""
        self._status.chown(path, uid, gid)

    def utimens(self, path: str, atime_ns: int | None, mtime_ns: int | None) -> None:
        """See ``Status.utimens``."""
        self._status.utimens(path, atime_ns, mtime_ns)

    def statfs(self) -> FsStats:
        """See ``Capacity``. Cost: none."""
        return self._capacity.stats()

    # -- folders -----------------------------------------------------------------------------

    def opendir(self, path: str) -> int:
        """See ``OpenFolders.open``."""
        return self._open_folders.open(path)

    def readdir(self, fh: int) -> Sequence[DirEntry]:
        """See ``OpenFolders.read``."""
        return self._open_folders.read(fh)

    def rewinddir(self, fh: int) -> None:
        """See ``OpenFolders.rewind``."""
        self._open_folders.rewind(fh)

    def releasedir(self, fh: int) -> None:
        """Drop the snapshot."""
        self._open_folders.close(fh)

    def fsyncdir(self, fh: int) -> None:
        """Return when the store holds the names of the folder as they are."""
        self._store.settle(self._open_folders.path(fh), Scope.FOLDER)

    # -- names -------------------------------------------------------------------------------

    def mkdir(self, path: str, mode: int, caller: Caller) -> None:
        """See ``Names.mkdir``."""
        self._background.finish(lambda: self._names.mkdir(path, mode, caller))

    def rmdir(self, path: str) -> None:
        """See ``Names.rmdir``."""
        self._background.finish(lambda: self._names.rmdir(path))

    def symlink(self, path: str, target: str, caller: Caller) -> None:
        """See ``Names.symlink``."""
        self._background.finish(lambda: self._names.symlink(path, target, caller))

    def readlink(self, path: str) -> str:
        """See ``Names.readlink``."""
        return self._names.readlink(path)

    def mknod(self, path: str, mode: int, rdev: int, caller: Caller) -> None:
        """See ``Names.mknod``."""
        self._background.finish(lambda: self._names.mknod(path, mode, rdev, caller))

    def unlink(self, path: str) -> None:
        """See ``Names.unlink``."""
        self._background.finish(lambda: self._names.unlink(path))

    def rename(self, old: str, new: str) -> None:
        """See ``Names.rename``."""
        if self._files.is_hidden_name(new):
            # Half of what libfuse does; left alone, a file that is open would lose its name.
            with interrupts.watched(None):
                self._names.rename(old, new)
        else:
            self._background.finish(lambda: self._rename(old, new))

    def _rename(self, old: str, new: str) -> None:
        self._names.rename(old, new)
        self._open_folders.moved(old, new)

    # -- content -----------------------------------------------------------------------------

    def open(self, path: str, flags: int, caller: Caller) -> Opened:
        """Open a file; ``O_TRUNC`` empties it at once for everyone on this mount.

        Raises:
            Stale: it is gone although the caller saw it: the kernel looks again.
            IsFolder: it is a folder now.
        Cost: 0 when the entry is known, else 1.
        """
        refuse_reserved(path)
        fh, descriptor = self._open(path, caller)
        file = descriptor.file
        if flags & os.O_TRUNC:
            self._abandoning_on_failure(fh, lambda: self._truncate_at_open(file, caller))
            self._kernel.changed(path, 0)
        version = file.entry.version if file.entry is not None else None
        keep, direct = self._kernel.opened(
            path, fh, None if file.is_dirty else version, file.size
        )
        if self._files.has_outdated(path):
            # Reads of the old version's descriptors would fill the pages of this one.
            self._kernel.mixed(path)
            keep, direct = False, True
        descriptor.is_direct, descriptor.has_pages = direct, keep
        descriptor.note_flags(flags)
        return Opened(fh, keep, direct)

    def _truncate_at_open(self, file: OpenFile, caller: Caller) -> None:
        if caller.uid != 0:
            self._status.drop_set_ids(file.path)
        self._before_change(file)
        file.truncate(0)

    def _before_change(self, file: OpenFile) -> None:
        """To be called before the content of ``file`` is changed."""
        if not file.has_local_bytes:
            self._status.keep_atime(file.path)

    def _open(self, path: str, caller: Caller) -> tuple[int, Descriptor]:
        """Join the file that is open at ``path`` with local bytes, or open what the store has."""
        joined = self._files.join(path, caller)
        if joined is not None:
            return joined
        # Not in the table, so whatever was written here is stored and known to the cache.
        return self._files.open(path, self._revalidated(path), caller)

    def _abandoning_on_failure(self, fh: int, change: Callable[[], object]) -> None:
        try:
            change()
        except Exception:
            self._files.abandon(fh)
            raise

    def _revalidated(self, path: str) -> Entry:
        known = self._cache.lookup(path)
        if isinstance(known, Unknown):
            try:
                known = self._catalog.stat(path, Entry(Kind.FILE))
            except NotFound:
                known = None
        if known is None:
            raise Stale(path, "gone")
        if known.is_folder:
            raise IsFolder(path)
        return known

    def create(self, path: str, mode: int, flags: int, caller: Caller) -> Opened:
        """Make a new file and open it; it is stored with its first content.

        With ``O_EXCL`` the first store fails if somebody else has made the name meanwhile; with the
        option ``excl=open`` that is now. Cost: none; 1 for ``O_EXCL`` with ``excl=open``.

        Raises ``Stale``: there is something, which the kernel does not know of: it looks again.
        """
        if flags & os.O_EXCL and self._excl_at_open:
            return self._background.finish(
                lambda: self._create(path, mode, flags, caller),
                unwanted=lambda opened: self.release(opened.fh),
            )
        return self._create(path, mode, flags, caller)

    def _create(self, path: str, mode: int, flags: int, caller: Caller) -> Opened:
        refuse_reserved(path)
        self._store.check_path(path)
        self._keeper.check_folder(paths.parent(path))
        if isinstance(self._cache.lookup(path), Entry):
            raise Stale(path, "made meanwhile")
        if self._files.local_at(path) is None:
            # What was set on a name before it, which is gone for all that anybody knows.
            self._keeper.gone(path)
        attributes = self._status.attributes_of_new(path, stat.S_IFREG | mode & 0o7777, caller)
        fh, descriptor = self._files.create(path, caller)
        self._status.made(path, None)
        descriptor.note_flags(flags)
        descriptor.file.exclusive = bool(flags & os.O_EXCL)
        metadata = Metadata(attributes=attributes)
        if self._guesses_content_types:
            metadata = with_content_type(metadata, path)
        descriptor.file.new_metadata = metadata
        self._status.touch_folder(paths.parent(path))
        self._kernel.told(path, descriptor.file.size)
        if descriptor.file.exclusive and self._excl_at_open:
            try:
                self._abandoning_on_failure(fh, lambda: self._files.store_now(descriptor.file))
            except StoreFailed:
                # There is something that was believed absent.
                self._cache.forget(path)
                raise
        return Opened(fh, keep_cache=False, direct_io=False)

    def read_into(self, fh: int, offset: int, into: memoryview) -> int:
        """Fill ``into`` from ``offset``; return how many bytes there were, fewer mean the end.

        Raises:
            Stale: the version that was opened is not to be had any more.
            IntegrityError: the last bytes were read, and those before were damaged on their way.
        Cost: as ``BlockCache.read_into``.
        """
        descriptor = self._files.descriptor(fh)
        if descriptor.is_fresh:
            descriptor.is_fresh = False
            self._kernel.used(descriptor.file.path, fh)
            self._files_ahead.read(descriptor.file.path)
        return descriptor.file.read_into(descriptor, offset, into)

    def read(self, fh: int, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset``; otherwise as ``read_into``."""
        buffer = bytearray(size)
        return bytes(memoryview(buffer)[: self.read_into(fh, offset, memoryview(buffer))])

    def write(self, fh: int, offset: int, data: bytes) -> int:
        """Take ``data`` into the spool. Raises ``NoSpace``. Cost: none."""
        descriptor = self._files.descriptor(fh)
        self._before_change(descriptor.file)
        descriptor.file.write(descriptor, offset, data)
        self._kernel.changed(descriptor.file.path, descriptor.file.size)
        return len(data)

    def ftruncate(self, fh: int, length: int) -> None:
        """Change an open file's length. Cost: none."""
        descriptor = self._files.descriptor(fh)
        self._before_change(descriptor.file)
        descriptor.file.truncate(length, descriptor)
        self._kernel.changed(descriptor.file.path, length)

    def truncate(self, path: str, length: int, caller: Caller) -> None:
        """Change a file's length; without a descriptor that wrote, it is stored before this ends.

        Raises ``StoreFailed``; the file is then as it was. Cost: that of an overwrite.
        """
        self._background.finish(lambda: self._truncate(path, length, caller))

    def _truncate(self, path: str, length: int, caller: Caller) -> None:
        refuse_reserved(path)
        fh, descriptor = self._open(path, caller)
        file = descriptor.file

        def change() -> None:
            self._before_change(file)
            file.truncate(length)
            if not file.descriptors_that_wrote():
                self._files.store_now(file)

        self._kernel.forget(path)
        self._abandoning_on_failure(fh, change)
        self._kernel.changed(path, length)
        self._files.release(fh)

    def flush(self, fh: int, caller: Caller) -> None:
        """A descriptor was closed, maybe not the last: see ``OpenFiles``. Raises ``StoreFailed``.

        When the process that opened the file gets 0 here after writing, the store holds it.
        """
        self._files.flush(fh, caller)

    def fsync(self, fh: int) -> None:
        """Store the whole file with its attributes. Raises ``StoreFailed``.

        Cost: that of an overwrite; 0 if nothing changed.
        """
        self._background.finish(lambda: self._fsync(fh))

    def _fsync(self, fh: int) -> None:
        self._files.fsync(fh)
        file = self._files.descriptor(fh).file
        if not file.removed:
            self._keeper.send(file.path)
            self._store.settle(file.path)

    def settle(self, path: str) -> None:
        """Return when all at ``path`` and below that was closed is stored. Raises why it is not."""
        self._keeper.send_below(path)
        self._store.settle(path, Scope.TREE)

    def release(self, fh: int) -> None:
        """The last duplicate of a descriptor is gone; nobody is told how this ends."""
        with interrupts.watched(None):
            self._files.release(fh)

    # -- extended attributes -----------------------------------------------------------------

    def setxattr(self, path: str, name: str, value: bytes, *, create: bool, replace: bool) -> None:
        """See ``XAttrs.set``; ``user.cos.refresh`` is a wish: see ``refresh``."""
        if name == REFRESH:
            self.refresh(path)
            return
        refuse_reserved(path)

        def change() -> None:
            self._xattrs.set(path, name, value, create=create, replace=replace)
            self._status.changed(path)

        self._background.finish(change)

    def getxattr(self, path: str, name: str) -> bytes:
        """See ``XAttrs.get``."""
        return self._xattrs.get(path, name)

    def listxattr(self, path: str) -> list[str]:
        """See ``XAttrs.names``."""
        return self._xattrs.names(path)

    def removexattr(self, path: str, name: str) -> None:
        """See ``XAttrs.remove``."""
        refuse_reserved(path)

        def change() -> None:
            self._xattrs.remove(path, name)
            self._status.changed(path)

        self._background.finish(change)
