"""Small files that are read one after the other: fetched ahead, in parallel and once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cosfs.model import ListPage
from cosfs.store.faulty import FaultPlan, FaultyStore
from cosfs.store.memory import MemoryStore
from cosfs.vfs.attrs import inode
from cosfs.vfs.filesahead import FilesAhead, Name
from cosfs.vfs.smallfiles import SMALL_MAX
from tests.mount.bench import wait_until
from tests.vfs.conftest import ME, MakeFs
from tests.vfs.programs import close, names, open_file, read_file, write_file, write_unseen

NAMES = sorted(f"{'aB'[n % 2]}{n:03}" for n in range(200))


def locale_order() -> list[str]:
    return sorted(NAMES, key=lambda name: (name.lower(), name.swapcase()))


def inode_order() -> list[str]:
    return sorted(NAMES, key=lambda name: inode(f"/d/{name}"))


class Ahead:
    """Files ahead whose fetches are done at once, and noted."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        listed = [Name(name, inode(f"/d/{name}")) for name in NAMES]
        executor: Any = self
        self.sorted = 0

        def names_of(folder: str) -> list[Name]:
            self.sorted += 1
            return listed

        self.ahead = FilesAhead(executor, names_of, self.fetched.append)

    def submit(self, fetch: Callable[[str], object], path: str) -> None:
        fetch(path)

    def read(self, names: Sequence[str]) -> None:
        for name in names:
            self.ahead.read(f"/d/{name}")


@pytest.mark.parametrize("order", [lambda: NAMES, locale_order, inode_order])
def test_every_order_is_recognised_and_nothing_is_fetched_twice(
    order: Callable[[], list[str]]
) -> None:
    names = order()
    ahead = Ahead()
    ahead.read(names)
    wanted = {f"/d/{name}" for name in names[2:]}
    assert len(ahead.fetched) == len(set(ahead.fetched))
    assert len(wanted - set(ahead.fetched)) <= 4


def test_what_is_fetched_in_vain_is_a_window_at_most() -> None:
    ahead = Ahead()
    ahead.read(NAMES[:2])
    assert len(ahead.fetched) == 4
    ahead.read(NAMES[2:60])
    in_vain = set(ahead.fetched) - {f"/d/{name}" for name in NAMES[:60]}
    assert len(in_vain) <= 64


def test_names_at_random_fetch_next_to_nothing() -> None:
    ahead = Ahead()
    names = [NAMES[number * 77 % 200] for number in range(200)]
    ahead.read(names)
    assert len(ahead.fetched) <= 20


def test_reads_of_names_made_since_do_not_sort_the_folder_each_time() -> None:
    ahead = Ahead()
    ahead.read(NAMES[:1])
    ahead.read([f"new{number}" for number in range(100)])
    assert ahead.sorted <= 30
    ahead.read(NAMES[1:10])
    assert f"/d/{NAMES[9]}" in ahead.fetched


def test_several_readers_of_one_list_count_as_one() -> None:
    ahead = Ahead()
    names = list(NAMES)
    for at in range(0, 200, 4):
        names[at : at + 4] = reversed(names[at : at + 4])
    ahead.read(names)
    assert len(ahead.fetched) > 150


def test_reading_a_folder_costs_a_request_a_file_in_few_round_trips(
    make_fs: MakeFs, store: MemoryStore
) -> None:
    first = make_fs()
    first.mkdir("/d", 0o755, ME)
    for name in NAMES:
        write_file(first, f"/d/{name}", name.encode() * 100)
    fs = make_fs()
    assert names(fs, "/d") == NAMES
    store.requests.clear()
    at_once, most = 0, 0
    lock = threading.Lock()
    barrier = threading.Semaphore(0)

    def hook(method: str, path: str) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        barrier.acquire(timeout=0.002)
        with lock:
            at_once -= 1

    store.hook = hook
    for name in NAMES:
        assert read_file(fs, f"/d/{name}") == name.encode() * 100
    store.hook = None
    assert store.requests.total() == 200
    assert most > 4
    for name in NAMES:
        read_file(fs, f"/d/{name}")
    assert store.requests.total() == 200


