"""Owns what takes more than one object: making, emptying, keeping and renaming folders.

Must not know open files' content or attributes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import TypeVar

from cosfs import paths
from cosfs.errors import AlreadyExists, FolderNotEmpty, NotFound, StoreError
from cosfs.model import Entry, Kind
from cosfs.store.base import Store
from cosfs.vfs.catalog import Catalog, split_folder_metadata
from cosfs.vfs.files import OpenFiles

T = TypeVar("T")

log = logging.getLogger(__name__)


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
            entry = self._store.make_folder(path)
        self._catalog.cache.put_new_folder(path, entry)
        return entry

    def remove(self, path: str) -> None:
        """Remove an empty folder.

        Raises ``FolderNotEmpty``. Cost: 1, 1 to see that it is, 1 if it has a mark.
        """
        if self._files.unstored_in(path) or not self._catalog.is_empty(path):
            raise FolderNotEmpty("the folder is not empty", path=path)
        with self._catalog.unsure_if_lost(path):
            self._drop(path)
        self._catalog.cache.remove(path)

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
                self._store.make_folder(path)
            except AlreadyExists:
                log.debug("folder %s has a marker by now", path)
            self._catalog.cache.put(path, replace(entry, implied=False))

    def rename(
        self, old: str, new: str, before_move: Callable[[str, Entry], T], *, overwrite: bool
    ) -> list[tuple[str, Entry, T]]:
        """Rename a folder with everything below it.

        Returns it and every name that was below it: the new path, the entry, and what
        ``before_move`` said of the old path.

        The server knows no such thing: every file is moved by itself, several at a time, after the
        new folders are made and before the old ones go. When a move fails, what was moved stays
        under its new name and the rest under its old one: asking again finishes the rename.
        Cost: the pages of all folders below; 1 a file; 3 a folder, and 2 or 3 if it has a mark.
        """
        folders, files = self._survey(old)
        notes = []
        try:
            for folder, entry in folders:
                self._copy_folder(folder, entry, paths.moved(folder, old, new))
                notes.append(before_move(folder, entry))
            notes += self._move_all(files, old, new, before_move, overwrite)
            for folder, _ in reversed(folders):
                self._drop(folder)
        finally:
            self._catalog.cache.refresh(old)
            self._catalog.cache.refresh(new)
        everything = folders + files
        for path, _ in everything:
            self._catalog.cache.remove(path)
        return [
            (paths.moved(path, old, new), entry, note)
            for (path, entry), note in zip(everything, notes, strict=True)
        ]

    def _survey(self, top: str) -> tuple[list[tuple[str, Entry]], list[tuple[str, Entry]]]:
        """Return all folders from ``top`` down, parents first, and all files below it."""
        folders = [(top, self._catalog.get(top))]
        files: list[tuple[str, Entry]] = []
        for folder, _ in folders:  # grows while it is walked
            for name, entry in self._catalog.fresh_listing(folder).items():
                found = folders if entry.is_folder else files
                found.append((paths.join(folder, name), entry))
        return folders, files

    def _copy_folder(self, old: str, entry: Entry, new: str) -> None:
        """Make ``new`` a folder with the metadata of ``old``; what is there already is replaced."""
        metadata = self._catalog.metadata(old, entry)
        own, rest = split_folder_metadata(metadata)
        text = own.properties.get("biz_attr", b"")
        is_marked = self._catalog.cache.mark(old) is not False
        try:
            self._catalog.cache.put(new, self._store.make_folder(new, biz_attr=text))
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
        marked = self._catalog.cache.mark(folder) is not False
        try:
            self._store.delete_folder(folder, marked=marked)
        except NotFound:
            # Implied: with nothing below it, it is gone already.
            log.debug("folder %s had no marker", folder)

    def _move_all(
        self,
        files: list[tuple[str, Entry]],
        old: str,
        new: str,
        before_move: Callable[[str, Entry], T],
        overwrite: bool,
    ) -> list[T]:
        def move(file: tuple[str, Entry]) -> T | StoreError:
            path, entry = file
            target = paths.moved(path, old, new)
            try:
                note = before_move(path, entry)
                self._catalog.move_file(path, target, overwrite=overwrite)
            except StoreError as error:
                return error
            # At once, as somebody may be reading it, and others may fail.
            self._files.renamed(path, target)
            self._catalog.cache.remove(path)
            self._catalog.cache.put(target, replace(entry, metadata=None))
            return note

        results = list(self._executor.map(move, files))
        failures = [result for result in results if isinstance(result, StoreError)]
        if failures:
            log.warning("%d of %d files could not be moved", len(failures), len(files))
            raise failures[0]
        return [result for result in results if not isinstance(result, StoreError)]
