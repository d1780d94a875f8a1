"""Owns the keys and objects of the memory store; must not know what its methods promise.

Keys are bytes in the order of a server: a file ``a/b``, the marker of a folder ``a/``, the mark of
a folder ``a/.cosfs/``.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass

from cosfs import paths
from cosfs.errors import InvalidName, NameTooLong
from cosfs.model import Entry
from cosfs.store.names import KEY_MAX, MARKER_NAME

#: What the mark of a folder adds to the folder's key.
MARK = MARKER_NAME.encode() + b"/"


@dataclass(frozen=True, slots=True)
class Object:
    """A file, the marker of a folder, or a folder's mark; its entry carries the metadata."""

    entry: Entry
    data: bytes = b""


class Index:
    """Objects by key in the order of their bytes. Its user locks."""

    def __init__(self) -> None:
        self._keys: list[bytes] = []
        self._objects: dict[bytes, Object] = {}

    def change(self, key: bytes, found: Object | None) -> None:
        known = key in self._objects
        if found is not None:
            self._objects[key] = found
            if not known:
                bisect.insort(self._keys, key)
        elif known:
            del self._objects[key]
            del self._keys[bisect.bisect_left(self._keys, key)]

    def get(self, key: bytes) -> Object | None:
        return self._objects.get(key)

    def first_from(self, key: bytes, prefix: bytes) -> bytes | None:
        """Return the first key that begins with ``prefix`` and is not before ``key``."""
        position = bisect.bisect_left(self._keys, max(key, prefix))
        if position < len(self._keys) and self._keys[position].startswith(prefix):
            return self._keys[position]
        return None

    def items(self) -> Iterator[tuple[bytes, Object]]:
        return ((key, self._objects[key]) for key in self._keys)


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def path_of(key: bytes) -> str:
    return "/" + decoded(key.rstrip(b"/"))


def file_key(path: str) -> bytes:
    names = paths.parts(path)
    if not path.startswith("/") or not names or {"", ".", ".."} & set(names) or "\0" in path:
        raise InvalidName(path)
    key = encoded(path[1:])
    if len(key) > KEY_MAX or any(len(name) > paths.NAME_MAX for name in key.split(b"/")):
        raise NameTooLong(path)
    return key


def folder_key(path: str) -> bytes:
    return b"" if path == paths.ROOT else file_key(path) + b"/"


def mark_key(path: str) -> bytes:
    key = folder_key(path) + MARK
    if len(key) > KEY_MAX:
        raise NameTooLong(path)
    return key


def is_mark(key: bytes) -> bool:
    return key.endswith(b"/" + MARK) or key == MARK


def behind(last: bytes, base: bytes) -> bytes:
    """Return the key at which a listing of ``base`` goes on after it has shown ``last``."""
    if last != base and last.endswith(b"/"):
        return last[:-1] + b"0"  # the byte after the slash: behind all that lies in the folder
    return last + b"\0"
