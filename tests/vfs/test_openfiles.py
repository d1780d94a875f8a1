"""Open files: when they are stored, what others see meanwhile, and what happens to what fails."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cosfs.errors import (
    AlreadyExists,
    ConnectFailed,
    IntegrityError,
    NotFound,
    Stale,
    StoreFailed,
)
from cosfs.model import Entry, Version
from cosfs.store.base import Store
from cosfs.store.memory import MemoryStore
from cosfs.vfs.blocks import BLOCK_SIZE
from cosfs.vfs.filesystem import FileSystem
from cosfs.vfs.types import Caller
from tests.fakeclock import FakeClock
from tests.vfs.conftest import ME, MakeFs
from tests.vfs.programs import (
    append,
    close,
    names,
    open_file,
    read_file,
    write_file,
    write_unseen,
)

#: The fixture that declares log lines a test provokes.
ExpectLog = Callable[[str], None]

#: Some process that is alive and is not this one.
OTHER = Caller(uid=0, gid=0, pid=1)


def uploads(store: MemoryStore) -> int:
    return store.requests["write_file"]


class Outage:
    """A hook that fails every change while it is on."""

    def __init__(self, store: MemoryStore) -> None:
        self.on = True
        store.hook = self

    def __call__(self, method: str, path: str) -> None:
        if self.on:
            raise ConnectFailed("no route", path=path)


# -- the flush rule ----------------------------------------------------------------------------


def test_redirection_of_a_shell_group_is_one_upload(fs: FileSystem, store: MemoryStore) -> None:
    # { date; echo b; echo c; } > f: the shell closes its first descriptor before any byte, the
    # child closes an inherited one after its write, the shell the last one.
    fh = open_file(fs, "/f", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    fs.flush(fh, ME)
    fs.write(fh, 0, b"date\n")
    fs.flush(fh, OTHER)
    fs.write(fh, 5, b"b\n")
    fs.write(fh, 7, b"c\n")
    assert uploads(store) == 0
    fs.flush(fh, ME)
    assert uploads(store) == 1
    fs.release(fh)
    assert uploads(store) == 1
    assert store.files() == {"/f": b"date\nb\nc\n"}


def test_a_reader_beside_a_writer_stores_nothing(fs: FileSystem, store: MemoryStore) -> None:
    writer = open_file(fs, "/f", os.O_WRONLY | os.O_CREAT)
    fs.write(writer, 0, b"half")
    assert read_file(fs, "/f") == b"half"
    assert uploads(store) == 0
    close(fs, writer)
    assert uploads(store) == 1


def test_a_mapped_store_after_the_close_is_stored_by_release(
    fs: FileSystem, store: MemoryStore
) -> None:
    write_file(fs, "/f", b"....")
    fh = open_file(fs, "/f", os.O_RDWR)
    fs.flush(fh, ME)
    fs.write(fh, 0, b"MM")
    fs.release(fh)
    assert store.files() == {"/f": b"MM.."}


def test_a_child_whose_parent_is_gone_stores(fs: FileSystem, store: MemoryStore) -> None:
    parent = subprocess.Popen(["sleep", "60"])
    fh = open_file(fs, "/f", os.O_WRONLY | os.O_CREAT, Caller(0, 0, parent.pid))
    fs.write(fh, 0, b"x")
    fs.flush(fh, OTHER)
    assert uploads(store) == 0
    parent.kill()
    parent.wait()
    fs.flush(fh, OTHER)
    assert uploads(store) == 1
    fs.release(fh)


def test_touch_and_truncation_alone_are_stored_at_release(
    fs: FileSystem, store: MemoryStore
) -> None:
    fh = open_file(fs, "/f", os.O_WRONLY | os.O_CREAT)
    fs.flush(fh, ME)
    assert uploads(store) == 0
    assert names(fs, "/") == ["f"] and fs.getattr("/f").size == 0
    fs.release(fh)
    assert store.files() == {"/f": b""}
    write_file(fs, "/f", b"full")
    fh = open_file(fs, "/f", os.O_WRONLY | os.O_TRUNC)
    fs.flush(fh, ME)
    fs.release(fh)
    assert store.files() == {"/f": b""}
    assert uploads(store) == 3


def test_fsync_stores_from_any_process_and_close_then_costs_nothing(
    fs: FileSystem, store: MemoryStore
) -> None:
    fh = open_file(fs, "/f", os.O_WRONLY | os.O_CREAT)
    fs.write(fh, 0, b"x")
    fs.fsync(fh)
    assert store.files() == {"/f": b"x"}
    close(fs, fh)
    assert uploads(store) == 1


def test_truncate_by_path_is_stored_at_once(fs: FileSystem, store: MemoryStore) -> None:
    write_file(fs, "/f", b"0123456789")
    fs.truncate("/f", 4, ME)
    assert store.files() == {"/f": b"0123"}
    fs.truncate("/f", 6, ME)
    assert store.files() == {"/f": b"0123\0\0"}
    writer = open_file(fs, "/f", os.O_WRONLY)
    fs.write(writer, 6, b"67")
    before = uploads(store)
    fs.truncate("/f", 7, ME)
    assert uploads(store) == before
    close(fs, writer)
    assert store.files() == {"/f": b"0123\0\x006"}


# -- content -----------------------------------------------------------------------------------


def test_partial_overwrite_fetches_only_what_is_kept(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs
) -> None:
    data = os.urandom(3 * BLOCK_SIZE + 17)
    write_unseen(store, "/f", data)
    fh = open_file(fs, "/f", os.O_RDWR)
    store.requests.clear()
    fs.write(fh, 0, b"a" * BLOCK_SIZE)
    fs.write(fh, 3 * BLOCK_SIZE + 10, b"tail beyond the end")
    assert store.requests.total() == 0
    assert fs.read(fh, BLOCK_SIZE - 5, 10) == b"a" * 5 + data[BLOCK_SIZE : BLOCK_SIZE + 5]
    close(fs, fh)
    expected = b"a" * BLOCK_SIZE + data[BLOCK_SIZE : 3 * BLOCK_SIZE + 10] + b"tail beyond the end"
    assert store.files() == {"/f": expected}
    assert store.requests["read_range"] == 3
    assert read_file(make_fs(), "/f") == expected


def test_holes_read_as_zeros_and_a_cut_end_never_comes_back(
    fs: FileSystem, store: MemoryStore
) -> None:
    write_unseen(store, "/f", b"ABCDEFGH")
    fh = open_file(fs, "/f", os.O_RDWR)
    fs.ftruncate(fh, 3)
    fs.ftruncate(fh, 6)
    fs.write(fh, 10, b"z")
    assert fs.read(fh, 0, 100) == b"ABC\0\0\0\0\0\0\0z"
    close(fs, fh)
    assert store.files() == {"/f": b"ABC\0\0\0\0\0\0\0z"}


def test_small_content_is_kept_for_the_next_open(fs: FileSystem, store: MemoryStore) -> None:
    write_unseen(store, "/log", b"0\n")
    names(fs, "/")
    store.requests.clear()
    for n in range(20):
        append(fs, "/log", b"%d\n" % n)
    assert store.requests["read_range"] == 1
    # One stat: what the first overwrite must keep is not known from a listing.
    assert store.requests == {"write_file": 20, "read_range": 1, "stat_file": 1}
    assert read_file(fs, "/log") == store.files()["/log"]
    assert store.requests["read_range"] == 1


def test_reading_in_sequence_fetches_each_byte_once(fs: FileSystem, store: MemoryStore) -> None:
    data = os.urandom(5 * BLOCK_SIZE + 1)
    write_unseen(store, "/f", data)
    fh = open_file(fs, "/f", os.O_RDONLY)
    got = b"".join(fs.read(fh, at, 131072) for at in range(0, len(data), 131072))
    close(fs, fh)
    assert got == data
    assert fs.usage().content.bytes == len(data)
    assert 6 <= store.requests["read_range"] <= 14


def damaging(store: MemoryStore, replies: list[bytes]) -> Store:
    """Return a store that reads these bytes, one after the other, and then the truth."""

    class Damaging:
        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def read_range(self, path: str, offset: int, into: memoryview, version: Version) -> None:
            if replies:
                into[:] = replies.pop(0)
            else:
                store.read_range(path, offset, into, version)

    return Damaging()  # type: ignore[return-value]


def test_content_that_arrives_damaged_is_fetched_again(
    make_fs: MakeFs, store: MemoryStore, expect_log: ExpectLog
) -> None:
    expect_log("arrived damaged")
    write_unseen(store, "/f", b"good")
    assert read_file(make_fs(over=damaging(store, [b"evil"])), "/f") == b"good"


def test_content_with_another_digest_is_believed_if_it_is_the_same_twice(
    make_fs: MakeFs, store: MemoryStore, expect_log: ExpectLog
) -> None:
    expect_log("does not have the digest")
    write_unseen(store, "/f", b"good")
    assert read_file(make_fs(over=damaging(store, [b"odd!", b"odd!"])), "/f") == b"odd!"


def test_content_that_differs_each_time_is_an_error(make_fs: MakeFs, store: MemoryStore) -> None:
    write_unseen(store, "/f", b"good")
    fs = make_fs(over=damaging(store, [b"evil", b"vile"]))
    with pytest.raises(IntegrityError):
        read_file(fs, "/f")
    assert read_file(fs, "/f") == b"good"


# -- names -------------------------------------------------------------------------------------


def test_an_unlinked_open_file_lives_on_unseen(fs: FileSystem, store: MemoryStore) -> None:
    write_unseen(store, "/f", b"content")
    fh = open_file(fs, "/f", os.O_RDWR)
    hidden = "/.fuse_hidden0000000100000001"
    with pytest.raises(NotFound):
        fs.getattr(hidden)
    fs.rename("/f", hidden)
    assert names(fs, "/") == []
    assert fs.getattr(hidden, fh).nlink == 0
    assert fs.read(fh, 0, 100) == b"content"
    fs.write(fh, 0, b"C")
    fs.fsync(fh)
    assert fs.read(fh, 0, 100) == b"Content"
    close(fs, fh)
    fs.unlink(hidden)
    assert store.files() == {}


def test_a_new_file_unlinked_before_its_close_is_never_stored(
    fs: FileSystem, store: MemoryStore
) -> None:
    fh = open_file(fs, "/f", os.O_RDWR | os.O_CREAT)
    fs.write(fh, 0, b"scratch")
    fs.rename("/f", "/.fuse_hidden0000000100000002")
    assert fs.read(fh, 0, 100) == b"scratch"
    close(fs, fh)
    assert store.files() == {} and uploads(store) == 0


def test_a_file_renamed_while_open_is_stored_under_its_new_name(
    fs: FileSystem, store: MemoryStore
) -> None:
    fh = open_file(fs, "/old", os.O_WRONLY | os.O_CREAT)
    fs.write(fh, 0, b"first")
    fs.rename("/old", "/new")
    assert store.files() == {"/new": b"first"}
    fs.write(fh, 5, b" second")
    close(fs, fh)
    assert store.files() == {"/new": b"first second"}


# -- somebody else -----------------------------------------------------------------------------


def test_a_reader_gets_one_version_or_an_error(
    fs: FileSystem, store: MemoryStore, clock: FakeClock
) -> None:
    write_unseen(store, "/f", b"1" * (BLOCK_SIZE + 10))
    fh = open_file(fs, "/f", os.O_RDONLY)
    assert fs.read(fh, 0, 10) == b"1" * 10
    write_unseen(store, "/f", b"2" * (2 * BLOCK_SIZE + 10))
    assert fs.read(fh, 10, 10) == b"1" * 10
    fs_error = None
    try:
        got = fs.read(fh, BLOCK_SIZE, 10)
    except Stale as error:
        fs_error = error
    assert fs_error is not None or got == b"1" * 10
    fresh = open_file(fs, "/f", os.O_RDONLY)
    clock.advance(61)
    close(fs, fresh)
    assert read_file(fs, "/f") == b"2" * (2 * BLOCK_SIZE + 10)
    close(fs, fh)


class Undigested:
    """A server that knows no digests."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def stat_file(self, path: str) -> Entry:
        return replace(self._store.stat_file(path), digest="")

    def read_range(self, path: str, offset: int, into: memoryview, version: Version) -> None:
        with self._store.unseen():
            version = self._store.stat_file(path).version
        self._store.read_range(path, offset, into, version)


