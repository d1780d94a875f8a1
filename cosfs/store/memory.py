"""Owns a complete store in memory, for tests and as their reference; must not know any server.

It has the habits of a server that a file system must live with: real and implied folders, pages
that may be empty, listings that lag, times in whole seconds, a deletion of a folder that keeps
what lies below. The mark of a folder is a name in it like any other but that it is not shown: it
takes a place in listings, and a folder that has nothing else is implied by it.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

from cosfs import paths
from cosfs.clock import Clock, SystemClock
from cosfs.errors import (
    AlreadyExists,
    BadRequest,
    FolderNotEmpty,
    NotFound,
    NotSupported,
    ObjectChanged,
    SameContentExists,
)
from cosfs.model import Base, Entry, Kind, ListPage, Metadata, Scope, Source, Version
from cosfs.store import content, properties, spelling
from cosfs.store.base import ignore
from cosfs.store.memory_objects import (
    MARK,
    Index,
    Object,
    behind,
    decoded,
    encoded,
    file_key,
    folder_key,
    is_mark,
    mark_key,
    path_of,
)
from cosfs.store.names import is_reserved

#: Told the method's name and the path before each call: a test changes the store behind its
#: user's back here.
Hook = Callable[[str, str], None]

_NOTHING = Metadata()


class MemoryStore:
    """A store in memory.

    ``page_size``: names in a page. ``marker_slot``: the marker of a listed folder takes a place on
    the first page though it is not shown. ``listing_lag_s``: a change is listed so much later, by
    ``clock``. ``refuse_full_folders``: ``delete_folder`` checks, instead of keeping the content.

    ``requests`` counts the calls by method, each as one request. ``hook`` is called before each.
    What a hook calls, and what runs in ``unseen()``, is not counted and calls no hook.

    Thread safety: one lock around every change and look; hooks run outside it.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        page_size: int = 1000,
        marker_slot: bool = True,
        listing_lag_s: float = 0.0,
        refuse_full_folders: bool = False,
        hook: Hook | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._page_size = page_size
        self._marker_slot = marker_slot
        self._refuse_full_folders = refuse_full_folders
        self.listing_lag_s = listing_lag_s
        self.hook = hook
        self.requests: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._objects = Index()
        self._listed = Index()  # what listings know
        self._late: deque[tuple[float, bytes, Object | None]] = deque()
        self._unseen = threading.local()
        self._closed = False

    # For tests.

    @contextmanager
    def unseen(self) -> Iterator[MemoryStore]:
        """Let this thread work on the store without being counted: as somebody else would."""
        before = getattr(self._unseen, "on", False)
        self._unseen.on = True
        try:
            yield self
        finally:
            self._unseen.on = before

    def files(self) -> dict[str, bytes]:
        """Return the content of every file by its path."""
        with self._lock:
            return {
                path_of(key): found.data
                for key, found in self._objects.items()
                if not found.entry.is_folder
            }

    def folders(self) -> list[str]:
        """Return the paths of the real folders but the root."""
        with self._lock:
            return [
                path_of(key)
                for key, found in self._objects.items()
                if found.entry.is_folder and not is_mark(key)
            ]

    def marks(self) -> dict[str, Metadata]:
        """Return what the mark of every marked folder holds, by the folder's path."""
        with self._lock:
            return {
                path_of(key[: -len(MARK)]): _metadata_of(found)
                for key, found in self._objects.items()
                if is_mark(key)
            }

    # The store.

    def probe(self) -> None:
        self._begin("probe", paths.ROOT)

    def check_path(self, path: str) -> None:
        folder_key(path)

    def check_folder(self, path: str) -> None:
        mark_key(path)

    def stat_file(self, path: str) -> Entry:
        self._begin("stat_file", path)
        with self._lock:
            return self._look(file_key(path), path).entry

    def stat_folder(self, path: str) -> Entry:
        self._begin("stat_folder", path)
        if path == paths.ROOT:
            return _with_facts(Entry(Kind.FOLDER, metadata=Metadata()))
        with self._lock:
            return self._look(folder_key(path), path).entry

    def stat_mark(self, folder: str) -> Metadata:
        self._begin("stat_mark", folder)
        with self._lock:
            return _metadata_of(self._look(mark_key(folder), folder))

    def mark_folder(
        self, folder: str, holding: Metadata = _NOTHING, *, base: Base | None = None
    ) -> bool:
        key = mark_key(folder)
        _own, other = spelling.split(spelling.held(folder, holding, is_folder=True))
        self._begin("mark_folder", folder)
        with self._lock:
            if self._objects.get(key) is not None:
                return False
            self._put(key, self._new_folder(other))
            return True

    def list_page(self, folder: str, *, prefix: str = "", cursor: str = "") -> ListPage:
        self._begin("list_page", folder)
        base = folder_key(folder)
        begin = base + encoded(prefix)
        entries: dict[str, Entry] = {}
        marked = False
        with self._lock:
            self._catch_up()
            last = encoded(cursor)
            key = self._listed.first_from(behind(last, base), begin)
            for _ in range(self._page_size):
                if key == base and not self._marker_slot:
                    key = self._listed.first_from(behind(key, base), begin)
                if key is None:
                    break
                name, slash, _rest = key[len(base) :].partition(b"/")
                last = base + name + slash
                marked = marked or name + slash == MARK
                if name and not is_reserved(decoded(name), at_root=not base):
                    entries[decoded(name)] = self._listed_entry(last)
                key = self._listed.first_from(behind(last, base), begin)
        cursor_after = None if key is None else decoded(last)
        return ListPage(MappingProxyType(entries), cursor_after, marked)

    def read_range(self, path: str, offset: int, into: memoryview, version: Version) -> None:
        content.check_range(path, offset, len(into), version)
        self._begin("read_range", path)
        with self._lock:
            found = self._look(file_key(path), path)
        if found.entry.version != version:
            raise ObjectChanged("the file is another version now", path=path)
        into[:] = found.data[offset : offset + len(into)]

    def write_file(
        self,
        path: str,
        source: Source,
        *,
        metadata: Metadata,
        create_only: bool = False,
        nonce: str = "",
        staging: Callable[[str], None] = ignore,
        base: Base | None = None,
    ) -> Entry:
        key = file_key(path)
        held = spelling.held(path, metadata)
        self._begin("write_file", path)
        data = b"".join(content.chunks(source))
        now_ns = self._now_ns()
        digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        entry = Entry(
            Kind.FILE, len(data), now_ns, now_ns, digest=digest, metadata=held, nonce=nonce
        )
        with self._lock:
            old = self._objects.get(key)
            if old is not None and create_only:
                same = old.entry.version == entry.version
                raise (SameContentExists if same else AlreadyExists)("it is there", path=path)
            self._put(key, Object(_with_facts(entry), data))
        return entry

    def move_file(
        self, old: str, new: str, *, overwrite: bool, base: Base | None = None
    ) -> None:
        old_key, new_key = file_key(old), file_key(new)
        self._begin("move_file", old)
        with self._lock:
            found = self._look(old_key, old)
            if not overwrite and self._objects.get(new_key) is not None:
                raise AlreadyExists("there is a file of this name", path=new)
            now_ns = self._now_ns()
            entry = replace(found.entry, mtime_ns=now_ns, ctime_ns=now_ns)
            self._put(old_key, None)
            self._put(new_key, Object(_with_facts(entry), found.data))

    def delete_file(self, path: str, *, base: Base | None = None) -> None:
        key = file_key(path)
        self._begin("delete_file", path)
        with self._lock:
            self._look(key, path)
            self._put(key, None)

    def make_folder(
        self, path: str, *, biz_attr: bytes = b"", base: Base | None = None
    ) -> Entry:
        self.check_folder(path)
        key = folder_key(path)
        held = spelling.held(path, Metadata({properties.BIZ_ATTR: biz_attr}), is_folder=True)
        self._begin("make_folder", path)
        made = self._new_folder(held)
        with self._lock:
            if not key or self._objects.get(key) is not None:
                raise AlreadyExists("there is a folder of this name", path=path)
            self._put(key, made)
        return made.entry

    def delete_folder(
        self, path: str, *, marked: bool, holding: Metadata = _NOTHING
    ) -> None:
        key = folder_key(path)
        self._begin("delete_folder", path)
        if not key:
            raise BadRequest("the root cannot be deleted", path=path)
        with self._lock:
            mark = self._objects.get(key + MARK) if marked else None
            if mark is not None:
                self._put(key + MARK, None)
            self._look(key, path)
            if self._refuse_full_folders and self._objects.first_from(key + b"\0", key):
                if mark is not None:
                    self._put(key + MARK, self._new_folder(holding))
                raise FolderNotEmpty("the folder is not empty", path=path)
            self._put(key, None)

    def set_metadata(self, path: str, entry: Entry, metadata: Metadata) -> None:
        held = spelling.held(path, metadata, is_folder=entry.is_folder)
        known = entry.metadata
        if known is not None:
            known = spelling.held(path, known, is_folder=entry.is_folder)
            if (known.properties, known.attributes) == (held.properties, held.attributes):
                return
        if entry.is_folder:
            self._set_folder(path, entry, known, held)
            return
        key = file_key(path)
        self._begin("set_metadata", path)
        with self._lock:
            self._change(key, self._look(key, path), held)

    def check_property(self, path: str, name: str, value: bytes) -> None:
        properties.check(path, name, value)

    def settle(self, path: str, scope: Scope = Scope.NAME) -> None:
        """Nothing is left: every change is made before its call returns."""

    def takes_at_once(self, size: int) -> bool:
        return False

    def close(self) -> None:
        self._closed = True

    # What the methods share.

    def _set_folder(
        self, path: str, entry: Entry, known: Metadata | None, held: Metadata
    ) -> None:
        key = folder_key(path)
        own, other = spelling.split(held)
        own_known, other_known = (None, None) if known is None else spelling.split(known)
        if not key and own != (own_known or _NOTHING):
            raise NotSupported(path, hint="the root has no biz_attr")
        mark = mark_key(path) if other != other_known else None
        self._begin("set_metadata", path)
        with self._lock:
            if key and entry.implied and self._objects.get(key) is None:
                self._put(key, self._new_folder())
            if key and own != own_known:
                self._change(key, self._look(key, path), own)
            if mark is None:
                return
            found = self._objects.get(mark)
            if found is not None or other != _NOTHING:
                # As on a server, nobody looks whether the folder itself is there.
                self._change(mark, found or self._new_folder(), other)

    def _begin(self, method: str, path: str) -> None:
        if self._closed:
            raise RuntimeError("the store is closed")
        if getattr(self._unseen, "on", False):
            return
        with self._lock:
            self.requests[method] += 1
        if self.hook is not None:
            with self.unseen():
                self.hook(method, path)

    def _now_ns(self) -> int:
        return int(self._clock.wall()) * 10**9

    def _new_folder(self, metadata: Metadata = _NOTHING) -> Object:
        now_ns = self._now_ns()
        return Object(_with_facts(Entry(Kind.FOLDER, 0, now_ns, now_ns, metadata=metadata)))

    def _look(self, key: bytes, path: str) -> Object:
        found = self._objects.get(key)
        if found is None:
            raise NotFound("there is no such name", path=path)
        return found

    def _put(self, key: bytes, found: Object | None) -> None:
        self._objects.change(key, found)
        self._late.append((self._clock.monotonic() + self.listing_lag_s, key, found))

    def _change(self, key: bytes, found: Object, metadata: Metadata) -> None:
        self._put(key, replace(found, entry=_with_facts(replace(found.entry, metadata=metadata))))

    def _catch_up(self) -> None:
        now = self._clock.monotonic()
        while self._late and self._late[0][0] <= now:
            _due, key, found = self._late.popleft()
            self._listed.change(key, found)

    def _listed_entry(self, key: bytes) -> Entry:
        found = self._listed.get(key)
        if found is None:
            return Entry(Kind.FOLDER, implied=True)
        return replace(found.entry, metadata=None)


def _metadata_of(found: Object) -> Metadata:
    assert found.entry.metadata is not None
    return found.entry.metadata


def _with_facts(entry: Entry) -> Entry:
    assert entry.metadata is not None
    facts: dict[str, bytes] = {}
    if not entry.is_folder:
        facts["cos.sha"] = entry.digest.encode()
        facts["cos.filelen"] = b"%d" % entry.size
        facts["cos.ctime"] = b"%d" % (entry.ctime_ns // 10**9)
    return replace(entry, metadata=replace(entry.metadata, facts=MappingProxyType(facts)))
