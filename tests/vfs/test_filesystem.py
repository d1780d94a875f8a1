"""The path operations on a store in memory: what programs see, and what it costs."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

import pytest

from cosfs.errors import (
    FolderNotEmpty,
    InvalidArgument,
    NameTooLong,
    NotFound,
    NotPermitted,
)
from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
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


def test_a_tree_is_copied_for_one_request_a_file_and_folder(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs
) -> None:
    files = {f"/top/d{d}/f{f}": b"x" * f for d in range(5) for f in range(10)}
    store.requests.clear()
    fs.mkdir("/top", 0o755, ME)
    for d in range(5):
        fs.mkdir(f"/top/d{d}", 0o755, ME)
    for path, data in files.items():
        write_file(fs, path, data, os.O_EXCL)
    assert store.requests.total() <= len(files) + 6
    assert store.files() == files

    again = make_fs()
    assert {path: read_file(again, path) for path in files} == files
    assert names(again, "/top") == [f"d{d}" for d in range(5)]


def test_listing_answers_every_stat_of_its_names(fs: FileSystem, store: MemoryStore) -> None:
    with store.unseen():
        for n in range(2500):
            fs_path = f"/d/n{n:04}"
            write_unseen(store, fs_path, b"abc")
    assert len(names(fs, "/d")) == 2500
    listed = store.requests.total()
    for n in range(2500):
        assert fs.getattr(f"/d/n{n:04}").size == 3
    with pytest.raises(NotFound):
        fs.getattr("/d/none")
    assert store.requests.total() == listed == 3


def test_an_unknown_name_costs_two_requests_and_a_known_miss_none(
    fs: FileSystem, store: MemoryStore
) -> None:
    for _ in range(20):
        with pytest.raises(NotFound):
            fs.getattr("/missing")
    assert store.requests.total() == 2


def test_the_second_unknown_name_lists_its_folder(fs: FileSystem, store: MemoryStore) -> None:
    with store.unseen():
        for n in range(30):
            write_unseen(store, f"/f{n}", b"")
    for n in range(30):
        fs.getattr(f"/f{n}")
    assert store.requests.total() == 3


def test_a_listing_that_ages_amid_lookups_is_renewed(
    make_fs: MakeFs, clock: FakeClock
) -> None:
    store = MemoryStore(clock=clock, page_size=10)
    for n in range(1000):
        write_unseen(store, f"/d/{n:04}", b"")
    fs = make_fs(over=store)
    store.requests.clear()
    listed = names(fs, "/d")
    pages = store.requests.total()
    assert len(listed) == 1000 and pages >= 100
    for count, name in enumerate(listed):
        if count in (100, 600):
            clock.advance(61)
        fs.getattr(f"/d/{name}")
    # Both times, once lookups have cost as much as the listing.
    assert store.requests.total() <= 5 * pages + 10


def test_an_implied_folder_is_found_and_outlives_its_last_child(
    fs: FileSystem, store: MemoryStore
) -> None:
    write_unseen(store, "/a/b/c", b"1")
    assert stat.S_ISDIR(fs.getattr("/a").mode)
    assert stat.S_ISDIR(fs.getattr("/a/b").mode)
    assert names(fs, "/a/b") == ["c"]
    fs.unlink("/a/b/c")
    assert stat.S_ISDIR(fs.getattr("/a/b").mode)
    assert names(fs, "/a/b") == []
    fs.rmdir("/a/b")
    with pytest.raises(NotFound):
        fs.getattr("/a/b")


def test_names_far_behind_their_prefix_are_found(clock: FakeClock, make_fs: MakeFs) -> None:
    # `n-...` sorts between `n` and `n/`: the page of the prefix is full before the folder.
    store = MemoryStore(clock=clock, page_size=10)
    for n in range(50):
        write_unseen(store, f"/n-{n}", b"")
    with store.unseen():
        store.make_folder("/n")
    write_unseen(store, "/m/x", b"")
    for n in range(50):
        write_unseen(store, f"/m-{n}", b"")
    fs = make_fs(over=store)
    assert stat.S_ISDIR(fs.getattr("/n").mode)
    assert stat.S_ISDIR(fs.getattr("/m").mode)


def test_a_folder_that_was_forgotten_counts_no_more_once_removed(
    make_fs: MakeFs, clock: FakeClock
) -> None:
    fs = make_fs(ttl_s=0)
    fs.mkdir("/d", 0o755, ME)
    assert fs.getattr("/").nlink == 3
    clock.advance(61)
    fs.rmdir("/d")
    assert fs.getattr("/").nlink == 2


def test_rmdir_refuses_what_is_not_empty(fs: FileSystem, store: MemoryStore) -> None:
    fs.mkdir("/d", 0o755, ME)
    fh = fs.create("/d/new", 0o644, os.O_CREAT, ME).fh
    with pytest.raises(FolderNotEmpty):
        fs.rmdir("/d")
    close(fs, fh)
    with pytest.raises(FolderNotEmpty):
        fs.rmdir("/d")
    fs.unlink("/d/new")
    fs.rmdir("/d")
    assert store.folders() == []


def test_rename_of_a_file_costs_one_request_and_keeps_time_and_metadata(
    fs: FileSystem, store: MemoryStore, clock: FakeClock
) -> None:
    write_file(fs, "/old", b"content")
    fs.setxattr("/old", "user.biz_attr", b"note", create=False, replace=False)
    before = fs.getattr("/old")
    names(fs, "/")
    clock.advance(10)
    store.requests.clear()
    fs.rename("/old", "/new")
    assert store.requests == {"move_file": 1}
    after = fs.getattr("/new")
    assert (after.mtime_ns, after.size) == (before.mtime_ns, before.size)
    assert fs.getxattr("/new", "user.biz_attr") == b"note"
    assert read_file(fs, "/new") == b"content"
    with pytest.raises(NotFound):
        fs.getattr("/old")


def test_rename_of_a_folder_moves_everything_below(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs
) -> None:
    fs.mkdir("/a", 0o755, ME)
    fs.mkdir("/a/empty", 0o755, ME)
    fs.mkdir("/a/sub", 0o755, ME)
    write_file(fs, "/a/one", b"1")
    write_file(fs, "/a/sub/two", b"2")
    open_one = open_file(fs, "/a/sub/two", os.O_RDWR)
    with pytest.raises(InvalidArgument):
        fs.rename("/a", "/a/sub/x")
    fs.mkdir("/b", 0o755, ME)
    fs.rename("/a", "/b")
    assert store.files() == {"/b/one": b"1", "/b/sub/two": b"2"}
    assert sorted(store.folders()) == ["/b", "/b/empty", "/b/sub"]
    for seen in (fs, make_fs()):
        assert names(seen, "/") == ["b"]
        assert names(seen, "/b") == ["empty", "one", "sub"]
    fs.write(open_one, 1, b"!")
    close(fs, open_one)
    assert store.files()["/b/sub/two"] == b"2!"
    fs.mkdir("/c", 0o755, ME)
    write_file(fs, "/c/x", b"")
    with pytest.raises(FolderNotEmpty):
        fs.rename("/b", "/c")


def test_reserved_names_are_neither_seen_nor_made(fs: FileSystem, store: MemoryStore) -> None:
    for path in ("/.cosfs-work", "/.cosfs"):
        with pytest.raises(NotFound):
            fs.getattr(path)
        with pytest.raises(NotPermitted):
            fs.mkdir(path, 0o755, ME)
        with pytest.raises(NotPermitted):
            fs.create(path, 0o644, os.O_CREAT, ME)
    assert store.requests.total() == 0


def test_names_that_are_too_long_cost_nothing(fs: FileSystem, store: MemoryStore) -> None:
    with pytest.raises(NameTooLong):
        fs.getattr("/" + "n" * 256)
    with pytest.raises(NameTooLong):
        fs.getattr("/" + "/".join(["n" * 200] * 5))
    assert store.requests.total() == 0


def test_a_folder_too_deep_for_attributes_refuses_them_at_once(
    fs: FileSystem, store: MemoryStore
) -> None:
    parent = "/" + "/".join(["d" * 200] * 4)
    deep = parent + "/" + "e" * 40
    with pytest.raises(NameTooLong):
        fs.mkdir(deep, 0o700, ME)
    assert names(fs, parent) == []
    write_file(fs, "/f", b"x")
    write_unseen(store, f"{deep}/g", b"theirs")
    fs.refresh("/")
    assert names(fs, deep) == ["g"] and read_file(fs, f"{deep}/g") == b"theirs"
    refused: list[Callable[[], object]] = [
        lambda: fs.chmod(deep, 0o700),
        lambda: fs.chmod(f"{deep}/g", 0o600),
        lambda: fs.utimens(f"{deep}/g", 1, 1),
        lambda: fs.create(f"{deep}/h", 0o644, os.O_WRONLY, ME),
        lambda: fs.symlink(f"{deep}/h", "target", ME),
        lambda: fs.rename("/f", f"{deep}/f"),
    ]
    for call in refused:
        with pytest.raises(NameTooLong):
            call()
    fs.rename(f"{deep}/g", "/g")
    assert names(fs, "/")[-2:] == ["f", "g"] and names(fs, deep) == []
    assert fs.stop() == []


def test_attributes_hold_and_times_end_with_their_version(
    fs: FileSystem, store: MemoryStore, clock: FakeClock
) -> None:
    write_file(fs, "/f", b"1")
    assert stat.S_IMODE(fs.getattr("/f").mode) == 0o644
    fs.chmod("/f", 0o600)
    fs.chown("/f", 5, None)
    fs.utimens("/f", None, 1_000_000_007)
    attrs = fs.getattr("/f")
    assert (stat.S_IMODE(attrs.mode), attrs.uid, attrs.mtime_ns) == (0o600, 5, 1_000_000_007)
    clock.advance(3)
    append(fs, "/f", b"2")
    attrs = fs.getattr("/f")
    assert (stat.S_IMODE(attrs.mode), attrs.uid) == (0o600, 5)
    assert attrs.mtime_ns == clock.wall_ns()


def test_folder_times_move_when_names_come_and_go(fs: FileSystem, clock: FakeClock) -> None:
    fs.mkdir("/d", 0o755, ME)
    times = [fs.getattr("/d").mtime_ns]
    for change in (
        lambda: write_file(fs, "/d/f", b"1"),
        lambda: fs.rename("/d/f", "/d/g"),
        lambda: fs.unlink("/d/g"),
    ):
        clock.advance(1)
        change()
        times.append(fs.getattr("/d").mtime_ns)
    assert times == sorted(set(times))
