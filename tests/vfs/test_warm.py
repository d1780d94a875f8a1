"""Fetching a tree ahead: what it tells of itself, of what fails, and how it ends early."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import asdict

import pytest

from cosfs.errors import ConfigError, ConnectionLost, NotFound
from cosfs.model import Version
from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
from cosfs.vfs.streams import MIB
from cosfs.vfs.warm import Warmed
from cosfs.warm import progress_line
from tests.mount.bench import wait_until
from tests.vfs.conftest import MakeFs
from tests.vfs.programs import write_unseen


class Watched:
    """A store that calls ``before`` with the path of whatever content is fetched."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.before: Callable[[str], None] = lambda path: None
        self.fetched: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def read_range(self, path: str, offset: int, into: memoryview, version: Version) -> None:
        self.fetched.append(path)
        self.before(path)
        self._store.read_range(path, offset, into, version)


@pytest.fixture
def watched(store: MemoryStore) -> Watched:
    return Watched(store)


def ended(fs: FileSystem, number: int) -> Warmed:
    states: list[Warmed] = []

    def has_ended() -> bool:
        states.append(fs.warmer.progress(number))
        return states[-1].has_ended

    wait_until(has_ended)
    return states[-1]


def test_what_cannot_be_read_is_told_and_the_rest_is_fetched(
    store: MemoryStore, make_fs: MakeFs, watched: Watched
) -> None:
    for name in ("a", "bad", "c"):
        write_unseen(store, f"/d/{name}", name.encode())

    def before(path: str) -> None:
        if path == "/d/bad":
            raise ConnectionLost("by chance", path=path)

    watched.before = before
    fs = make_fs(over=watched)
    state = ended(fs, fs.warmer.begin("/"))
    assert (state.folders, state.files, state.kept_files, state.left_files) == (2, 3, 2, 0)
    assert state.failed == 1 and state.failure.startswith("/d/bad: ")
    watched.before = lambda path: None
    watched.fetched.clear()
    state = ended(fs, fs.warmer.begin("/d"))
    assert state.kept_files == 3 and state.failed == 0 and watched.fetched == ["/d/bad"]
    with pytest.raises(NotFound):
        fs.warmer.begin("/absent")


@pytest.mark.parametrize("how", ["cancelled", "unmounted"])
def test_it_ends_early(store: MemoryStore, make_fs: MakeFs, watched: Watched, how: str) -> None:
    for number in range(20):
        write_unseen(store, f"/{number}", bytes([number]))
    gate, arrived = threading.Event(), threading.Semaphore(0)

    def before(path: str) -> None:
        arrived.release()
        assert gate.wait(30)

    watched.before = before
    fs = make_fs(over=watched, parallel=4)
    number = fs.warmer.begin("/")
    for _ in range(2):
        assert arrived.acquire(timeout=30)
    # The other half is left to programs.
    assert len(watched.fetched) == 2 and not fs.warmer.progress(number).has_ended
    if how == "cancelled":
        fs.warmer.cancel(number)
        with pytest.raises(ConfigError, match="nothing is being fetched"):
            fs.warmer.progress(number)
    else:
        stopping = threading.Thread(target=fs.stop)
        stopping.start()
        wait_until(lambda: fs.warmer.is_ending)
    gate.set()
    fs.stop()
    if how == "unmounted":
        stopping.join(30)
        assert not stopping.is_alive()
    assert len(watched.fetched) == 2


def test_more_than_there_is_room_for(store: MemoryStore, make_fs: MakeFs) -> None:
    for name in ("a", "b", "c"):
        write_unseen(store, f"/{name}", os.urandom(MIB))
    fs = make_fs(memory_bytes=2 * MIB)
    state = ended(fs, fs.warmer.begin("/"))
    assert (state.kept_files, state.left_files, state.left_bytes) == (2, 1, MIB)
    line = progress_line(asdict(state))
    assert line.endswith("] 100%  2.0 MiB of 2.0 MiB") and "." * 2 not in line
    assert "0 files in" in progress_line(asdict(Warmed()))
