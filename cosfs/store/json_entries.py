"""Owns what becomes of the server's replies: entries, and which names are shown; asks nothing."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from types import MappingProxyType
from typing import Generic, TypeVar

from cosfs.errors import NotFound
from cosfs.jsonapi.replies import FileInfo, ListedEntry, Listing
from cosfs.model import Entry, Kind, ListPage, Version
from cosfs.store import spelling
from cosfs.store.attributes import nonce_of
from cosfs.store.names import MARKER_NAME, NameRules, is_reserved
from cosfs.store.properties import Spelling

_log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

_SECOND = 10**9


def file_entry(info: FileInfo, path: str) -> Entry:
    """Return the entry of a file, with its metadata.

    Raises:
        NotFound: there is only an upload that is not finished: nobody can read it.
    """
    if not info.is_complete:
        raise NotFound("only an unfinished upload has this name", path=path)
    facts = {
        "cos.sha": info.sha,
        "cos.access_url": info.access_url,
        "cos.source_url": info.source_url,
        "cos.ctime": str(info.ctime),
        "cos.filelen": str(info.filelen),
        "cos.slicesize": str(info.slicesize),
        "cos.forbid": str(info.forbid),
    }
    return Entry(
        Kind.FILE,
        info.filesize,
        info.mtime * _SECOND,
        info.ctime * _SECOND,
        digest=info.sha,
        nonce=nonce_of(info.biz_attr),
        metadata=replace(
            spelling.read(spelling_of(info)),
            facts=MappingProxyType({name: text.encode() for name, text in facts.items() if text}),
        ),
    )


def spelling_of(info: FileInfo) -> Spelling:
    """Return the metadata of a file as the server holds it."""
    return Spelling(info.biz_attr, info.custom_headers, info.authority)


class Showcase:
    """Decides which names of a listing are shown, and logs once what is not.

    Thread safety: any number of threads.
    """

    def __init__(self, rules: NameRules, root: str) -> None:
        self._rules = rules
        self._root = root
        self._said: Bounded[str, bool] = Bounded(10_000)

    def page(self, folder_key: str, listing: Listing, prefix: str) -> ListPage:
        """Return the shown part of one page: names that begin with ``prefix``."""
        entries: dict[str, Entry] = {}
        marked = False
        at_root = folder_key == self._root
        for listed in listing.entries:
            name = self._rules.to_name(listed.name)
            marked = marked or (listed.is_folder and name == MARKER_NAME)
            if name is None:
                self._say_once(folder_key + listed.name, "it cannot be a name on Linux")
            elif not name.startswith(prefix) or is_reserved(name, at_root=at_root):
                continue
            elif not listed.is_folder and listed.filelen != listed.filesize:
                self._say_once(folder_key + listed.name, "its upload is not finished")
            elif name in entries:
                # Files stand before the folder of their name, but nothing promises that order.
                self._say_once(folder_key + listed.name.rstrip("/"), "a folder has the same name")
                if listed.is_folder:
                    entries[name] = _listed_entry(listed)
            else:
                entries[name] = _listed_entry(listed)
        cursor = None if listing.listover else listing.context
        return ListPage(MappingProxyType(entries), cursor, marked)

    def _say_once(self, key: str, reason: str) -> None:
        if self._said.put(key, True):
            _log.warning("%r is not shown: %s", key, reason)


def _listed_entry(listed: ListedEntry) -> Entry:
    mtime_ns, ctime_ns = listed.mtime * _SECOND, listed.ctime * _SECOND
    if listed.is_folder:
        # Assumed, not verified: a server has no times for a folder without a marker (3.4). One
        # that gives such folders the times of their content makes them look real.
        implied = not (listed.mtime or listed.ctime)
        return Entry(Kind.FOLDER, 0, mtime_ns, ctime_ns, implied=implied)
    return Entry(Kind.FILE, listed.filesize, mtime_ns, ctime_ns, digest=listed.sha)


class VersionMarks:
    """Remembers by which mark (ETag) the server sends a version, where that is not its digest.

    Thread safety: any number of threads.
    """

    def __init__(self) -> None:
        self._marks: Bounded[tuple[str, Version], str] = Bounded(4096)

    def fits(self, key: str, version: Version, mark: str) -> bool:
        """Tell whether content sent with ``mark`` is surely this ``version`` of ``key``.

        What cannot be compared, as one side has nothing, fits: sizes were compared before.
        """
        if not mark or not version.digest or mark.lower() == version.digest:
            return True
        return self._marks.get((key, version)) == mark

    def learn(self, key: str, version: Version, mark: str) -> None:
        """Note that ``version`` of ``key`` is sent with ``mark``."""
        self._marks.put((key, version), mark)


class Bounded(Generic[K, V]):
    """A mapping that forgets what was put first. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._lock = threading.Lock()
        self._limit = limit
        self._values: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        with self._lock:
            return self._values.get(key)

    def put(self, key: K, value: V) -> bool:
        """Remember ``value``; return whether ``key`` is new."""
        with self._lock:
            is_new = self._values.pop(key, None) is None
            self._values[key] = value
            if len(self._values) > self._limit:
                del self._values[next(iter(self._values))]
            return is_new
