"""Owns what takes more than one object: making, emptying, keeping and renaming folders.

Must not know open files' content or attributes.
"""

from __future__ import annotations

import logging
from concurrent.futures import Executor
from dataclasses import replace

from cosfs import paths
from cosfs.errors import AlreadyExists, FolderNotEmpty, InvalidArgument, NotFound, StoreError
from cosfs.model import Entry
from cosfs.store.base import Store
from cosfs.vfs.catalog import Catalog
from cosfs.vfs.files import OpenFiles

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
        entry = self._store.make_folder(path)
        self._catalog.cache.put_new_folder(path, entry)
        return entry

    def remove(self, path: str) -> None:
        """Remove an empty folder. Raises ``FolderNotEmpty``. Cost: 1, and 1 to see that it is."""
        if self._files.unstored_in(path) or not self._catalog.is_empty(path):
            raise FolderNotEmpty("the folder is not empty", path=path)
        try:
            self._store.delete_folder(path)
        except NotFound:
            # Implied: with nothing below it, it is gone already.
            log.debug("folder %s had no marker", path)
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

    def rename(self, old: str, new: str) -> None:
        """Rename a folder with everything below it.

        The server knows no such thing: every file is moved by itself, several at a time, after the
        new folders are made and before the old ones go. When a move fails, what was moved stays
        under its new name and the rest under its old one: asking again finishes the rename.
        Cost: the pages of all folders below, 1 a file, 2 a folder.

        Raises:
            InvalidArgument: ``new`` lies inside ``old``.
            FolderNotEmpty: ``new`` exists and is not empty.
        """
        if paths.is_inside(new, old):
            raise InvalidArgument(new, "a folder cannot become its own child")
        target = self._catalog.find(new)
        if target is not None and not self._catalog.is_empty(new):
            raise FolderNotEmpty("the folder is not empty", path=new)
        folders, moves = self._survey(old)
        try:
            for folder in folders:
                self._make_if_missing(paths.moved(folder, old, new))
            self._move_all(moves, old, new)
            for folder in reversed(folders):
                self._drop_marker(folder)
        finally:
            self._catalog.cache.forget_tree(old)
            self._catalog.cache.forget_tree(new)
        self._catalog.cache.remove(old)

    def _survey(self, top: str) -> tuple[list[str], list[str]]:
        """Return all folders from ``top`` down, parents first, and all files below it."""
        folders: list[str] = [top]
        files: list[str] = []
        for folder in folders:  # grows while it is walked
            for name, entry in self._catalog.listing(folder).items():
                found = folders if entry.is_folder else files
                found.append(paths.join(folder, name))
        return folders, files

    def _make_if_missing(self, folder: str) -> None:
        try:
            self._store.make_folder(folder)
        except AlreadyExists:
            log.debug("folder %s is there already", folder)

    def _drop_marker(self, folder: str) -> None:
        try:
            self._store.delete_folder(folder)
        except NotFound:
            log.debug("folder %s had no marker", folder)

    def _move_all(self, moves: list[str], old: str, new: str) -> None:
        def move(path: str) -> StoreError | None:
            try:
                self._store.move_file(path, paths.moved(path, old, new), overwrite=True)
            except StoreError as error:
                return error
            return None

        failures = [error for error in self._executor.map(move, moves) if error is not None]
        if failures:
            log.warning("%d of %d files could not be moved", len(failures), len(moves))
            raise failures[0]
