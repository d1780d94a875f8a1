"""Owns the path operations of POSIX: joins catalog, open files, folders and metadata.

Must not know HTTP, JSON, errno or the FUSE binding. Errors are those of ``errors``; which errno
they become is the adapter's table.

Locks, in the order in which they may be taken: the table of open files, one open file, the metadata
cache. None but an open file's own is held while the store is asked.
"""

from __future__ import annotations

import os
import stat
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
    InvalidArgument,
    IsFolder,
    NameTooLong,
    NotFound,
    NotPermitted,
    Stale,
    StoreFailed,
)
from cosfs.model import Attributes, BytesSource, Entry, Kind, Metadata, Version
from cosfs.store.base import Store
from cosfs.vfs.attributes import AttributeKeeper
from cosfs.vfs.attrs import AttrsBuilder, inode
from cosfs.vfs.blocks import BlockCache, Content
from cosfs.vfs.catalog import Catalog, is_reserved
from cosfs.vfs.files import OpenFiles
from cosfs.vfs.folders import Folders
from cosfs.vfs.handles import HandleTable
from cosfs.vfs.journal import AttributeJournal
from cosfs.vfs.kernelview import KernelView
from cosfs.vfs.metacache import MetaCache, Times, Unknown
from cosfs.vfs.openfile import OpenFile, Services
from cosfs.vfs.pathlocks import PathLocks
from cosfs.vfs.statsahead import WINDOW
from cosfs.vfs.types import Attrs, Caller, DirEntry, FsStats, NotStored, Opened
from cosfs.vfs.xattrs import XAttrs

