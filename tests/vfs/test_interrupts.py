"""Callers that give up: questions end at once, changes go on, and neither harms anybody else."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from cosfs import interrupts
from cosfs.errors import ConnectionLost, Interrupted
from cosfs.model import Entry
from cosfs.store.faulty import Fault, FaultPlan, FaultyStore, Gate
from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
from tests.vfs.conftest import ME, MakeFs

#: Seconds after which something hangs.
GUARD_S = 20


class Slow:
    """A mount whose store waits at ``gate`` in one method."""

    def __init__(
        self, make_fs: MakeFs, store: MemoryStore, pool: ThreadPoolExecutor, options: Any
    ) -> None:
        self.plan = FaultPlan()
        self.gate = Gate()
        self.fs: FileSystem = make_fs(over=FaultyStore(store, self.plan), **options)
        self._pool = pool

    def holds(self, method: str) -> None:
        self.plan.add(Fault(method, gate=self.gate, on={1}))

    def call(self, work: Callable[[], object], given_up: threading.Event) -> Future[object]:
        """Run ``work`` as for a program that gives up when the event is set."""

        def run() -> object:
            with interrupts.watched(given_up.is_set):
                return work()

        return self._pool.submit(run)

    def interrupt(self, work: Callable[[], object]) -> None:
        """Let ``work`` come to the gate, and its caller give up there."""
        given_up = threading.Event()
        future = self.call(work, given_up)
        assert self.gate.arrived.wait(GUARD_S)
        given_up.set()
        with pytest.raises(Interrupted):
            future.result(GUARD_S)


MakeSlow = Callable[..., Slow]


@pytest.fixture
def make_slow(make_fs: MakeFs, store: MemoryStore) -> Iterator[MakeSlow]:
    with ThreadPoolExecutor(8) as pool:
        yield lambda **options: Slow(make_fs, store, pool, options)


def write(fs: FileSystem, path: str, data: bytes = b"x") -> int:
    fh = fs.create(path, 0o644, os.O_WRONLY, ME).fh
    fs.write(fh, 0, data)
    return fh


def put(fs: FileSystem, path: str, data: bytes = b"x") -> None:
    fh = write(fs, path, data)
    fs.flush(fh, ME)
    fs.release(fh)


def content(fs: FileSystem, path: str) -> bytes:
    fh = fs.open(path, os.O_RDONLY, ME).fh
    try:
        return fs.read(fh, 0, 1000)
    finally:
        fs.release(fh)


@pytest.mark.parametrize(
    ("method", "ask"),
    [
        ("stat_file", lambda fs: fs.getattr("/d/f")),
        ("list_page", lambda fs: fs.opendir("/d")),
        ("read_range", lambda fs: content(fs, "/d/f")),
        ("stat_file", lambda fs: fs.getxattr("/d/f", "user.cos.sha")),
    ],
)
def test_a_question_ends_for_its_caller_alone(
    make_fs: MakeFs, make_slow: MakeSlow, method: str, ask: Callable[[FileSystem], Any]
) -> None:
    other = make_fs()
    other.mkdir("/d", 0o755, ME)
    put(other, "/d/f")
    slow = make_slow()
    slow.holds(method)
    given_up = threading.Event()
    first = slow.call(lambda: ask(slow.fs), given_up)
    assert slow.gate.arrived.wait(GUARD_S)
    # It shares the first one's fetch, or asks by itself: it must not be told of the other's end.
    second = slow.call(lambda: ask(slow.fs), threading.Event())
    given_up.set()
    with pytest.raises(Interrupted):
        first.result(GUARD_S)
    if method == "read_range":
        slow.gate.open()  # it goes on for who still waits, others are asked anew
    assert second.result(GUARD_S) is not None
    slow.gate.open()


def test_a_close_that_asks_for_its_folders_mark_can_be_given_up(
    make_slow: MakeSlow, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "takes_at_once", lambda size: True)
    store.make_folder("/d")
    slow = make_slow()
    fh = slow.fs.create("/d/f", 0o600, os.O_WRONLY, ME).fh
    slow.fs.write(fh, 0, b"x")
    slow.holds("mark_folder")
    try:
        slow.interrupt(lambda: slow.fs.flush(fh, ME))
    finally:
        slow.gate.open()
    slow.fs.release(fh)
    assert store.files() == {"/d/f": b"x"}


class Near(FaultyStore):
    """A store that takes up to ten bytes at once, and notes which threads store."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store, FaultPlan())
        self.stored_by: list[int] = []

    def takes_at_once(self, size: int) -> bool:
        return size <= 10

    def write_file(self, *arguments: Any, **options: Any) -> Entry:
        self.stored_by.append(threading.get_ident())
        return super().write_file(*arguments, **options)


def test_what_nobody_is_asked_for_is_stored_by_its_caller(
    make_fs: MakeFs, store: MemoryStore
) -> None:
    near = Near(store)
    fs = make_fs(over=near)
    me = threading.get_ident()
    with interrupts.watched(lambda: False):
        put(fs, "/small", b"x")
        put(fs, "/large", b"x" * 11)
        # What is there already may have to be asked for.
        fh = fs.open("/small", os.O_WRONLY, ME).fh
        fs.write(fh, 0, b"y")
        fs.flush(fh, ME)
        fs.release(fh)
    assert [thread == me for thread in near.stored_by] == [True, False, False]