def test_files_ahead_that_memory_cannot_hold_are_fetched_once(
    make_fs: MakeFs, store: MemoryStore
) -> None:
    for name in NAMES[:60]:
        write_unseen(store, f"/d/{name}", bytes(SMALL_MAX - 8) + name.encode().rjust(8))
    fs = make_fs(memory_bytes=16 * SMALL_MAX)
    names(fs, "/d")
    store.requests.clear()
    for name in NAMES[:60]:
        fh = open_file(fs, f"/d/{name}", os.O_RDONLY)
        for offset in range(0, SMALL_MAX, SMALL_MAX // 4):
            assert len(fs.read(fh, offset, SMALL_MAX // 4)) == SMALL_MAX // 4
        close(fs, fh)
    assert store.requests["read_range"] == 60


# Folders -----------------------------------------------------------------------------------------


class Listed(FaultyStore):
    """A store that notes which folders were listed."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store, FaultPlan())
        self.folders: list[str] = []

    def list_page(self, folder: str, *, prefix: str = "", cursor: str = "") -> ListPage:
        self.folders.append(folder)
        return super().list_page(folder, prefix=prefix, cursor=cursor)


@pytest.fixture
def listed(store: MemoryStore) -> Listed:
    return Listed(store)


def make_folders(make_fs: MakeFs, number: int) -> list[str]:
    folders = [f"/wide/{index:03}" for index in range(number)]
    other = make_fs()
    other.mkdir("/wide", 0o755, ME)
    for folder in folders:
        other.mkdir(folder, 0o755, ME)
        write_file(other, f"{folder}/f", b"x")
    return folders


def test_folders_in_a_row_are_listed_ahead_and_once(make_fs: MakeFs, listed: Listed) -> None:
    folders = make_folders(make_fs, 40)
    fs = make_fs(over=listed)
    assert names(fs, "/wide") == [folder[-3:] for folder in folders]
    for folder in folders[:3]:
        assert names(fs, folder) == ["f"]
    wait_until(lambda: len(listed.folders) == 1 + 3 + 4)
    for folder in folders[3:]:
        assert names(fs, folder) == ["f"]
    assert sorted(listed.folders) == ["/wide", *folders]


def test_folders_removed_before_their_turn_are_not_listed_ahead(
    make_fs: MakeFs, listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = make_folders(make_fs, 10)
    fs = make_fs(over=listed)
    waiting: list[tuple[Callable[[str], object], str]] = []
    monkeypatch.setattr(fs._pools.ahead, "submit", lambda *task: waiting.append(task))
    names(fs, "/wide")
    for folder in folders[:3]:
        names(fs, folder)
    assert [folder for _, folder in waiting] == folders[3:7]
    for folder in folders[3:7]:
        fs.unlink(f"{folder}/f")
        fs.rmdir(folder)
    before = len(listed.folders)
    for fetch, folder in waiting:
        fetch(folder)
    assert len(listed.folders) == before


def test_folders_here_and_there_are_not(make_fs: MakeFs, listed: Listed) -> None:
    folders = make_folders(make_fs, 40)
    fs = make_fs(over=listed)
    names(fs, "/wide")
    asked = [folders[index] for index in (0, 1, 20, 21, 2, 30)]
    for folder in asked:
        names(fs, folder)
    fs.stop()
    assert listed.folders == ["/wide", *asked]


def test_after_large_folders_none_is_listed_ahead(make_fs: MakeFs, listed: Listed) -> None:
    folders = make_folders(make_fs, 6)
    other = make_fs()
    for folder in folders[:3]:
        for number in range(501):
            other.symlink(f"{folder}/{number}", "x", ME)
    fs = make_fs(over=listed)
    names(fs, "/wide")
    for folder in folders[:3]:
        names(fs, folder)
    fs.stop()
    assert listed.folders == ["/wide", *folders[:3]]