#: A file younger than this is renamed without storing its time: for everybody else it is as new.
_FRESH_NS: Final = 2 * 10**9

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
        journal_file: Path,
    ) -> None:
        # A pool's threads start with its first task: none before start(), which a fork may precede.
        lookups, ahead, content, changes = self._pools = [
            ThreadPoolExecutor(threads, thread_name_prefix=name)
            for name, threads in (
                ("lookup", data.parallel),
                ("ahead", WINDOW),
                ("content", data.parallel),
                ("change", data.parallel),
            )
        ]
        self._store = store
        self._clock = clock
        self._attrs_option = cache.attrs
        self._cache = MetaCache(cache, clock)
        self._catalog = Catalog(store, self._cache, cache.attrs, lookups, ahead)
        self._locks = PathLocks()
        self._journal_file = journal_file
        self._keeper = AttributeKeeper(
            store,
            self._catalog,
            AttributeJournal(journal_file),
            self._locks,
            clock,
            changes,
            cache.attrs,
        )
        blocks = BlockCache(store, content, data.memory_bytes, data.parallel)
        services = Services(
            store, self._catalog, self._keeper, self._locks, blocks, clock, spool_dir
        )
        self._blocks = blocks
        self._files = OpenFiles(services, changes)
        self._keeper.travels = self._files.is_dirty_at
        self._folders = Folders(store, self._catalog, self._files, changes)
        self._xattrs = XAttrs(store, self._catalog, self._files, self._locks)
        self._attrs = AttrsBuilder(view, clock.wall_ns())
        self._kernel = KernelView()
        self._snapshots: HandleTable[Sequence[DirEntry]] = HandleTable()
        self._is_stopped = False

    @property
    def kernel_ttl_s(self) -> float:
        """Seconds that the kernel may keep attributes and names on top of this cache."""
        return self._cache.kernel_ttl_s

    def start(self) -> None:
        """Begin to serve: after the fork. Sends what a mount before this one left unsent."""
        self._keeper.start()

    def stop(self) -> list[NotStored]:
        """Store what is dirty, end all threads; return what could not be stored and is kept."""
        if self._is_stopped:
            return []
        self._is_stopped = True
        not_stored = self._files.store_all()
        kept_in = str(self._journal_file)
        for path, error in self._keeper.stop():
            not_stored.append(NotStored(path, f"attributes: {error}", kept_in))
        for pool in self._pools:
            pool.shutdown(wait=True, cancel_futures=True)
        self._store.close()
        return not_stored

    # -- attributes --------------------------------------------------------------------------

    def getattr(self, path: str, fh: int | None = None) -> Attrs:
        """Return what ``stat`` shows, at most the TTL old; own changes at once.

        Raises ``NotFound``, ``NameTooLong``. Cost: as ``Catalog.find`` and ``Catalog.attributes``.
        """
        file = self._files.descriptor(fh).file if fh is not None else self._files.local_at(path)
        if file is not None and file.has_local_state:
            return self._getattr_open(file)
        if file is not None:
            path = file.path
        elif self._files.is_hidden_name(path):
            raise NotFound("no such file", path=path)
        entry = self._catalog.get(path)
        attrs = self._attrs.build(
            path, entry, self._keeper.of(path, entry), self._cache.times(path, _version(entry))
        )
        if not entry.is_folder:
            self._kernel.told(path, attrs.size)
        return attrs

    def _getattr_open(self, file: OpenFile) -> Attrs:
        version = file.entry.version if file.entry is not None else None
        times = self._cache.times(file.path, version)
        self._kernel.told(file.path, file.size)
        return self._attrs.build_open(
            file.path,
            file.size,
            file.mtime_ns,
            self._attributes_of_open(file),
            times,
            removed=file.removed,
        )

    def _attributes_of_open(self, file: OpenFile) -> Attributes:
        if file.entry is None:
            return file.new_metadata.attributes
        stored = self._catalog.known_attributes(file.store_path, file.entry)
        if stored is None:
            stored = self._catalog.attributes(file.store_path, file.entry)
        return stored.merged(self._keeper.unsent(file.path))

    def chmod(self, path: str, mode: int) -> None:
        """Set the permission bits. Cost: 1 a little later, joined with other changes."""
        current = self.getattr(path).mode
        self._change(path, Attributes(mode=stat.S_IFMT(current) | stat.S_IMODE(mode)))

    def chown(self, path: str, uid: int | None, gid: int | None) -> None:
        """Set owner and group (``None``: leave). Cost: as ``chmod``."""
        self._change(path, Attributes(uid=uid, gid=gid))

    def utimens(self, path: str, atime_ns: int | None, mtime_ns: int | None) -> None:
        """Set times (``None``: leave). That of access is kept here only. Cost: as ``chmod``."""
        self._change(path, Attributes(mtime_ns=mtime_ns), atime_ns=atime_ns)

    def _change(self, path: str, attributes: Attributes, atime_ns: int | None = None) -> None:
        self._refuse_reserved(path)
        file = self._files.local_at(path)
        times = Times(atime_ns=atime_ns, ctime_ns=self._clock.wall_ns())
        if file is None:
            entry = self._catalog.get(path)
            self._cache.set_times(path, _version(entry), times)
            self._keeper.change(path, attributes)
            return
        version = file.entry.version if file.entry is not None else None
        self._cache.set_times(path, version, times)
        if attributes.mtime_ns is not None:
            file.set_mtime(attributes.mtime_ns)
        if file.entry is None:
            file.new_metadata = file.new_metadata.with_attributes(attributes)
        else:
            self._keeper.change(path, attributes)

    def _touch_folder(self, path: str) -> None:
        now = self._clock.wall_ns()
        self._cache.set_times(path, None, Times(mtime_ns=now, ctime_ns=now))

    def statfs(self) -> FsStats:
        """Return constants: a bucket has neither size nor quota. Cost: none."""
        return _STATS

    # -- folders -----------------------------------------------------------------------------

    def opendir(self, path: str) -> int:
        """Take a snapshot of a folder's names. Cost: its pages, 0 when its listing is known."""
        listing = self._catalog.listing(path)
        types = {name: self._type_of(paths.join(path, name), listing[name]) for name in listing}
        types.update(dict.fromkeys(self._files.unstored_in(path), stat.S_IFREG))
        return self._snapshots.add(
            [
                DirEntry(name, inode(paths.join(path, name)), type_bits)
                for name, type_bits in sorted(types.items())
            ]
        )

    def _type_of(self, path: str, entry: Entry) -> int:
        """Return the type bits of a listed name, 0 if only a stat could tell."""
        if entry.is_folder:
            return stat.S_IFDIR
        attributes = self._catalog.known_attributes(path, entry)
        if attributes is None:
            return 0
        return stat.S_IFMT(self._attrs.mode(attributes, is_folder=False))

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
        """Create a folder. Raises ``AlreadyExists``.

        Cost: 1; 1 later if mode or owner are not the mount's.
        """
        self._refuse_reserved(path)
        self._folders.make(path)
        given = Attributes(mode=stat.S_IFDIR | mode & 0o7777, uid=caller.uid, gid=caller.gid)
        self._keeper.change(path, self._attrs.explicit(given, is_folder=True))
        self._touch_folder(path)
        self._touch_folder(paths.parent(path))

    def rmdir(self, path: str) -> None:
        """Remove an empty folder. Raises ``FolderNotEmpty``. Cost: 1, and 1 to see that it is."""
        self._refuse_reserved(path)
        self._folders.remove(path)
        self._note_gone(path)

    # -- names -------------------------------------------------------------------------------

    def symlink(self, path: str, target: str, caller: Caller) -> None:
        """Make a symbolic link. Raises ``AlreadyExists``. Cost: 1, and a mark."""
        content = os.fsencode(target)
        if not content or len(content) > paths.PATH_MAX - 1:
            raise NameTooLong(path) if content else InvalidArgument(path, "an empty target")
        self._make_special(path, stat.S_IFLNK | 0o777, 0, content, caller)

    def mknod(self, path: str, mode: int, rdev: int, caller: Caller) -> None:
        """Make a FIFO, socket or device. Raises ``AlreadyExists``. Cost: 1, and a mark."""
        self._make_special(path, mode, rdev, b"", caller)

    def _make_special(
        self, path: str, mode: int, rdev: int, content: bytes, caller: Caller
    ) -> None:
        self._refuse_reserved(path)
        if self._attrs_option == "none":
            raise NotPermitted(path, "attrs=none stores plain files only")
        given = Attributes(mode=mode, uid=caller.uid, gid=caller.gid, rdev=rdev or None)
        attributes = self._attrs.explicit(given, is_folder=False)
        with self._locks.holding(path):
            self._keeper.ensure_mark(paths.parent(path))
            entry = self._store.write_file(
                path,
                BytesSource(content),
                metadata=Metadata(attributes=attributes),
                create_only=True,
            )
        now = self._clock.wall_ns()
        self._cache.put(path, entry)
        self._cache.set_times(path, entry.version, Times(mtime_ns=now, ctime_ns=now))
        self._touch_folder(paths.parent(path))

    def readlink(self, path: str) -> str:
        """Return the target of a symbolic link. Cost: 1, or 0 when it was read before."""
        entry = self._catalog.get(path)
        if not stat.S_ISLNK(self.getattr(path).mode):
            raise InvalidArgument(path, "not a symbolic link")
        content = Content.of(entry.version, path, entry.mtime_ns)
        return os.fsdecode(self._blocks.read(content, lambda: path, 0, entry.size))

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
        self._keeper.gone(path)
        self._kernel.forget(path)
        self._note_gone(path)

    def rename(self, old: str, new: str) -> None:
        """Rename a file or folder, replacing a file or an empty folder at ``new``.

        Cost: 1 for a file, ``Folders.rename`` for a folder.
        """
        self._refuse_reserved(old)
        self._refuse_reserved(new)
        self._store.check_path(new)
        with self._locks.holding(old, new):
            self._rename(old, new)
        self._note_gone(old)
        self._touch_folder(paths.parent(new))

    def _rename(self, old: str, new: str) -> None:
        if self._files.hide(old, new):
            self._cache.move_times(old, new)
            self._keeper.renamed(old, new)
            self._cache.remove(old)
            return
        file = self._files.at(old)
        if file is not None or not self._catalog.get(old).is_folder:
            self._rename_file(old, new, file)
        else:
            self._rename_folder(old, new)
        self._kernel.forget(old)
        self._kernel.forget(new)

    def _rename_file(self, old: str, new: str, file: OpenFile | None) -> None:
        if file is not None and file.entry is None:
            # The new name must have the content the moment it replaces another file.
            self._files.store_now(file)
        entry = self._catalog.get(old)
        target = self._catalog.find(new)
        if target is not None and target.is_folder:
            raise IsFolder(new)
        attributes = self._catalog.known_attributes(old, entry)
        if attributes != Attributes():
            self._keeper.ensure_mark(paths.parent(new))
        times = self._cache.times(old, entry.version)
        metadata = self._cache.metadata(old, entry.version)
        self._store.move_file(old, new, overwrite=True)
        self._files.renamed(old, new)
        self._cache.move_times(old, new)
        self._cache.remove(old)
        self._cache.put(new, replace(entry, metadata=metadata))
        self._keeper.renamed(old, new)
        self._keep_mtime(new, entry, attributes or Attributes(), times)

    def _keep_mtime(
        self, path: str, entry: Entry, attributes: Attributes, times: Times
    ) -> None:
        """Keep the time of a file over its move, in which the server gives it a new one.

        That of a file made just now is kept here alone: another mount sees a second's difference.
        """
        if attributes.mtime_ns is not None:
            return
        mtime_ns = self._attrs.mtime_ns(entry, attributes, times)
        now = self._clock.wall_ns()
        self._cache.set_times(path, entry.version, Times(mtime_ns=mtime_ns, ctime_ns=now))
        if now - mtime_ns > _FRESH_NS:
            self._keeper.change(path, Attributes(mtime_ns=mtime_ns))

    def _rename_folder(self, old: str, new: str) -> None:
        target = self._catalog.find(new)
        if target is not None and not target.is_folder:
            raise AlreadyExists("a file is in the way", path=new)
        if self._files.unstored_in(new):
            raise FolderNotEmpty("the folder is not empty", path=new)

        def look(path: str, entry: Entry) -> tuple[Attributes, Times]:
            return self._keeper.of(path, entry), self._cache.times(path, entry.version)

        moved = self._folders.rename(old, new, look)
        self._files.renamed(old, new)
        self._keeper.renamed(old, new)
        for path, entry, (attributes, times) in moved:
            self._keep_mtime(path, entry, attributes, times)

    def _refuse_reserved(self, path: str) -> None:
        if is_reserved(path):
            raise NotPermitted(path, "cosfs keeps this name for itself")

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
        given = Attributes(mode=stat.S_IFREG | mode & 0o7777, uid=caller.uid, gid=caller.gid)
        attributes = self._attrs.explicit(given, is_folder=False)
        descriptor.file.exclusive = bool(flags & os.O_EXCL)
        descriptor.file.new_metadata = Metadata(attributes=attributes)
        self._touch_folder(paths.parent(path))
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
        """Store the whole file with its attributes. Raises ``StoreFailed``.

        Cost: that of an overwrite; 0 if nothing changed.
        """
        self._files.fsync(fh)
        file = self._files.descriptor(fh).file
        if not file.removed:
            self._keeper.send(file.path)

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


def _version(entry: Entry) -> Version | None:
    """Return what the times of an entry belong to: a version, or a folder whatever is in it."""
    return None if entry.is_folder else entry.version
