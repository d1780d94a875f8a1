"""Owns the question "what is at this path, what is in this folder": cache first, then the store.

Must not know open files, POSIX attributes or who asks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from cosfs import interrupts, paths
from cosfs.config import AttrsOption
from cosfs.errors import CosfsError, NotFound, StoreError, Unavailable
from cosfs.model import Attributes, Base, Entry, Kind, ListPage, Metadata, names_folder
from cosfs.store.base import Store
from cosfs.vfs.attrs import inode
from cosfs.vfs.filesahead import FilesAhead, Name
from cosfs.vfs.metacache import MetaCache, Unknown
from cosfs.vfs.singleflight import SingleFlight
from cosfs.vfs.statsahead import StatsAhead

log = logging.getLogger(__name__)

_NO_ATTRIBUTES: Final = Attributes()

#: The one property that a folder carries itself; its mark holds the others.
_OWN_PROPERTY: Final = "biz_attr"

#: The root always exists, marker or not.
ROOT_ENTRY: Final = Entry(Kind.FOLDER)

#: Names that the stores keep for themselves: ``.cosfs`` in any folder, this one at the root.
WORK_FOLDER: Final = "/.cosfs-work"


#: Folders that are listed ahead once so many were read in a row, none of them with many names.
_FOLDERS_AHEAD: Final = 16
_FOLDERS_IN_A_ROW: Final = 3
_SMALL_FOLDER: Final = 500


def is_reserved(path: str) -> bool:
    """Tell whether ``path`` is one of the names that programs must neither see nor make."""
    return paths.base(path) == ".cosfs" or path == WORK_FOLDER


class Catalog:
    """Resolves paths and listings, at the price of design 9.

    Thread safety: any method from any thread. Concurrent questions about one name share a fetch.
    """

    def __init__(
        self,
        store: Store,
        cache: MetaCache,
        attrs: AttrsOption,
        executor: Executor,
        ahead_executor: Executor,
    ) -> None:
        """Run second halves of lookups in ``executor``, guesses in ``ahead_executor``."""
        self.cache = cache
        self._store = store
        self._executor = executor
        self._attrs = attrs
        self._lookups: SingleFlight[str, Entry | None] = SingleFlight()
        self._listings: SingleFlight[str, dict[str, Entry]] = SingleFlight()
        self._refinements: SingleFlight[str, Attributes] = SingleFlight()
        self._ahead = StatsAhead(ahead_executor, self._names_in_order, self._refine)
        self._folders_ahead = FilesAhead(
            ahead_executor, self._folders_in, self._list_ahead, _FOLDERS_AHEAD, _FOLDERS_IN_A_ROW
        )

    def find(self, path: str) -> Entry | None:
        """Return the entry at ``path``, at most the TTL old, or ``None`` if there is none.

        Raises:
            NameTooLong, InvalidName: the path cannot exist here.
            StoreError: the store could not tell.
        Cost: 0 when known; else 2 in one round trip (3 or 4 when many names begin with this one).
            The second unknown name of a folder costs its first page instead, which answers all
            further ones if the folder is small. A large one that was listed before is listed
            again once lookups have cost as much: ``ls -l`` may take longer than the TTL.
        """
        if path == paths.ROOT:
            return ROOT_ENTRY
        known = self.cache.lookup(path)
        if isinstance(known, Entry):
            return known
        if is_reserved(path):
            return None
        # Also of what is known to be absent, as it could not be made either.
        self._store.check_path(path)
        if known is None:
            return None
        return self._lookups.run(path, lambda: self._ask(path))

    def get(self, path: str) -> Entry:
        """Return the entry at ``path``; raise ``NotFound`` if there is none. Cost: as ``find``."""
        entry = self.find(path)
        if entry is None:
            raise NotFound("no such file or folder", path=path)
        return entry

    def stat(self, path: str, entry: Entry) -> Entry:
        """Return ``entry`` as the server knows it now, with its metadata (a folder's ``biz_attr``).

        An implied folder has none. Raises ``NotFound`` if it is gone. Cost: 1 request.
        """
        generation = self.cache.generation()
        try:
            if not entry.is_folder:
                fresh = self._store.stat_file(path)
            else:
                fresh = self._stat_folder(path, entry)
        except NotFound:
            self.cache.learn(path, None, generation)
            raise
        self.cache.learn(path, fresh, generation)
        return fresh

    def metadata(self, path: str, entry: Entry) -> Metadata:
        """Return the metadata of ``path``, at most the TTL old.

        Cost: 0 when known, else 1; for a folder 1 each for ``biz_attr`` and its mark.
        """
        known = self.cache.metadata(path, entry.version)
        if known is None:
            known = self.stat(path, entry).metadata or Metadata()
        if not entry.is_folder:
            return known
        mark = self.mark(path)
        properties = MappingProxyType({**mark.properties, **known.properties})
        return Metadata(properties, known.facts or {}, mark.attributes)

    def mark(self, folder: str) -> Metadata:
        """Return what the mark of ``folder`` holds, nothing if it has none. Cost: 0 or 1."""
        known = self.cache.mark(folder)
        if known is False:
            return Metadata()
        if isinstance(known, Metadata):
            return known
        try:
            mark = self._store.stat_mark(folder)
        except NotFound:
            self.cache.learn_mark(folder, False)
            return Metadata()
        self.cache.learn_mark(folder, mark)
        return mark

    def known_attributes(self, path: str, entry: Entry) -> Attributes | None:
        """Return the stored attributes of ``path`` if that costs nothing, else ``None``."""
        if self._attrs == "none":
            return _NO_ATTRIBUTES
        if entry.is_folder:
            mark = self.cache.mark(path)
            if mark is False:
                return _NO_ATTRIBUTES
            if isinstance(mark, Metadata):
                return mark.attributes
        else:
            metadata = self.cache.metadata(path, entry.version)
            if metadata is not None:
                return metadata.attributes
        if self._attrs == "auto" and self.cache.mark(paths.parent(path)) is False:
            return _NO_ATTRIBUTES
        return None

    def attributes(self, path: str, entry: Entry) -> Attributes:
        """Return the stored attributes of ``path``, at most the TTL old.

        Raises ``NotFound`` if it is gone. Cost: 0 when known or when the folder it is in has no
        mark, else 1; names asked for in the order of their listing are then asked for ahead.
        """
        known = self.known_attributes(path, entry)
        if known is not None:
            return known
        if path != paths.ROOT:
            self._ahead.asked(path)
        return self._refinements.run(path, lambda: self._ask_attributes(path, entry))

    def base(self, path: str) -> Base | None:
        """Return what is believed to be at ``path``, where anything is. Cost: none."""
        known = self.cache.peek(path)
        return Base(known) if isinstance(known, Entry) else None

    def move_file(self, old: str, new: str, *, overwrite: bool) -> None:
        """Let the store move a file; when nobody could find out whether it did, look once more.

        Files that are open must follow it, or they would be stored under a name of the past.
        """
        try:
            self._store.move_file(old, new, overwrite=overwrite, base=self.base(old))
        except Unavailable:
            try:
                is_moved = self._stat_file(old) is None and self._stat_file(new) is not None
            except StoreError:
                is_moved = False
            if not is_moved:
                self.cache.forget(old)
                self.cache.forget(new)
                raise

    @contextmanager
    def unsure_if_lost(self, *changed: str) -> Iterator[None]:
        """Forget names when nobody could find out whether their change was done."""
        try:
            yield
        except Unavailable:
            for path in changed:
                self.cache.forget(path)
            raise

    def own_metadata(self, path: str, entry: Entry, metadata: Metadata) -> None:
        """Note that this mount has made ``metadata`` the whole of what stands beside ``path``."""
        if not entry.is_folder:
            self.cache.learn_metadata(path, entry.version, metadata)
            return
        own, rest = split_folder_metadata(metadata)
        if entry.implied and path != paths.ROOT:
            self.cache.put(path, replace(entry, metadata=own, implied=False))
        self.cache.learn_metadata(path, entry.version, own)
        if rest.properties or rest.attributes != _NO_ATTRIBUTES or self.cache.mark(path):
            self.cache.put_mark(path, rest)

    def listing(self, folder: str) -> dict[str, Entry]:
        """Return what is in ``folder``, at most the TTL old: base names to entries, the caller's.

        A folder that does not exist lists as empty. Cost: 0 when known, else its pages.
        """
        known = self.cache.listing(folder)
        if known is not None:
            return known
        # A copy, as callers that share the fetch share its result.
        return dict(self._listings.run(folder, lambda: self._list(folder)))

    def read(self, folder: str) -> dict[str, Entry]:
        """Return ``listing``, to a program that may read one folder after the other.

        Cost: as ``listing``; those that it reads next are listed ahead.
        """
        listing = self.listing(folder)
        # After a large one the next may be as large, and cost many requests in vain.
        if folder != paths.ROOT and len(listing) <= _SMALL_FOLDER:
            self._folders_ahead.read(folder)
        return listing

    def fresh_listing(self, folder: str) -> dict[str, Entry]:
        """Return what is in ``folder`` as the store lists it now. Cost: its pages."""
        return dict(self._list(folder))

    def is_empty(self, folder: str) -> bool:
        """Tell whether nothing is in ``folder`` now. Cost: 0 when its listing is known, else 1."""
        known = self.cache.listing(folder)
        if known is None and self.cache.has_own_changes(folder):
            # A page may lag behind them.
            known = self.listing(folder)
        if known is not None:
            return not known
        cursor, marked = "", False
        while True:
            page = self._store.list_page(folder, cursor=cursor)
            marked = marked or page.marked
            if _shown(folder, page):
                return False
            if page.cursor is None:
                self.cache.learn_mark(folder, marked)
                return True
            cursor = page.cursor

    # -- asking the store --------------------------------------------------------------------

    def _names_in_order(self, folder: str) -> list[str] | None:
        listing = self.cache.listing(folder)
        return None if listing is None else sorted(listing)

    def _folders_in(self, folder: str) -> list[Name] | None:
        listing = self.cache.listing(folder)
        if listing is None:
            return None
        return [
            Name(name, inode(paths.join(folder, name)))
            for name, entry in sorted(listing.items())
            if entry.is_folder
        ]

    def _list_ahead(self, folder: str) -> None:
        if not isinstance(self.cache.peek(folder), Entry):
            return  # removed by now, or nobody has come for it in time
        try:
            self.listing(folder)
        except CosfsError as error:
            # Whoever really reads this folder asks again and is told.
            log.debug("listing %s ahead failed: %s", folder, error)

    def _refine(self, path: str) -> None:
        entry = self.find(path)
        if entry is not None and self.known_attributes(path, entry) is None:
            self._refinements.run(path, lambda: self._ask_attributes(path, entry))

    def _ask_attributes(self, path: str, entry: Entry) -> Attributes:
        known = self.known_attributes(path, entry)
        if known is not None:  # somebody asked just before
            return known
        if entry.is_folder:
            return self.mark(path).attributes
        fresh = self.stat(path, entry).metadata
        return fresh.attributes if fresh is not None else _NO_ATTRIBUTES

    def _ask(self, path: str) -> Entry | None:
        folder, name = paths.split(path)
        asked, pages = self.cache.note_unknown(folder)
        if pages > 1 and 2 * asked > pages:
            return self.listing(folder).get(name)
        if pages == 1 and asked == 2:
            found = self._ask_first_page(folder, name)
            if not isinstance(found, Unknown):
                return found
        generation = self.cache.generation()
        stat = self._executor.submit(self._stat_file, path)
        try:
            page = self._store.list_page(folder, prefix=name)
        finally:
            # Always waited for: an error of either must not leave the other running unseen.
            stat_error = interrupts.exception(stat)
        if stat_error is not None:
            raise stat_error
        listed = page.entries.get(name)
        found = stat.result()
        if listed is not None and listed.is_folder:
            found = listed
        mine = self.cache.own_change(path)
        contradicts = not isinstance(mine, Unknown) and names_folder(mine) != names_folder(found)
        if contradicts or found is None and page.cursor is not None:
            # The page may lag behind an own change, or end before the folder's place.
            found = self._find_folder(path) or stat.result()
        return self.cache.learn(path, found, generation)

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
        """Look for a folder that its parent's listing does not tell of."""
        return _or_none(lambda: self._store.stat_folder(path)) or self._find_implied(path)

    def _find_implied(self, path: str) -> Entry | None:
        if self.is_empty(path):
            return None
        return Entry(Kind.FOLDER, implied=True, metadata=Metadata())

    def _ask_first_page(self, folder: str, name: str) -> Entry | Unknown | None:
        """List a folder in which names are looked up one after the other."""
        generation = self.cache.generation()
        page = self._store.list_page(folder)
        if page.cursor is None:
            entries = _shown(folder, page)
            return self._learn_listing(folder, entries, generation, page.marked).get(name)
        for other, entry in _shown(folder, page).items():
            one = paths.join(folder, other)
            if isinstance(self.cache.own_change(one), Unknown):
                self.cache.learn(one, entry, generation)
        return self.cache.lookup(paths.join(folder, name))

    def _list(self, folder: str) -> dict[str, Entry]:
        generation = self.cache.generation()
        entries: dict[str, Entry] = {}
        cursor, marked, pages = "", False, 0
        while True:
            page = self._store.list_page(folder, cursor=cursor)
            marked, pages = marked or page.marked, pages + 1
            for name, entry in _shown(folder, page).items():
                # `a` and `a/` may stand on different pages: the folder is shown.
                if entry.is_folder or name not in entries:
                    entries[name] = entry
            if page.cursor is None:
                return self._learn_listing(folder, entries, generation, marked, pages)
            cursor = page.cursor

    def _learn_listing(
        self,
        folder: str,
        entries: dict[str, Entry],
        generation: int,
        marked: bool,
        pages: int = 1,
    ) -> dict[str, Entry]:
        settled: dict[str, Entry | None] = {}
        for path in self.cache.doubts(folder, entries):
            log.debug("listing of %s contradicts an own change of %s: asking", folder, path)
            settled[path] = self._stat_file(path) or self._find_folder(path)
        return self.cache.learn_listing(
            folder, entries, generation, settled, marked=marked, pages=pages
        )


def split_folder_metadata(metadata: Metadata) -> tuple[Metadata, Metadata]:
    """Return what of a folder's metadata stands with the folder itself, and what in its mark."""
    own = {name: value for name, value in metadata.properties.items() if name == _OWN_PROPERTY}
    rest = {name: value for name, value in metadata.properties.items() if name not in own}
    return (
        Metadata(MappingProxyType(own), metadata.facts),
        Metadata(MappingProxyType(rest), {}, metadata.attributes),
    )


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
