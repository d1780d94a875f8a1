"""Owns what ``stat`` shows of a name, and changing it; must not know how names come and go.

A file with local bytes answers from its open file, everything else from catalog, attribute keeper
and the times that this mount has shown.
"""

from __future__ import annotations

import stat

from cosfs import paths
from cosfs.clock import Clock
from cosfs.errors import NotFound, NotPermitted
from cosfs.model import Attributes, Entry, Kind, Version
from cosfs.vfs.attributes import AttributeKeeper
from cosfs.vfs.attrs import AttrsBuilder
from cosfs.vfs.catalog import ROOT_ENTRY, Catalog, is_reserved
from cosfs.vfs.files import OpenFiles
from cosfs.vfs.kernelview import KernelView
from cosfs.vfs.metacache import Times
from cosfs.vfs.openfile import OpenFile
from cosfs.vfs.pathlocks import PathLocks
from cosfs.vfs.types import Attrs, Caller


class Status:
    """See the module's text. Thread safety: any method from any thread."""

    def __init__(
        self,
        catalog: Catalog,
        keeper: AttributeKeeper,
        files: OpenFiles,
        attrs: AttrsBuilder,
        kernel: KernelView,
        locks: PathLocks,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._cache = catalog.cache
        self._keeper = keeper
        self._files = files
        self._attrs = attrs
        self._kernel = kernel
        self._locks = locks
        self._clock = clock

    def getattr(self, path: str, fh: int | None = None) -> Attrs:
        """Return what ``stat`` shows, at most the TTL old; own changes at once.

        Raises ``NotFound``, ``NameTooLong``. Cost: as ``Catalog.find`` and ``Catalog.attributes``.
        """
        self._files.asked_for(path)
        file = self._files.descriptor(fh).file if fh is not None else self._files.local_at(path)
        if file is not None and file.has_local_state:
            return self._getattr_open(file)
        if file is not None:
            path = file.path
        elif self._files.is_hidden_name(path):
            raise NotFound("no such file", path=path)
        entry = self._catalog.get(path)
        stored = self._catalog.known_attributes(path, entry)
        if stored is None:
            stored = self._catalog.attributes(path, entry)
            # The stat that told them may have told of another version, too.
            now = self._cache.peek(path)
            entry = now if isinstance(now, Entry) else entry
        attributes = self._keeper.over(path, stored)
        if entry.is_folder:
            times = self._cache.folder_times(path, attributes.mtime_ns)
        else:
            times = self._cache.times(path, entry.version)
        subfolders = self._cache.subfolders(path) if entry.is_folder else 0
        attrs = self._attrs.build(path, entry, attributes, times, subfolders)
        if entry.is_folder:
            self._kernel.told_folder(path, attrs.gid if attrs.mode & stat.S_ISGID else None)
        else:
            self._kernel.told(path, attrs.size)
        return attrs

    def _getattr_open(self, file: OpenFile) -> Attrs:
        version = file.entry.version if file.entry is not None else None
        times = self._cache.times(file.path, version)
        attributes = self._attributes_of_open(file)
        mtime_ns, ctime_ns = file.mtime_ns, max(times.ctime_ns or 0, file.changed_ns)
        if file.entry is not None and not file.has_local_bytes:
            mtime_ns = self._attrs.mtime_ns(file.entry, attributes, times)
            ctime_ns = times.ctime_ns or max(file.entry.ctime_ns, mtime_ns)
        self._kernel.told(file.path, file.size)
        return self._attrs.build_open(
            file.path,
            file.size,
            mtime_ns,
            ctime_ns,
            attributes,
            times,
            removed=file.removed,
        )

    def _attributes_of_open(self, file: OpenFile) -> Attributes:
        if file.entry is None:
            return file.new_metadata.attributes
        stored = self._catalog.known_attributes(file.store_path, file.entry)
        if stored is None:
            stored = self._catalog.attributes(file.store_path, file.entry)
        unsent = file.attributes if file.removed else self._keeper.unsent(file.path)
        return stored.merged(unsent)

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
        refuse_reserved(path)
        # A store under way has read already what it carries; this must come after it.
        with self._locks.holding(path):
            self._change_locked(path, attributes, atime_ns)

    def _change_locked(self, path: str, attributes: Attributes, atime_ns: int | None) -> None:
        file = self._files.local_at(path)
        if attributes.mtime_ns is not None and atime_ns is None:
            self.keep_atime(path)
        times = Times(atime_ns=atime_ns, ctime_ns=self._clock.wall_ns())
        if file is None:
            entry = self._catalog.get(path)
            self._keeper.check_folder(path if entry.is_folder else paths.parent(path))
            if entry.is_folder:
                times = times._replace(mtime_ns=attributes.mtime_ns)
            self._cache.set_times(path, version_of(entry), times)
            self._keeper.change(path, attributes)
            return
        version = file.entry.version if file.entry is not None else None
        self._cache.set_times(path, version, times)
        if attributes.mtime_ns is not None:
            file.set_mtime(attributes.mtime_ns)
        if file.entry is None:
            file.new_metadata = file.new_metadata.with_attributes(attributes)
        elif file.removed:
            file.attributes = file.attributes.merged(attributes)
        else:
            self._keeper.change(path, attributes)

    def attributes_of_new(
        self, path: str, mode: int, caller: Caller, rdev: int | None = None
    ) -> Attributes:
        """Return what is to be stored of a new name made by ``caller``.

        Its group is the caller's, in a set-gid folder the folder's; a folder made there has the
        bit too. Cost: none.
        """
        is_folder = stat.S_ISDIR(mode)
        group = self._set_gid_group(paths.parent(path))
        if group is not None and is_folder:
            mode |= stat.S_ISGID
        gid = caller.gid if group is None else group
        given = Attributes(mode=mode, uid=caller.uid, gid=gid, rdev=rdev)
        return self._attrs.explicit(given, is_folder=is_folder)

    def _set_gid_group(self, folder: str) -> int | None:
        known = self._catalog.known_attributes(folder, Entry(Kind.FOLDER))
        if known is None:
            # The kernel has asked for a folder before it lets somebody make a name there.
            return self._kernel.set_gid_group(folder)
        attributes = known.merged(self._keeper.unsent(folder))
        return self._attrs.set_gid_group(attributes)

    def drop_set_ids(self, path: str) -> None:
        """Take the set-id bits from a file that somebody without privilege changes.

        The kernel does so before writes and truncations, but leaves ``O_TRUNC`` to us. Cost: as
        ``chmod`` if there are any.
        """
        mode = self.getattr(path).mode
        dropped = stat.S_ISUID
        if mode & stat.S_IXGRP:
            dropped |= stat.S_ISGID
        if mode & dropped:
            self.chmod(path, mode & ~dropped)

    def changed(self, path: str) -> None:
        """Note that something beside the content of ``path`` changed: moves its ctime."""
        self._change(path, Attributes())

    def made(self, path: str, version: Version | None) -> None:
        """Note that ``path`` was made just now (``version`` None: a folder, or not stored yet)."""
        now = self._clock.wall_ns()
        self._cache.set_times(path, version, Times(now, now, now))

    def touch_folder(self, path: str) -> None:
        """Note that a name in the folder at ``path`` came or went."""
        self.keep_atime(path)
        now = self._clock.wall_ns()
        self._cache.set_times(path, None, Times(mtime_ns=now, ctime_ns=now))

    def keep_atime(self, path: str) -> None:
        """Keep the time of access, before that of change moves, which stands in for it."""
        entry = ROOT_ENTRY if path == paths.ROOT else self._cache.lookup(path)
        if not isinstance(entry, Entry):
            return
        times = self._cache.times(path, version_of(entry))
        if times.atime_ns is None:
            known = self._catalog.known_attributes(path, entry) or Attributes()
            attributes = known.merged(self._keeper.unsent(path))
            atime_ns = self._attrs.mtime_ns(entry, attributes, times)
            self._cache.set_times(path, version_of(entry), Times(atime_ns=atime_ns))

    def type_bits(self, path: str, entry: Entry) -> int:
        """Return the type bits of a listed name, 0 if only a request could tell. Cost: none."""
        if entry.is_folder:
            return stat.S_IFDIR
        attributes = self._catalog.known_attributes(path, entry)
        if attributes is None:
            return 0
        return stat.S_IFMT(self._attrs.mode(attributes, is_folder=False))


def refuse_reserved(path: str) -> None:
    """Raise ``NotPermitted`` for a name that programs must not make or change."""
    if is_reserved(path):
        raise NotPermitted(path, "cosfs keeps this name for itself")


def version_of(entry: Entry) -> Version | None:
    """Return what the times of an entry belong to: a version, or a folder whatever is in it."""
    return None if entry.is_folder else entry.version
