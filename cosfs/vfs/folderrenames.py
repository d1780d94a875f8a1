"""Owns the rename of a folder with everything in it, to its end or back; must not know who asks.

The server knows no such thing: folders are made, files are moved, folders are removed. So a rename
is journaled before it begins. One that a kill cut off is finished by the next mount. One that
failed was told as failed: it is taken back, so that everything has its old name and whoever asked
may ask again. While the server does not answer that has to wait, for the next rename of the same
folders or for the next mount.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from cosfs import paths
from cosfs.errors import (
    CosfsError,
    FolderNotEmpty,
    InvalidArgument,
    NotFolder,
    NotFound,
    Unavailable,
)
from cosfs.model import Attributes, Entry, Kind, Metadata
from cosfs.vfs.attributes import AttributeKeeper
from cosfs.vfs.attrs import AttrsBuilder
from cosfs.vfs.catalog import Catalog
from cosfs.vfs.files import OpenFiles
from cosfs.vfs.folders import Folders, Moved, Tree
from cosfs.vfs.journal import Journal
from cosfs.vfs.metacache import Times
from cosfs.vfs.pathlocks import PathLocks
from cosfs.vfs.status import version_of

log = logging.getLogger(__name__)

KeepMtime = Callable[[str, Entry, Attributes, Times], None]


class _Known(NamedTuple):
    """What was known of a name before it was moved."""

    attributes: Attributes
    times: Times
    metadata: Metadata | None
    subfolders: int
    #: How long it is believed.
    until: float


class FolderRenames:
    """See the module's text.

    The caller of ``rename`` holds the trees of both folders.
    """

    def __init__(
        self,
        catalog: Catalog,
        keeper: AttributeKeeper,
        files: OpenFiles,
        folders: Folders,
        attrs: AttrsBuilder,
        locks: PathLocks,
        journal: Journal,
        keep_mtime: KeepMtime,
    ) -> None:
        self._catalog = catalog
        self._cache = catalog.cache
        self._keeper = keeper
        self._files = files
        self._folders = folders
        self._attrs = attrs
        self._locks = locks
        self._journal = journal
        self._keep_mtime = keep_mtime
        #: What the journal says of renames that are still to be taken back, by the old path.
        self._failed: dict[str, dict[str, Any]] = {}

    def rename(self, old: str, new: str) -> None:
        """Rename a folder; ``new`` is free or an empty folder.

        A failure leaves everything under its old name, or is to be taken back: see above.
        Cost: the pages of all folders below; 1 a file; 3 a folder, and 2 or 3 if it has a mark.
        """
        target = self._catalog.find(new)
        if target is not None and not target.is_folder:
            raise NotFolder(new, "a file is in the way")
        if target is not None and not (
            self._catalog.is_empty(new) and not self._files.unstored_in(new)
        ):
            raise FolderNotEmpty("the folder is not empty", path=new)
        if paths.is_inside(new, old):
            raise InvalidArgument(new, "a folder cannot become its own child")
        tree = self._folders.survey(old)
        record = {
            "new": new,
            "has_target": target is not None,
            "is_copied": False,
            "is_failed": False,
        }
        self._journal.put("renames", old, record)
        try:
            self._go(tree, record, overwrite=False)
        except CosfsError as error:
            self._note_failure(old, record, error)
            raise
        self._journal.drop("renames", old)

    def take_back(self, *tops: str) -> None:
        """Take back renames that failed half-way and concern folders above or below ``tops``."""
        for old, record in list(self._failed.items()):
            concerned = (old, record["new"])
            if any(_touch(top, one) for top in tops for one in concerned):
                with self._locks.holding_trees(*concerned):
                    self._come_back(old, record)

    def finish(self, old: str, record: dict[str, Any]) -> None:
        """Finish what a mount before this one began: as it was going, or back if it failed."""
        if record.get("is_failed"):
            self._failed[old] = record
            self._come_back(old, record)
            return
        entry = self._catalog.find(old)
        if entry is None:
            # All is moved, but for changes that were not sent yet.
            self._keeper.renamed(old, record["new"])
        elif entry.is_folder:
            self._go(self._folders.survey(old), record, overwrite=True)

    def _note_failure(self, old: str, record: dict[str, Any], error: CosfsError) -> None:
        record["is_failed"] = True
        self._failed[old] = record
        self._journal.put("renames", old, record)
        if not isinstance(error, Unavailable):
            try:
                self._come_back(old, record)
                return
            except CosfsError as other:
                error = other
        log.error(
            "the rename of %r to %r is half done, and not taken back yet: %s",
            old,
            record["new"],
            error,
        )

    def _go(self, tree: Tree, record: dict[str, Any], *, overwrite: bool) -> None:
        old, new = tree.top, record["new"]
        if self._keeper.of(old, self._catalog.get(old)) != Attributes():
            self._keeper.ensure_mark(paths.parent(new))
        with self._refreshing(old, new):
            if not record.get("is_copied"):
                self._folders.copy(tree, new)
                # Folders that are found at the old place may be halves from now on.
                record["is_copied"] = True
                self._journal.put("renames", old, record)
            moved = self._folders.move(
                tree, new, self._look, self._follow, overwrite=overwrite
            )
        self._files.renamed(old, new)
        self._keeper.renamed(old, new)
        self._note_moved(moved, replaced=new if record.get("has_target") else None)

    def _come_back(self, old: str, record: dict[str, Any]) -> None:
        """Give everything its old name back; what has got another file there meanwhile stays."""
        new, has_target = record["new"], record["has_target"]
        moved: list[Moved[_Known]] = []
        with self._refreshing(old, new):
            try:
                tree = self._folders.survey(new)
            except NotFound:
                tree = None
            if tree is not None and record["is_copied"]:
                self._folders.copy(tree, old)
                moved = self._folders.move(
                    tree, old, self._look, self._follow, is_back=True, keep_top=has_target
                )
            elif tree is not None:
                # Only what was made for this: an old folder stands beside each.
                made = {
                    paths.moved(folder, old, new) for folder, _ in self._folders.survey(old).folders
                }
                ours = [one for one in tree.folders if one[0] in made]
                self._folders.drop(tree._replace(folders=ours), keep_top=has_target)
                for folder, entry in ours:
                    if not tree.holds(folder, keep_top=has_target):
                        self._cache.remove(folder, entry)
        for folder, _ in tree.folders if tree is not None else ():
            if folder == new and has_target:
                continue
            changes = self._keeper.unsent(folder)
            self._keeper.gone(folder)
            self._keeper.change(paths.moved(folder, new, old), changes)
        self._note_moved(moved)
        del self._failed[old]
        self._journal.drop("renames", old)
        log.warning("the rename of %r to %r, which failed, is taken back", old, new)

    @contextmanager
    def _refreshing(self, old: str, new: str) -> Iterator[None]:
        """Believe nothing of both folders afterwards: others may have changed them meanwhile."""
        try:
            yield
        finally:
            self._cache.refresh(old)
            self._cache.refresh(new)

    def _look(self, path: str, entry: Entry) -> _Known:
        attributes = self._keeper.of(path, entry)
        times = self._cache.times(path, version_of(entry))
        metadata = self._cache.metadata(path, entry.version)
        until = self._cache.believed_until(path, entry.version)
        return _Known(attributes, times, metadata, self._cache.subfolders(path), until)

    def _follow(self, path: str, target: str) -> None:
        """Let what is known here follow a file, at once: somebody may be reading it."""
        self._files.renamed(path, target)
        self._keeper.renamed(path, target)
        self._cache.move_times(path, target)

    def _note_moved(self, moved: list[Moved[_Known]], replaced: str | None = None) -> None:
        """Believe what was moved; ``replaced``: the name at which there was a folder before."""
        for one in moved:
            self._cache.remove(one.old, one.entry)
        for _, path, entry, known in moved:
            if entry.is_folder:
                was = Entry(Kind.FOLDER) if path == replaced else None
                self._cache.put(path, replace(entry, implied=False, metadata=None), was=was)
                mtime_ns = self._attrs.mtime_ns(entry, known.attributes, known.times)
                self._cache.set_times(path, None, known.times._replace(mtime_ns=mtime_ns))
            else:
                self._cache.put(path, replace(entry, metadata=known.metadata), known.until)
                self._keep_mtime(path, entry, known.attributes, known.times)
        for _, path, entry, known in moved:
            if entry.is_folder:
                self._cache.set_subfolders(path, known.subfolders)


def _touch(one: str, other: str) -> bool:
    return one == other or paths.is_inside(one, other) or paths.is_inside(other, one)
