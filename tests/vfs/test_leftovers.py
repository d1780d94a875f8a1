"""What could not be stored: listed, kept over restarts, stored later, refused, dropped."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cosfs.errors import AccessDenied, ConnectFailed, NotFound, StoreFailed
from cosfs.model import Attributes, BytesSource, Metadata
from cosfs.store.faulty import Fault, FaultPlan, FaultyStore, Gate
from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
from cosfs.vfs.pending import read_records
from cosfs.vfs.types import Unstored
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

ExpectLog = Callable[[str], None]


@pytest.fixture(autouse=True)
def some_log_lines(expect_log: ExpectLog) -> None:
    """All of these tests are about content that is not stored, which is worth a line."""
    expect_log(
        "not stored: |cannot be stored now|not stored$|dropped, unstored|attributes of |record .*"
    )


@contextmanager
def outage(store: MemoryStore) -> Iterator[None]:
    """Let nothing reach the store, but what is ``unseen``."""

    def refuse(_method: str, path: str) -> None:
        raise ConnectFailed("no route", path=path)

    store.hook = refuse
    try:
        yield
    finally:
        store.hook = None


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def fs(make_fs: MakeFs, spool: Path) -> FileSystem:
    return make_fs(spool=spool)


def fail_to_write(fs: FileSystem, store: MemoryStore, path: str, data: bytes) -> None:
    """``cp`` while the server goes away between its look and its write."""
    try:
        fs.getattr(path)
    except NotFound:
        pass
    with outage(store), pytest.raises(StoreFailed):
        write_file(fs, path, data)


def uploads(store: MemoryStore) -> int:
    return store.requests["write_file"]


def metadata_of(store: MemoryStore, path: str) -> Metadata:
    with store.unseen():
        metadata = store.stat_file(path).metadata
    assert metadata is not None
    return metadata


def pending(fs: FileSystem) -> list[str]:
    return [one.path for one in fs.leftovers.all()]


@pytest.fixture
def missing(fs: FileSystem, store: MemoryStore) -> Iterator[str]:
    """A name that the mount knows to be free."""
    assert names(fs, "/") == []
    return "/f"


class TestList:
    def test_what_since_when_and_why(
        self, fs: FileSystem, store: MemoryStore, clock: FakeClock, spool: Path, missing: str
    ) -> None:
        then = clock.wall()
        fail_to_write(fs, store, missing, b"precious")
        clock.advance(100)
        (one,) = fs.leftovers.all()
        data = Path(one.file)
        assert one == Unstored("content", "/f", "no route", then, size=8, file=str(data))
        assert data.parent == spool and data.read_bytes() == b"precious"
        assert (fs.usage().pending.files, fs.usage().pending.bytes) == (1, 8)

    def test_attributes_that_are_refused(
        self, store: MemoryStore, make_fs: MakeFs, clock: FakeClock
    ) -> None:
        plan = FaultPlan(Fault("set_metadata", error=lambda: AccessDenied("not you")))
        fs = make_fs(over=FaultyStore(store, plan))
        write_file(fs, "/f", b"x")
        then = clock.wall()
        fs.chmod("/f", 0o600)
        fs.leftovers.retry()
        assert fs.leftovers.all() == [Unstored("attributes", "/f", "not you", then)]
        assert fs.usage().pending.attributes == 1
        plan.clear()
        stored, left = fs.leftovers.retry(["/f"])
        assert [one.kind for one in stored] == ["attributes"] and left == []
        assert metadata_of(store, "/f").attributes.mode == 0o100600


class TestRetry:
    def test_a_new_file(
        self, fs: FileSystem, store: MemoryStore, clock: FakeClock, spool: Path, missing: str
    ) -> None:
        fail_to_write(fs, store, missing, b"precious")
        written = clock.wall_ns()
        clock.advance(3600)
        stored, left = fs.leftovers.retry()
        assert ([one.path for one in stored], left) == (["/f"], [])
        assert fs.leftovers.all() == [] and fs.leftovers.retry() == ([], [])
        assert store.files() == {"/f": b"precious"}
        assert list(spool.iterdir()) == []
        assert names(fs, "/") == ["f"] and read_file(fs, "/f") == b"precious"
        assert fs.getattr("/f").mtime_ns == written
        assert fs.stop() == []

    def test_its_time_is_when_it_was_written_for_other_mounts_too(
        self, fs: FileSystem, store: MemoryStore, clock: FakeClock, make_fs: MakeFs, missing: str
    ) -> None:
        fail_to_write(fs, store, missing, b"precious")
        written = clock.wall_ns()
        clock.advance(3600)
        fs.leftovers.retry()
        assert make_fs().getattr("/f").mtime_ns == written

    def test_what_was_to_stand_beside_a_new_file_travels(
        self, fs: FileSystem, store: MemoryStore, missing: str
    ) -> None:
        with outage(store):
            fh = fs.create(missing, 0o600, os.O_WRONLY, ME).fh
            fs.setxattr("/f", "user.biz_attr", b"hi", create=False, replace=False)
            fs.write(fh, 0, b"x")
            with pytest.raises(StoreFailed):
                close(fs, fh)
        fs.leftovers.retry()
        there = metadata_of(store, "/f")
        assert there.properties == {"biz_attr": b"hi"}
        assert there.attributes.mode == 0o100600

    def test_an_overwrite_keeps_what_stands_there(
        self, fs: FileSystem, store: MemoryStore
    ) -> None:
        properties = {"biz_attr": b"a", "x-cos-meta-b": b"b"}
        before = Metadata(properties, attributes=Attributes(mode=0o100640, uid=5))
        with store.unseen():
            store.mark_folder("/")
            store.write_file("/f", BytesSource(b"old"), metadata=before)
        fail_to_write(fs, store, "/f", b"new")
        fs.leftovers.retry()
        after = metadata_of(store, "/f")
        assert store.files() == {"/f": b"new"}
        assert after.properties == properties
        assert (after.attributes.mode, after.attributes.uid) == (0o100640, 5)

    def test_an_append_whose_beginning_was_never_fetched(
        self, fs: FileSystem, store: MemoryStore
    ) -> None:
        write_unseen(store, "/f", b"once upon a time")
        fs.getattr("/f")
        with outage(store), pytest.raises(StoreFailed):
            append(fs, "/f", b", there was")
        (one,) = fs.leftovers.all()
        assert (one.size, one.missing) == (27, 16)
        stored, left = fs.leftovers.retry()
        assert len(stored) == 1 and left == []
        assert store.files() == {"/f": b"once upon a time, there was"}

    def test_still_no_server(self, fs: FileSystem, store: MemoryStore, missing: str) -> None:
        fail_to_write(fs, store, missing, b"x")
        (before,) = fs.leftovers.all()
        with outage(store):
            assert fs.leftovers.retry() == ([], [before])
        assert len(fs.leftovers.retry().stored) == 1

    def test_without_a_server_the_rest_is_not_tried(
        self, make_fs: MakeFs, store: MemoryStore
    ) -> None:
        fs = make_fs(parallel=1)
        names(fs, "/")
        for n in range(20):
            fail_to_write(fs, store, f"/{n}", b"x")
        tried: list[str] = []

        def refuse(_method: str, path: str) -> None:
            tried.append(path)
            raise ConnectFailed("no route", path=path)

        store.hook = refuse
        assert len(fs.leftovers.retry().left) == 20
        store.hook = None
        # One look at the first name: of its folder, or of both side by side.
        assert tried in (["/"], ["/", "/0"], ["/0", "/"])

    def test_one_that_is_refused_does_not_keep_others(
        self, fs: FileSystem, store: MemoryStore, missing: str
    ) -> None:
        for name in "abc":
            fail_to_write(fs, store, f"/{name}", b"x")
        write_unseen(store, "/b", b"theirs")
        stored, left = fs.leftovers.retry()
        assert [one.path for one in stored] == ["/a", "/c"]
        assert [one.path for one in left] == ["/b"]

    def test_by_name(self, fs: FileSystem, store: MemoryStore, missing: str) -> None:
        for name in "abc":
            fail_to_write(fs, store, f"/{name}", b"x")
        c = fs.leftovers.all()[2]
        fs.leftovers.retry(["/a", Path(c.file).stem])
        assert sorted(store.files()) == ["/a", "/c"] and pending(fs) == ["/b"]
        with pytest.raises(NotFound, match="nothing of this name is pending: '/x'"):
            fs.leftovers.retry(["/x"])

    def test_of_several_contents_the_newest_is_stored(
        self, fs: FileSystem, store: MemoryStore, clock: FakeClock, missing: str
    ) -> None:
        for n in range(3):
            fail_to_write(fs, store, missing, b"%d" % n)
            clock.advance(1)
        assert pending(fs) == ["/f"] * 3
        before = uploads(store)
        stored, left = fs.leftovers.retry()
        assert len(stored) == 1 and left == []
        assert store.files() == {"/f": b"2"} and uploads(store) == before + 1

    def test_while_a_program_writes_the_file_it_waits(
        self, fs: FileSystem, store: MemoryStore, missing: str
    ) -> None:
        fail_to_write(fs, store, missing, b"first")
        fh = open_file(fs, missing, os.O_WRONLY | os.O_CREAT)
        fs.write(fh, 0, b"second")
        stored, (left,) = fs.leftovers.retry()
        assert stored == [] and left.reason.startswith("In use: '/f' (a program has it open")
        close(fs, fh)
        assert store.files() == {"/f": b"second"} and pending(fs) == []

    def test_two_at_once_store_once(
        self, make_fs: MakeFs, store: MemoryStore, missing: str
    ) -> None:
        plan = FaultPlan()
        fs = make_fs(over=FaultyStore(store, plan))
        names(fs, "/")
        fail_to_write(fs, store, "/f", b"x")
        gate, before = Gate(), uploads(store)
        plan.add(Fault("write_file", gate=gate))
        threads = [threading.Thread(target=fs.leftovers.retry) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert gate.arrived.wait(20)
        gate.open()
        for thread in threads:
            thread.join()
        assert uploads(store) == before + 1 and pending(fs) == []

    def test_content_that_somebody_took_away(
        self, fs: FileSystem, store: MemoryStore, missing: str
    ) -> None:
        fail_to_write(fs, store, missing, b"x")
        (one,) = fs.leftovers.all()
        Path(one.file).unlink()
        assert fs.leftovers.retry().stored == []
        assert fs.leftovers.drop(["/f"]) == [one]
        assert fs.leftovers.all() == []


class TestRename:
    def test_content_follows_its_file_and_its_folder(
        self, fs: FileSystem, store: MemoryStore, make_fs: MakeFs, spool: Path
    ) -> None:
        fs.mkdir("/d", 0o755, ME)
        write_file(fs, "/d/f", b"old")
        fail_to_write(fs, store, "/d/f", b"mine")
        fs.rename("/d/f", "/d/g")
        fs.rename("/d", "/e")
        assert pending(fs) == ["/e/g"]
        fs.stop()
        again = make_fs(spool=spool)
        assert again.leftovers.retry().left == []
        assert store.files() == {"/e/g": b"mine"}

    def test_what_is_renamed_over_it_ends_it(self, fs: FileSystem, store: MemoryStore) -> None:
        write_file(fs, "/f", b"old")
        fail_to_write(fs, store, "/f", b"mine")
        write_file(fs, "/f.new", b"newer")
        fs.rename("/f.new", "/f")
        assert pending(fs) == []
        assert store.files() == {"/f": b"newer"}


class TestConflict:
    def test_a_name_that_somebody_else_took(
        self, fs: FileSystem, store: MemoryStore, missing: str
    ) -> None:
        fail_to_write(fs, store, missing, b"mine")
        write_unseen(store, "/f", b"theirs")
        (left,) = fs.leftovers.retry().left
        assert "another version is there now" in left.reason
        assert store.files() == {"/f": b"theirs"}
        assert Path(left.file).read_bytes() == b"mine"
        assert read_file(fs, "/f") == b"theirs"

    def test_a_version_that_somebody_else_replaced(
        self, fs: FileSystem, store: MemoryStore
    ) -> None:
        write_file(fs, "/f", b"old")
        fail_to_write(fs, store, "/f", b"mine")
        write_unseen(store, "/f", b"theirs")
        # Seen by this mount too: still not what it was built on.
        assert fs.getattr("/f").size == 6
        (left,) = fs.leftovers.retry().left
        assert "another version is there now" in left.reason
        assert store.files() == {"/f": b"theirs"}

    @pytest.mark.parametrize("is_new", [False, True])
    def test_force_stores_it_and_keeps_what_stands_there(
        self, fs: FileSystem, store: MemoryStore, is_new: bool
    ) -> None:
        if not is_new:
            write_file(fs, "/f", b"old")
        names(fs, "/")
        fail_to_write(fs, store, "/f", b"mine")
        with store.unseen():
            theirs = Metadata({"biz_attr": b"theirs"})
            store.write_file("/f", BytesSource(b"theirs"), metadata=theirs)
        assert len(fs.leftovers.retry().left) == 1
        assert fs.leftovers.retry(force=True).left == []
        assert store.files() == {"/f": b"mine"}
        assert metadata_of(store, "/f").properties == {"biz_attr": b"theirs"}

    def test_force_cannot_mix_two_versions(self, fs: FileSystem, store: MemoryStore) -> None:
        write_unseen(store, "/f", b"once upon a time")
        fs.getattr("/f")
        with outage(store), pytest.raises(StoreFailed):
            append(fs, "/f", b", there was")
        write_unseen(store, "/f", b"theirs, and longer than that")
        for force in (False, True):
            (left,) = fs.leftovers.retry(force=force).left
            assert left.missing == 16
        with store.unseen():
            store.delete_file("/f")
        assert len(fs.leftovers.retry(force=True).left) == 1
        assert store.files() == {}

    def test_a_file_that_somebody_else_removed_comes_back(
        self, fs: FileSystem, store: MemoryStore
    ) -> None:
        write_file(fs, "/f", b"old")
        fail_to_write(fs, store, "/f", b"mine")
        with store.unseen():
            store.delete_file("/f")
        assert fs.leftovers.retry().left == []
        assert store.files() == {"/f": b"mine"}

    @pytest.mark.parametrize("is_new", [False, True])
    def test_what_was_stored_although_the_answer_was_lost_is_no_conflict(
        self, make_fs: MakeFs, store: MemoryStore, is_new: bool
    ) -> None:
        plan = FaultPlan()
        fs = make_fs(over=FaultyStore(store, plan))
        if not is_new:
            write_file(fs, "/f", b"old")
        names(fs, "/")
        plan.add(Fault("write_file", error=lambda: ConnectFailed("lost"), after=True))
        with pytest.raises(StoreFailed):
            write_file(fs, "/f", b"mine")
        plan.clear()
        before = uploads(store)
        stored, left = fs.leftovers.retry()
        assert [one.path for one in stored] == ["/f"] and left == []
        assert uploads(store) - before <= 1
        assert store.files() == {"/f": b"mine"} and pending(fs) == []

    def test_the_losers_bytes_outlive_later_stores_of_the_name(
        self, make_fs: MakeFs, store: MemoryStore, clock: FakeClock
    ) -> None:
        fs = make_fs()
        write_file(fs, "/f", b"old")
        fh = open_file(fs, "/f", os.O_RDWR)
        assert fs.read(fh, 0, 10) == b"old"
        fs.write(fh, 3, b" mine")
        write_unseen(store, "/f", b"theirs")
        clock.advance(61)
        with pytest.raises(StoreFailed):
            close(fs, fh)
        write_file(fs, "/f", b"newer")
        assert pending(fs) == ["/f"]
        fs.leftovers.drop(["/f"])
        assert fs.stop() == []


class TestRestart:
    def test_the_next_mount_has_it_and_stores_it(
        self, fs: FileSystem, store: MemoryStore, make_fs: MakeFs, spool: Path
    ) -> None:
        write_unseen(store, "/old", b"once upon a time")
        assert names(fs, "/") == ["old"]
        with outage(store):
            with pytest.raises(StoreFailed):
                append(fs, "/old", b", there was")
            fh = fs.create("/new\udcff", 0o600, os.O_WRONLY, ME).fh
            fs.setxattr("/new\udcff", "user.any", bytes(range(256)), create=True, replace=False)
            fs.write(fh, 0, b"precious")
            with pytest.raises(StoreFailed):
                close(fs, fh)
        before = fs.leftovers.all()
        assert [one.path for one in fs.stop()] == ["/new\udcff", "/old"]

        again = make_fs(spool=spool)
        assert again.leftovers.all() == before
        assert [one.path for one in again.stop()] == ["/new\udcff", "/old"], "still said at the end"

        third = make_fs(spool=spool)
        assert third.leftovers.retry().left == []
        assert store.files() == {
            "/old": b"once upon a time, there was",
            "/new\udcff": b"precious",
        }
        there = metadata_of(store, "/new\udcff")
        assert there.properties == {"any": bytes(range(256))}
        assert there.attributes.mode == 0o100600
        assert list(spool.iterdir()) == [] and third.stop() == []

    def test_a_conflict_stays_one(
        self, fs: FileSystem, store: MemoryStore, make_fs: MakeFs, spool: Path
    ) -> None:
        write_file(fs, "/f", b"old")
        fail_to_write(fs, store, "/f", b"mine")
        write_unseen(store, "/f", b"theirs")
        fs.leftovers.retry()
        fs.stop()
        again = make_fs(spool=spool)
        write_file(again, "/f", b"newer")
        assert pending(again) == ["/f"]
        assert len(again.leftovers.retry().left) == 1
        assert store.files() == {"/f": b"newer"}

    def test_newer_content_of_the_next_mount_ends_it(
        self, fs: FileSystem, store: MemoryStore, make_fs: MakeFs, spool: Path, missing: str
    ) -> None:
        fail_to_write(fs, store, missing, b"old")
        fs.stop()
        again = make_fs(spool=spool)
        write_file(again, "/f", b"new")
        assert again.leftovers.all() == [] and list(spool.iterdir()) == []

    def test_records_that_cannot_be_read(self, spool: Path) -> None:
        spool.mkdir()
        for name, text in (("a", "{"), ("b", "{}"), ("c", "[]"), ("d", '{"path": "/x"}')):
            (spool / f"{name}.data").touch()
            (spool / f"{name}.json").write_text(text)
        assert read_records(spool) == []

    def test_a_record_whose_content_is_gone(
        self, fs: FileSystem, store: MemoryStore, spool: Path, missing: str
    ) -> None:
        fail_to_write(fs, store, missing, b"x")
        (one,) = fs.leftovers.all()
        assert [kept.path for kept in read_records(spool)] == ["/f"]
        Path(one.file).unlink()
        assert read_records(spool) == []

    def test_a_record_that_cannot_be_written(
        self,
        fs: FileSystem,
        store: MemoryStore,
        missing: str,
        monkeypatch: pytest.MonkeyPatch,
        expect_log: ExpectLog,
    ) -> None:
        expect_log("no record of '/f' can be written: .*No space")

        def full(*_args: object, **_keywords: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(json, "dumps", full)
            fail_to_write(fs, store, missing, b"x")
        assert pending(fs) == ["/f"]
        assert fs.leftovers.retry().left == []
        assert store.files() == {"/f": b"x"}


class TestDrop:
    def test_content_goes_for_good(
        self, fs: FileSystem, store: MemoryStore, spool: Path, missing: str
    ) -> None:
        for name in "ab":
            fail_to_write(fs, store, f"/{name}", b"x")
        b = fs.leftovers.all()[1]
        assert fs.leftovers.drop([b.file]) == [b]
        assert pending(fs) == ["/a"] and len(list(spool.iterdir())) == 2
        with pytest.raises(NotFound):
            fs.leftovers.drop(["/b"])
        with pytest.raises(NotFound):
            fs.leftovers.drop(["/a", "/nothing"])
        assert pending(fs) == ["/a"], "nothing goes when a name is wrong"

    def test_attributes_go_too(self, store: MemoryStore, make_fs: MakeFs) -> None:
        plan = FaultPlan(Fault("set_metadata", error=lambda: AccessDenied("not you")))
        fs = make_fs(over=FaultyStore(store, plan))
        write_file(fs, "/f", b"x")
        mode = fs.getattr("/f").mode
        fs.chmod("/f", 0o600)
        fs.leftovers.retry()
        assert [one.kind for one in fs.leftovers.drop(["/f"])] == ["attributes"]
        assert fs.leftovers.all() == [] and fs.getattr("/f").mode == mode
        assert fs.stop() == []
