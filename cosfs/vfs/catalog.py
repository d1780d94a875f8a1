"""Owns the question "what is at this path, what is in this folder": cache first, then the store.

Must not know open files, POSIX attributes or who asks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import Final

from cosfs import paths
from cosfs.errors import NotFound
from cosfs.model import Entry, Kind, ListPage, Metadata
from cosfs.store.base import Store
from cosfs.vfs.metacache import MetaCache, Unknown
from cosfs.vfs.singleflight import SingleFlight

log = logging.getLogger(__name__)

#: The root always exists, marker or not.
ROOT_ENTRY: Final = Entry(Kind.FOLDER)

#: Names that the stores keep for themselves: ``.cosfs`` in any folder, this one at the root.
WORK_FOLDER: Final = "/.cosfs-work"


def is_reserved(path: str) -> bool:
    """Tell whether ``path`` is one of the names that programs must neither see nor make."""
    return paths.base(path) == ".cosfs" or path == WORK_FOLDER


class Catalog:
    """Resolves paths and listings, at the price of design 9.

    Thread safety: any method from any thread. Concurrent questions about one name share a fetch.
    """

    def __init__(self, store: Store, cache: MetaCache, executor: Executor) -> None:
        self.cache = cache
        self._store = store
        self._executor = executor
        self._lookups: SingleFlight[str, Entry | None] = SingleFlight()
        self._listings: SingleFlight[str, dict[str, Entry]] = SingleFlight()

    def find(self, path: str) -> Entry | None:
        """Return the entry at ``path``, at most the TTL old, or ``None`` if there is none.

        Raises:
            NameTooLong, InvalidName: the path cannot exist here.
            StoreError: the store could not tell.
        Cost: 0 when known; else 2 in one round trip (3 or 4 when many names begin with this one).
            The second unknown name of a folder costs its first page instead, which answers all
            further ones if the folder is small.
        """
        if path == paths.ROOT:
            return ROOT_ENTRY
        known = self.cache.lookup(path)
        if not isinstance(known, Unknown):
            return known
        if is_reserved(path):
            return None
        self._store.check_path(path)
        return self._lookups.run(path, lambda: self._ask(path))

    def get(self, path: str) -> Entry:
        """Return the entry at ``path``; raise ``NotFound`` if there is none. Cost: as ``find``."""
        entry = self.find(path)
        if entry is None:
            raise NotFound("no such file or folder", path=path)
        return entry

    def stat(self, path: str, entry: Entry) -> Entry:
        """Return ``entry`` as the server knows it now, metadata included.

        An implied folder has no metadata and is returned as it is.
        Raises ``NotFound`` if it is gone. Cost: 1 request.
        """
        generation = self.cache.generation()
        try:
            if not entry.is_folder:
                fresh = self._store.stat_file(path)
            elif path == paths.ROOT:
                return replace(ROOT_ENTRY, metadata=Metadata())
            else:
                fresh = self._stat_folder(path, entry)
        except NotFound:
            self.cache.learn(path, None, generation)
            raise
        self.cache.learn(path, fresh, generation)
        return fresh

    def metadata(self, path: str, entry: Entry) -> Metadata:
        """Return the metadata of ``path``, at most the TTL old. Cost: 0 when known, else 1."""
        known = self.cache.metadata(path, entry.version)
        if known is None:
            known = self.stat(path, entry).metadata
        return known if known is not None else Metadata()

    def listing(self, folder: str) -> dict[str, Entry]:
        """Return what is in ``folder``, at most the TTL old: base names to entries, the caller's.

        A folder that does not exist lists as empty. Cost: 0 when known, else its pages.
        """
        known = self.cache.listing(folder)
        if known is not None:
            return known
        # A copy, as callers that share the fetch share its result.
        return dict(self._listings.run(folder, lambda: self._list(folder)))

    def is_empty(self, folder: str) -> bool:
        """Tell whether nothing is in ``folder`` now. Cost: 0 when its listing is known, else 1."""
        known = self.cache.listing(folder)
        if known is not None and known:
            return False
        if known is not None:
            return True
        cursor = ""
        while True:
            page = self._store.list_page(folder, cursor=cursor)
            if _shown(folder, page):
                return False
            if page.cursor is None:
                return True
            cursor = page.cursor

    # -- asking the store --------------------------------------------------------------------

    def _ask(self, path: str) -> Entry | None:
        folder, name = paths.split(path)
        if self.cache.note_unknown(folder) == 2:
            found = self._ask_first_page(folder, name)
            if not isinstance(found, Unknown):
                return found
        generation = self.cache.generation()
        stat = self._executor.submit(self._stat_file, path)
        try:
            page = self._store.list_page(folder, prefix=name)
        finally:
            # Always waited for: an error of either must not leave the other running unseen.
            stat_error = stat.exception()
        if stat_error is not None:
            raise stat_error
        listed = page.entries.get(name)
        found_file = stat.result()
        if listed is not None and listed.is_folder:
            return self.cache.learn(path, listed, generation)
        if page.cursor is None or found_file is not None:
            return self.cache.learn(path, found_file, generation)
        return self.cache.learn(path, self._find_folder(path), generation)

    def _stat_file(self, path: str) -> Entry | None:
        return _or_none(lambda: self._store.stat_file(path))

    def _stat_folder(self, path: str, entry: Entry) -> Entry:
        if entry.implied:
            return entry
        try:
            return self._store.stat_folder(path)
        except NotFound:
            # The listing of before may have been of an implied folder's children.
            found = self._find_implied(path)
            if found is None:
                raise
            return found

    def _find_folder(self, path: str) -> Entry | None:
        """Look for a folder whose place in its parent's listing is far behind its prefix."""
        return self._find_implied(path) or _or_none(lambda: self._store.stat_folder(path))

    def _find_implied(self, path: str) -> Entry | None:
        page = self._store.list_page(path)
        return Entry(Kind.FOLDER, implied=True, metadata=Metadata()) if page.entries else None

    def _ask_first_page(self, folder: str, name: str) -> Entry | Unknown | None:
        """List a folder in which names are looked up one after the other."""
        generation = self.cache.generation()
        page = self._store.list_page(folder)
        if page.cursor is None:
            return self._learn_listing(folder, _shown(folder, page), generation).get(name)
        for other, entry in _shown(folder, page).items():
            self.cache.learn(paths.join(folder, other), entry, generation)
        return self.cache.lookup(paths.join(folder, name))

    def _list(self, folder: str) -> dict[str, Entry]:
        generation = self.cache.generation()
        entries: dict[str, Entry] = {}
        cursor = ""
        while True:
            page = self._store.list_page(folder, cursor=cursor)
            for name, entry in _shown(folder, page).items():
                # `a` and `a/` may stand on different pages: the folder is shown.
                if entry.is_folder or name not in entries:
                    entries[name] = entry
            if page.cursor is None:
                return self._learn_listing(folder, entries, generation)
            cursor = page.cursor

    def _learn_listing(
        self, folder: str, entries: dict[str, Entry], generation: int
    ) -> dict[str, Entry]:
        settled: dict[str, Entry | None] = {}
        for path in self.cache.doubts(folder, entries):
            log.debug("listing of %s contradicts an own change of %s: asking", folder, path)
            settled[path] = self._stat_file(path) or self._find_folder(path)
        return self.cache.learn_listing(folder, entries, generation, settled)


def _shown(folder: str, page: ListPage) -> dict[str, Entry]:
    """Return what programs may see of a page."""
    entries = dict(page.entries)
    for name in (".cosfs", ".cosfs-work"):
        if name in entries and is_reserved(paths.join(folder, name)):
            del entries[name]
    return entries


def _or_none(ask: Callable[[], Entry]) -> Entry | None:
    try:
        return ask()
    except NotFound:
        return None
