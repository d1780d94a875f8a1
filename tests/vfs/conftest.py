"""A file system on a store in memory, with a clock that stands still."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cosfs.config import AttrsOption, CacheOptions, DataOptions, ViewOptions
from cosfs.store.base import Store
from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
from cosfs.vfs.types import Caller
from tests.fakeclock import FakeClock

#: This process: alive, its own thread group, of the user whom the mount belongs to.
ME = Caller(uid=7, gid=8, pid=os.getpid())

MakeFs = Callable[..., FileSystem]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> MemoryStore:
    return MemoryStore(clock=clock)


@pytest.fixture
def make_fs(clock: FakeClock, store: MemoryStore, tmp_path: Path) -> Iterator[MakeFs]:
    """Make any number of mounts of one store; each has its own cache."""
    made: list[FileSystem] = []

    def make(
        ttl_s: float = 60.0,
        over: Store | None = None,
        attrs: AttrsOption = "auto",
        journal_file: Path | None = None,
        spool: Path | None = None,
        **data: Any,
    ) -> FileSystem:
        spool = spool or tmp_path / f"spool{len(made)}"
        spool.mkdir(exist_ok=True)
        fs = FileSystem(
            _Unclosed(over or store),  # type: ignore[arg-type]
            clock=clock,
            cache=CacheOptions(ttl_s=ttl_s, attrs=attrs),
            view=ViewOptions(uid=7, gid=8, umask=0o022),
            data=DataOptions(**data),
            spool_dir=spool,
            journal_file=journal_file or tmp_path / f"journal{len(made)}.sqlite",
        )
        fs.start()
        made.append(fs)
        return fs

    yield make
    for fs in made:
        fs.stop()


class _Unclosed:
    """Lets one mount's end leave the store open for the others."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def close(self) -> None:
        pass


@pytest.fixture
def fs(make_fs: MakeFs) -> FileSystem:
    return make_fs()
