"""What programs do, as the kernel turns it into calls: opens, writes, closes."""

from __future__ import annotations

import os

from cosfs.errors import NotFound
from cosfs.model import BytesSource, Metadata
from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
from cosfs.vfs.types import Caller
from tests.vfs.conftest import ME


def open_file(fs: FileSystem, path: str, flags: int, caller: Caller = ME) -> int:
    """Open as the kernel does: a lookup first, then create or open."""
    try:
        fs.getattr(path)
    except NotFound:
        if not flags & os.O_CREAT:
            raise
        return fs.create(path, 0o644, flags, caller).fh
    return fs.open(path, flags & ~(os.O_CREAT | os.O_EXCL), caller).fh


def close(fs: FileSystem, fh: int, caller: Caller = ME) -> None:
    try:
        fs.flush(fh, caller)
    finally:
        fs.release(fh)


def write_file(fs: FileSystem, path: str, data: bytes, flags: int = 0) -> None:
    """``cp`` and ``>``: create or empty, write, close."""
    fh = open_file(fs, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | flags)
    try:
        if data:
            fs.write(fh, 0, data)
    finally:
        close(fs, fh)


def append(fs: FileSystem, path: str, data: bytes) -> None:
    fh = open_file(fs, path, os.O_WRONLY | os.O_APPEND)
    fs.write(fh, fs.getattr(path, fh).size, data)
    close(fs, fh)


def read_file(fs: FileSystem, path: str) -> bytes:
    fh = open_file(fs, path, os.O_RDONLY)
    try:
        return fs.read(fh, 0, fs.getattr(path, fh).size + 1)
    finally:
        close(fs, fh)


def names(fs: FileSystem, folder: str) -> list[str]:
    fh = fs.opendir(folder)
    try:
        return [entry.name for entry in fs.readdir(fh)]
    finally:
        fs.releasedir(fh)


def write_unseen(store: MemoryStore, path: str, data: bytes) -> None:
    """Write as somebody else: no mount knows, nothing is counted."""
    with store.unseen():
        store.write_file(path, BytesSource(data), metadata=Metadata())
