"""Owns the values that the file system and its adapter exchange; must not know the binding."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NamedTuple


class Attrs(NamedTuple):
    """What ``stat`` shows: sizes in bytes, times in Unix nanoseconds, ``blocks`` of 512 bytes."""

    mode: int
    nlink: int
    uid: int
    gid: int
    size: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    ino: int
    blocks: int
    rdev: int


class DirEntry(NamedTuple):
    """One name of a folder; ``mode`` has only the type bits, 0 when the type is not known."""

    name: str
    ino: int
    mode: int


class Caller(NamedTuple):
    """The process that made a system call; pid 0 when the kernel acts on its own."""

    uid: int
    gid: int
    pid: int


class Opened(NamedTuple):
    """An open file: its handle, and what the kernel may do with its pages.

    ``keep_cache``: pages of an earlier open are still right. ``direct_io``: bypass pages, as the
    kernel was told another size than the file has now.
    """

    fh: int
    keep_cache: bool
    direct_io: bool


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """What the metadata cache believes, and how often it was asked.

    ``names`` in all, present or absent, of which ``listed`` are in complete ``listings``, with
    ``bytes`` of content. ``hits`` are questions that it answered, ``misses`` those it could not.
    """

    names: int
    listings: int
    listed: int
    bytes: int
    hits: int
    misses: int


@dataclass(frozen=True, slots=True)
class ContentUsage:
    """File content in memory: how much, at most how much, and blocks found there or fetched."""

    bytes: int
    limit: int
    hits: int
    fetches: int


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """File content in ``cache_dir``: how much, at most how much; blocks found there, or not."""

    bytes: int
    limit: int
    hits: int
    misses: int


@dataclass(frozen=True, slots=True)
class FilesUsage:
    """What programs have open, and how much of it is written and not stored."""

    descriptors: int
    files: int
    dirty_files: int
    dirty_bytes: int


@dataclass(frozen=True, slots=True)
class PendingUsage:
    """What is not stored and will not be by itself: contents; and changes of attributes."""

    files: int
    bytes: int
    attributes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What a mount holds at this moment."""

    cache: CacheUsage
    content: ContentUsage
    #: ``None`` without ``cache_dir``.
    disk: DiskUsage | None
    files: FilesUsage
    pending: PendingUsage


@dataclass(frozen=True, slots=True)
class FsStats:
    """What ``statfs`` shows: sizes in blocks of ``block_size`` bytes."""

    block_size: int
    blocks: int
    blocks_free: int
    files: int
    files_free: int
    name_max: int


@dataclass(frozen=True, slots=True)
class Unstored:
    """Something that is not stored, as a person sees it.

    ``kind`` is "content" (a file's, ``size`` bytes in ``file``, of which ``missing`` are not there)
    or "attributes" (a change of mode, owner or time). ``since`` is in Unix seconds, if known.
    """

    kind: str
    path: str
    reason: str
    since: float | None
    size: int = 0
    missing: int = 0
    file: str = ""

    def is_called(self, name: str) -> bool:
        """Tell whether ``name`` means this: its path, or the file that holds it."""
        file = os.path.basename(self.file)
        return name == self.path or bool(file) and name in (self.file, file, file.split(".")[0])


@dataclass(frozen=True, slots=True)
class NotStored:
    """Content that could not be stored: what, why, and the local file that still holds it."""

    path: str
    reason: str
    kept_in: str
