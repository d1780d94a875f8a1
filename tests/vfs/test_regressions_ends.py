"""What the state machine found with kills, kept content and other clients, each made small."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

import pytest

from cosfs.errors import (
    AlreadyExists,
    ConnectFailed,
    ConnectionLost,
    NotFound,
    ServerFault,
    Stale,
    StoreFailed,
)
from cosfs.store.faulty import Fault, FaultPlan, FaultyStore
from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
from tests.fakeclock import FakeClock
from tests.vfs.conftest import ME, MakeFs
from tests.vfs.programs import append, close, names, open_file, write_file, write_unseen

HIDDEN = "/.fuse_hidden0000000100000001"


def outage(_method: str, path: str) -> None:
    raise ConnectFailed("no route", path=path)


def test_a_replaced_file_does_not_come_back_after_a_kill(
    fs: FileSystem, make_fs: MakeFs, store: MemoryStore
) -> None:
    write_file(fs, "/new", b"new")
    write_file(fs, "/f", b"replaced")
    fh = open_file(fs, "/f", os.O_RDONLY)
    fs.rename("/f", HIDDEN)
    fs.rename("/new", "/f")
    fs.unlink("/f")
    heir = make_fs(journal_file=fs._journal.file)
    assert names(heir, "/") == []
    assert store.files() == {}
    close(fs, fh)


def test_a_rename_of_what_is_gone_leaves_an_open_target_its_name(
    fs: FileSystem, store: MemoryStore
) -> None:
    # The kernel still knows the old name, so libfuse has hidden the target.
    fh = open_file(fs, "/f", os.O_WRONLY | os.O_CREAT)
    fs.write(fh, 0, b"1")
    fs.rename("/f", HIDDEN)
    with pytest.raises(NotFound):
        fs.rename("/gone", "/f")
    assert names(fs, "/") == ["f"]
    close(fs, fh)
    assert store.files() == {"/f": b"1"}


def test_kept_content_is_not_stored_beside_a_folder_of_its_name(
    fs: FileSystem, store: MemoryStore, expect_log: Callable[[str], None]
) -> None:
    expect_log("not stored|cannot be stored now")
    fh = open_file(fs, "/f", os.O_WRONLY | os.O_CREAT)
    store.hook = outage
    fs.release(fh)
    store.hook = None
    fs.mkdir("/f", 0o755, ME)
    for force in (False, True):
        (left,) = fs.leftovers.retry(force=force).left
        assert left.path == "/f" and "another version is there" in left.reason
    assert store.files() == {}


def test_a_file_that_was_stored_again_is_not_replaced_by_one_that_was_thought_new(
    fs: FileSystem, store: MemoryStore, expect_log: Callable[[str], None]
) -> None:
    expect_log("not stored")
    fh = open_file(fs, "/f", os.O_WRONLY | os.O_CREAT)
    fs.write(fh, 0, b"precious")
    store.hook = outage
    fs.release(fh)
    store.hook = None
    with pytest.raises(NotFound):
        fs.getattr("/f")
    fs.leftovers.retry()
    # The kernel remembers that there was no such name.
    with pytest.raises(Stale):
        fs.create("/f", 0o644, os.O_WRONLY | os.O_CREAT | os.O_APPEND, ME)
    append(fs, "/f", b"!")
    assert store.files() == {"/f": b"precious!"}


def test_a_folder_shows_when_content_came_back_to_it(
    fs: FileSystem, store: MemoryStore, clock: FakeClock, expect_log: Callable[[str], None]
) -> None:
    expect_log("not stored")
    write_file(fs, "/f", b"1")
    fh = open_file(fs, "/f", os.O_WRONLY)
    fs.write(fh, 1, b"2")
    store.hook = outage
    fs.release(fh)
    store.hook = None
    fs.unlink("/f")
    clock.advance(10)
    fs.leftovers.retry()
    assert fs.getattr("/").mtime_ns == clock.wall_ns()


def test_a_new_file_has_nothing_of_a_folder_that_went_without_an_answer(
    store: MemoryStore, make_fs: MakeFs, expect_log: Callable[[str], None]
) -> None:
    expect_log("half done")
    lost = Fault("delete_folder", on={1}, error=lambda: ConnectionLost("no answer"), after=True)
    fs = make_fs(over=FaultyStore(store, FaultPlan(lost)))
    fs.mkdir("/d", 0o700, ME)
    with pytest.raises(ConnectionLost):
        fs.rename("/d", "/e")
    write_file(fs, "/d", b"1")
    for seen in (fs, make_fs()):
        assert stat.S_IMODE(seen.getattr("/d").mode) == 0o644


def test_attributes_that_are_listed_can_be_read_though_somebody_replaced_the_file(
    fs: FileSystem, store: MemoryStore
) -> None:
    fh = open_file(fs, "/f", os.O_WRONLY | os.O_CREAT)
    fs.setxattr("/f", "user.biz_attr", b"1", create=False, replace=False)
    close(fs, fh)
    fs.setxattr("/f", "user.biz_attr", b"2", create=False, replace=False)
    write_unseen(store, "/f", b"theirs")
    for name in fs.listxattr("/f"):
        fs.getxattr("/f", name)


def test_a_stop_keeps_what_was_written_to_a_version_that_was_replaced(
    fs: FileSystem, store: MemoryStore, clock: FakeClock, expect_log: Callable[[str], None]
) -> None:
    expect_log("not stored")
    write_unseen(store, "/f", b"old")
    old = open_file(fs, "/f", os.O_RDWR)
    assert fs.read(old, 0, 3) == b"old"
    write_unseen(store, "/f", b"theirs")
    clock.advance(61)
    open_file(fs, "/f", os.O_RDONLY)
    fs.write(old, 0, b"ours and longer")
    (left,) = fs.stop()
    assert left.path == "/f"
    assert store.files() == {"/f": b"theirs"}


def test_a_folder_that_replaces_one_of_somebody_else_is_counted_once(
    fs: FileSystem, store: MemoryStore
) -> None:
    with store.unseen():
        store.make_folder("/old")
        store.make_folder("/new")
    for path in ("/old", "/new"):
        fs.getattr(path)
    fs.rename("/old", "/new")
    assert fs.getattr("/").nlink == 2 + 1


def test_a_stat_shows_one_version_though_its_attributes_had_to_be_asked_for(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs
) -> None:
    write_file(fs, "/f", b"old")
    fs.chmod("/f", 0o600)
    fs._keeper.send("/f")
    heir = make_fs()
    # Its listing says that there are attributes, and not which.
    assert names(heir, "/") == ["f"]
    write_unseen(store, "/f", b"theirs")
    attrs = heir.getattr("/f")
    assert (attrs.size, stat.S_IMODE(attrs.mode)) == (len(b"theirs"), 0o644)


def test_kept_content_is_seen_that_was_stored_without_an_answer(
    store: MemoryStore, make_fs: MakeFs, expect_log: Callable[[str], None]
) -> None:
    expect_log("not stored|cannot be stored now")
    plan = FaultPlan()
    fs = make_fs(over=FaultyStore(store, plan))
    plan.add(Fault("write_file", on={1}, error=lambda: ConnectFailed("no route")))
    plan.add(Fault("write_file", on={2}, error=lambda: ConnectionLost("no answer"), after=True))
    fs.release(open_file(fs, "/f", os.O_WRONLY | os.O_CREAT))
    fs.leftovers.retry()
    assert store.files() == {"/f": b""}
    assert fs.getattr("/f").size == 0


def test_a_folder_that_was_not_replaced_keeps_what_was_not_sent_of_it(
    store: MemoryStore, make_fs: MakeFs, expect_log: Callable[[str], None]
) -> None:
    expect_log("half done|is taken back")
    failed = Fault("make_folder", on={3}, error=lambda: ConnectFailed("no route"))
    fs = make_fs(over=FaultyStore(store, FaultPlan(failed)))
    fs.mkdir("/old", 0o755, ME)
    fs.mkdir("/new", 0o700, ME)
    with pytest.raises(ConnectFailed):
        fs.rename("/old", "/new")
    # Asking again takes the first attempt back.
    with pytest.raises(NotFound):
        fs.rename("/new/none", "/new/other")
    assert stat.S_IMODE(fs.getattr("/new").mode) == 0o700
    assert stat.S_IMODE(fs.getattr("/old").mode) == 0o755


def test_a_folder_that_was_made_in_vain_is_not_counted(
    store: MemoryStore, make_fs: MakeFs, expect_log: Callable[[str], None]
) -> None:
    expect_log("is taken back")
    failed = Fault("mark_folder", path="/top/new", error=lambda: ServerFault("no"))
    fs = make_fs(over=FaultyStore(store, FaultPlan(failed)))
    fs.mkdir("/top", 0o755, ME)
    fs.mkdir("/old", 0o700, ME)
    fs._keeper.send("/old")
    with pytest.raises(ServerFault):
        fs.rename("/old", "/top/new")
    assert fs.getattr("/top").nlink == 2


def test_a_folder_whose_removal_had_no_answer_is_not_counted(
    store: MemoryStore, make_fs: MakeFs
) -> None:
    lost = Fault("delete_folder", on={1}, error=lambda: ConnectionLost("no answer"), after=True)
    fs = make_fs(over=FaultyStore(store, FaultPlan(lost)))
    fs.mkdir("/d", 0o755, ME)
    with pytest.raises(ConnectionLost):
        fs.rmdir("/d")
    assert fs.getattr("/").nlink == 2


def test_a_file_that_may_be_stored_but_is_not_gets_its_name_back(
    store: MemoryStore, make_fs: MakeFs
) -> None:
    plan = FaultPlan()
    fs = make_fs(over=FaultyStore(store, plan))
    write_file(fs, "/next", b"next")
    fh = open_file(fs, "/f", os.O_WRONLY | os.O_CREAT)
    fs.write(fh, 0, b"precious")
    plan.add(Fault("write_file", error=lambda: ConnectFailed("no route"), on={1}))
    with pytest.raises(StoreFailed):
        fs.fsync(fh)
    fs.rename("/f", HIDDEN)
    plan.add(Fault("move_file", path="/next", error=lambda: ConnectFailed("no route")))
    with pytest.raises(ConnectFailed):
        fs.rename("/next", "/f")
    assert names(fs, "/") == ["f", "next"]
    fs.fsync(fh)
    close(fs, fh)
    assert store.files() == {"/f": b"precious", "/next": b"next"}


def test_what_was_not_stored_of_a_file_that_lost_its_name_for_nothing_is_kept(
    store: MemoryStore, make_fs: MakeFs, expect_log: Callable[[str], None]
) -> None:
    expect_log("has lost its name|not stored")
    plan = FaultPlan()
    fs = make_fs(over=FaultyStore(store, plan))
    write_file(fs, "/next", b"next")
    write_file(fs, "/f", b"stored")
    fh = open_file(fs, "/f", os.O_WRONLY)
    fs.rename("/f", HIDDEN)
    plan.add(Fault("move_file", on={1, 2}, error=lambda: ConnectFailed("no route")))
    with pytest.raises(ConnectFailed):
        fs.rename("/next", "/f")
    fs.write(fh, 0, b"precious")
    fs.release(fh)
    assert store.files() == {"/f": b"stored", "/next": b"next"}
    (left,) = fs.leftovers.all()
    assert (left.path, left.size) == ("/f", len(b"precious"))


def test_a_name_that_the_last_close_gives_back_is_listed_at_once(
    store: MemoryStore, make_fs: MakeFs, clock: FakeClock, expect_log: Callable[[str], None]
) -> None:
    expect_log("has lost its name")
    plan = FaultPlan()
    fs = make_fs(ttl_s=0, over=FaultyStore(store, plan))
    write_file(fs, "/next", b"next")
    write_file(fs, "/f", b"stored")
    store.listing_lag_s = 5
    fh = open_file(fs, "/f", os.O_RDONLY)
    fs.rename("/f", HIDDEN)
    plan.add(Fault("move_file", on={1, 2}, error=lambda: ConnectFailed("no route")))
    with pytest.raises(ConnectFailed):
        fs.rename("/next", "/f")
    clock.advance(store.listing_lag_s + 1)
    fs.release(fh)
    assert names(fs, "/") == ["f", "next"]


def test_a_folder_is_not_made_beside_a_file_that_the_kernel_does_not_know(
    fs: FileSystem, store: MemoryStore, expect_log: Callable[[str], None]
) -> None:
    expect_log("not stored")
    fh = open_file(fs, "/f", os.O_WRONLY | os.O_CREAT)
    store.hook = outage
    fs.release(fh)
    store.hook = None
    # That there is no such name, the kernel remembers for a second.
    fs.leftovers.retry()
    with pytest.raises(AlreadyExists):
        fs.mkdir("/f", 0o755, ME)
    assert store.folders() == []
