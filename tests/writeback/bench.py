"""What tests of the backlog stand on: a store over a store in memory, stepped by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cosfs.clock import Clock
from cosfs.config import WriteBackOptions
from cosfs.errors import NotFound
from cosfs.model import Attributes, Base, BytesSource, Metadata
from cosfs.store.base import Store
from cosfs.store.writeback.store import WriteBackStore
from tests.fakeclock import FakeClock


def behind(
    inner: Store, folder: Path, clock: Clock | None = None, **options: object
) -> WriteBackStore:
    """Make a store whose changes are made by ``step`` alone, in the test's thread."""
    return WriteBackStore(
        inner,
        folder,
        clock=clock or FakeClock(),
        options=replace(WriteBackOptions(mode="on", delay_s=0.0), **options),  # type: ignore
        parallel=0,
        patience_s=0.0,
    )


def finish(store: WriteBackStore) -> None:
    """Make everything that waits."""
    while store.workers.step():
        pass


def put(store: Store, path: str, data: bytes, base: Base | None = None, mode: int = 0) -> None:
    """Write as the file system does; without ``base`` the file is new."""
    attributes = Attributes(mode=mode or None)
    store.write_file(
        path, BytesSource(data), metadata=Metadata(attributes=attributes), base=base or Base()
    )


def get(store: Store, path: str) -> bytes | None:
    """Return what a file holds, ``None`` if there is none."""
    try:
        entry = store.stat_file(path)
    except NotFound:
        return None
    data = bytearray(entry.size)
    store.read_range(path, 0, memoryview(data), entry.version)
    return bytes(data)
