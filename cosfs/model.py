"""Owns the frozen values that layers hand to each other; must not know anything else (a leaf).

Nothing here is particular to one protocol: a store translates its server's vocabulary into these.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol


class Kind(enum.Enum):
    """What a name stands for."""

    FILE = "file"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True)
class Version:
    """Identifies one content: its digest (lower-case SHA-1 hex, may be "") and size in bytes."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Attributes:
    """POSIX attributes that a program set explicitly; ``None`` leaves the mount's default.

    ``mode`` is a whole ``st_mode``, type bits included: they tell a symbolic link (whose content is
    its target), a FIFO, a socket or a device from a file. ``rdev`` is a device's number.
    """

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    rdev: int | None = None

    def merged(self, newer: Attributes) -> Attributes:
        """Return these attributes, overridden by what ``newer`` sets."""
        return Attributes(
            *(
                old if new is None else new
                for old, new in (
                    (self.mode, newer.mode),
                    (self.uid, newer.uid),
                    (self.gid, newer.gid),
                    (self.mtime_ns, newer.mtime_ns),
                    (self.rdev, newer.rdev),
                )
            )
        )


@dataclass(frozen=True, slots=True)
class Metadata:
    """What stands beside the content of one object.

    ``properties`` can be set by users: names are those of the extended attributes without
    ``user.`` (``biz_attr``, ``x-cos-meta-owner``, ``content_type`` ...), values are any bytes.
    ``attributes`` are POSIX's. ``facts`` are what the server alone decides (``cos.sha``,
    ``cos.access_url`` ...), ``None`` where it was not asked: what a mount has just written itself.
    """

    properties: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))
    facts: Mapping[str, bytes] | None = None
    attributes: Attributes = Attributes()

    def with_property(self, name: str, value: bytes | None) -> Metadata:
        """Return a copy in which ``name`` has ``value``, or is absent when that is ``None``."""
        changed = {key: old for key, old in self.properties.items() if key != name}
        if value is not None:
            changed[name] = value
        return replace(self, properties=MappingProxyType(changed))

    def with_attributes(self, newer: Attributes) -> Metadata:
        """Return a copy in which the attributes that ``newer`` sets override."""
        return replace(self, attributes=self.attributes.merged(newer))


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or folder as the store knows it.

    ``size`` is in bytes (0 for a folder), times are Unix nanoseconds (0: unknown), ``digest`` is
    lower-case SHA-1 hex or "". ``implied`` marks a folder that exists only because something lies
    below it.
    ``metadata`` is ``None`` where it was not asked for: a listing does not carry it. ``nonce`` is
    that of the creation that made a file, where a stat tells it, else "".
    """

    kind: Kind
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    digest: str = ""
    implied: bool = False
    metadata: Metadata | None = None
    nonce: str = field(default="", compare=False)

    @property
    def is_folder(self) -> bool:
        return self.kind is Kind.FOLDER

    @property
    def version(self) -> Version:
        return Version(self.digest, self.size)


def names_folder(entry: Entry | None) -> bool:
    """Tell whether there is something, and it is a folder."""
    return entry is not None and entry.is_folder


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a folder's listing.

    ``entries`` maps base names (no slash) to entries and may be empty although more follows.
    ``cursor`` asks for the next page; ``None`` means that this was the last one. ``marked`` says
    that the folder's mark is on this page: some of its names may have stored attributes.
    """

    entries: Mapping[str, Entry]
    cursor: str | None
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Base:
    """What a caller believes to be at a name that it changes; ``entry`` is ``None`` for nothing.

    ``is_needed``: the change builds on that version, and is wrong over any other.
    """

    entry: Entry | None = None
    is_needed: bool = False

    @property
    def version(self) -> Version | None:
        return None if self.entry is None else self.entry.version


class Scope(enum.Enum):
    """Which names are meant by one path."""

    #: It alone.
    NAME = "name"
    #: It and what lies directly in it.
    FOLDER = "folder"
    #: It and everything below it.
    TREE = "tree"


class Source(Protocol):
    """Content to be stored: random access, any number of readers at once."""

    @property
    def size(self) -> int:
        """Length in bytes; does not change while the content is being stored."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset`` (fewer only at the end)."""
        ...


class SharedSource(Source, Protocol):
    """Content in a file that can be had without copying it."""

    def share(self, target: Path) -> None:
        """Let ``target`` be a file with this content, which no later change of the source changes.

        Raises ``OSError`` where that cannot be: copy it then.
        """
        ...


@dataclass(frozen=True, slots=True)
class BytesSource:
    """Content that lies in memory."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read_at(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]
