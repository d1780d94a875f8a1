"""Owns making, removing and renaming names; must not know what is read or written under them."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Final

from cosfs import paths
from cosfs.clock import Clock
from cosfs.errors import (
    AlreadyExists,
    InvalidArgument,
    IsFolder,
    NameTooLong,
    NotFound,
    NotPermitted,
    ObjectChanged,
    StoreError,
)
from cosfs.model import Attributes, Base, BytesSource, Entry, Metadata
from cosfs.store.base import Store
from cosfs.vfs.attributes import AttributeKeeper
from cosfs.vfs.attrs import AttrsBuilder
from cosfs.vfs.blocks import BlockCache
from cosfs.vfs.catalog import Catalog
from cosfs.vfs.files import OpenFiles, hidden_name
from cosfs.vfs.folderrenames import FolderRenames
from cosfs.vfs.folders import Folders
from cosfs.vfs.journal import Journal
from cosfs.vfs.kernelview import KernelView
from cosfs.vfs.metacache import Times
from cosfs.vfs.openfile import OpenFile
from cosfs.vfs.pathlocks import PathLocks
from cosfs.vfs.segments import Content
from cosfs.vfs.status import Status, refuse_reserved
from cosfs.vfs.types import Caller

log = logging.getLogger(__name__)

#: A file younger than this is renamed without storing its time: for everybody else it is as new.
_FRESH_NS: Final = 2 * 10**9


class Names:
    """See the module's text.

    Thread safety: any method from any thread. What is under way with a file's content is waited
    for where its name changes.
    """

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        keeper: AttributeKeeper,
        files: OpenFiles,
        folders: Folders,
        blocks: BlockCache,
        status: Status,
        attrs: AttrsBuilder,
        kernel: KernelView,
        locks: PathLocks,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._cache = catalog.cache
        self._keeper = keeper
        self._files = files
        self._folders = folders
        self._blocks = blocks
        self._status = status
        self._attrs = attrs
        self._kernel = kernel
        self._locks = locks
        self._journal = journal
        self._clock = clock
        self.folder_renames = FolderRenames(
            catalog, keeper, files, folders, attrs, locks, journal, self._keep_mtime
        )

    def mkdir(self, path: str, mode: int, caller: Caller) -> None:
        """Create a folder. Raises ``AlreadyExists``.

        Cost: 1; 1 later if mode or owner are not the mount's.
        """
        refuse_reserved(path)
        self._refuse_known(path)
        attributes = self._status.attributes_of_new(path, stat.S_IFDIR | mode & 0o7777, caller)
        self._folders.make(path)
        self._keeper.gone(path)
        self._keeper.change(path, attributes)
        self._status.made(path, None)
        self._status.touch_folder(paths.parent(path))

    def rmdir(self, path: str) -> None:
        """Remove an empty folder. Raises ``FolderNotEmpty``.

        Cost: 1, 1 to see that it is, 1 if it has a mark, and 1 if nobody knows what that holds.
        """
        refuse_reserved(path)
        with self._locks.holding_trees(path):
            self._folders.check_empty(path)
            # Its mark goes before it: should only that be done, the attributes are sent again.
            stored = self._catalog.mark(path).attributes
            self._keeper.change(path, stored.merged(self._keeper.unsent(path)))
            self._folders.remove(path)
            self._keeper.gone(path)
        self._note_gone(path)

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
        refuse_reserved(path)
        self._refuse_known(path)
        if not self._keeper.is_on:
            raise NotPermitted(path, "attrs=none stores plain files only")
        attributes = self._status.attributes_of_new(path, mode, caller, rdev or None)
        with self._locks.holding(path), self._catalog.unsure_if_lost(path):
            self._keeper.ensure_mark(paths.parent(path))
            entry = self._store.write_file(
                path,
                BytesSource(content),
                metadata=Metadata(attributes=attributes),
                create_only=True,
                base=Base(),
            )
        self._keeper.gone(path)
        self._cache.put(path, entry)
        self._status.made(path, entry.version)
        self._status.touch_folder(paths.parent(path))

    def _refuse_known(self, path: str) -> None:
        """Raise ``AlreadyExists`` for what the kernel takes to be free, and is not.

        A store would make a folder beside a file of its name, or a file beside a folder.
        """
        if isinstance(self._cache.peek(path), Entry):
            raise AlreadyExists("made meanwhile", path=path)

    def readlink(self, path: str) -> str:
        """Return the target of a symbolic link. Cost: 1, or 0 when it was read before."""
        entry = self._catalog.get(path)
        if not stat.S_ISLNK(self._status.getattr(path).mode):
            raise InvalidArgument(path, "not a symbolic link")
        try:
            return self._read_link(path, entry)
        except (NotFound, ObjectChanged):
            # Replaced by somebody else: a link is read whole, so what is there now will do.
            self._cache.forget(path)
            return self._read_link(path, self._catalog.get(path))

    def _read_link(self, path: str, entry: Entry) -> str:
        content = Content.of(entry.version, f"{path}@{entry.mtime_ns}")
        return os.fsdecode(self._blocks.read(content, lambda: path, 0, entry.size))

    def unlink(self, path: str) -> None:
        """Remove a file's name. Raises ``NotFound``. Cost: 1."""
        refuse_reserved(path)
        if self._files.unlink_hidden(path):
            return
        self._files.asked_for(path)
        if self._files.at(path) is not None:
            self._take_name(path)
            return
        with self._locks.holding(path), self._catalog.unsure_if_lost(path):
            try:
                self._store.delete_file(path, base=self._catalog.base(path))
            except NotFound:
                self._cache.remove(path)
                raise
            self._cache.remove(path)
            self._keeper.gone(path)
        self._kernel.forget(path)
        self._note_gone(path)

    def rename(self, old: str, new: str) -> None:
        """Rename a file or folder, replacing a file or an empty folder at ``new``.

        Cost: 1 for a file, ``FolderRenames.rename`` for a folder.
        """
        refuse_reserved(old)
        refuse_reserved(new)
        self._store.check_path(new)
        self._keeper.check_folder(paths.parent(new))
        self.folder_renames.take_back(old, new)
        replaced = self._files.just_hidden(new)
        if replaced is None and old != new and self._files.at(new) is not None:
            self._take_name(new)
            replaced = self._files.just_hidden(new)
        try:
            self._files.asked_for(old)
            is_folder = self._files.at(old) is None and self._catalog.get(old).is_folder
            hold = self._locks.holding_trees if is_folder else self._locks.holding
            with hold(old, new):
                self._rename(old, new, is_folder=is_folder)
        except Exception:
            if replaced is not None:
                self._put_back(replaced, new)
            raise
        finally:
            self._files.end_replacing(new)
        if replaced is not None:
            self._files.note_removed(replaced)
        self._note_gone(old)
        self._status.touch_folder(paths.parent(new))

    def _take_name(self, path: str) -> None:
        """Hide an open file as libfuse does, where it has lost track of the file's name."""
        self.rename(path, hidden_name(path))

    def _rename(self, old: str, new: str, *, is_folder: bool) -> None:
        if self._files.hide(old, new, self._keeper.unsent(old)):
            self._cache.move_times(old, new)
            self._status.changed(new)
            self._keeper.gone(old)
            self._cache.remove(old)
            return
        if is_folder:
            try:
                self.folder_renames.rename(old, new)
                self._status.changed(new)
            finally:
                self._kernel.forget(new)
                self._kernel.forget(old)
        else:
            self._rename_file(old, new, self._files.at(old))
            self._kernel.renamed(old, new)

    def _put_back(self, replaced: OpenFile, path: str) -> None:
        """Give an open file its name back: what was to replace it could not."""
        hidden = replaced.path
        try:
            self._files.unhide(replaced, path)
        except StoreError as error:
            log.error("%r has lost its name to a rename that failed: %s", path, error)
            return
        self._cache.move_times(hidden, path)
        if replaced.entry is not None:
            self._cache.put(path, replaced.entry)
            self._keeper.change(path, replaced.attributes)

    def _rename_file(self, old: str, new: str, file: OpenFile | None) -> None:
        if file is not None and file.entry is None:
            # The new name must have the content the moment it replaces another file.
            self._files.store_now(file)
        entry = self._catalog.get(old)
        target = self._catalog.find(new)
        if target is not None and target.is_folder:
            raise IsFolder(new)
        attributes = self._keeper.of(old, entry)
        if attributes != Attributes():
            self._keeper.ensure_mark(paths.parent(new))
        times = self._cache.times(old, entry.version)
        metadata = self._cache.metadata(old, entry.version)
        until = self._cache.believed_until(old, entry.version)
        has_unsent = self._keeper.unsent(old) != Attributes()
        with self._journaled(old, new) if has_unsent else nullcontext():
            self._catalog.move_file(old, new, overwrite=True)
            self._files.renamed(old, new)
            self._cache.move_times(old, new)
            # In this order: nobody must find neither name.
            self._cache.put(new, replace(entry, metadata=metadata), until)
            self._cache.remove(old)
            self._keeper.renamed(old, new)
        self._keep_mtime(new, entry, attributes, times._replace(ctime_ns=self._clock.wall_ns()))

    def _keep_mtime(
        self, path: str, entry: Entry, attributes: Attributes, times: Times
    ) -> None:
        """Keep the times of a file over its move, in which the server gives it new ones.

        That of a file made just now is kept here alone: another mount sees a second's difference.
        """
        mtime_ns = self._attrs.mtime_ns(entry, attributes, times)
        self._cache.set_times(path, entry.version, times._replace(mtime_ns=mtime_ns))
        is_old = self._clock.wall_ns() - mtime_ns > _FRESH_NS
        if attributes.mtime_ns is None and is_old:
            self._keeper.change(path, Attributes(mtime_ns=mtime_ns))

    @contextmanager
    def _journaled(self, old: str, new: str) -> Iterator[None]:
        """Let the next mount finish a file's rename, should we be killed in it."""
        self._journal.put("renames", old, {"new": new})
        try:
            yield
        finally:
            # A failure is told: whoever asked may ask again, or have changed his mind.
            self._journal.drop("renames", old)

    def resend(self, path: str, attributes: Attributes) -> None:
        """Send changes of attributes that a killed mount had not sent."""
        self._keeper.change(path, attributes)

    def _note_gone(self, path: str) -> None:
        folder = paths.parent(path)
        self._folders.keep(folder)
        self._status.touch_folder(folder)
