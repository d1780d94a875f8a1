"""Changes that meet: what one finds is not what the one before it was to leave."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cosfs.errors import AttributesTooLarge, ConnectFailed, QuotaExceeded
from cosfs.model import Attributes, Base, BytesSource, Metadata
from cosfs.store.faulty import Fault, FaultPlan, FaultyStore
from cosfs.store.memory import MemoryStore
from cosfs.store.writeback import leftover
from cosfs.store.writeback.operation import Kind
from cosfs.store.writeback.store import WriteBackStore
from tests.fakeclock import FakeClock
from tests.mount.bench import wait_until
from tests.writeback.bench import behind, finish, get, put

ExpectLog = Callable[[str], None]


def kind_taken(store: WriteBackStore) -> Kind | None:
    """Begin the next change, as a worker does."""
    taken = store.backlog.take(is_waiting=False)
    return None if taken is None else taken[0].kind


class FullDisk:
    """A connection to a database whose statements that begin with ``refused`` find no room."""

    def __init__(self, database: sqlite3.Connection, refused: str) -> None:
        self._database = database
        self.refused = refused

    def execute(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        if self.refused and statement.startswith(self.refused):
            raise sqlite3.OperationalError("database or disk is full")
        return self._database.execute(statement, values)

    def rollback(self) -> None:
        self._database.rollback()

    def close(self) -> None:
        self._database.close()


def test_a_stat_of_a_file_that_moves_is_not_of_its_successor(tmp_path: Path) -> None:
    server = MemoryStore()
    put(server, "/a", b"old")
    store = behind(server, tmp_path)
    store.move_file("/a", "/b", overwrite=True, base=Base(server.stat_file("/a")))

    def look(method: str, path: str) -> None:
        if (method, path) == ("stat_file", "/a"):
            server.hook = None
            finish(store)
            put(store, "/a", b"of another file")
            finish(store)

    server.hook = look
    assert store.stat_file("/b").size == 3
    store.close()


def test_nobody_waits_for_a_file_that_the_view_gave_up(
    tmp_path: Path, expect_log: ExpectLog
) -> None:
    expect_log("not stored: write of '/x': the account is full")
    server = MemoryStore()
    put(server, "/a", b"old")
    store = behind(server, tmp_path)
    backlog = store.backlog
    store.move_file("/a", "/b", overwrite=True, base=Base(server.stat_file("/a")))
    put(store, "/x", b"x")
    move, write = backlog.take(is_waiting=False), backlog.take(is_waiting=False)
    assert move is not None and write is not None
    node = backlog.view.files["/b"]
    assert node is not None
    # This makes the view find out anew what is true, while the rename is being made.
    backlog.failed(write[0], QuotaExceeded("the account is full"))
    server.move_file("/a", "/b", overwrite=True)
    backlog.made_it(move[0])
    asking = threading.Thread(
        target=backlog.has_moved, args=("/b", node, node.places), daemon=True
    )
    asking.start()
    asking.join(10)
    assert not asking.is_alive()
    store.close()


def test_content_gets_no_name_that_a_refused_change_has(
    tmp_path: Path, expect_log: ExpectLog
) -> None:
    expect_log("not stored: write of '/bad': the account is full")
    server = MemoryStore()
    full = Fault("write_file", "/bad", error=lambda: QuotaExceeded("the account is full"))
    store = behind(FaultyStore(server, FaultPlan(full)), tmp_path)
    put(store, "/bad", b"bad")
    finish(store)
    [kept] = leftover.left_over(store)
    Path(kept.file).unlink()
    store.backlog.close()
    store = behind(server, tmp_path)
    put(store, "/good", b"good")
    leftover.drop(store, ["/bad"])
    finish(store)
    assert server.files() == {"/good": b"good"} and leftover.left_over(store) == []
    store.close()


def test_what_a_refused_rename_left_is_not_taken_for_its_file(
    tmp_path: Path, expect_log: ExpectLog
) -> None:
    expect_log("not stored: move of '/[ab]'")
    server = MemoryStore()
    put(server, "/a", b"a")
    put(server, "/b", b"b")
    store = behind(server, tmp_path)
    base = Base(store.stat_file("/a"))
    store.move_file("/a", "/b", overwrite=True, base=base)
    store.move_file("/b", "/c", overwrite=True, base=base)
    server.delete_file("/a")
    finish(store)
    assert server.files() == {"/b": b"b"}
    assert [(one.kind, one.path) for one in leftover.left_over(store)] == [
        ("move", "/a"),
        ("move", "/b"),
    ]
    store.close()


def test_a_retry_does_not_undo_what_was_written_since(
    tmp_path: Path, expect_log: ExpectLog
) -> None:
    expect_log("not stored: (delete|move) of '/[dm]': somebody else replaced")
    clock, server = FakeClock(), MemoryStore()
    put(server, "/d", b"old")
    put(server, "/m", b"old")
    store = behind(server, tmp_path, clock)
    store.delete_file("/d", base=Base(store.stat_file("/d")))
    store.move_file("/m", "/n", overwrite=True, base=Base(store.stat_file("/m")))
    put(server, "/d", b"theirs")
    put(server, "/m", b"theirs")
    clock.advance(61)
    finish(store)
    put(store, "/d", b"new", Base(store.stat_file("/d")))
    put(store, "/m", b"new", Base(store.stat_file("/m")))
    for operation in store.backlog.refused():
        store.backlog.retry(operation, force=False)
    finish(store)
    assert server.files() == {"/d": b"new", "/m": b"new"}
    assert [one.kind for one in leftover.left_over(store)] == ["removal", "move"]
    # They are as they were after a restart too, and once each.
    store.backlog.close()
    store = behind(server, tmp_path, clock)
    for operation in store.backlog.refused():
        store.backlog.retry(operation, force=True)
    finish(store)
    assert server.files() == {"/n": b"new"} and leftover.left_over(store) == []
    store.close()


def test_a_listing_shows_what_is_moved_between_its_pages(tmp_path: Path) -> None:
    server = MemoryStore(page_size=2, marker_slot=False)
    for name in "cdefz":
        put(server, f"/{name}", name.encode())
    store = behind(server, tmp_path)
    known = store.stat_file("/z")
    store.set_metadata("/z", known, Metadata(attributes=Attributes(mode=0o100600)))
    store.move_file("/z", "/a", overwrite=True, base=Base(known))
    names: set[str] = set()
    cursor: str | None = ""
    while cursor is not None:
        page = store.list_page("/", cursor=cursor)
        names.update(page.entries)
        cursor = page.cursor
        finish(store)
    assert names == set("acdef")
    store.close()


def test_names_with_attributes_wait_for_metadata_that_make_the_mark(tmp_path: Path) -> None:
    server = MemoryStore()
    server.make_folder("/d")
    store = behind(server, tmp_path)
    private = Metadata(attributes=Attributes(mode=0o40700))
    store.set_metadata("/d", store.stat_folder("/d"), private)
    assert not store.mark_folder("/d")
    put(store, "/d/f", b"f", mode=0o100600)
    assert (kind_taken(store), kind_taken(store)) == (Kind.SET, None)


def test_what_somebody_waits_for_is_not_behind_what_is_held_back(tmp_path: Path) -> None:
    clock, server = FakeClock(), MemoryStore()
    store = behind(server, tmp_path, clock, delay_s=300.0)
    put(store, "/idle", b"i")
    clock.advance(1)
    put(store, "/a", b"a")
    clock.advance(299.95)
    # Programs are busy: what was due a moment ago is held back a little longer.
    put(store, "/busy", b"b")
    waiting = threading.Thread(target=store.settle, args=("/a",), daemon=True)
    waiting.start()
    wait_until(lambda: [one.is_pressed for one in store.backlog.waiting()] == [False, True, False])
    # It goes on under another name, which waits for a folder that nobody waited for.
    store.make_folder("/d", base=Base())
    store.move_file("/a", "/d/a", overwrite=True)
    finish(store)
    waiting.join(10)
    assert not waiting.is_alive()
    assert server.files() == {"/d/a": b"a"}
    store.close()


def test_the_end_of_a_mount_waits_for_no_room(tmp_path: Path) -> None:
    plan = FaultPlan(Fault(error=lambda: ConnectFailed("nobody answers")))
    store = behind(FaultyStore(MemoryStore(), plan), tmp_path, size_bytes=10)
    put(store, "/a", b"x" * 10)
    closing = threading.Thread(target=put, args=(store, "/b", b"y"), daemon=True)
    closing.start()
    store.backlog.let_all_in()
    closing.join(10)
    assert not closing.is_alive() and store.backlog.usage().bytes == 11
    store.close()


def test_content_of_which_few_fit_is_not_promised_to_be_taken_at_once(tmp_path: Path) -> None:
    store = behind(MemoryStore(), tmp_path, size_bytes=1000)
    # Nothing waits: one would be let in however large, but not a second one beside it.
    assert store.takes_at_once(10) and not store.takes_at_once(600)
    store.close()


def test_what_only_the_server_can_take_is_not_refused_for_an_older_refusal(
    tmp_path: Path, expect_log: ExpectLog
) -> None:
    expect_log("not stored: move of '/a': the account is full")
    server = MemoryStore()
    put(server, "/a", b"a")
    full = Fault("move_file", "/a", error=lambda: QuotaExceeded("the account is full"))
    store = behind(FaultyStore(server, FaultPlan(full)), tmp_path)
    store.move_file("/a", "/b", overwrite=True, base=Base(server.stat_file("/a")))
    finish(store)
    large = Metadata({f"xattr-{number}": bytes(900) for number in range(40)})
    with pytest.raises(AttributesTooLarge):
        store.write_file("/b", BytesSource(b"b"), metadata=large, base=Base())
    with pytest.raises(QuotaExceeded):
        store.settle("/b")
    store.close()


def test_a_row_that_a_full_disk_kept_goes_with_the_next_change(
    tmp_path: Path, expect_log: ExpectLog
) -> None:
    expect_log("stays in the queue's file")
    server = MemoryStore()
    put(server, "/a", b"a")
    store = behind(server, tmp_path)
    journal = store.backlog._journal
    disk = FullDisk(journal._database, "DELETE")
    journal._database = disk  # type: ignore[assignment]
    known = store.stat_file("/a")
    store.set_metadata("/a", known, Metadata(attributes=Attributes(mode=0o100600)))
    store.move_file("/a", "/b", overwrite=True)
    finish(store)
    disk.refused = ""
    put(store, "/a", b"new")
    finish(store)
    store.backlog.close()
    # The rename would take the newer file along.
    store = behind(server, tmp_path)
    finish(store)
    assert server.files() == {"/a": b"new", "/b": b"a"}
    store.close()


def test_a_killed_mounts_content_does_not_replace_what_is_newer(
    tmp_path: Path, expect_log: ExpectLog
) -> None:
    expect_log("not stored: write of '/a': somebody else replaced")
    server = MemoryStore()
    put(server, "/a", b"old")
    store = behind(server, tmp_path)
    put(store, "/a", b"mine", Base(store.stat_file("/a")))
    assert kind_taken(store) is Kind.WRITE
    # The server has it, and the mount dies before it hears of that.
    put(server, "/a", b"mine")
    store.backlog.close()
    put(server, "/a", b"theirs")
    store = behind(server, tmp_path)
    finish(store)
    assert server.files() == {"/a": b"theirs"} and get(store, "/a") == b"mine"
    store.close()


def test_a_refusal_that_a_full_disk_does_not_take_comes_later(
    tmp_path: Path, expect_log: ExpectLog
) -> None:
    expect_log("not stored: write of '/a': the account is full")
    expect_log("that it was refused cannot be written down")
    clock, server = FakeClock(), MemoryStore()
    full = Fault("write_file", error=lambda: QuotaExceeded("the account is full"))
    store = behind(FaultyStore(server, FaultPlan(full)), tmp_path, clock)
    put(store, "/a", b"1")
    taken = store.backlog.take(is_waiting=False)
    assert taken is not None
    put(store, "/a", b"12", Base(store.stat_file("/a"), is_needed=True))
    journal = store.backlog._journal
    disk = FullDisk(journal._database, "INSERT")
    journal._database = disk  # type: ignore[assignment]
    store.backlog.failed(taken[0], QuotaExceeded("the account is full"))
    assert not store.workers.step()
    assert get(store, "/a") == b"12" and store.backlog.usage().changes == 2
    disk.refused = ""
    clock.advance(31)
    finish(store)
    [kept] = leftover.left_over(store)
    assert (kept.path, kept.size) == ("/a", 2) and get(store, "/a") == b"12"
    store.close()


def test_a_listing_shows_the_file_that_took_a_folders_name(tmp_path: Path) -> None:
    server = MemoryStore()
    server.make_folder("/d")
    store = behind(server, tmp_path)
    store.delete_folder("/d", marked=False)
    put(store, "/d", b"a file")
    assert not store.list_page("/").entries["d"].is_folder
    store.close()


def test_a_listing_of_files_whose_attributes_wait_costs_no_look_at_each(tmp_path: Path) -> None:
    clock, server = FakeClock(), MemoryStore()
    for name in "abc":
        put(server, f"/{name}", name.encode())
    store = behind(server, tmp_path, clock)
    private = Metadata(attributes=Attributes(mode=0o100600))
    for name in "abc":
        store.set_metadata(f"/{name}", server.stat_file(f"/{name}"), private)
    put(server, "/b", b"of somebody else")
    server.requests.clear()
    assert {name: one.size for name, one in store.list_page("/").entries.items()} == {
        "a": 1, "b": 16, "c": 1,
    }  # fmt: skip
    assert +server.requests == {"list_page": 1}
    store.close()


def test_a_listing_that_lags_shows_no_old_version_of_a_file_whose_attributes_wait(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    server = MemoryStore(clock=clock, listing_lag_s=5.0)
    put(server, "/a", b"old")
    clock.advance(10)
    store = behind(server, tmp_path, clock)
    put(store, "/a", b"of late", Base(store.stat_file("/a")))
    finish(store)
    private = Metadata(attributes=Attributes(mode=0o100600))
    store.set_metadata("/a", store.stat_file("/a"), private)
    assert store.list_page("/").entries["a"].size == 7
    store.close()


def test_a_listing_that_lags_shows_a_folder_of_late_in_which_something_waits(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    server = MemoryStore(clock=clock, listing_lag_s=5.0)
    store = behind(server, tmp_path, clock)
    store.make_folder("/d", biz_attr=b"a text", base=Base())
    put(store, "/d/f", b"f", mode=0o100600)
    assert store.workers.step()
    assert not server.list_page("/").entries and store.backlog.usage().changes == 1
    assert not store.list_page("/").entries["d"].implied
    store.close()


def test_a_listing_that_lags_tells_of_attributes_that_were_stored_of_late(tmp_path: Path) -> None:
    clock = FakeClock()
    server = MemoryStore(clock=clock, listing_lag_s=5.0)
    put(server, "/d/f", b"f")
    server.make_folder("/e")
    clock.advance(10)
    store = behind(server, tmp_path, clock)
    store.mark_folder("/d")
    private = Metadata(attributes=Attributes(mode=0o40700))
    store.set_metadata("/e", store.stat_folder("/e"), private)
    finish(store)
    assert not server.list_page("/d").marked and not server.list_page("/e").marked
    assert store.list_page("/d").marked and store.list_page("/e").marked
    store.delete_file("/d/f")
    store.delete_folder("/d", marked=True)
    finish(store)
    assert not store.list_page("/d").marked
    store.close()


def test_no_later_page_hides_what_a_folder_is_in_which_something_waits(tmp_path: Path) -> None:
    server = MemoryStore(page_size=2, marker_slot=False)
    for name in "abc":
        server.make_folder(f"/{name}")
    store = behind(server, tmp_path)
    put(store, "/a/f", b"f")
    first = store.list_page("/")
    assert not first.entries["a"].implied and first.cursor is not None
    assert set(store.list_page("/", cursor=first.cursor).entries) == {"c"}
    store.close()