def test_content_without_a_digest_is_never_that_of_an_earlier_file(
    make_fs: MakeFs, store: MemoryStore
) -> None:
    # Of one size, made and renamed in one second.
    fs = make_fs(ttl_s=0.0, over=Undigested(store))
    write_unseen(store, "/a", b"AAAA")
    write_unseen(store, "/b", b"BBBB")
    assert read_file(fs, "/b") == b"BBBB"
    fs.rename("/a", "/b")
    assert read_file(fs, "/b") == b"AAAA"


def test_a_file_removed_elsewhere_is_stale_at_open(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs
) -> None:
    fs = make_fs(ttl_s=0)
    write_unseen(store, "/f", b"1")
    fs.getattr("/f")
    with store.unseen():
        store.delete_file("/f")
    with pytest.raises(Stale):
        fs.open("/f", os.O_RDONLY, ME)


def test_an_overwrite_that_builds_on_old_content_refuses_a_foreign_version(
    fs: FileSystem, store: MemoryStore, clock: FakeClock, expect_log: ExpectLog
) -> None:
    expect_log("not stored: ")
    write_unseen(store, "/f", b"old")
    fh = open_file(fs, "/f", os.O_RDWR)
    fs.read(fh, 0, 3)
    fs.write(fh, 3, b" mine")
    write_unseen(store, "/f", b"theirs")
    clock.advance(61)
    with pytest.raises(StoreFailed):
        fs.flush(fh, ME)
    with pytest.raises(StoreFailed):
        fs.flush(fh, ME)
    fs.release(fh)
    assert store.files() == {"/f": b"theirs"}
    clock.advance(61)
    assert read_file(fs, "/f") == b"theirs"
    (kept,) = fs.stop()
    assert Path(kept.kept_in).read_bytes() == b"old mine"


