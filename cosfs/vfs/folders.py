"""Owns what takes more than one object: making, emptying, keeping and moving folders.

Must not know open files' content or attributes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

from cosfs import paths
from cosfs.errors import (
    AlreadyExists,
    FolderNotEmpty,
    NameTooLong,
    NotFound,
    StoreError,
    Unavailable,
)
from cosfs.model import Base, Entry, Kind, Metadata
from cosfs.store.base import Store
from cosfs.vfs.catalog import Catalog, split_folder_metadata
from cosfs.vfs.files import OpenFiles

T = TypeVar("T")

log = logging.getLogger(__name__)


class Tree(NamedTuple):
    """A folder with everything below it: folders, parents first, and files."""

    top: str
    folders: list[tuple[str, Entry]]
    files: list[tuple[str, Entry]]

    def holds(self, folder: str, *, keep_top: bool) -> bool:
        """Tell whether a file is below ``folder``, or it is the top and that is to be kept."""
        is_kept = keep_top and folder == self.top
        return is_kept or any(paths.is_inside(path, folder) for path, _ in self.files)


class Moved(NamedTuple, Generic[T]):
    """A name that was moved, the entry that it had, and what was noted of it before."""

    old: str
    new: str
    entry: Entry
    note: T


class Folders:
    """Folder operations; each of them blocks until the store has done its part."""

    def __init__(
        self, store: Store, catalog: Catalog, files: OpenFiles, executor: Executor
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._files = files
        self._executor = executor

    def make(self, path: str) -> Entry:
        """Create a folder. Raises ``AlreadyExists``. Cost: 1."""
        with self._catalog.unsure_if_lost(path):
            entry = self._store.make_folder(path, base=Base())
        self._catalog.cache.put_new_folder(path, entry)
        return entry

    def check_empty(self, path: str) -> None:
        """Raise ``FolderNotEmpty`` if something is in a folder. Cost: 1, 0 if that is known."""
        if self._files.unstored_in(path) or not self._catalog.is_empty(path):
            raise FolderNotEmpty("the folder is not empty", path=path)

    def remove(self, path: str) -> None:
        """Remove a folder that is empty. Cost: 1, and 1 if it has a mark."""
        try:
            self._drop(path)
        except Unavailable:
            self._catalog.cache.forget(path, Entry(Kind.FOLDER))
            raise
        self._catalog.cache.remove(path, Entry(Kind.FOLDER))

    def keep(self, path: str) -> None:
        """Keep a folder in being whose last name may just have gone.

        A folder without a marker would vanish with its last child, under a program that works in
        it. Cost: 0, or 1 if the folder is implied and known to be empty.
        """
        if path == paths.ROOT or not self._catalog.cache.is_known_empty(path):
            return
        entry = self._catalog.cache.lookup(path)
        if isinstance(entry, Entry) and entry.implied:
            try:
                self._store.make_folder(path, base=Base())
            except AlreadyExists:
                log.debug("folder %s has a marker by now", path)
            except NameTooLong:
                log.debug("folder %s goes with its last name: it can have no marker", path)
                return
            self._catalog.cache.put(path, replace(entry, implied=False))

    # -- the parts of a rename ---------------------------------------------------------------

    def survey(self, top: str) -> Tree:
        """Return all that is at ``top`` and below it now. Cost: the pages of all folders."""
        folders = [(top, self._catalog.get(top))]
        files: list[tuple[str, Entry]] = []
        for folder, _ in folders:  # grows while it is walked
            for name, entry in self._catalog.fresh_listing(folder).items():
                found = folders if entry.is_folder else files
                found.append((paths.join(folder, name), entry))
        return Tree(top, folders, files)

    def copy(self, tree: Tree, new: str) -> None:
        """Make all folders of ``tree`` again at ``new``, with what they have of their own."""
        for folder, entry in tree.folders:
            copied = paths.moved(folder, tree.top, new)
            # What is to be replaced is there, whatever the store was asked for so far.
            is_free = folder != tree.top or self._catalog.cache.peek(new) is None
            self._copy_folder(folder, entry, copied, Base() if is_free else None)

    def move(
        self,
        tree: Tree,
        new: str,
        before_move: Callable[[str, Entry], T],
        after_move: Callable[[str, str], None],
        *,
        overwrite: bool = False,
        is_back: bool = False,
        keep_top: bool = False,
    ) -> list[Moved[T]]:
        """Move all files of ``tree`` to their folders at ``new``, and remove the old folders.

        Returns what has a new name, folders included, with what ``before_move`` said of the old
        one. ``after_move`` is told the old and the new name of a file. When a move fails, what was
        moved stays under its new name and the rest under its old one. On the way back, a file whose
        name is taken stays where it is, and with ``keep_top`` the top folder does.
        Cost: 1 a file, 1 or 2 a folder.
        """
        notes = [before_move(folder, entry) for folder, entry in tree.folders]

        def move(file: tuple[str, Entry]) -> Moved[T] | None | StoreError:
            path, entry = file
            target = paths.moved(path, tree.top, new)
            try:
                note = before_move(path, entry)
                self._catalog.move_file(path, target, overwrite=overwrite)
            except AlreadyExists as error:
                if not is_back:
                    return error
                log.warning("%r keeps its name: there is another %r now", path, target)
                return None
            except StoreError as error:
                return error
            after_move(path, target)
            self._catalog.cache.remove(path)
            self._catalog.cache.put(target, replace(entry, metadata=None))
            return Moved(path, target, entry, note)

        results = list(self._executor.map(move, tree.files))
        failures = [result for result in results if isinstance(result, StoreError)]
        if failures:
            log.warning("%d of %d files could not be moved", len(failures), len(results))
            raise failures[0]
        moved = [result for result in results if isinstance(result, Moved)]
        gone = {one.old for one in moved}
        left = Tree(tree.top, tree.folders, [file for file in tree.files if file[0] not in gone])
        self.drop(left, keep_top=keep_top)
        folders = zip(tree.folders, notes, strict=True)
        return [
            Moved(folder, paths.moved(folder, tree.top, new), entry, note)
            for (folder, entry), note in folders
            if not left.holds(folder, keep_top=keep_top)
        ] + moved

    def drop(self, tree: Tree, *, keep_top: bool) -> None:
        """Remove the folders of ``tree`` but those that hold its files, and the top if asked to."""
        for folder, _ in reversed(tree.folders):
            if not tree.holds(folder, keep_top=keep_top):
                self._drop(folder)

    def _copy_folder(self, old: str, entry: Entry, new: str, base: Base | None) -> None:
        """Make ``new`` a folder with the metadata of ``old``; what is there already is replaced."""
        metadata = self._catalog.metadata(old, entry)
        own, rest = split_folder_metadata(metadata)
        text = own.properties.get("biz_attr", b"")
        is_marked = self._catalog.cache.mark(old) is not False
        try:
            self._catalog.cache.put(new, self._store.make_folder(new, biz_attr=text, base=base))
        except AlreadyExists:
            there = self._store.stat_folder(new)
            self._store.set_metadata(new, there, own)
        else:
            if not is_marked:
                return
        if not (is_marked and self._store.mark_folder(new, rest)):
            there = Entry(Kind.FOLDER, metadata=self._catalog.mark(new))
            self._store.set_metadata(new, there, rest)
        if is_marked:
            self._catalog.cache.put_mark(new, rest)

    def _drop(self, folder: str) -> None:
        mark = self._catalog.cache.mark(folder)
        holding = mark if isinstance(mark, Metadata) else Metadata()
        try:
            self._store.delete_folder(folder, marked=mark is not False, holding=holding)
        except NotFound:
            # Implied: with nothing below it, it is gone already.
            log.debug("folder %s had no marker", folder)
