"""Owns what the mount believes about names for the TTL, and every rule of when a belief ends.

Must not know where beliefs come from: nothing here asks a store or waits.

========================  =====================================================================
event                     what changes
========================  =====================================================================
``put`` (own change)      the name's entry, its place in the parent's listing, its overlay;
                          metadata is that of the entry, or unknown
``remove`` (own change)   the same, as a negative entry; its metadata, times, mark, listing go
``learn`` (a stat)        the name's entry and place, unless an own change came in between
``learn_listing``         the folder's listing with own changes laid over it, and its mark
``learn_mark``            whether a folder is marked, and what its mark holds
``put_mark`` (own change) the same; no listing that lags says that it is not
``forget``                all of the name, and the parent's listing; replies under way are not
                          believed; own changes are doubted, times stay
``refresh``               the same for all names below; and names above it go that are not known
                          to be there
========================  =====================================================================

Beside these beliefs stand the **times** that this mount has shown for a version of an object. They
do not expire: as long as content is what this mount stored or saw, its times stay what they were.
A folder's stay until another time is stored for it.
Nor does the number of **subfolders** that a folder was last seen with, which own changes move.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, NamedTuple

from cachetools import LRUCache

from cosfs import paths
from cosfs.clock import Clock
from cosfs.config import CacheOptions
from cosfs.model import Entry, Metadata, Version, names_folder
from cosfs.vfs.beliefs import Beliefs, Listing
from cosfs.vfs.overlay import OVERLAY_S, Overlay, differs, truth
from cosfs.vfs.types import CacheUsage


class Unknown:
    """The type of ``UNKNOWN``: nothing is believed about the name."""


UNKNOWN: Final = Unknown()


class Times(NamedTuple):
    """Times that are known on this mount alone, Unix nanoseconds; ``None``: not known."""

    mtime_ns: int | None = None
    atime_ns: int | None = None
    ctime_ns: int | None = None


_NO_TIMES: Final = Times()

#: Folders of which it is remembered how large they are.
_LARGE_FOLDERS: Final = 1000


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
        self._entries: Beliefs[str, tuple[Entry | None, float]] = Beliefs(names, ttl, timer)
        self._listings: Beliefs[str, Listing] = Beliefs(
            names, ttl, timer, getsizeof=lambda listing: 1 + len(listing.entries)
        )
        self._metadata: Beliefs[str, tuple[Version, Metadata, float]] = Beliefs(
            names, ttl, timer
        )
        #: True: marked; False: not; metadata: marked, and that is what the mark holds.
        self._marks: Beliefs[str, Metadata | bool] = Beliefs(names, ttl, timer)
        self._times: LRUCache[str, tuple[Version | None, Times]] = LRUCache(names)
        self._subfolders: LRUCache[str, int] = LRUCache(names)
        #: By folder: the stored time over which this mount shows its own.
        self._overruled: LRUCache[str, int | None] = LRUCache(names)
        self._asked: Beliefs[str, int] = Beliefs(names, ttl, timer)
        #: Of folders of several pages: how many they had when they were listed last.
        self._pages: LRUCache[str, int] = LRUCache(_LARGE_FOLDERS)
        self._own = Overlay(clock, names)
        #: Folders that this mount has marked of late: a listing may lag behind it.
        self._own_marks: Beliefs[str, None] = Beliefs(names, OVERLAY_S, timer)
        self._hits = self._misses = 0

    # -- what is believed ------------------------------------------------------------------

    def lookup(self, path: str) -> Entry | Unknown | None:
        """Return the entry of ``path``, ``None`` if it is believed absent, or ``UNKNOWN``."""
        with self._lock:
            known = self._lookup(path)
            self._count(isinstance(known, Unknown))
            return known

    def peek(self, path: str) -> Entry | Unknown | None:
        """Return what ``lookup`` does, for whom that is no question of a program."""
        with self._lock:
            return self._lookup(path)

    def listing(self, folder: str) -> dict[str, Entry] | None:
        """Return a snapshot of the complete listing of ``folder``, or ``None``."""
        with self._lock:
            listing = self._listing(folder)
            self._count(listing is None)
            return None if listing is None else dict(listing.entries)

    def is_known_empty(self, folder: str) -> bool:
        """Tell whether a complete listing says that nothing is in ``folder``."""
        with self._lock:
            listing = self._listing(folder)
            return listing is not None and not listing.entries

    def own_change(self, path: str) -> Entry | Unknown | None:
        """Return what this mount has made of ``path`` of late, ``None`` if it has removed it."""
        with self._lock:
            change = self._own.get(path)
        return UNKNOWN if change is None else change.entry

    def has_own_changes(self, folder: str) -> bool:
        """Tell whether this mount has made or removed names in ``folder`` of late."""
        with self._lock:
            return bool(self._own.in_folder(folder))

    def metadata(self, path: str, version: Version) -> Metadata | None:
        """Return the metadata of ``path`` if it is known for exactly this ``version``."""
        with self._lock:
            known = self._known_metadata(path, version)
        return None if known is None else known[0]

    def believed_until(self, path: str, version: Version) -> float:
        """Return until when what is known of ``path`` is believed (monotonic seconds).

        A name that is moved is believed no longer than before: pass it on to ``put``.
        """
        with self._lock:
            parent, name = paths.split(path)
            listing = self._listing(parent)
            if listing is not None and name:
                until = listing.until
            else:
                _, until = self._entries.get(path, (None, self._fresh()))
            known = self._known_metadata(path, version)
            return until if known is None else min(until, known[1])

    def mark(self, folder: str) -> Metadata | bool | None:
        """Return whether ``folder`` is marked, what its mark holds if known, or ``None``."""
        with self._lock:
            return self._marks.get(folder)

    def times(self, path: str, version: Version | None) -> Times:
        """Return the times of ``version`` (``None``: a folder) that this mount has shown."""
        with self._lock:
            known = self._times.get(path)
        return known[1] if known is not None and known[0] == version else _NO_TIMES

    def subfolders(self, folder: str) -> int:
        """Return how many folders there are in ``folder``, as far as is known without a request."""
        with self._lock:
            return self._subfolders.get(folder, 0)

    def folder_times(self, path: str, stored_ns: int | None) -> Times:
        """Return the times of a folder that this mount has shown, given what is ``stored_ns``.

        Once that changes, somebody has set it since: the time of here is forgotten.
        """
        with self._lock:
            version, times = self._times.get(path, (None, _NO_TIMES))
            if version is not None or times.mtime_ns is None:
                self._overruled.pop(path, None)
                return _NO_TIMES if version is not None else times
            if self._overruled.setdefault(path, stored_ns) != stored_ns:
                times = times._replace(mtime_ns=None)
                self._times[path] = None, times
                del self._overruled[path]
            return times

    def usage(self) -> CacheUsage:
        """Return what is believed, and how often that answered."""
        with self._lock:
            listings = list(self._listings.values())
            listed = sum(len(listing.entries) for listing in listings)
            return CacheUsage(
                names=listed + len(self._entries),
                listings=len(listings),
                listed=listed,
                bytes=sum(listing.bytes for listing in listings),
                hits=self._hits,
                misses=self._misses,
            )

    # -- replies ---------------------------------------------------------------------------

    def generation(self) -> int:
        """Return the mark to hand to ``learn`` or ``learn_listing``: read it before asking."""
        with self._lock:
            return self._own.number

    def note_unknown(self, folder: str) -> tuple[int, int]:
        """Count a lookup in ``folder`` that had to ask.

        Returns how many there were, since the folder was listed and with less than a TTL between
        them, and how many pages it had when it was listed last (1 if that is not known).
        """
        with self._lock:
            count = self._asked.get(folder, 0) + 1
            self._asked[folder] = count
            return count, self._pages.get(folder, 1)

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
            self._count_folder(path, self._lookup(path), entry)
            self._place(path, entry)
            if entry is not None and entry.metadata is not None:
                self._metadata[path] = (entry.version, entry.metadata, self._fresh())
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
                if now >= min(change.at + self._ttl, change.until)
                and differs(change.entry, entries.get(name))
            ]

    def learn_listing(
        self,
        folder: str,
        entries: dict[str, Entry],
        generation: int,
        settled: Mapping[str, Entry | None],
        *,
        marked: bool = False,
        pages: int = 1,
    ) -> dict[str, Entry]:
        """Believe a complete listing; return a snapshot of what is true now.

        ``settled`` holds what stats said of the ``doubts``. Own changes are laid over the rest; a
        listing that contradicts one is not kept, as it may be somebody else who is right.
        """
        with self._lock:
            contradicts = False
            for name, change in self._own.in_folder(folder):
                listed = entries.get(name)
                true_now = truth(change, listed, generation)
                path = paths.join(folder, name)
                if change.number <= generation and path in settled:
                    true_now = settled[path]
                elif change.number <= generation and differs(change.entry, listed):
                    contradicts = True
                if true_now is None:
                    entries.pop(name, None)
                else:
                    entries[name] = true_now
            self._learn_mark(folder, marked)
            self._asked.pop(folder, None)
            if pages > 1:
                self._pages[folder] = pages
            else:
                self._pages.pop(folder, None)
            self._subfolders[folder] = sum(entry.is_folder for entry in entries.values())
            is_believed = generation >= self._own.floor and not contradicts
            if is_believed and len(entries) < self._listings.maxsize:
                self._listings[folder] = Listing(entries, self._fresh())
                return dict(entries)
            return entries

    def learn_metadata(self, path: str, version: Version, metadata: Metadata) -> None:
        """Believe what this mount has made of an object's metadata; its content may be older."""
        with self._lock:
            self._metadata[path] = (version, metadata, self._fresh())

    # -- own changes -----------------------------------------------------------------------

    def put(
        self,
        path: str,
        entry: Entry,
        until: float | None = None,
        was: Entry | None = None,
    ) -> None:
        """Note that this mount made ``path`` what ``entry`` says, or moved there what was so.

        What is moved is believed ``until`` then. It was ``was``, should that be forgotten.
        """
        with self._lock:
            until = self._fresh() if until is None else until
            known = self._last_known(path)
            self._count_folder(path, was if isinstance(known, Unknown) else known, entry)
            self._own.note(path, entry, until)
            self._place(path, entry, until)
            if entry.metadata is not None:
                self._metadata[path] = (entry.version, entry.metadata, until)
            else:
                self._metadata.pop(path, None)

    def put_new_folder(self, path: str, entry: Entry) -> None:
        """Note that this mount made an empty folder: its listing is known from now on."""
        self.put(path, entry)
        with self._lock:
            self._listings[path] = Listing({}, self._fresh())
            self._subfolders[path] = 0
            self._marks[path] = False

    def remove(self, path: str, was: Entry | None = None) -> None:
        """Note that this mount removed ``path``; it was ``was``, should that be forgotten."""
        with self._lock:
            self._count_folder(path, was or self._last_known(path), None)
            self._own.note(path, None, self._fresh())
            self._place(path, None)
            for beliefs in (
                self._metadata, self._times, self._overruled, self._listings, self._marks
            ):  # fmt: skip
                beliefs.pop(path, None)
            self._own_marks.pop(path, None)
            self._subfolders.pop(path, None)

    def learn_mark(self, folder: str, mark: Metadata | bool) -> None:
        """Believe a reply about a folder's mark."""
        with self._lock:
            self._learn_mark(folder, mark)

    def put_mark(self, folder: str, mark: Metadata | bool) -> None:
        """Note that this mount has marked ``folder``, or found that it is."""
        with self._lock:
            self._own_marks[folder] = None
            self._learn_mark(folder, mark)

    def set_times(self, path: str, version: Version | None, times: Times) -> None:
        """Remember the times of a version; those that are ``None`` stay as they are."""
        with self._lock:
            known = self._times.get(path)
            old = known[1] if known is not None and known[0] == version else _NO_TIMES
            merged = (was if new is None else new for was, new in zip(old, times, strict=True))
            self._times[path] = version, Times(*merged)

    def set_subfolders(self, folder: str, count: int) -> None:
        """Note how many folders are in ``folder``."""
        with self._lock:
            self._subfolders[folder] = count

    def move_times(self, old: str, new: str) -> None:
        """Let the times of ``old`` follow a rename."""
        with self._lock:
            self._times.pop(new, None)
            if old in self._times:
                self._times[new] = self._times.pop(old)

    # -- the end of beliefs ----------------------------------------------------------------

    def forget(self, path: str, was: Entry | None = None) -> None:
        """Drop what is believed of one name: the next lookup asks.

        If it ``was`` a folder, it is no more counted as one until the next listing. An own change
        of it is not forgotten, as a listing may lag behind it, but doubted.
        """
        with self._lock:
            self._count_folder(path, was, None)
            self._own.doubt(path, self._clock.monotonic() - self._ttl - 1)
            self._drop(path)

    def refresh(self, path: str) -> None:
        """Let what is at ``path`` and below it be asked for anew, and whether it is there at all.

        Own changes are doubted only, as by ``forget``.
        """
        with self._lock:
            self._own.doubt_below(path, self._clock.monotonic() - self._ttl - 1)
            self._drop(path)
            self._drop_below(path)
            for above in paths.ancestors(path):
                if not isinstance(self._lookup(above), Entry):
                    self._drop(above)

    # -- inside, under the lock ------------------------------------------------------------

    def _drop(self, path: str) -> None:
        for beliefs in self._beliefs():
            beliefs.pop(path, None)
        self._listings.pop(paths.parent(path), None)

    def _drop_below(self, folder: str) -> None:
        for beliefs in self._beliefs():
            for path in [path for path in beliefs if paths.is_inside(path, folder)]:
                beliefs.pop(path, None)

    def _beliefs(self) -> tuple[MutableMapping[str, Any], ...]:
        return self._entries, self._metadata, self._listings, self._marks

    def _count(self, is_miss: bool) -> None:
        if is_miss:
            self._misses += 1
        else:
            self._hits += 1

    def _fresh(self) -> float:
        """Return until when something is believed that is learnt now."""
        return self._clock.monotonic() + self._ttl

    def _listing(self, folder: str) -> Listing | None:
        listing = self._listings.get(folder)
        if listing is not None and self._clock.monotonic() >= listing.until:
            self._listings.pop(folder, None)  # may just have ended by itself
            return None
        return listing

    def _known_metadata(self, path: str, version: Version) -> tuple[Metadata, float] | None:
        of, metadata, until = self._metadata.get(path, (None, None, 0.0))
        if metadata is None or of != version or self._clock.monotonic() >= until:
            return None
        return metadata, until

    def _lookup(self, path: str) -> Entry | Unknown | None:
        parent, name = paths.split(path)
        listing = self._listing(parent)
        if listing is not None and name:
            return listing.entries.get(name)
        known = self._entries.get(path)
        if known is None or self._clock.monotonic() >= known[1]:
            return UNKNOWN
        return known[0]

    def _last_known(self, path: str) -> Entry | Unknown | None:
        """Return what is believed of ``path``, or what an own change made of it of late."""
        known = self._lookup(path)
        change = self._own.get(path) if isinstance(known, Unknown) else None
        return known if change is None else change.entry

    def _count_folder(self, path: str, was: Entry | Unknown | None, now: Entry | None) -> None:
        if isinstance(was, Unknown) or names_folder(was) == names_folder(now):
            return
        parent, name = paths.split(path)
        if name:
            count = self._subfolders.get(parent, 0) + (1 if names_folder(now) else -1)
            self._subfolders[parent] = max(0, count)

    def _learn_mark(self, folder: str, mark: Metadata | bool) -> None:
        # A mark goes only with its folder, while a listing may lag behind the making of it; and a
        # listing does not know what a mark holds.
        if not isinstance(mark, Metadata) and self._marks.get(folder, False) is not False:
            return
        self._marks[folder] = mark or folder in self._own_marks

    def _place(self, path: str, entry: Entry | None, until: float | None = None) -> None:
        until = self._fresh() if until is None else until
        parent, name = paths.split(path)
        listing = self._listing(parent)
        if listing is None or not name:
            self._entries[path] = entry, until
            return
        listing.until = min(listing.until, until)
        # What was believed before must not come back with the end of the listing.
        self._entries.pop(path, None)
        listing.place(name, entry)
