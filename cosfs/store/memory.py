"""Owns a complete store in memory, for tests and as their reference; must not know any server.

It has the habits of a server that a file system must live with: real and implied folders, pages
that may be empty, listings that lag, times in whole seconds, a deletion of a folder that keeps
what lies below.
"""

from __future__ import annotations

import bisect
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType

from cosfs import paths
from cosfs.clock import Clock, SystemClock
from cosfs.errors import (
    AlreadyExists,
    BadRequest,
    FolderNotEmpty,
    InvalidName,
    NameTooLong,
    NotFound,
    NotSupported,
    ObjectChanged,
    SameContentExists,
)
from cosfs.model import Entry, Kind, ListPage, Metadata, Source, Version
from cosfs.store import content, properties
from cosfs.store.names import KEY_MAX, is_reserved

#: Told the method's name and the path before each call: a test changes the store behind its
#: user's back here.
Hook = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class _Object:
    """A file, or the marker of a folder; its entry carries the metadata."""

    entry: Entry
    data: bytes = b""


class _Index:
    """Objects by key in the order of their bytes. Its user locks."""

    def __init__(self) -> None:
        self._keys: list[bytes] = []
        self._objects: dict[bytes, _Object] = {}

    def change(self, key: bytes, found: _Object | None) -> None:
        known = key in self._objects
        if found is not None:
            self._objects[key] = found
            if not known:
                bisect.insort(self._keys, key)
        elif known:
            del self._objects[key]
            del self._keys[bisect.bisect_left(self._keys, key)]

    def get(self, key: bytes) -> _Object | None:
        return self._objects.get(key)

    def first_from(self, key: bytes, prefix: bytes) -> bytes | None:
        """Return the first key that begins with ``prefix`` and is not before ``key``."""
        position = bisect.bisect_left(self._keys, max(key, prefix))
        if position < len(self._keys) and self._keys[position].startswith(prefix):
            return self._keys[position]
        return None

    def items(self) -> Iterator[tuple[bytes, _Object]]:
        return ((key, self._objects[key]) for key in self._keys)


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
        self._objects = _Index()
        self._listed = _Index()  # what listings know
        self._late: deque[tuple[float, bytes, _Object | None]] = deque()
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
                _path(key): found.data
                for key, found in self._objects.items()
                if not found.entry.is_folder
            }

    def folders(self) -> list[str]:
        """Return the paths of the real folders but the root."""
        with self._lock:
            return [_path(key) for key, found in self._objects.items() if found.entry.is_folder]

    # The store.

    def probe(self) -> None:
        self._begin("probe", paths.ROOT)

    def check_path(self, path: str) -> None:
        _folder_key(path)

    def stat_file(self, path: str) -> Entry:
        self._begin("stat_file", path)
        with self._lock:
            return self._look(_key(path), path).entry

    def stat_folder(self, path: str) -> Entry:
        self._begin("stat_folder", path)
        if path == paths.ROOT:
            return _with_facts(Entry(Kind.FOLDER, metadata=Metadata()))
        with self._lock:
            return self._look(_folder_key(path), path).entry

    def list_page(self, folder: str, *, prefix: str = "", cursor: str = "") -> ListPage:
        self._begin("list_page", folder)
        base = _folder_key(folder)
        begin = base + _encoded(prefix)
        entries: dict[str, Entry] = {}
        with self._lock:
            self._catch_up()
            last = _encoded(cursor)
            key = self._listed.first_from(_behind(last, base), begin)
            for _ in range(self._page_size):
                if key == base and not self._marker_slot:
                    key = self._listed.first_from(_behind(key, base), begin)
                if key is None:
                    break
                name, slash, _rest = key[len(base) :].partition(b"/")
                last = base + name + slash
                if name and not is_reserved(_decoded(name), at_root=not base):
                    entries[_decoded(name)] = self._listed_entry(last)
                key = self._listed.first_from(_behind(last, base), begin)
        return ListPage(MappingProxyType(entries), None if key is None else _decoded(last))

    def read_range(self, path: str, offset: int, into: memoryview, version: Version) -> None:
        content.check_range(path, offset, len(into), version)
        self._begin("read_range", path)
        with self._lock:
            found = self._look(_key(path), path)
        if found.entry.version != version:
            raise ObjectChanged("the file is another version now", path=path)
        into[:] = found.data[offset : offset + len(into)]

    def write_file(
        self, path: str, source: Source, *, metadata: Metadata, create_only: bool = False
    ) -> Entry:
        key = _key(path)
        held = _held(path, metadata)
        self._begin("write_file", path)
        data = b"".join(content.chunks(source))
        now_ns = self._now_ns()
        entry = Entry(
            Kind.FILE, len(data), now_ns, now_ns, digest=content.digest_of(source), metadata=held
        )
        with self._lock:
            old = self._objects.get(key)
            if old is not None and create_only:
                same = old.entry.version == entry.version
                raise (SameContentExists if same else AlreadyExists)("it is there", path=path)
            self._put(key, _Object(_with_facts(entry), data))
        return entry

    def move_file(self, old: str, new: str, *, overwrite: bool) -> None:
        old_key, new_key = _key(old), _key(new)
        self._begin("move_file", old)
        with self._lock:
            found = self._look(old_key, old)
            if not overwrite and self._objects.get(new_key) is not None:
                raise AlreadyExists("there is a file of this name", path=new)
            now_ns = self._now_ns()
            entry = replace(found.entry, mtime_ns=now_ns, ctime_ns=now_ns)
            self._put(old_key, None)
            self._put(new_key, _Object(_with_facts(entry), found.data))

    def delete_file(self, path: str) -> None:
        key = _key(path)
        self._begin("delete_file", path)
        with self._lock:
            self._look(key, path)
            self._put(key, None)

    def make_folder(self, path: str) -> Entry:
        key = _folder_key(path)
        self._begin("make_folder", path)
        now_ns = self._now_ns()
        entry = _with_facts(Entry(Kind.FOLDER, 0, now_ns, now_ns, metadata=Metadata()))
        with self._lock:
            if not key or self._objects.get(key) is not None:
                raise AlreadyExists("there is a folder of this name", path=path)
            self._put(key, _Object(entry))
        return entry

    def delete_folder(self, path: str) -> None:
        key = _folder_key(path)
        self._begin("delete_folder", path)
        if not key:
            raise BadRequest("the root cannot be deleted", path=path)
        with self._lock:
            self._look(key, path)
            if self._refuse_full_folders and self._objects.first_from(key + b"\0", key):
                raise FolderNotEmpty("the folder is not empty", path=path)
            self._put(key, None)

    def set_metadata(self, path: str, entry: Entry, metadata: Metadata) -> None:
        key = _folder_key(path) if entry.is_folder else _key(path)
        held = _held(path, metadata)
        if path == paths.ROOT:
            raise NotSupported(path, hint="the root has no metadata")
        if entry.metadata is not None and entry.metadata.properties == held.properties:
            return
        self._begin("set_metadata", path)
        now_ns = self._now_ns()
        with self._lock:
            if entry.implied and self._objects.get(key) is None:
                self._put(key, _Object(Entry(Kind.FOLDER, 0, now_ns, now_ns)))
            found = self._look(key, path)
            changed = replace(found.entry, metadata=held)
            self._put(key, replace(found, entry=_with_facts(changed)))

    def check_property(self, path: str, name: str, value: bytes) -> None:
        properties.check(path, name, value)

    def close(self) -> None:
        self._closed = True

    # What the methods share.

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

    def _look(self, key: bytes, path: str) -> _Object:
        found = self._objects.get(key)
        if found is None:
            raise NotFound("there is no such name", path=path)
        return found

    def _put(self, key: bytes, found: _Object | None) -> None:
        self._objects.change(key, found)
        self._late.append((self._clock.monotonic() + self.listing_lag_s, key, found))

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


