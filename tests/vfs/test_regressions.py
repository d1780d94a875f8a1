"""What the state machine found, each as small as it became."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

import pytest

from cosfs.errors import (
    ConnectFailed,
    ConnectionLost,
    FolderNotEmpty,
    NotFound,
    ObjectChanged,
    StoreFailed,
)
from cosfs.store.faulty import Fault, FaultPlan, FaultyStore
from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
from tests.fakeclock import FakeClock
from tests.vfs.conftest import ME, MakeFs
from tests.vfs.programs import close, names, open_file, write_file, write_unseen

LONG_AGO = 1_234_567_890_123_456_789


def test_the_time_of_a_folder_moves_though_a_program_has_set_it(
    fs: FileSystem, clock: FakeClock
) -> None:
    fs.mkdir("/d", 0o755, ME)
    fs.utimens("/d", None, LONG_AGO)
    assert fs.getattr("/d").mtime_ns == LONG_AGO
    clock.advance(1)
    write_file(fs, "/d/f", b"1")
    assert fs.getattr("/d").mtime_ns == clock.wall_ns()
    fs.utimens("/d", None, LONG_AGO)
    assert fs.getattr("/d").mtime_ns == LONG_AGO


def test_emptying_an_empty_file_moves_its_time(
    fs: FileSystem, store: MemoryStore, clock: FakeClock
) -> None:
    write_file(fs, "/stamp", b"")
    clock.advance(10)
    write_file(fs, "/stamp", b"")
    assert fs.getattr("/stamp").mtime_ns == clock.wall_ns()
    with store.unseen():
        assert store.stat_file("/stamp").mtime_ns == clock.wall_ns() // 10**9 * 10**9


def test_a_name_believed_absent_before_it_was_made_stays_made(fs: FileSystem) -> None:
    for missing in ("/a", "/b"):
        with pytest.raises(NotFound):
            fs.getattr(missing)
    fs.mkdir("/a", 0o755, ME)
    fs.mkdir("/b", 0o755, ME)
    # Forgets the listing of the root, which alone knew of /a.
    fs.rename("/b", "/c")
    assert stat.S_ISDIR(fs.getattr("/a").mode)


def test_a_removed_folder_does_not_leave_its_mode_to_the_next_of_its_name(
    fs: FileSystem, make_fs: MakeFs
) -> None:
    fs.mkdir("/d", 0o700, ME)
    fs.rmdir("/d")
    write_file(fs, "/d", b"1")
    assert fs.stop() == []
    assert stat.S_IMODE(make_fs().getattr("/d").mode) == 0o644


def test_a_renamed_folder_keeps_its_time(fs: FileSystem, clock: FakeClock) -> None:
    fs.mkdir("/d", 0o755, ME)
    fs.mkdir("/d/sub", 0o755, ME)
    made = clock.wall_ns()
    clock.advance(10)
    fs.rename("/d", "/e")
    assert fs.getattr("/e").mtime_ns == fs.getattr("/e/sub").mtime_ns == made


def test_a_file_that_lost_its_name_keeps_its_time(fs: FileSystem, clock: FakeClock) -> None:
    write_file(fs, "/f", b"1")
    made = fs.getattr("/f").mtime_ns
    clock.advance(10)
    fh = open_file(fs, "/f", os.O_RDONLY)
    hidden = "/.fuse_hidden0000000100000001"
    fs.rename("/f", hidden)
    assert fs.getattr(hidden).mtime_ns == made
    close(fs, fh)


@pytest.fixture(params=[0.0, 60.0])
def on_lagging_listings(
    request: pytest.FixtureRequest, make_fs: MakeFs, clock: FakeClock
) -> FileSystem:
    return make_fs(ttl_s=request.param, over=MemoryStore(clock=clock, listing_lag_s=5))


def test_own_folders_are_found_before_listings_show_them(on_lagging_listings: FileSystem) -> None:
    fs = on_lagging_listings
    fs.mkdir("/d", 0o755, ME)
    fs.mkdir("/d/sub", 0o755, ME)
    write_file(fs, "/d/sub/f", b"1")
    assert stat.S_ISDIR(fs.getattr("/d/sub").mode)
    fs.rename("/d", "/e")
    assert stat.S_ISDIR(fs.getattr("/e/sub").mode)
    assert names(fs, "/e/sub") == ["f"]
    with pytest.raises(NotFound):
        fs.getattr("/d/sub")
    with pytest.raises(FolderNotEmpty):
        fs.rmdir("/e/sub")
    fs.unlink("/e/sub/f")
    fs.rmdir("/e/sub")
    fs.rmdir("/e")
    assert names(fs, "/") == []


def test_what_was_removed_from_a_folder_does_not_come_back_when_another_replaces_it(
    on_lagging_listings: FileSystem, clock: FakeClock
) -> None:
    fs = on_lagging_listings
    fs.mkdir("/old", 0o755, ME)
    fs.mkdir("/new", 0o755, ME)
    write_file(fs, "/new/f", b"1")
    clock.advance(61)
    fs.unlink("/new/f")
    fs.rename("/old", "/new")
    assert names(fs, "/new") == []


def test_the_text_of_a_folder_is_no_mark(fs: FileSystem, make_fs: MakeFs) -> None:
    fs.mkdir("/d", 0o755, ME)
    fs.setxattr("/d", "user.biz_attr", b"note", create=False, replace=False)
    fh = fs.create("/d/f", 0o600, os.O_CREAT | os.O_WRONLY, ME).fh
    close(fs, fh)
    seen = make_fs()
    names(seen, "/d")
    assert stat.S_IMODE(seen.getattr("/d/f").mode) == 0o600


@pytest.mark.parametrize("when", ["unsent", "sent", "by another mount"])
def test_a_rename_keeps_the_time_that_a_program_has_set(
    fs: FileSystem, make_fs: MakeFs, clock: FakeClock, when: str
) -> None:
    write_file(fs, "/f", b"1")
    clock.advance(10)
    fs.utimens("/f", None, LONG_AGO)
    if when != "unsent":
        fs._keeper.send_all()
    if when == "by another mount":
        fs = make_fs()
    fs.rename("/f", "/g")
    assert fs.getattr("/g").mtime_ns == LONG_AGO
    fs._keeper.send_all()
    assert make_fs().getattr("/g").mtime_ns == LONG_AGO


def test_a_file_that_lost_its_name_keeps_what_was_set_before_and_after(
    fs: FileSystem, clock: FakeClock
) -> None:
    write_file(fs, "/f", b"1")
    fh = open_file(fs, "/f", os.O_RDONLY)
    fs.chmod("/f", 0o600)
    hidden = "/.fuse_hidden0000000100000001"
    fs.rename("/f", hidden)
    fs.chown(hidden, 5, None)
    fs._keeper.send_all()
    attrs = fs.getattr(hidden)
    assert (stat.S_IMODE(attrs.mode), attrs.uid) == (0o600, 5)
    close(fs, fh)


def test_a_folder_that_replaces_another_has_nothing_of_it(fs: FileSystem, make_fs: MakeFs) -> None:
    fs.mkdir("/old", 0o755, ME)
    fs.mkdir("/new", 0o700, ME)
    for name in ("user.biz_attr", "user.any"):
        fs.setxattr("/new", name, b"1", create=False, replace=False)
    fs._keeper.send_all()
    fs.rename("/old", "/new")
    for seen in (fs, make_fs()):
        assert seen.listxattr("/new") == []
        assert stat.S_IMODE(seen.getattr("/new").mode) == 0o755


def test_a_folder_takes_its_mode_into_one_that_has_no_mark(
    fs: FileSystem, make_fs: MakeFs
) -> None:
    fs.mkdir("/d", 0o700, ME)
    fs._keeper.send_all()
    fs.mkdir("/plain", 0o755, ME)
    fs.rename("/d", "/plain/d")
    for seen in (fs, make_fs()):
        assert stat.S_IMODE(seen.getattr("/plain/d").mode) == 0o700


def test_an_fsync_with_nothing_to_store_leaves_kept_content_alone(
    fs: FileSystem, store: MemoryStore, expect_log: Callable[[str], None]
) -> None:
    expect_log("not stored")
    write_unseen(store, "/f", b"old")
    fh = open_file(fs, "/f", os.O_WRONLY | os.O_TRUNC)
    fs.write(fh, 0, b"precious")

    def outage(method: str, path: str) -> None:
        raise ConnectFailed("no route", path=path)

    store.hook = outage
    with pytest.raises(StoreFailed):
        fs.flush(fh, ME)
    fs.release(fh)
    store.hook = None
    fh = open_file(fs, "/f", os.O_RDONLY)
    fs.fsync(fh)
    close(fs, fh)
    (kept,) = fs._files.pending.all()
    assert kept.data.read_bytes() == b"precious"


def losing(store: MemoryStore, method: str) -> FaultyStore:
    """Give a store that does one change of this kind without an answer."""
    lost = Fault(method, on={1}, error=lambda: ConnectionLost("no answer"), after=True)
    return FaultyStore(store, FaultPlan(lost))


def test_what_was_done_without_an_answer_is_seen(store: MemoryStore, make_fs: MakeFs) -> None:
    write_unseen(store, "/f", b"1")
    for method, change in (
        ("delete_file", lambda fs: fs.unlink("/f")),
        ("make_folder", lambda fs: fs.mkdir("/d", 0o755, ME)),
        ("write_file", lambda fs: fs.symlink("/link", "target", ME)),
        (
            "set_metadata",
            lambda fs: fs.setxattr("/d", "user.biz_attr", b"x", create=False, replace=False),
        ),
        ("delete_folder", lambda fs: fs.rmdir("/d")),
    ):
        fs = make_fs(over=losing(store, method))
        names(fs, "/")
        with pytest.raises(ConnectionLost):
            change(fs)
        seen = make_fs()
        assert names(fs, "/") == names(seen, "/")
        if "d" in names(fs, "/"):
            assert fs.listxattr("/d") == seen.listxattr("/d")


def test_an_open_file_follows_a_rename_whose_answer_was_lost(
    store: MemoryStore, make_fs: MakeFs
) -> None:
    fs = make_fs(over=losing(store, "move_file"))
    write_file(fs, "/old", b"1")
    fh = open_file(fs, "/old", os.O_RDWR)
    fs.rename("/old", "/new")
    fs.write(fh, 1, b"2")
    close(fs, fh)
    assert store.files() == {"/new": b"12"}


def test_a_file_unlinked_on_purpose_does_not_come_back_with_a_rename_that_fails(
    fs: FileSystem, store: MemoryStore
) -> None:
    fh = open_file(fs, "/f", os.O_RDWR | os.O_CREAT)
    write_file(fs, "/g", b"1")
    fs.rename("/f", "/.fuse_hidden0000000100000001")
    with pytest.raises(NotFound):
        fs.getattr("/f")

    def outage(method: str, path: str) -> None:
        raise ConnectFailed("no route", path=path)

    store.hook = outage
    with pytest.raises(ConnectFailed):
        fs.rename("/g", "/f")
    store.hook = None
    assert names(fs, "/") == ["g"]
    close(fs, fh)


def test_a_mark_is_believed_before_listings_show_it(on_lagging_listings: FileSystem) -> None:
    fs = on_lagging_listings
    fs.mkdir("/d", 0o755, ME)
    fs.mkdir("/e", 0o755, ME)
    fs.setxattr("/d", "user.any", b"1", create=False, replace=False)
    fs.rename("/d", "/e/d")
    fs.rename("/e", "/f")
    assert fs.getxattr("/f/d", "user.any") == b"1"


def test_metadata_set_after_a_store_that_failed_is_not_lost_with_the_next(
    store: MemoryStore, make_fs: MakeFs
) -> None:
    write_unseen(store, "/f", b"old")
    fs = make_fs(ttl_s=0, over=losing(store, "write_file"))
    fh = open_file(fs, "/f", os.O_WRONLY | os.O_TRUNC)
    fs.write(fh, 0, b"new")
    with pytest.raises(StoreFailed):
        fs.fsync(fh)
    fs.setxattr("/f", "user.biz_attr", b"x", create=False, replace=False)
    fs.fsync(fh)
    close(fs, fh)
    assert make_fs().getxattr("/f", "user.biz_attr") == b"x"


def test_somebody_elses_version_is_found_though_an_attempt_failed_before(
    store: MemoryStore, make_fs: MakeFs, clock: FakeClock, expect_log: Callable[[str], None]
) -> None:
    expect_log("not stored")
    write_unseen(store, "/f", b"old")
    fs = make_fs(over=losing(store, "write_file"))
    fh = open_file(fs, "/f", os.O_RDWR)
    fs.write(fh, 3, b" and mine")
    with pytest.raises(StoreFailed):
        fs.fsync(fh)
    clock.advance(61)
    fs.fsync(fh)  # what is there is this mount's own
    fs.write(fh, 12, b", and more")
    write_unseen(store, "/f", b"theirs")
    clock.advance(61)
    with pytest.raises(StoreFailed) as refused:
        fs.fsync(fh)
    assert isinstance(refused.value.cause, ObjectChanged)
    fs.release(fh)
    assert store.files() == {"/f": b"theirs"}


def test_a_new_file_whose_store_had_no_answer_can_be_removed(
    store: MemoryStore, make_fs: MakeFs
) -> None:
    fs = make_fs(over=losing(store, "write_file"))
    fh = open_file(fs, "/f", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(StoreFailed):
        fs.fsync(fh)
    fs.rename("/f", "/.fuse_hidden0000000100000001")
    close(fs, fh)
    assert store.files() == {} and names(fs, "/") == []


def test_a_file_that_libfuse_has_lost_track_of_keeps_its_descriptors(
    fs: FileSystem, store: MemoryStore
) -> None:
    # A rename over it failed after libfuse had hidden it: it has its name back, and libfuse does
    # not know that it is open under it.
    for number, change in enumerate(
        (lambda: fs.unlink("/f"), lambda: fs.rename("/g", "/f")), start=1
    ):
        write_file(fs, "/g", b"g")
        fh = open_file(fs, "/f", os.O_RDWR | os.O_CREAT)
        fs.write(fh, 0, b"f")
        change()
        assert names(fs, "/") == (["g"] if number == 1 else ["f"])
        assert fs.read(fh, 0, 10) == b"f"
        fs.write(fh, 1, b"!")
        close(fs, fh)
        assert b"f!" not in store.files().values()