def test_a_blind_overwrite_is_last_writer_wins(
    fs: FileSystem, store: MemoryStore, clock: FakeClock
) -> None:
    write_unseen(store, "/f", b"old")
    fh = open_file(fs, "/f", os.O_WRONLY | os.O_TRUNC)
    write_unseen(store, "/f", b"theirs")
    clock.advance(61)
    fs.write(fh, 0, b"mine")
    close(fs, fh)
    assert store.files() == {"/f": b"mine"}


def test_exclusive_creation_finds_out_at_its_store(
    fs: FileSystem, store: MemoryStore, expect_log: ExpectLog
) -> None:
    expect_log("not stored: ")
    fh = open_file(fs, "/f", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    fs.write(fh, 0, b"mine")
    write_unseen(store, "/f", b"theirs")
    with pytest.raises(StoreFailed) as failure:
        fs.flush(fh, ME)
    assert isinstance(failure.value.cause, AlreadyExists)
    fs.release(fh)
    assert store.files() == {"/f": b"theirs"}


def test_two_mounts_see_each_other_after_the_ttl_and_at_once_without_one(
    make_fs: MakeFs, clock: FakeClock
) -> None:
    writer, patient, eager = make_fs(), make_fs(ttl_s=60), make_fs(ttl_s=0)
    write_file(writer, "/f", b"1")
    assert read_file(patient, "/f") == read_file(eager, "/f") == b"1"
    write_file(writer, "/f", b"22")
    write_file(writer, "/g", b"new")
    assert read_file(eager, "/f") == b"22" and names(eager, "/") == ["f", "g"]
    clock.advance(60)
    assert read_file(patient, "/f") == b"22" and names(patient, "/") == ["f", "g"]
    writer.unlink("/f")
    assert names(eager, "/") == ["g"]
    clock.advance(60)
    assert names(patient, "/") == ["g"]


def test_own_changes_are_believed_before_a_listing_that_lags(
    make_fs: MakeFs, clock: FakeClock
) -> None:
    store = MemoryStore(clock=clock, listing_lag_s=30)
    for ttl_s in (0.0, 60.0):
        fs = make_fs(ttl_s=ttl_s, over=store)
        write_file(fs, "/f", b"1")
        assert names(fs, "/") == ["f"]
        fs.unlink("/f")
        assert names(fs, "/") == []
        clock.advance(120)


# -- bad luck ----------------------------------------------------------------------------------


def test_a_store_that_fails_is_told_again_and_its_bytes_are_kept(
    fs: FileSystem, store: MemoryStore, expect_log: ExpectLog
) -> None:
    expect_log("not stored: ")
    fs.mkdir("/d", 0o755, ME)
    fh = open_file(fs, "/d/f", os.O_WRONLY | os.O_CREAT)
    fs.write(fh, 0, b"precious")
    outage = Outage(store)
    for _ in range(2):
        with pytest.raises(StoreFailed):
            fs.flush(fh, ME)
    outage.on = False
    fs.release(fh)
    assert store.files() == {}
    assert names(fs, "/d") == []
    (kept,) = fs.stop()
    assert kept.path == "/d/f" and "no route" in kept.reason
    data = Path(kept.kept_in)
    assert data.read_bytes() == b"precious"
    assert json.loads(data.with_suffix(".json").read_text())["path"] == "/d/f"


def test_a_spool_that_cannot_be_read_is_told_and_kept_too(
    fs: FileSystem, store: MemoryStore, tmp_path: Path, expect_log: ExpectLog
) -> None:
    expect_log("not stored: ")
    fh = open_file(fs, "/f", os.O_WRONLY | os.O_CREAT)
    fs.write(fh, 0, b"x" * 10)
    fs.write(fh, 0, b"y")  # not in order: it is read for its digest
    [spool] = (tmp_path / "spool0").iterdir()
    os.truncate(spool, 2)
    with pytest.raises(StoreFailed):
        fs.flush(fh, ME)
    fs.release(fh)
    assert store.files() == {} and names(fs, "/") == []
    assert [kept.path for kept in fs.stop()] == ["/f"]


def test_after_a_failure_fsync_tries_again_and_success_clears_it(
    fs: FileSystem, store: MemoryStore
) -> None:
    fs.mkdir("/d", 0o755, ME)
    fh = open_file(fs, "/d/f", os.O_WRONLY | os.O_CREAT)
    fs.write(fh, 0, b"precious")
    outage = Outage(store)
    with pytest.raises(StoreFailed):
        fs.flush(fh, ME)
    outage.on = False
    fs.fsync(fh)
    close(fs, fh)
    assert store.files() == {"/d/f": b"precious"}
    assert fs.stop() == []


def test_a_later_store_of_the_name_ends_what_was_kept(
    fs: FileSystem, store: MemoryStore, expect_log: ExpectLog
) -> None:
    expect_log("not stored: ")
    names(fs, "/")
    outage = Outage(store)
    with pytest.raises(StoreFailed):
        write_file(fs, "/f", b"first")
    outage.on = False
    write_file(fs, "/f", b"second")
    assert fs.stop() == []
    assert store.files() == {"/f": b"second"}


def test_stop_stores_files_that_are_still_open(fs: FileSystem, store: MemoryStore) -> None:
    for n in range(5):
        fs.write(open_file(fs, f"/f{n}", os.O_WRONLY | os.O_CREAT), 0, b"%d" % n)
    assert fs.stop() == []
    assert store.files() == {f"/f{n}": b"%d" % n for n in range(5)}


def test_a_truncate_that_cannot_be_stored_leaves_the_file_as_it_was(
    fs: FileSystem, store: MemoryStore
) -> None:
    write_file(fs, "/f", b"0123")
    outage = Outage(store)
    with pytest.raises(StoreFailed):
        fs.truncate("/f", 2, ME)
    outage.on = False
    assert fs.getattr("/f").size == 4
    assert read_file(fs, "/f") == b"0123"
    assert fs.stop() == []
