"""Owns what the mount believes about names for the TTL, and every rule of when a belief ends.

Must not know where beliefs come from: nothing here asks a store or waits.

========================  =====================================================================
event                     what changes
========================  =====================================================================
``put`` (own change)      the name's entry, its place in the parent's listing, its overlay;
                          metadata is that of the entry, or unknown
``remove`` (own change)   the same, as a negative entry; its metadata, attributes and listing go
``learn`` (a stat)        the name's entry and place, unless an own change came in between
``learn_listing``         the folder's listing, with own changes laid over it
``forget``                all of the name, and the parent's listing
``forget_tree``           the same for all names below; replies under way are not believed
========================  =====================================================================
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from typing import Any, Final

from cachetools import TTLCache

from cosfs import paths
from cosfs.clock import Clock
from cosfs.config import CacheOptions
from cosfs.model import Attributes, Entry, Metadata, Version
from cosfs.vfs.overlay import Change, Overlay


class Unknown:
    """The type of ``UNKNOWN``: nothing is believed about the name."""


UNKNOWN: Final = Unknown()

_NO_ATTRIBUTES: Final = Attributes()


class Listing:
    """A complete listing of one folder: only ``learn_listing`` and an own ``mkdir`` make one."""

    __slots__ = ("entries",)

    def __init__(self, entries: dict[str, Entry]) -> None:
        self.entries = entries


class MetaCache:
    """See the module's text.

    Thread safety: any method from any thread; one lock, never held while anything else is done.
    """

    def __init__(self, options: CacheOptions, clock: Clock) -> None:
        # What the kernel may keep on top of us (fuse timeouts) is taken off, so that a view is
        # never older than the TTL.
        self.kernel_ttl_s = min(1.0, options.ttl_s / 10)
        self._ttl = max(0.0, options.ttl_s - self.kernel_ttl_s)
        self._clock = clock
        self._lock = threading.Lock()
        timer = clock.monotonic
        names, ttl = options.max_entries, self._ttl
        self._entries: TTLCache[str, Entry | None] = TTLCache(names, ttl, timer)
        self._listings: TTLCache[str, Listing] = TTLCache(
            names, ttl, timer, getsizeof=lambda listing: 1 + len(listing.entries)
        )
        self._metadata: TTLCache[str, tuple[Version, Metadata]] = TTLCache(names, ttl, timer)
        self._attributes: TTLCache[str, tuple[Version | None, Attributes]] = TTLCache(
            names, max(ttl, 1.0), timer
        )
        self._asked: TTLCache[str, int] = TTLCache(names, ttl, timer)
        self._own = Overlay(clock, names)

    # -- what is believed ------------------------------------------------------------------

    def lookup(self, path: str) -> Entry | Unknown | None:
        """Return the entry of ``path``, ``None`` if it is believed absent, or ``UNKNOWN``."""
        parent, name = paths.split(path)
        with self._lock:
            listing = self._listings.get(parent)
            if listing is not None and name:
                return listing.entries.get(name)
            return self._entries.get(path, UNKNOWN)

    def listing(self, folder: str) -> dict[str, Entry] | None:
        """Return a snapshot of the complete listing of ``folder``, or ``None``."""
        with self._lock:
            listing = self._listings.get(folder)
            return None if listing is None else dict(listing.entries)

    def is_known_empty(self, folder: str) -> bool:
        """Tell whether a complete listing says that nothing is in ``folder``."""
        with self._lock:
            listing = self._listings.get(folder)
            return listing is not None and not listing.entries

    def metadata(self, path: str, version: Version) -> Metadata | None:
        """Return the metadata of ``path`` if it is known for exactly this ``version``."""
        with self._lock:
            known = self._metadata.get(path)
        return known[1] if known is not None and known[0] == version else None

    def attributes(self, path: str, version: Version | None) -> Attributes:
        """Return the attributes that programs set on ``path``.

        Times are those of one ``version`` (``None`` for a folder) and gone with it.
        """
        with self._lock:
            known = self._attributes.get(path)
        if known is None:
            return _NO_ATTRIBUTES
        if known[0] != version:
            return replace(known[1], mtime_ns=None, atime_ns=None)
        return known[1]

    # -- replies ---------------------------------------------------------------------------

    def generation(self) -> int:
        """Return the mark to hand to ``learn`` or ``learn_listing``: read it before asking."""
        with self._lock:
            return self._own.number

    def note_unknown(self, folder: str) -> int:
        """Count a lookup in ``folder`` that had to ask; return how many there were in the TTL."""
        with self._lock:
            count = self._asked.get(folder, 0) + 1
            self._asked[folder] = count
            return count

    def learn(self, path: str, entry: Entry | None, generation: int) -> Entry | None:
        """Believe a reply about one name; return what is true now.

        That is ``entry``, or what an own change made of the name since ``generation``.
        """
        with self._lock:
            change = self._own.get(path)
            if change is not None and change.number > generation:
                return change.entry
            if generation < self._own.floor:
                return entry
            self._own.correct(path, entry)
            self._place(path, entry)
            if entry is not None and entry.metadata is not None:
                self._metadata[path] = (entry.version, entry.metadata)
            return entry

    def doubts(self, folder: str, entries: Mapping[str, Entry]) -> list[str]:
        """Return the paths in ``folder`` where a fetched listing contradicts an own change.

        Only those whose own change is older than the TTL: it may be the listing that lags, or
        somebody else changed the name since, and only a stat can tell. Younger changes win.
        """
        with self._lock:
            now = self._clock.monotonic()
            return [
                paths.join(folder, name)
                for name, change in self._own.in_folder(folder)
                if now - change.at >= self._ttl and _differs(change.entry, entries.get(name))
            ]

    def learn_listing(
        self,
        folder: str,
        entries: dict[str, Entry],
        generation: int,
        settled: Mapping[str, Entry | None],
    ) -> dict[str, Entry]:
        """Believe a complete listing; return a snapshot of what is true now.

        ``settled`` holds what stats said of the ``doubts``. Own changes are laid over the rest.
        """
        with self._lock:
            for name, change in self._own.in_folder(folder):
                truth = _truth(change, entries.get(name), generation)
                path = paths.join(folder, name)
                if path in settled and change.number <= generation:
                    truth = settled[path]
                if truth is None:
                    entries.pop(name, None)
                else:
                    entries[name] = truth
            if generation >= self._own.floor and len(entries) < self._listings.maxsize:
                self._listings[folder] = Listing(entries)
                return dict(entries)
            return entries

    # -- own changes -----------------------------------------------------------------------

    def put(self, path: str, entry: Entry) -> None:
        """Note that this mount made ``path`` what ``entry`` says."""
        with self._lock:
            self._own.note(path, entry)
            self._place(path, entry)
            if entry.metadata is not None:
                self._metadata[path] = (entry.version, entry.metadata)
            else:
                self._metadata.pop(path, None)

    def put_new_folder(self, path: str, entry: Entry) -> None:
        """Note that this mount made an empty folder: its listing is known from now on."""
        self.put(path, entry)
        with self._lock:
            self._listings[path] = Listing({})

    def remove(self, path: str) -> None:
        """Note that this mount removed ``path``."""
        with self._lock:
            self._own.note(path, None)
            self._place(path, None)
            for beliefs in (self._metadata, self._attributes, self._listings):
                beliefs.pop(path, None)

    def set_attributes(self, path: str, version: Version | None, new: Attributes) -> None:
        """Merge attributes that a program set; fields that are ``None`` stay as they are."""
        with self._lock:
            old_version, old = self._attributes.get(path, (version, _NO_ATTRIBUTES))
            if old_version != version:
                old = replace(old, mtime_ns=None, atime_ns=None)
            self._attributes[path] = (version, _merged(old, new))

    def move_attributes(self, old: str, new: str) -> None:
        """Let the attributes of ``old`` follow a rename."""
        with self._lock:
            self._attributes.pop(new, None)
            if old in self._attributes:
                self._attributes[new] = self._attributes.pop(old)

    # -- the end of beliefs ----------------------------------------------------------------

    def forget(self, path: str) -> None:
        """Drop what is believed of one name: the next lookup asks."""
        with self._lock:
            self._own.drop(path)
            for beliefs in (self._entries, self._metadata, self._listings):
                beliefs.pop(path, None)
            self._listings.pop(paths.parent(path), None)

    def forget_tree(self, folder: str) -> None:
        """Drop what is believed of ``folder`` and of everything below it."""
        self.forget(folder)
        tree: list[MutableMapping[str, Any]] = [
            self._entries,
            self._metadata,
            self._listings,
            self._attributes,
        ]
        with self._lock:
            self._own.drop_below(folder)
            for beliefs in tree:
                for path in [path for path in beliefs if paths.is_inside(path, folder)]:
                    beliefs.pop(path, None)

    # -- inside, under the lock ------------------------------------------------------------

    def _place(self, path: str, entry: Entry | None) -> None:
        parent, name = paths.split(path)
        listing = self._listings.get(parent)
        if listing is None or not name:
            self._entries[path] = entry
        elif entry is None:
            listing.entries.pop(name, None)
        else:
            listing.entries[name] = entry


def _truth(change: Change, listed: Entry | None, generation: int) -> Entry | None:
    """Return what a name is, given an own change and what a listing says."""
    if change.number > generation or _differs(change.entry, listed):
        return change.entry
    return listed


def _merged(old: Attributes, new: Attributes) -> Attributes:
    names = ("mode", "uid", "gid", "mtime_ns", "atime_ns")
    given = {name: getattr(new, name) for name in names}
    return replace(old, **{name: value for name, value in given.items() if value is not None})


def _differs(mine: Entry | None, listed: Entry | None) -> bool:
    if mine is None or listed is None:
        return mine is not listed
    return mine.kind is not listed.kind or (not mine.is_folder and mine.version != listed.version)
