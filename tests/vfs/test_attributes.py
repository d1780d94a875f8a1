"""POSIX attributes: kept over remounts and changes, shown to other mounts, at the price agreed."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable

import pytest

from cosfs.errors import AlreadyExists, ConnectFailed, InvalidArgument, NotFound, NotPermitted
from cosfs.model import Attributes, BytesSource, Metadata
from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
from cosfs.vfs.types import Attrs, Caller
from tests.fakeclock import FakeClock
from tests.vfs.conftest import ME, MakeFs
from tests.vfs.programs import append, close, names, open_file, read_file, write_file

SOMEBODY = Caller(uid=1000, gid=1001, pid=os.getpid())
MTIME = 1_234_567_890_123_456_789


def look(attrs: Attrs) -> tuple[int, int, int, int]:
    return stat.S_IMODE(attrs.mode), attrs.uid, attrs.gid, attrs.mtime_ns


def copy_preserving(fs: FileSystem, path: str, data: bytes = b"content") -> None:
    """``cp -p``: create, write, then owner, times and mode before the close."""
    fh = fs.create(path, 0o600, os.O_CREAT | os.O_WRONLY | os.O_EXCL, ME).fh
    fs.write(fh, 0, data)
    fs.chown(path, 1000, 1001)
    fs.utimens(path, MTIME, MTIME)
    fs.chmod(path, 0o751)
    close(fs, fh)


def test_attributes_set_before_the_close_travel_with_the_upload(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs
) -> None:
    fs.mkdir("/d", 0o755, ME)
    store.requests.clear()
    for n in range(5):
        copy_preserving(fs, f"/d/{n}")
    assert store.requests == {"write_file": 5, "mark_folder": 1}
    for seen in (fs, make_fs()):
        assert look(seen.getattr("/d/3")) == (0o751, 1000, 1001, MTIME)


def test_changes_after_the_close_are_one_request_however_many(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs
) -> None:
    write_file(fs, "/f", b"1")
    store.requests.clear()
    for mode in (0o600, 0o640, 0o644):
        fs.chmod("/f", mode)
    fs.chown("/f", 5, None)
    fs.utimens("/f", None, MTIME)
    assert store.requests.total() == 0
    assert look(fs.getattr("/f")) == (0o644, 5, 8, MTIME)
    assert fs.stop() == []
    assert store.requests == {"mark_folder": 1, "set_metadata": 1}
    assert look(make_fs().getattr("/f")) == (0o644, 5, 8, MTIME)


def test_they_are_sent_in_the_background_after_a_second(
    fs: FileSystem, store: MemoryStore, clock: FakeClock
) -> None:
    write_file(fs, "/f", b"1")
    sent = threading.Event()

    def hook(method: str, path: str) -> None:
        if method == "set_metadata":
            sent.set()

    store.hook = hook
    clock.advance(5)
    fs.chmod("/f", 0o600)
    clock.advance(1)
    fs.chmod("/f", 0o640)
    assert sent.wait(10)


def test_a_killed_mount_loses_no_change(
    make_fs: MakeFs, store: MemoryStore, clock: FakeClock
) -> None:
    killed = make_fs()
    write_file(killed, "/f", b"1")
    killed.chmod("/f", 0o600)
    journal = killed._journal.file
    heir = make_fs(journal_file=journal)
    assert stat.S_IMODE(heir.getattr("/f").mode) == 0o600
    assert heir.stop() == []
    assert stat.S_IMODE(make_fs().getattr("/f").mode) == 0o600


def test_fsync_sends_the_attributes_too(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs
) -> None:
    write_file(fs, "/f", b"1")
    fh = open_file(fs, "/f", os.O_RDWR)
    fs.chmod("/f", 0o600)
    fs.fsync(fh)
    assert stat.S_IMODE(make_fs().getattr("/f").mode) == 0o600
    close(fs, fh)


@pytest.mark.parametrize("when", ["sent", "unsent"])
def test_they_survive_overwrite_append_truncate_and_rename(
    fs: FileSystem, make_fs: MakeFs, clock: FakeClock, when: str
) -> None:
    write_file(fs, "/f", b"1")
    fs.chmod("/f", 0o750)
    fs.chown("/f", 1000, 1001)
    if when == "sent":
        fs._keeper.send("/f")
    for change in (
        lambda: write_file(fs, "/f", b"overwritten"),
        lambda: append(fs, "/f", b"+"),
        lambda: fs.truncate("/f", 3, ME),
        lambda: (fs.rename("/f", "/g"), fs.rename("/g", "/f")),
    ):
        change()
        assert look(fs.getattr("/f"))[:3] == (0o750, 1000, 1001)
        fs._keeper.send_all()
        assert look(make_fs().getattr("/f"))[:3] == (0o750, 1000, 1001)
        clock.advance(0.1)


def test_a_write_ends_a_time_that_was_set(
    fs: FileSystem, make_fs: MakeFs, clock: FakeClock
) -> None:
    write_file(fs, "/f", b"1")
    fs.utimens("/f", None, MTIME)
    fs._keeper.send("/f")
    clock.advance(10)
    append(fs, "/f", b"2")
    assert fs.getattr("/f").mtime_ns == clock.wall_ns()
    assert make_fs().getattr("/f").mtime_ns == clock.wall_ns() // 10**9 * 10**9


def test_a_rename_keeps_the_time_of_an_old_file(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs, clock: FakeClock
) -> None:
    write_file(fs, "/old", b"1")
    names(fs, "/")
    made = fs.getattr("/old").mtime_ns
    store.requests.clear()
    fs.rename("/old", "/fresh")
    fs._keeper.send_all()
    assert store.requests == {"move_file": 1}
    clock.advance(100)
    fs.rename("/fresh", "/aged")
    assert fs.getattr("/aged").mtime_ns == made
    fs._keeper.send_all()
    assert make_fs().getattr("/aged").mtime_ns == made
    assert store.requests["set_metadata"] == 1


def test_folders_keep_theirs(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs, clock: FakeClock
) -> None:
    store.requests.clear()
    fs.mkdir("/d", 0o700, SOMEBODY)
    fs.mkdir("/d/sub", 0o755, ME)
    fs.utimens("/d", None, MTIME)
    assert fs.stop() == []
    # A mark each for the root, whose name has attributes, and for the folder, which holds them.
    assert store.requests == {"make_folder": 2, "mark_folder": 2}
    again = make_fs()
    assert look(again.getattr("/d")) == (0o700, 1000, 1001, MTIME)
    assert names(again, "/") == ["d"] and names(again, "/d") == ["sub"]
    again.chmod("/", 0o711)
    again.rename("/d", "/e")
    assert again.stop() == []
    third = make_fs()
    assert stat.S_IMODE(third.getattr("/").mode) == 0o711
    assert look(third.getattr("/e"))[:3] == (0o700, 1000, 1001)
    third.rmdir("/e/sub")
    third.rmdir("/e")
    assert names(third, "/") == []
    assert store.folders() == []


def test_renaming_a_folder_keeps_what_stands_beside_everything_in_it(
    fs: FileSystem, make_fs: MakeFs, clock: FakeClock
) -> None:
    fs.mkdir("/a", 0o700, ME)
    fs.mkdir("/a/sub", 0o755, SOMEBODY)
    copy_preserving(fs, "/a/sub/f")
    write_file(fs, "/a/plain", b"2")
    plain = fs.getattr("/a/plain").mtime_ns
    fs.setxattr("/a/sub", "user.biz_attr", b"note", create=False, replace=False)
    fs.setxattr("/a/sub", "user.odd", bytes(range(256)), create=False, replace=False)
    clock.advance(60)
    fs.rename("/a", "/b")
    assert fs.stop() == []
    seen = make_fs()
    assert stat.S_IMODE(seen.getattr("/b").mode) == 0o700
    assert look(seen.getattr("/b/sub"))[:3] == (0o755, 1000, 1001)
    assert look(seen.getattr("/b/sub/f")) == (0o751, 1000, 1001, MTIME)
    assert seen.getattr("/b/plain").mtime_ns == plain
    assert seen.getxattr("/b/sub", "user.biz_attr") == b"note"
    assert seen.getxattr("/b/sub", "user.odd") == bytes(range(256))


def test_symlinks_and_special_files(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs
) -> None:
    store.requests.clear()
    fs.symlink("/link", "target/with \udce9", ME)
    assert store.requests == {"mark_folder": 1, "write_file": 1}
    fs.mknod("/fifo", stat.S_IFIFO | 0o640, 0, ME)
    fs.mknod("/dev", stat.S_IFBLK | 0o600, os.makedev(8, 1), SOMEBODY)
    with pytest.raises(AlreadyExists):
        fs.symlink("/link", "other", ME)
    for seen in (fs, make_fs()):
        assert stat.S_ISLNK(seen.getattr("/link").mode)
        assert seen.readlink("/link") == "target/with \udce9"
        assert seen.getattr("/link").size == len("target/with x")
        assert stat.filemode(seen.getattr("/fifo").mode) == "prw-r-----"
        device = seen.getattr("/dev")
        assert stat.S_ISBLK(device.mode) and device.rdev == os.makedev(8, 1)
        with pytest.raises(InvalidArgument):
            seen.readlink("/fifo")
    fs.rename("/link", "/moved")
    assert make_fs().readlink("/moved") == "target/with \udce9"


def test_a_listing_without_a_mark_needs_no_stat_and_with_one_a_stat_a_name(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs
) -> None:
    for folder in ("/plain", "/marked"):
        fs.mkdir(folder, 0o755, ME)
        for n in range(200):
            write_file(fs, f"{folder}/{n:03}", b"x")
    fs.chmod("/marked/007", 0o600)
    assert fs.stop() == []
    seen = make_fs()
    names(seen, "/")
    store.requests.clear()
    for name in names(seen, "/plain"):
        seen.getattr(f"/plain/{name}")
    assert store.requests == {"list_page": 1}
    store.requests.clear()
    unrefined = seen.readdir(seen.opendir("/marked"))
    assert {entry.mode for entry in unrefined} == {0}
    modes = {stat.S_IMODE(seen.getattr(f"/marked/{entry.name}").mode) for entry in unrefined}
    assert modes == {0o644, 0o600}
    assert store.requests == {"list_page": 1, "stat_file": 200}
    assert {entry.mode for entry in seen.readdir(seen.opendir("/marked"))} == {stat.S_IFREG}


def test_stats_go_ahead_in_listing_order(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs
) -> None:
    fs.mkdir("/d", 0o755, ME)
    for n in range(130):
        copy_preserving(fs, f"/d/{n:03}")
    seen = make_fs()
    listed = names(seen, "/d")
    arrived = threading.Barrier(64 + 1)

    def hook(method: str, path: str) -> None:
        if method == "stat_file" and path > "/d/001" and path <= "/d/065":
            arrived.wait(20)

    store.hook = hook
    seen.getattr(f"/d/{listed[0]}")
    seen.getattr(f"/d/{listed[1]}")
    # 64 stats are under way at once: the barrier opens for them and for this thread.
    arrived.wait(20)
    store.hook = None
    for name in listed:
        seen.getattr(f"/d/{name}")
    assert store.requests["stat_file"] == 130


def test_attrs_all_stats_every_name_and_none_stores_and_reads_nothing(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs
) -> None:
    # Another tool has stored attributes and knows nothing of marks.
    with store.unseen():
        foreign = Metadata(attributes=Attributes(mode=stat.S_IFREG | 0o600))
        store.write_file("/foreign", BytesSource(b"1"), metadata=foreign)
    auto, thorough, none = (make_fs(attrs=attrs) for attrs in ("auto", "all", "none"))
    for seen in (auto, thorough, none):
        assert names(seen, "/") == ["foreign"]
    assert stat.S_IMODE(auto.getattr("/foreign").mode) == 0o644
    assert stat.S_IMODE(thorough.getattr("/foreign").mode) == 0o600
    store.requests.clear()
    assert stat.S_IMODE(none.getattr("/foreign").mode) == 0o644
    none.chmod("/foreign", 0o640)
    assert none.stop() == [] and store.requests.total() == 0
    with pytest.raises(NotPermitted):
        none.symlink("/link", "x", ME)


def test_another_mount_sees_a_change_after_its_ttl(
    make_fs: MakeFs, clock: FakeClock
) -> None:
    one, other = make_fs(), make_fs()
    write_file(one, "/f", b"1")
    assert names(other, "/") == ["f"]
    assert stat.S_IMODE(other.getattr("/f").mode) == 0o644
    one.chmod("/f", 0o600)
    one._keeper.send_all()
    clock.advance(60)
    assert stat.S_IMODE(other.getattr("/f").mode) == 0o600


def test_a_change_that_cannot_be_sent_is_told_at_the_end_and_kept(
    make_fs: MakeFs, store: MemoryStore, expect_log: Callable[[str], None]
) -> None:
    expect_log("not sent yet")
    fs = make_fs()
    write_file(fs, "/f", b"1")
    fs.chmod("/f", 0o600)

    def outage(method: str, path: str) -> None:
        raise ConnectFailed("no route")

    store.hook = outage
    (left,) = fs.stop()
    assert left.path == "/f" and "attributes" in left.reason
    store.hook = None
    heir = make_fs(journal_file=fs._journal.file)
    assert heir.stop() == []
    assert stat.S_IMODE(make_fs().getattr("/f").mode) == 0o600


def test_a_change_follows_a_rename_and_ends_with_the_name(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs
) -> None:
    write_file(fs, "/f", b"1")
    fs.chmod("/f", 0o600)
    fs.rename("/f", "/g")
    write_file(fs, "/h", b"2")
    fs.chmod("/h", 0o600)
    fs.unlink("/h")
    write_file(fs, "/h", b"3")
    assert fs.stop() == []
    seen = make_fs()
    assert stat.S_IMODE(seen.getattr("/g").mode) == 0o600
    assert stat.S_IMODE(seen.getattr("/h").mode) == 0o644
    assert read_file(seen, "/h") == b"3"
    with pytest.raises(NotFound):
        seen.getattr("/f")


def test_a_folders_time_that_another_mount_sets(make_fs: MakeFs, clock: FakeClock) -> None:
    fs, other = make_fs(), make_fs()
    fs.mkdir("/d", 0o755, ME)
    write_file(fs, "/d/f", b"1")
    mine = fs.getattr("/d").mtime_ns
    other.utimens("/d", None, 10**18)
    other._keeper.send_all()
    assert fs.getattr("/d").mtime_ns == mine
    clock.advance(61)
    assert fs.getattr("/d").mtime_ns == 10**18
    write_file(fs, "/d/g", b"2")
    touched = fs.getattr("/d").mtime_ns
    assert touched == clock.wall_ns()
    clock.advance(61)
    assert fs.getattr("/d").mtime_ns == touched
