"""A server that is away, refuses, or has somebody else's version: nothing is lost or untold."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cosfs.errors import (
    ConfigError,
    ConnectFailed,
    NoSpace,
    ObjectChanged,
    QuotaExceeded,
    StoreError,
)
from cosfs.model import Base, BytesSource, Metadata, Scope
from cosfs.store.faulty import Fault, FaultPlan, FaultyStore
from cosfs.store.memory import MemoryStore
from cosfs.store.writeback import leftover
from cosfs.store.writeback.journal import FORMAT, Journal
from tests.fakeclock import FakeClock
from tests.mount.bench import wait_until
from tests.writeback.bench import behind, finish, get, put

ExpectLog = Callable[[str], None]


def away() -> Exception:
    return ConnectFailed("nobody answers")


def test_five_minutes_without_a_server(tmp_path: Path, expect_log: ExpectLog) -> None:
    expect_log("tried again and again: nobody answers")
    clock, server, plan = FakeClock(), MemoryStore(), FaultPlan(Fault(error=away))
    store = behind(FaultyStore(server, plan), tmp_path, clock, size_bytes=40)
    for number in range(4):
        put(store, f"/f{number}", b"x" * 10)
    # There is no room for a fifth: its close waits.
    closing = threading.Thread(target=put, args=(store, "/f4", b"x" * 10), daemon=True)
    closing.start()
    attempts = 0
    for _ in range(300):
        clock.advance(1)
        attempts += store.workers.step()
    assert 10 <= attempts <= 20  # after 1, 2, 4, 8, 16, 30, 30 ... seconds
    assert closing.is_alive() and store.backlog.usage().away == "nobody answers"
    assert [get(store, f"/f{number}") for number in range(4)] == [b"x" * 10] * 4
    plan.clear()
    clock.advance(30)
    finish(store)
    closing.join(30)
    finish(store)
    assert set(server.files()) == {f"/f{number}" for number in range(5)}
    assert store.backlog.usage().changes == 0
    store.close()


def test_a_barrier_tells_that_the_server_is_away(tmp_path: Path, expect_log: ExpectLog) -> None:
    expect_log("tried again and again")
    server, plan = MemoryStore(), FaultPlan(Fault(error=away))
    clock = FakeClock()
    store = behind(FaultyStore(server, plan), tmp_path, clock)
    put(store, "/f", b"1")
    told: list[Exception] = []

    def wait() -> None:
        try:
            store.settle("/f")
        except ConnectFailed as error:
            told.append(error)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    while waiting.is_alive():
        store.workers.step()
        waiting.join(0.01)
    assert len(told) == 1 and get(store, "/f") == b"1"
    assert store.backlog.usage().changes == 1
    plan.clear()
    clock.advance(30)
    finish(store)
    assert server.files() == {"/f": b"1"}
    store.close()


def test_somebody_elses_version_is_not_replaced(tmp_path: Path, expect_log: ExpectLog) -> None:
    expect_log("not stored: write of '/f': somebody else replaced")
    clock, server = FakeClock(), MemoryStore()
    put(server, "/f", b"old")
    store = behind(server, tmp_path, clock)
    put(store, "/f", b"mine", Base(store.stat_file("/f"), is_needed=True))
    put(server, "/f", b"theirs")
    clock.advance(61)
    finish(store)
    assert server.files() == {"/f": b"theirs"} and get(store, "/f") == b"mine"
    with pytest.raises(ObjectChanged):
        store.settle("/f")
    [kept] = leftover.left_over(store)
    assert (kept.path, kept.size) == ("/f", 4) and Path(kept.file).read_bytes() == b"mine"
    # It is as it was after a restart, and after one more refusal.
    store.backlog.close()
    store = behind(server, tmp_path, clock)
    assert get(store, "/f") == b"mine" and leftover.left_over(store) == [kept]
    [operation] = store.backlog.refused()
    store.backlog.retry(operation, force=True)
    finish(store)
    assert server.files() == {"/f": b"mine"} and leftover.left_over(store) == []
    store.close()


def test_what_is_refused_can_be_rewritten_moved_and_dropped(
    tmp_path: Path, expect_log: ExpectLog
) -> None:
    expect_log("not stored: write of '/[abc]': the account is full")
    server = MemoryStore()
    full = Fault("write_file", error=lambda: QuotaExceeded("the account is full"))
    plan = FaultPlan(full)
    store = behind(FaultyStore(server, plan), tmp_path)
    for name in "abc":
        put(store, f"/{name}", name.encode())
    finish(store)
    assert [one.path for one in leftover.left_over(store)] == ["/a", "/b", "/c"]
    plan.clear()
    put(store, "/a", b"new", Base(store.stat_file("/a"), is_needed=True))
    store.move_file("/b", "/d", overwrite=True, base=Base(store.stat_file("/b")))
    assert [one.path for one in leftover.drop(store, ["/c"])] == ["/c"]
    finish(store)
    assert server.files() == {"/a": b"new", "/d": b"b"}
    assert leftover.left_over(store) == [] and not list((tmp_path / "content").iterdir())
    store.close()


def test_what_waits_for_a_refused_file_goes_on_with_it(
    tmp_path: Path, expect_log: ExpectLog
) -> None:
    expect_log("the account is full")
    server = MemoryStore()
    store = behind(server, tmp_path)
    put(store, "/f", b"1")
    taken = store.backlog.take(is_waiting=False)
    assert taken is not None
    store.move_file("/f", "/g", overwrite=True, base=Base(store.stat_file("/f")))
    store.backlog.failed(taken[0], QuotaExceeded("the account is full"))
    # Under its new name it is tried at once: the program was not told that it failed.
    assert get(store, "/g") == b"1" and get(store, "/f") is None
    finish(store)
    assert server.files() == {"/g": b"1"}
    store.close()


def test_content_that_was_damaged_is_not_sent(tmp_path: Path, expect_log: ExpectLog) -> None:
    expect_log("damaged on the local disk")
    server = MemoryStore()
    store = behind(server, tmp_path)
    put(store, "/f", b"precious")
    store.backlog.close()
    [file] = (tmp_path / "content").iterdir()
    file.write_bytes(bytes(8))  # what a disk may show after a power loss
    store = behind(server, tmp_path)
    finish(store)
    assert server.files() == {} and len(leftover.left_over(store)) == 1
    store.close()


def test_a_full_disk_is_told_by_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = behind(MemoryStore(), tmp_path)
    put(store, "/a", b"1")

    def full(*_: object) -> None:
        raise NoSpace("/b")

    monkeypatch.setattr(Journal, "put", full)
    with pytest.raises(NoSpace):
        put(store, "/b", b"2")
    monkeypatch.undo()
    assert get(store, "/b") is None and get(store, "/a") == b"1"
    finish(store)
    assert len(list((tmp_path / "content").iterdir())) == 0
    store.close()


def test_another_format_says_what_to_do(tmp_path: Path) -> None:
    store = behind(MemoryStore(), tmp_path)
    store.backlog._journal._database.execute(f"PRAGMA user_version = {FORMAT + 1}")
    store.backlog.close()
    with pytest.raises(Exception, match="another version of cosfs .* mount this bucket"):
        behind(MemoryStore(), tmp_path)


def test_who_waits_is_not_held_back_with_what_nobody_waits_for(tmp_path: Path) -> None:
    clock, server = FakeClock(), MemoryStore()
    store = behind(server, tmp_path, clock, delay_s=2.0)
    put(store, "/old", b"its time has come, but programs are busy")
    clock.advance(4)
    put(store, "/new", b"somebody waits for it")
    waits = threading.Thread(target=lambda: store.settle("/new"), daemon=True)
    waits.start()
    wait_until(lambda: any(one.is_pressed for one in store.backlog.waiting()))
    assert store.workers.step()
    waits.join()
    assert set(server.files()) == {"/new"}
    store.close()


def test_a_new_file_over_a_removal_replaces_nothing_of_somebody_else(
    tmp_path: Path, expect_log: ExpectLog
) -> None:
    expect_log("not stored: write of '/exclusive': somebody else replaced")
    clock, server = FakeClock(), MemoryStore()
    store = behind(server, tmp_path, clock)
    for path in ("/exclusive", "/blind", "/untouched"):
        put(server, path, b"old")
        store.delete_file(path, base=Base(store.stat_file(path)))
        store.write_file(
            path,
            BytesSource(b"new"),
            metadata=Metadata(),
            create_only=path != "/blind",
            base=Base(),
        )
    put(server, "/exclusive", b"theirs")
    put(server, "/blind", b"theirs")
    clock.advance(61)
    finish(store)
    # Who opened it with O_EXCL was told that nobody else has made it; who did not, wins.
    assert server.files() == {"/exclusive": b"theirs", "/blind": b"new", "/untouched": b"new"}
    assert [one.path for one in leftover.left_over(store)] == ["/exclusive"]
    store.close()


def test_a_barrier_tells_of_names_that_were_refused_before(
    tmp_path: Path, expect_log: ExpectLog
) -> None:
    expect_log("not stored: (delete|move) of '/d/[am]'")
    clock, server = FakeClock(), MemoryStore()
    store = behind(server, tmp_path, clock)
    for path in ("/d/a", "/d/m"):
        put(server, path, b"old")
    store.delete_file("/d/a", base=Base(store.stat_file("/d/a")))
    store.move_file("/d/m", "/e", overwrite=True, base=Base(store.stat_file("/d/m")))
    for path in ("/d/a", "/d/m"):
        put(server, path, b"theirs")
    clock.advance(61)
    finish(store)
    # A program's barrier says so once, as an fsync of a disk does ...
    for path, scope in (("/e", Scope.NAME), ("/d", Scope.FOLDER)):
        with pytest.raises(ObjectChanged):
            store.settle(path, scope)
        store.settle(path, scope)
    # ... and a person is told until it is decided, also after a restart.
    store.backlog.close()
    store = behind(server, tmp_path, clock)
    for path in ("/d", "/", "/d/a", "/e"):
        with pytest.raises(StoreError, match="somebody else replaced"):
            store.settle(path, Scope.TREE)
    store.settle("/f", Scope.TREE)
    leftover.drop(store, ["/d/a", "/d/m"])
    store.settle("/", Scope.TREE)
    store.close()


def test_a_queue_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    store = behind(MemoryStore(), tmp_path)
    put(store, "/f", b"1")
    store.backlog._journal._database.execute("UPDATE operations SET record = '{\"kind\": 1}'")
    store.backlog.close()
    with pytest.raises(ConfigError, match="cannot be read or written: .* move "):
        behind(MemoryStore(), tmp_path)
    file = tmp_path / "queue.sqlite"
    for name in ("queue.sqlite-wal", "queue.sqlite-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    for damage in (b"SQLite format 3\0" + bytes(4096), b"no database at all" * 300):
        file.write_bytes(damage)
        with pytest.raises(ConfigError, match="cannot be read or written: .* move "):
            behind(MemoryStore(), tmp_path)
    file.unlink()
    file.mkdir()
    with pytest.raises(ConfigError, match="cannot be read or written: .* move "):
        behind(MemoryStore(), tmp_path)
    file.rmdir()
    with sqlite3.connect(file) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("CREATE TABLE held (by TEXT)")
        with pytest.raises(ConfigError, match="cannot be read or written: .* move "):
            behind(MemoryStore(), tmp_path)
    other.close()