def _held(path: str, metadata: Metadata) -> Metadata:
    """Return what is left of ``metadata`` on a server. Raises ``AttributesTooLarge``."""
    spelling = properties.spell(path, metadata.properties)
    properties.check_size(path, spelling)
    return Metadata(MappingProxyType(properties.read(spelling)))


def _with_facts(entry: Entry) -> Entry:
    assert entry.metadata is not None
    facts: dict[str, bytes] = {}
    if not entry.is_folder:
        facts["cos.sha"] = entry.digest.encode()
        facts["cos.filelen"] = b"%d" % entry.size
        facts["cos.ctime"] = b"%d" % (entry.ctime_ns // 10**9)
    return replace(entry, metadata=Metadata(entry.metadata.properties, MappingProxyType(facts)))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _path(key: bytes) -> str:
    return "/" + _decoded(key.rstrip(b"/"))


def _key(path: str) -> bytes:
    names = paths.parts(path)
    if not path.startswith("/") or not names or {"", ".", ".."} & set(names) or "\0" in path:
        raise InvalidName(path)
    key = _encoded(path[1:])
    if len(key) > KEY_MAX or any(len(name) > paths.NAME_MAX for name in key.split(b"/")):
        raise NameTooLong(path)
    return key


def _folder_key(path: str) -> bytes:
    return b"" if path == paths.ROOT else _key(path) + b"/"


def _behind(last: bytes, base: bytes) -> bytes:
    """Return the key at which a listing of ``base`` goes on after it has shown ``last``."""
    if last != base and last.endswith(b"/"):
        return last[:-1] + b"0"  # the byte after the slash: behind all that lies in the folder
    return last + b"\0"
