"""Owns what ``stat`` shows of a name, and changing it; must not know how names come and go.

A file with local bytes answers from its open file, everything else from catalog, attribute keeper
and the times that this mount has shown.
"""

from __future__ import annotations

import stat

from cosfs.clock import Clock
from cosfs.errors import NotFound, NotPermitted
from cosfs.model import Attributes, Entry, Version
from cosfs.vfs.attributes import AttributeKeeper
from cosfs.vfs.attrs import AttrsBuilder
from cosfs.vfs.catalog import Catalog, is_reserved
from cosfs.vfs.files import OpenFiles
from cosfs.vfs.kernelview import KernelView
from cosfs.vfs.metacache import Times
from cosfs.vfs.openfile import OpenFile
from cosfs.vfs.pathlocks import PathLocks
from cosfs.vfs.types import Attrs


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
        attrs = self._attrs.build(
            path, entry, self._keeper.of(path, entry), self._cache.times(path, version_of(entry))
        )
        if not entry.is_folder:
            self._kernel.told(path, attrs.size)
        return attrs

    def _getattr_open(self, file: OpenFile) -> Attrs:
        version = file.entry.version if file.entry is not None else None
        times = self._cache.times(file.path, version)
        attributes = self._attributes_of_open(file)
        mtime_ns = file.mtime_ns
        if file.entry is not None and not file.has_local_bytes:
            mtime_ns = self._attrs.mtime_ns(file.entry, attributes, times)
        self._kernel.told(file.path, file.size)
        return self._attrs.build_open(
            file.path,
            file.size,
            mtime_ns,
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
        times = Times(atime_ns=atime_ns, ctime_ns=self._clock.wall_ns())
        if file is None:
            entry = self._catalog.get(path)
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

    def touch_folder(self, path: str) -> None:
        """Note that a name in the folder at ``path`` came or went."""
        now = self._clock.wall_ns()
        self._cache.set_times(path, None, Times(mtime_ns=now, ctime_ns=now))

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
