"""Owns the path operations of POSIX: joins catalog, open files, folders and metadata.

Must not know HTTP, JSON, errno or the FUSE binding. Errors are those of ``errors``; which errno
they become is the adapter's table.

Locks, in the order in which they may be taken: the table of open files, one open file, the metadata
cache. None but an open file's own is held while the store is asked.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final

from cosfs import paths
from cosfs.clock import Clock
from cosfs.config import CacheOptions, DataOptions, ViewOptions
from cosfs.errors import (
    AlreadyExists,
    FolderNotEmpty,
    IsFolder,
    NotFound,
    NotPermitted,
    Stale,
    StoreFailed,
)
from cosfs.model import Attributes, Entry, Kind
from cosfs.store.base import Store
from cosfs.vfs.attrs import AttrsBuilder, inode
from cosfs.vfs.blocks import BlockCache
from cosfs.vfs.catalog import Catalog, is_reserved
from cosfs.vfs.files import OpenFiles
from cosfs.vfs.folders import Folders
from cosfs.vfs.handles import HandleTable
from cosfs.vfs.kernelview import KernelView
from cosfs.vfs.metacache import MetaCache, Unknown
from cosfs.vfs.openfile import OpenFile, Services
from cosfs.vfs.types import OMIT, Attrs, Caller, DirEntry, FsStats, NotStored, Opened
from cosfs.vfs.xattrs import XAttrs

log = logging.getLogger(__name__)

_FOLDER_TYPE: Final = 0o040000
_FILE_TYPE: Final = 0o100000

#: A bucket has no size (reference 6): shown is a petabyte that never fills.
_STATS: Final = FsStats(
    block_size=4096,
    blocks=1 << 38,
    blocks_free=1 << 38,
    files=1 << 32,
    files_free=1 << 32,
    name_max=paths.NAME_MAX,
)


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
    ) -> None:
        # A pool's threads start with its first task: none before start(), which a fork may precede.
        self._lookup_pool = ThreadPoolExecutor(data.parallel, thread_name_prefix="lookup")
        self._data_pool = ThreadPoolExecutor(data.parallel, thread_name_prefix="data")
        self._move_pool = ThreadPoolExecutor(data.parallel, thread_name_prefix="change")
        self._store = store
        self._clock = clock
        self._cache = MetaCache(cache, clock)
        self._catalog = Catalog(store, self._cache, self._lookup_pool)
        blocks = BlockCache(store, self._data_pool, data.memory_bytes, data.parallel)
        services = Services(store, self._catalog, blocks, clock, spool_dir)
        self._services = services
        self._files = OpenFiles(services, self._move_pool)
        self._folders = Folders(store, self._catalog, self._files, self._move_pool)
        self._xattrs = XAttrs(store, self._catalog, self._files)
        self._attrs = AttrsBuilder(view, clock.wall_ns())
        self._kernel = KernelView()
        self._snapshots: HandleTable[Sequence[DirEntry]] = HandleTable()

    @property
    def kernel_ttl_s(self) -> float:
        """Seconds that the kernel may keep attributes and names on top of this cache."""
        return self._cache.kernel_ttl_s

    def start(self) -> None:
        """Begin to serve: after the fork. Threads come with the first work for them."""
        log.debug("file system started")

    def stop(self) -> list[NotStored]:
        """Store what is dirty, end all threads; return what could not be stored and is kept."""
        not_stored = self._files.store_all()
        for pool in (self._lookup_pool, self._data_pool, self._move_pool):
            pool.shutdown(wait=True, cancel_futures=True)
        self._store.close()
        return not_stored

    # -- attributes --------------------------------------------------------------------------

    def getattr(self, path: str, fh: int | None = None) -> Attrs:
        """Return what ``stat`` shows, at most the TTL old; own changes at once.

        Raises ``NotFound``, ``NameTooLong``. Cost: as ``Catalog.find``.
        """
        file = self._files.descriptor(fh).file if fh is not None else self._files.local_at(path)
        if file is not None and file.has_local_state:
            return self._getattr_open(file)
        if file is not None:
            path = file.path
        elif self._files.is_hidden_name(path):
            raise NotFound("no such file", path=path)
        entry = self._catalog.get(path)
        attrs = self._attrs.build(path, entry, self._attributes(path, entry))
        if not entry.is_folder:
            self._kernel.told(path, attrs.size)
        return attrs

    def _getattr_open(self, file: OpenFile) -> Attrs:
        attributes = self._cache.attributes(file.path, file.entry.version if file.entry else None)
        self._kernel.told(file.path, file.size)
        return self._attrs.build_open(
            file.path, file.size, file.mtime_ns, attributes, removed=file.removed
        )

    def _attributes(self, path: str, entry: Entry) -> Attributes:
        return self._cache.attributes(path, None if entry.is_folder else entry.version)

    def _set_attributes(self, path: str, attributes: Attributes) -> None:
        file = self._files.local_at(path)
        if file is not None:
            version = file.entry.version if file.entry is not None else None
            if attributes.mtime_ns is not None:
                file.mtime_ns = attributes.mtime_ns
        else:
            entry = self._catalog.get(path)
            version = None if entry.is_folder else entry.version
        self._cache.set_attributes(path, version, attributes)

    def chmod(self, path: str, mode: int) -> None:
        """Set the permission bits; they last as long as the cache entry. Cost: as ``getattr``."""
        self._set_attributes(path, Attributes(mode=mode & 0o7777))

    def chown(self, path: str, uid: int | None, gid: int | None) -> None:
        """Set owner and group (``None``: leave); they last as long as the cache entry."""
        self._set_attributes(path, Attributes(uid=uid, gid=gid))

    def utimens(self, path: str, atime_ns: int | object, mtime_ns: int | object) -> None:
        """Set times (``OMIT``: leave); they last as long as the cache entry."""
        times = [time if isinstance(time, int) else None for time in (atime_ns, mtime_ns)]
        assert all(isinstance(time, int) or time is OMIT for time in (atime_ns, mtime_ns))
        self._set_attributes(path, Attributes(atime_ns=times[0], mtime_ns=times[1]))

    def _touch_folder(self, path: str) -> None:
        self._cache.set_attributes(path, None, Attributes(mtime_ns=self._clock.wall_ns()))

    def statfs(self) -> FsStats:
        """Return constants: a bucket has neither size nor quota. Cost: none."""
        return _STATS

    # -- folders -----------------------------------------------------------------------------

    def opendir(self, path: str) -> int:
        """Take a snapshot of a folder's names. Cost: its pages, 0 when its listing is known."""
        listing = self._catalog.listing(path)
        types = {
            name: _FOLDER_TYPE if entry.is_folder else _FILE_TYPE
            for name, entry in listing.items()
        }
        types.update(dict.fromkeys(self._files.unstored_in(path), _FILE_TYPE))
        return self._snapshots.add(
            [
                DirEntry(name, inode(paths.join(path, name)), type_bits)
                for name, type_bits in sorted(types.items())
            ]
        )

    def readdir(self, fh: int) -> Sequence[DirEntry]:
        """Return the snapshot, without ``.`` and ``..``. Cost: none."""
        return self._snapshots.get(fh)

    def releasedir(self, fh: int) -> None:
        """Drop the snapshot."""
        self._snapshots.remove(fh)

    def fsyncdir(self, fh: int) -> None:
        """Do nothing: a change of a folder is stored before the call that made it returns."""
        self._snapshots.get(fh)

    def mkdir(self, path: str, mode: int, caller: Caller) -> None:
        """Create a folder. Raises ``AlreadyExists``. Cost: 1."""
        self._refuse_reserved(path)
        self._folders.make(path)
        self._note_made(path, mode, caller)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder. Raises ``FolderNotEmpty``. Cost: 1, and 1 to see that it is."""
        self._refuse_reserved(path)
        self._folders.remove(path)
        self._note_gone(path)

    # -- names -------------------------------------------------------------------------------

    def unlink(self, path: str) -> None:
        """Remove a file's name. Raises ``NotFound``. Cost: 1."""
        self._refuse_reserved(path)
        if self._files.unlink_hidden(path):
            return
        try:
            self._store.delete_file(path)
        except NotFound:
            self._cache.remove(path)
            raise
        self._cache.remove(path)
        self._kernel.forget(path)
        self._note_gone(path)

    def rename(self, old: str, new: str) -> None:
        """Rename a file or folder, replacing a file or an empty folder at ``new``.

        Cost: 1 for a file, ``Folders.rename`` for a folder.
        """
        self._refuse_reserved(old)
        self._refuse_reserved(new)
        self._store.check_path(new)
        if self._files.hide(old, new):
            self._cache.move_attributes(old, new)
            self._cache.remove(old)
            self._note_gone(old)
            return
        file = self._files.at(old)
        if file is not None or not self._catalog.get(old).is_folder:
            self._rename_file(old, new, file)
        else:
            self._rename_folder(old, new)
        self._kernel.forget(old)
        self._kernel.forget(new)
        self._note_gone(old)
        self._touch_folder(paths.parent(new))

    def _rename_file(self, old: str, new: str, file: OpenFile | None) -> None:
        if file is not None:
            file.settle()
            if file.entry is None:
                # The new name must have the content the moment it replaces another file.
                self._files.store_now(file)
        entry = self._catalog.get(old)
        target = self._catalog.find(new)
        if target is not None and target.is_folder:
            raise IsFolder(new)
        attributes = self._attributes(old, entry)
        metadata = self._cache.metadata(old, entry.version)
        self._store.move_file(old, new, overwrite=True)
        self._files.renamed(old, new)
        # The server gives the object a new time; a rename keeps it.
        mtime = attributes.mtime_ns if attributes.mtime_ns is not None else entry.mtime_ns
        self._cache.move_attributes(old, new)
        self._cache.remove(old)
        self._cache.put(new, replace(entry, metadata=metadata))
        self._cache.set_attributes(new, entry.version, Attributes(mtime_ns=mtime))

    def _rename_folder(self, old: str, new: str) -> None:
        target = self._catalog.find(new)
        if target is not None and not target.is_folder:
            raise AlreadyExists("a file is in the way", path=new)
        attributes = self._attributes(old, Entry(Kind.FOLDER))
        if self._files.unstored_in(new):
            raise FolderNotEmpty("the folder is not empty", path=new)
        self._folders.rename(old, new)
        self._files.renamed(old, new)
        self._cache.set_attributes(new, None, attributes)

    def _refuse_reserved(self, path: str) -> None:
        if is_reserved(path):
            raise NotPermitted(path, "cosfs keeps this name for itself")

    def _note_made(self, path: str, mode: int, caller: Caller) -> None:
        self._cache.set_attributes(
            path, None, Attributes(mode=mode & 0o7777, uid=caller.uid, gid=caller.gid)
        )
        self._touch_folder(paths.parent(path))

    def _note_gone(self, path: str) -> None:
        folder = paths.parent(path)
        self._folders.keep(folder)
        self._touch_folder(folder)

    # -- content -----------------------------------------------------------------------------

    def open(self, path: str, flags: int, caller: Caller) -> Opened:
        """Open a file; ``O_TRUNC`` empties it at once for everyone on this mount.

        Raises:
            Stale: it is gone although the caller saw it: the kernel looks again.
            IsFolder: it is a folder now.
        Cost: 0 when the entry is known, else 1.
        """
        self._refuse_reserved(path)
        entry = None
        if self._files.local_at(path) is None:
            entry = self._revalidated(path)
        fh, descriptor = self._files.open(path, entry, caller)
        file = descriptor.file
        if flags & os.O_TRUNC and file.size:
            file.truncate(0)
        version = file.entry.version if file.entry is not None else None
        keep, direct = self._kernel.opened(path, None if file.is_dirty else version, file.size)
        return Opened(fh, keep, direct)

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

        With ``O_EXCL`` the first store fails if somebody else has made the name meanwhile.
        Cost: none.
        """
        self._refuse_reserved(path)
        self._store.check_path(path)
        fh, descriptor = self._files.open(path, None, caller)
        descriptor.file.exclusive = bool(flags & os.O_EXCL)
        self._note_made(path, mode, caller)
        self._kernel.told(path, descriptor.file.size)
        return Opened(fh, keep_cache=False, direct_io=False)

    def read(self, fh: int, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset``; fewer mean the end. Raises ``Stale``."""
        descriptor = self._files.descriptor(fh)
        return descriptor.file.read(descriptor, offset, size)

    def write(self, fh: int, offset: int, data: bytes) -> int:
        """Take ``data`` into the spool. Raises ``NoSpace``. Cost: none."""
        descriptor = self._files.descriptor(fh)
        descriptor.file.write(descriptor, offset, data)
        self._kernel.changed(descriptor.file.path, descriptor.file.size)
        return len(data)

    def ftruncate(self, fh: int, length: int) -> None:
        """Change an open file's length. Cost: none."""
        descriptor = self._files.descriptor(fh)
        descriptor.file.truncate(length, descriptor)
        self._kernel.changed(descriptor.file.path, length)

    def truncate(self, path: str, length: int, caller: Caller) -> None:
        """Change a file's length; without a descriptor that wrote, it is stored before this ends.

        Raises ``StoreFailed``; the file is then as it was. Cost: that of an overwrite.
        """
        self._refuse_reserved(path)
        entry = None
        if self._files.local_at(path) is None:
            entry = self._catalog.get(path)
            if entry.is_folder:
                raise IsFolder(path)
        fh, descriptor = self._files.open(path, entry, caller)
        file = descriptor.file
        try:
            file.truncate(length)
            self._kernel.changed(path, length)
            if not file.descriptors_that_wrote():
                self._files.store_now(file)
        except StoreFailed:
            self._kernel.forget(path)
            self._files.abandon(fh)
            raise
        self._files.release(fh)

    def flush(self, fh: int, caller: Caller) -> None:
        """A descriptor was closed, maybe not the last: see ``OpenFiles``. Raises ``StoreFailed``.

        When the process that opened the file gets 0 here after writing, the store holds it.
        """
        self._files.flush(fh, caller)

    def fsync(self, fh: int) -> None:
        """Store the whole file. Raises ``StoreFailed``. Cost: that of an overwrite; 0 if clean."""
        self._files.fsync(fh)

    def release(self, fh: int) -> None:
        """The last duplicate of a descriptor is gone; nobody is told how this ends."""
        self._files.release(fh)

    # -- extended attributes -----------------------------------------------------------------

    def setxattr(self, path: str, name: str, value: bytes, *, create: bool, replace: bool) -> None:
        """See ``XAttrs.set``."""
        self._refuse_reserved(path)
        self._xattrs.set(path, name, value, create=create, replace=replace)

    def getxattr(self, path: str, name: str) -> bytes:
        """See ``XAttrs.get``."""
        return self._xattrs.get(path, name)

    def listxattr(self, path: str) -> list[str]:
        """See ``XAttrs.names``."""
        return self._xattrs.names(path)

    def removexattr(self, path: str, name: str) -> None:
        """See ``XAttrs.remove``."""
        self._refuse_reserved(path)
        self._xattrs.remove(path, name)