@pytest.mark.parametrize(
    ("method", "change", "is_done"),
    [
        ("make_folder", lambda fs: fs.mkdir("/new", 0o755, ME), lambda fs: fs.getattr("/new")),
        ("delete_file", lambda fs: fs.unlink("/f"), lambda fs: not has(fs, "/f")),
        (
            "move_file",
            lambda fs: fs.rename("/f", "/g"),
            lambda fs: not has(fs, "/f") and content(fs, "/g") == b"x",
        ),
        ("write_file", lambda fs: fs.symlink("/s", "f", ME), lambda fs: fs.readlink("/s") == "f"),
        (
            "write_file",
            lambda fs: fs.truncate("/f", 0, ME),
            lambda fs: content(fs, "/f") == b"",
        ),
        (
            "set_metadata",
            lambda fs: fs.setxattr("/f", "user.a", b"1", create=False, replace=False),
            lambda fs: fs.getxattr("/f", "user.a") == b"1",
        ),
    ],
)
def test_a_change_goes_on(
    make_fs: MakeFs,
    make_slow: MakeSlow,
    method: str,
    change: Callable[[FileSystem], object],
    is_done: Callable[[FileSystem], object],
) -> None:
    put(make_fs(), "/f")
    slow = make_slow()
    slow.fs.opendir("/")
    slow.holds(method)
    slow.interrupt(lambda: change(slow.fs))
    slow.gate.open()
    slow.fs.stop()
    assert is_done(make_fs())


def has(fs: FileSystem, path: str) -> bool:
    return path[1:] in fs._catalog.listing("/")


def test_a_store_under_way_is_told_to_nobody_and_done_once(
    make_fs: MakeFs, make_slow: MakeSlow
) -> None:
    slow = make_slow()
    slow.holds("write_file")
    fh = write(slow.fs, "/f", b"mine")
    slow.interrupt(lambda: slow.fs.flush(fh, ME))
    given_up = threading.Event()
    released = slow.call(lambda: slow.fs.release(fh), given_up)
    given_up.set()
    slow.gate.open()
    released.result(GUARD_S)
    slow.fs.stop()
    assert content(make_fs(), "/f") == b"mine"
    assert sum(method == "write_file" for method, _ in slow.plan.hits) == 1


def test_a_store_that_fails_with_nobody_waiting_is_pending(
    make_fs: MakeFs, make_slow: MakeSlow, expect_log: Callable[[str], None]
) -> None:
    expect_log("not stored: .*gone; its content is kept")
    slow = make_slow()
    slow.plan.add(Fault("write_file", gate=slow.gate, error=lambda: ConnectionLost("gone")))
    fh = write(slow.fs, "/f", b"mine")
    slow.interrupt(lambda: slow.fs.flush(fh, ME))
    slow.gate.open()
    slow.fs.release(fh)
    (kept,) = slow.fs.stop()
    assert kept.path == "/f"
    with open(kept.kept_in, "rb") as file:
        assert file.read() == b"mine"


def test_a_file_that_nobody_waits_for_is_not_left_open(
    make_fs: MakeFs, make_slow: MakeSlow
) -> None:
    slow = make_slow(excl="open")
    slow.holds("write_file")
    slow.interrupt(lambda: slow.fs.create("/f", 0o644, os.O_WRONLY | os.O_EXCL, ME))
    slow.gate.open()
    slow.fs.stop()
    assert slow.fs.usage().files.descriptors == 0
    assert content(make_fs(), "/f") == b""


def test_a_rename_over_an_open_file_gives_up_as_a_whole(
    make_fs: MakeFs, make_slow: MakeSlow
) -> None:
    put(make_fs(), "/f", b"new")
    put(make_fs(), "/g", b"old")
    slow = make_slow()
    fh = slow.fs.open("/g", os.O_RDONLY, ME).fh
    # The first half moves the target away, the second half is held.
    slow.plan.add(Fault("move_file", gate=slow.gate, on={2}))

    def as_libfuse_does() -> None:
        slow.fs.rename("/g", "/.fuse_hidden0123456789abcdef")
        slow.fs.rename("/f", "/g")

    slow.interrupt(as_libfuse_does)
    slow.gate.open()
    assert slow.fs.read(fh, 0, 10) == b"old"
    slow.fs.release(fh)
    slow.fs.stop()
    again = make_fs()
    assert content(again, "/g") == b"new" and not has(again, "/f")


def test_a_lock_that_another_holds_is_not_waited_for(
    make_fs: MakeFs, make_slow: MakeSlow
) -> None:
    put(make_fs(), "/f")
    slow = make_slow()
    slow.holds("delete_file")
    removing = slow.call(lambda: slow.fs.unlink("/f"), threading.Event())
    assert slow.gate.arrived.wait(GUARD_S)
    given_up = threading.Event()
    changing = slow.call(lambda: slow.fs.chmod("/f", 0o600), given_up)
    given_up.set()
    with pytest.raises(Interrupted):
        changing.result(GUARD_S)
    slow.gate.open()
    removing.result(GUARD_S)
