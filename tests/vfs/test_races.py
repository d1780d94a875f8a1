"""Two things at once: a store and a rename, a writer's end and a reader's beginning, an outage."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest

from cosfs.errors import ConnectFailed, FileTooLarge, NotFound, Stale, StoreFailed
from cosfs.store import faulty
from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
from tests.fakeclock import FakeClock
from tests.vfs.conftest import ME, MakeFs
from tests.vfs.programs import close, names, open_file, read_file, write_file, write_unseen

ExpectLog = Callable[[str], None]


class Gate:
    """Holds the calls of one store method until it is opened."""

    def __init__(self, store: MemoryStore, method: str) -> None:
        self._method = method
        self._opened = threading.Event()
        self.reached = threading.Event()
        store.hook = self

    def __call__(self, method: str, path: str) -> None:
        if method == self._method:
            self.reached.set()
            assert self._opened.wait(20)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as executor:
        yield executor


def done(futures: list[Future[None]]) -> None:
    for future in futures:
        future.result(20)


def test_opening_a_file_that_its_writer_is_just_releasing(
    fs: FileSystem, store: MemoryStore, pool: ThreadPoolExecutor
) -> None:
    # close() does not wait for the release: another program opens between the two.
    for number in range(300):
        path, data = f"/f{number % 3}", b"%d" % number
        fh = open_file(fs, path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        fs.write(fh, 0, data)
        fs.flush(fh, ME)
        released = pool.submit(fs.release, fh)
        reader = fs.open(path, os.O_RDONLY, ME).fh
        assert fs.read(reader, 0, 100) == data
        close(fs, reader)
        released.result(20)
        assert store.files()[path] == data


def test_a_file_stored_while_its_folder_is_renamed_gets_the_new_name(
    fs: FileSystem, store: MemoryStore, pool: ThreadPoolExecutor
) -> None:
    fs.mkdir("/d", 0o755, ME)
    write_file(fs, "/d/old", b"old content")
    write_file(fs, "/d/other", b"other")
    changed = open_file(fs, "/d/old", os.O_WRONLY)
    fs.write(changed, 0, b"NEW")
    new = open_file(fs, "/d/new", os.O_WRONLY | os.O_CREAT)
    fs.write(new, 0, b"new file")
    fs.chmod("/d/other", 0o600)
    gate = Gate(store, "move_file")
    renamed = pool.submit(fs.rename, "/d", "/e")
    assert gate.reached.wait(20)
    closed = [pool.submit(close, fs, fh) for fh in (changed, new)]
    sent = pool.submit(fs._keeper.send, "/d/other")
    gate.open()
    done([renamed, sent, *closed])
    assert store.files() == {
        "/e/old": b"NEW content",
        "/e/other": b"other",
        "/e/new": b"new file",
    }
    assert names(fs, "/") == ["e"] and names(fs, "/e") == ["new", "old", "other"]
    fs._keeper.send_all()
    assert stat.S_IMODE(fs.getattr("/e/other").mode) == 0o600


def test_names_that_are_sent_at_once_mark_their_folder_once(
    fs: FileSystem, store: MemoryStore, pool: ThreadPoolExecutor
) -> None:
    fs.mkdir("/d", 0o755, ME)
    for name in "abc":
        write_file(fs, f"/d/{name}", b"1")
        fs.chmod(f"/d/{name}", 0o600)
    gate = Gate(store, "mark_folder")
    sent = [pool.submit(fs._keeper.send, f"/d/{name}") for name in "abc"]
    assert gate.reached.wait(20)
    gate.open()
    done(sent)
    assert store.requests["mark_folder"] == 1


def test_a_reader_goes_on_while_the_folder_above_is_renamed(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs
) -> None:
    write_unseen(store, "/d/f", b"content")
    fh = open_file(fs, "/d/f", os.O_RDONLY)
    fs.rename("/d", "/e")
    assert fs.read(fh, 0, 100) == b"content"
    close(fs, fh)


@pytest.mark.parametrize("is_changed", [False, True])
def test_a_reader_goes_on_while_the_answer_to_a_rename_is_on_its_way(
    make_fs: MakeFs, store: MemoryStore, pool: ThreadPoolExecutor, is_changed: bool
) -> None:
    gate = faulty.Gate()
    plan = faulty.FaultPlan(faulty.Fault("move_file", gate=gate, after=True))
    fs = make_fs(over=faulty.FaultyStore(store, plan))
    write_unseen(store, "/old", b"content")
    fh = open_file(fs, "/old", os.O_RDWR)
    if is_changed:
        fs.write(fh, 0, b"C")
    renamed = pool.submit(fs.rename, "/old", "/new")
    assert gate.arrived.wait(20)
    refused = threading.Event()
    asked = fs._blocks._fetcher._ask

    def ask(*args: Any) -> None:
        try:
            asked(*args)
        except NotFound:
            refused.set()
            raise

    fs._blocks._fetcher._ask = ask  # type: ignore[assignment, method-assign]
    got = pool.submit(fs.read, fh, 1, 100)
    assert refused.wait(20)
    gate.open()
    assert got.result(20) == b"ontent"
    done([renamed])
    close(fs, fh)


def test_many_folders_are_renamed_while_their_attributes_are_sent(
    fs: FileSystem, store: MemoryStore, pool: ThreadPoolExecutor, clock: FakeClock
) -> None:
    for number in range(12):
        fs.mkdir(f"/d{number}", 0o755, ME)
        write_file(fs, f"/d{number}/f", b"x")
        fs.chmod(f"/d{number}", 0o700)
    gate = Gate(store, "move_file")
    renames = [pool.submit(fs.rename, f"/d{n}", f"/e{n}") for n in range(12)]
    assert gate.reached.wait(20)
    sending = pool.submit(fs._keeper.send_all)
    gate.open()
    done(renames)
    sending.result(20)
    fs._keeper.send_all()
    assert [stat.S_IMODE(fs.getattr(f"/e{n}").mode) for n in range(12)] == [0o700] * 12


def test_pages_of_two_versions_are_never_kept(
    fs: FileSystem, store: MemoryStore, clock: FakeClock
) -> None:
    write_unseen(store, "/f", b"1" * 100)
    old = open_file(fs, "/f", os.O_RDONLY)
    write_unseen(store, "/f", b"2" * 100)
    clock.advance(61)
    fs.getattr("/f")
    assert fs.open("/f", os.O_RDONLY, ME)[1:] == (False, True)
    close(fs, old)
    fs.getattr("/f")
    assert fs.open("/f", os.O_RDONLY, ME)[1:] == (False, False)
    # The kernel drops the old pages after our answer: its first read says that it has.
    second = fs.open("/f", os.O_RDONLY, ME)
    assert second[1:] == (False, False)
    fs.read(second.fh, 0, 100)
    assert fs.open("/f", os.O_RDONLY, ME)[1:] == (True, False)


@pytest.mark.parametrize("size", [50, 150])
def test_a_reader_is_told_when_the_kernel_believes_another_size(
    fs: FileSystem, store: MemoryStore, clock: FakeClock, size: int
) -> None:
    write_unseen(store, "/f", b"1" * 100)
    with_others_pages, amid, done = (open_file(fs, "/f", os.O_RDONLY) for _ in range(3))
    assert fs.read(done, 0, 100) == b"1" * 100
    fs.read(amid, 0, 20)
    with_kept_pages = fs.open("/f", os.O_RDONLY, ME)
    assert with_kept_pages.keep_cache
    clock.advance(61)
    write_unseen(store, "/f", b"2" * size)
    # From now on the kernel ends all reads there, or fills them with zeros up to there.
    assert fs.getattr("/f").size == size
    for reader in (amid, done):
        with pytest.raises(Stale):
            fs.read(reader, 50, 50)
    close(fs, done)
    for reader in (amid, with_others_pages, with_kept_pages.fh):
        if size < 100:
            with pytest.raises(Stale):
                close(fs, reader)
        else:
            close(fs, reader)


def test_metadata_survives_a_store_that_failed_after_the_content(
    make_fs: MakeFs, store: MemoryStore, fs: FileSystem
) -> None:
    write_file(fs, "/f", b"old")
    fs.setxattr("/f", "user.x-cos-meta-owner", b"me", create=False, replace=False)
    other = make_fs()
    fh = open_file(other, "/f", os.O_RDWR)
    other.write(fh, 3, b" and new")
    fail = [True]

    def hook(method: str, path: str) -> None:
        if method == "write_file" and fail.pop(0):
            # The content arrives without what stands beside it.
            write_unseen(store, "/f", b"old and new")
            raise ConnectFailed("no route")

    store.hook = hook
    with pytest.raises(StoreFailed):
        other.fsync(fh)
    store.hook = None
    other.fsync(fh)
    close(other, fh)
    assert make_fs().getxattr("/f", "user.x-cos-meta-owner") == b"me"
    assert store.files() == {"/f": b"old and new"}


def test_a_name_removed_elsewhere_can_be_created_again_beside_its_reader(
    make_fs: MakeFs, store: MemoryStore
) -> None:
    fs = make_fs(ttl_s=0)
    write_unseen(store, "/f", b"0123456789")
    reader = open_file(fs, "/f", os.O_RDONLY)
    with store.unseen():
        store.delete_file("/f")
    writer = fs.create("/f", 0o644, os.O_CREAT | os.O_WRONLY, ME).fh
    assert fs.getattr("/f", writer).size == 0
    fs.write(writer, 0, b"x")
    close(fs, writer)
    assert store.files() == {"/f": b"x"}
    close(fs, reader)


def test_a_change_of_mode_during_the_first_upload_is_not_lost(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs, pool: ThreadPoolExecutor
) -> None:
    fh = open_file(fs, "/f", os.O_CREAT | os.O_WRONLY)
    fs.write(fh, 0, b"x")
    gate = Gate(store, "write_file")
    closed = pool.submit(close, fs, fh)
    assert gate.reached.wait(20)
    changed = pool.submit(fs.chmod, "/f", 0o600)
    gate.open()
    done([closed, changed])
    assert fs.stop() == []
    assert stat.S_IMODE(make_fs().getattr("/f").mode) == 0o600


def test_an_unexpected_error_stops_neither_the_sender_nor_the_file(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs, expect_log: ExpectLog
) -> None:
    expect_log("cannot be sent")
    write_file(fs, "/a", b"1")
    write_file(fs, "/b", b"1")
    broken = [True]

    def hook(method: str, path: str) -> None:
        if method in ("set_metadata", "write_file") and path == "/a" and broken:
            raise ValueError("never foreseen")

    store.hook = hook
    for path in ("/a", "/b"):
        fs.chmod(path, 0o600)
    assert [path for path, _ in fs._keeper.send_all()] == ["/a"]
    fh = open_file(fs, "/a", os.O_WRONLY)
    fs.write(fh, 0, b"2")
    with pytest.raises(StoreFailed):
        fs.fsync(fh)
    broken.clear()
    fs.write(fh, 0, b"3")
    close(fs, fh)
    assert store.files()["/a"] == b"3"
    assert stat.S_IMODE(make_fs().getattr("/b").mode) == 0o600


def test_a_truncate_that_the_disk_refuses_leaves_nothing_behind(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs, clock: FakeClock
) -> None:
    write_file(fs, "/f", b"0123")
    with pytest.raises(FileTooLarge):
        fs.truncate("/f", 1 << 62, ME)
    write_unseen(store, "/f", b"by somebody else")
    clock.advance(61)
    assert read_file(fs, "/f") == b"by somebody else"


def test_those_who_waited_for_a_failure_are_told_it_and_do_not_try_again(
    fs: FileSystem, store: MemoryStore, pool: ThreadPoolExecutor
) -> None:
    names(fs, "/")
    first = open_file(fs, "/f", os.O_CREAT | os.O_WRONLY)
    handles = [first] + [open_file(fs, "/f", os.O_WRONLY) for _ in range(4)]
    for fh in handles:
        fs.write(fh, 0, b"x")
    waiting, go = threading.Semaphore(0), threading.Event()

    def hook(method: str, path: str) -> None:
        if method == "write_file":
            waiting.release()
            assert go.wait(20)
            raise ConnectFailed("no route")

    store.hook = hook

    def flush(fh: int) -> None:
        with pytest.raises(StoreFailed):
            fs.flush(fh, ME)

    flushes = [pool.submit(flush, fh) for fh in handles]
    assert waiting.acquire(timeout=20)
    go.set()
    done(flushes)
    store.hook = None
    assert store.requests["write_file"] <= 2
    fs.fsync(first)
    for fh in handles:
        close(fs, fh)


def test_what_is_stored_at_the_end_leaves_no_spool(
    fs: FileSystem, store: MemoryStore
) -> None:
    fh = open_file(fs, "/f", os.O_CREAT | os.O_WRONLY)
    fs.write(fh, 0, b"x")
    fs.fsync(fh)
    spool = fs._files._services.spool_folder
    assert fs.stop() == []
    assert list(spool.iterdir()) == []


def test_whoever_asks_for_a_name_that_is_being_replaced_waits(
    fs: FileSystem, store: MemoryStore
) -> None:
    """libfuse replaces an open file in two halves: between them, the name must not be missing."""
    write_file(fs, "/f", b"old")
    write_file(fs, "/next", b"newer")
    fh = open_file(fs, "/f", os.O_RDONLY)
    seen: list[object] = []
    asking = [
        threading.Thread(target=lambda: seen.append(fs.getattr("/f").size)),
        threading.Thread(target=lambda: seen.append(names(fs, "/"))),
    ]

    def ask_amid_the_move(method: str, _path: str) -> None:
        if method == "move_file":
            for thread in asking:
                thread.start()
            asking[0].join(0.1)
            assert seen == []

    fs.rename("/f", "/.fuse_hidden0000000100000001")
    store.hook = ask_amid_the_move
    fs.rename("/next", "/f")
    for thread in asking:
        thread.join(30)
    assert sorted(seen, key=str) == [5, ["f"]]
    close(fs, fh)


def test_a_file_stays_that_is_closed_while_another_fails_to_replace_it(
    fs: FileSystem, store: MemoryStore, pool: ThreadPoolExecutor
) -> None:
    """The program that renames may be gone by then, and its rename going on behind its back."""
    write_file(fs, "/f", b"precious")
    write_file(fs, "/next", b"next")
    fh = open_file(fs, "/f", os.O_RDONLY)
    ends: list[Future[None]] = []

    def close_amid_the_move(method: str, path: str) -> None:
        if method == "move_file" and path == "/next":
            ends.append(pool.submit(close, fs, fh))
            wait(ends, 0.1)
            raise ConnectFailed("no route", path=path)

    fs.rename("/f", "/.fuse_hidden0000000100000001")
    store.hook = close_amid_the_move
    with pytest.raises(ConnectFailed):
        fs.rename("/next", "/f")
    done(ends)
    assert store.files() == {"/f": b"precious", "/next": b"next"}
    assert fs.usage().files.files == 0


def test_a_name_that_is_being_replaced_is_removed_afterwards(
    fs: FileSystem, store: MemoryStore, pool: ThreadPoolExecutor
) -> None:
    write_file(fs, "/f", b"old")
    write_file(fs, "/next", b"next")
    fh = open_file(fs, "/f", os.O_RDONLY)
    removals: list[Future[None]] = []

    def remove_amid_the_move(method: str, path: str) -> None:
        if method == "move_file" and path == "/next":
            removals.append(pool.submit(fs.unlink, "/f"))
            wait(removals, 0.1)
            raise ConnectFailed("no route", path=path)

    fs.rename("/f", "/.fuse_hidden0000000100000001")
    store.hook = remove_amid_the_move
    with pytest.raises(ConnectFailed):
        fs.rename("/next", "/f")
    done(removals)
    assert names(fs, "/") == ["next"]
    assert fs.read(fh, 0, 10) == b"old"
    close(fs, fh)
    assert store.files() == {"/next": b"next"}
