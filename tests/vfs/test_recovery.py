"""What a killed mount had begun, the next one finishes; what fails half-way is put back."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import pytest

from cosfs.errors import (
    AccessDenied,
    AlreadyExists,
    ConnectFailed,
    FolderNotEmpty,
    NotFound,
    StoreFailed,
)
from cosfs.model import BytesSource, Entry, Metadata, Source, Version
from cosfs.store.faulty import Fault, FaultPlan, FaultyStore
from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
from cosfs.vfs.journal import overwrite_record
from cosfs.vfs.recovery import Recovery
from tests.fakeclock import FakeClock
from tests.vfs.conftest import ME, MakeFs
from tests.vfs.programs import close, names, open_file, read_file, write_file, write_unseen

HIDDEN = "/.fuse_hidden0000000100000001"


class Killed(Exception):
    """Ends the threads of a dead mount when the test is over."""


class Mortal:
    """A store whose mount dies at one of its requests, as by kill -9: nothing after it happens.

    One request at a time, so that none is half-way when it strikes.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(1)
        self._lock = threading.Lock()
        self._method, self._left = "", 0
        self._is_dead = False
        self._struck, self._end = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._store, name)

        def call(*args: Any, **options: Any) -> Any:
            with self._lock:
                self._left -= name == self._method
                if name == self._method and self._left == 0:
                    self._is_dead = True
                    self._struck.set()
                if not self._is_dead or self._end.is_set():
                    return member(*args, **options)
            self._end.wait(60)
            raise Killed

        return call

    def die_of(self, what: Callable[[], object], method: str, occurrence: int) -> None:
        """Do something until it dies at a request."""
        self._method, self._left = method, occurrence
        self._pool.submit(what)
        assert self._struck.wait(20)

    def bury(self) -> None:
        self._end.set()
        self._pool.shutdown()


@pytest.fixture
def mortal(store: MemoryStore) -> Iterator[Mortal]:
    mortal = Mortal(store)
    yield mortal
    mortal.bury()


@pytest.mark.parametrize("at", [("make_folder", 1), ("move_file", 1), ("move_file", 6)])
def test_a_killed_rename_of_a_folder_is_finished(
    make_fs: MakeFs, store: MemoryStore, mortal: Mortal, at: tuple[str, int]
) -> None:
    killed = make_fs(over=mortal)
    killed.mkdir("/a", 0o700, ME)
    killed.mkdir("/a/sub", 0o755, ME)
    content = {f"/a/{n}": b"%d" % n for n in range(5)} | {"/a/sub/x": b"x", "/a/sub/y": b"y"}
    for path, data in content.items():
        write_file(killed, path, data)
    killed._keeper.send_all()
    mortal.die_of(lambda: killed.rename("/a", "/b"), *at)
    heir = make_fs(journal_file=killed._journal.file)
    assert names(heir, "/") == ["b"]
    found = {path.replace("/a/", "/b/", 1): data for path, data in content.items()}
    assert store.files() == found
    assert {path: read_file(heir, path) for path in found} == found
    assert heir.getattr("/b").mode & 0o777 == 0o700


def test_a_killed_rename_keeps_the_attributes_of_folders(
    make_fs: MakeFs, store: MemoryStore, mortal: Mortal
) -> None:
    killed = make_fs(over=mortal)
    killed.mkdir("/a", 0o755, ME)
    killed.mkdir("/a/sub", 0o700, ME)
    killed._keeper.send_all()
    # The mark of the old folder goes before the folder itself: killed between the two.
    mortal.die_of(lambda: killed.rename("/a", "/b"), "delete_folder", 1)
    with store.unseen():
        store.delete_folder("/a/sub", marked=True)
        store.make_folder("/a/sub")
    heir = make_fs(journal_file=killed._journal.file)
    assert heir.getattr("/b/sub").mode & 0o777 == 0o700
    assert store.folders() == ["/b", "/b/sub"]


TREE = {**{f"/a/{n}": b"%d" % n for n in range(5)}, "/a/sub/x": b"x"}


def made_tree(fs: FileSystem) -> None:
    fs.mkdir("/a", 0o755, ME)
    fs.mkdir("/a/sub", 0o700, ME)
    fs.mkdir("/f", 0o755, ME)
    for path, data in TREE.items():
        write_file(fs, path, data)
        fs.utimens(path, None, 10**18)
    fs._keeper.send_all()
    fs.chmod("/a/sub/x", 0o600)
    fs.chmod("/a", 0o711)


def assert_tree(fs: FileSystem, store: MemoryStore, top: str) -> None:
    found = {path.replace("/a", top, 1): data for path, data in TREE.items()}
    assert store.files() == found
    assert {path: read_file(fs, path) for path in found} == found
    assert {fs.getattr(path).mtime_ns for path in found} == {10**18}
    modes = [fs.getattr(path).mode & 0o777 for path in (top, f"{top}/sub", f"{top}/sub/x")]
    assert modes == [0o711, 0o700, 0o600]


@pytest.mark.parametrize("method", ["move_file", "make_folder", "delete_folder"])
def test_a_rename_of_a_folder_that_fails_half_way_is_taken_back(
    make_fs: MakeFs, store: MemoryStore, method: str, expect_log: Callable[[str], None]
) -> None:
    expect_log("is taken back")
    if method == "move_file":
        expect_log("1 of 6 files could not be moved")
    plan = FaultPlan()
    fs = make_fs(over=FaultyStore(store, plan), parallel=1)
    made_tree(fs)
    fh = open_file(fs, "/a/4", os.O_RDONLY)
    third = 3 if method == "move_file" else 2
    plan.add(Fault(method, on={third}, error=lambda: AccessDenied("no", path="/a")))
    with pytest.raises(AccessDenied):
        fs.rename("/a", "/f")
    assert names(fs, "/") == ["a", "f"] and names(fs, "/f") == []
    assert fs.read(fh, 0, 9) == b"4"
    close(fs, fh)
    assert_tree(fs, store, "/a")
    assert not fs._journal.all("renames")
    fs.rename("/a", "/f")
    assert_tree(fs, store, "/f")
    assert fs.stop() == []
    assert_tree(make_fs(), store, "/f")


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_rename_of_a_folder_that_an_outage_cut_off(
    make_fs: MakeFs, store: MemoryStore, is_killed: bool, expect_log: Callable[[str], None]
) -> None:
    for line in ("could not be moved", "half done, and not taken back yet", "is taken back"):
        expect_log(line)
    plan = FaultPlan()
    fs = make_fs(over=FaultyStore(store, plan), parallel=1)
    made_tree(fs)
    plan.add(Fault("move_file", on=range(3, 99), error=lambda: ConnectFailed("no route")))
    with pytest.raises(ConnectFailed):
        fs.rename("/a", "/f")
    plan.clear()
    if is_killed:
        heir = make_fs(journal_file=fs._journal.file)
        assert names(heir, "/f") == []
        assert_tree(heir, store, "/a")
        return
    expect_log("'/f/0' keeps its name")
    # Somebody goes on in the half that he sees.
    write_file(fs, "/a/0", b"another 0")
    fs.chmod("/f/1", 0o640)
    with pytest.raises(FolderNotEmpty):
        # The first file that was moved has no old name to go back to.
        fs.rename("/a", "/f")
    assert store.files() == {**TREE, "/a/0": b"another 0", "/f/0": b"0"}
    assert fs.getattr("/a/1").mode & 0o777 == 0o640
    fs.unlink("/f/0")
    fs.rename("/a", "/f")
    assert read_file(fs, "/f/0") == b"another 0"


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_folder_whose_removal_failed_keeps_its_attributes(
    make_fs: MakeFs, store: MemoryStore, is_killed: bool
) -> None:
    plan = FaultPlan()
    fs = make_fs(over=FaultyStore(store, plan))
    fs.mkdir("/d", 0o700, ME)
    fs._keeper.send_all()

    def cut_off() -> Exception:
        # The mark was gone already.
        with store.unseen():
            store.delete_folder("/d", marked=True)
            store.make_folder("/d")
        return ConnectFailed("no route")

    plan.add(Fault("delete_folder", on={1}, error=cut_off))
    with pytest.raises(ConnectFailed):
        fs.rmdir("/d")
    if is_killed:
        fs = make_fs(journal_file=fs._journal.file)
    assert fs.getattr("/d").mode & 0o777 == 0o700
    assert fs.stop() == []
    assert make_fs().getattr("/d").mode & 0o777 == 0o700


def test_metadata_that_an_unfinished_overwrite_lost_is_put_back(
    fs: FileSystem, make_fs: MakeFs, store: MemoryStore, expect_log: Callable[[str], None]
) -> None:
    expect_log("putting back metadata")
    properties = {"x-cos-meta-owner": b"me", "content_type": b"text/x"}
    kept = Metadata(MappingProxyType(properties))
    version = Version(hashlib.sha1(b"new").hexdigest(), 3)
    for path in ("/lost", "/foreign", "/foreign of this size", "/done"):
        fs._journal.put("overwrites", path, overwrite_record(version, kept))
    write_unseen(store, "/lost", b"new")
    write_unseen(store, "/foreign", b"somebody else's")
    write_unseen(store, "/foreign of this size", b"new"[::-1])
    with store.unseen():
        store.write_file("/done", BytesSource(b"new"), metadata=kept)
    heir = make_fs(journal_file=fs._journal.file)
    assert heir.getxattr("/lost", "user.x-cos-meta-owner") == b"me"
    assert heir.getxattr("/done", "user.content_type") == b"text/x"
    for path in ("/foreign", "/foreign of this size"):
        assert not [name for name in heir.listxattr(path) if "cos-meta" in name]
    store.requests.clear()
    make_fs(journal_file=fs._journal.file)
    assert store.requests.total() == 0


def test_attributes_beside_a_text_that_an_unfinished_overwrite_lost(
    fs: FileSystem, make_fs: MakeFs, store: MemoryStore, expect_log: Callable[[str], None]
) -> None:
    expect_log("putting back metadata")
    write_file(fs, "/f", b"old")
    fs.setxattr("/f", "user.biz_attr", b"text", create=False, replace=False)
    fs.chmod("/f", 0o600)
    fs._keeper.send_all()
    journaled = []

    def overwritten(method: str, path: str) -> None:
        if method == "write_file":
            journaled.append(fs._journal.all("overwrites")[path])

    store.hook = overwritten
    write_file(fs, "/f", b"new")
    (record,) = journaled
    # As it is between the content and its attributes, which a server takes one after the other.
    fs._journal.put("overwrites", "/f", record)
    with store.unseen():
        text = Metadata(MappingProxyType({"biz_attr": b"text"}))
        store.write_file("/f", BytesSource(b"new"), metadata=text)
    heir = make_fs(journal_file=fs._journal.file)
    assert heir.getattr("/f").mode & 0o777 == 0o600
    assert heir.getxattr("/f", "user.biz_attr") == b"text"


def test_what_lived_only_by_its_descriptors_ends_with_a_killed_mount(
    fs: FileSystem, make_fs: MakeFs, store: MemoryStore, clock: FakeClock
) -> None:
    write_file(fs, "/f", b"content")
    fh = open_file(fs, "/f", os.O_RDONLY)
    fs.rename("/f", HIDDEN)
    assert len(store.files()) == 1
    clock.advance(1)
    close(fs, open_file(fs, "/other", os.O_CREAT | os.O_WRONLY))
    heir = make_fs(journal_file=fs._journal.file)
    assert names(heir, "/") == ["other"]
    assert heir.stop() == []
    assert list(store.files()) == ["/other"]
    close(fs, fh)


def test_a_name_that_was_taken_for_a_rename_comes_back(
    fs: FileSystem, make_fs: MakeFs, store: MemoryStore, expect_log: Callable[[str], None]
) -> None:
    expect_log("lost its name to a rename and has it again")
    write_file(fs, "/target", b"content")
    write_file(fs, "/source", b"new")
    fh = open_file(fs, "/target", os.O_RDONLY)
    fs.chmod("/target", 0o700)
    fs.rename("/target", HIDDEN)  # killed before the second half
    heir = make_fs(journal_file=fs._journal.file)
    assert store.files() == {"/source": b"new", "/target": b"content"}
    assert heir.getattr("/target").mode & 0o777 == 0o700
    assert read_file(heir, "/target") == b"content"
    close(fs, fh)


def test_a_removed_name_does_not_come_back(
    make_fs: MakeFs, store: MemoryStore, mortal: Mortal
) -> None:
    killed = make_fs(over=mortal)
    for path in ("/removed", "/replaced", "/source"):
        write_file(killed, path, path.encode())
    # Removed while it is open, and killed right before it goes with its last descriptor.
    fh = open_file(killed, "/removed", os.O_RDONLY)
    # Replaced while it is open, and then what replaced it is removed.
    open_file(killed, "/replaced", os.O_RDONLY)
    killed.rename("/replaced", HIDDEN)
    killed.rename("/source", "/replaced")
    killed.unlink("/replaced")
    killed.rename("/removed", HIDDEN[:-1] + "2")
    mortal.die_of(lambda: close(killed, fh), "delete_file", 1)
    heir = make_fs(journal_file=killed._journal.file)
    assert names(heir, "/") == []
    assert heir.stop() == []
    assert store.files() == {}


def test_a_name_is_hidden_while_its_last_descriptor_ends(
    fs: FileSystem, store: MemoryStore
) -> None:
    write_file(fs, "/f", b"content")
    # Closed here, but libfuse does not know that yet: it hides the name, and removes that later.
    fs.rename("/f", HIDDEN)
    assert names(fs, "/") == []
    assert [path for path in store.files() if not path.startswith("/.cosfs-work/")] == []
    fs.unlink(HIDDEN)
    assert store.files() == {}
    assert not fs._journal.all("orphans")


def test_nothing_is_remembered_of_a_removed_file(
    fs: FileSystem, store: MemoryStore, clock: FakeClock
) -> None:
    write_file(fs, "/f", b"content")
    fh = open_file(fs, "/f", os.O_RDONLY)
    fs.rename("/f", HIDDEN)
    close(fs, fh)
    clock.advance(1)
    close(fs, open_file(fs, "/other", os.O_CREAT | os.O_WRONLY))
    assert not fs._journal.all("orphans")
    assert not fs._files._halves._hidden


class StagingStore(MemoryStore):
    """Puts content under another name first, as stores do with large content."""

    def write_file(self, path: str, source: Source, **options: Any) -> Entry:
        staged = "/.cosfs-work/staging/x"
        options["staging"](staged)
        entry = super().write_file(staged, source, metadata=options["metadata"])
        self.move_file(staged, path, overwrite=True)
        return entry


def test_what_was_uploaded_of_a_file_goes(
    make_fs: MakeFs, clock: FakeClock, expect_log: Callable[[str], None]
) -> None:
    expect_log("not stored")
    store = StagingStore(clock=clock)
    killed = make_fs(over=store)
    write_file(killed, "/f", b"old")
    assert not killed._journal.all("staged")

    def outage(method: str, _path: str) -> None:
        if method == "move_file":
            raise ConnectFailed("no route")

    store.hook = outage
    with pytest.raises(StoreFailed):
        write_file(killed, "/f", b"new")
    store.hook = None
    assert sorted(store.files()) == ["/.cosfs-work/staging/x", "/f"]
    heir = make_fs(over=store, journal_file=killed._journal.file)
    assert heir.stop() == []
    assert store.files() == {"/f": b"old"}


def test_what_a_mount_uploads_itself_is_no_rubbish(
    fs: FileSystem, store: MemoryStore
) -> None:
    recovery = Recovery(store, fs._journal, fs._names)
    fs._journal.put("staged", "/.cosfs-work/staging/x", {})
    recovery.clean()
    assert store.requests.total() == 0


def test_an_open_target_comes_back_when_nothing_replaces_it(
    fs: FileSystem, make_fs: MakeFs, store: MemoryStore
) -> None:
    write_file(fs, "/source", b"source")
    write_file(fs, "/target", b"target")
    fh = open_file(fs, "/target", os.O_RDWR)

    def outage(method: str, path: str) -> None:
        if method == "move_file" and path == "/source":
            raise ConnectFailed("no route")

    # rename("/source", "/target") as libfuse does it, in one thread.
    fs.rename("/target", HIDDEN)
    store.hook = outage
    with pytest.raises(ConnectFailed):
        fs.rename("/source", "/target")
    store.hook = None
    assert names(fs, "/") == names(make_fs(), "/") == ["source", "target"]
    assert fs.getattr("/target").nlink == 1
    fs.write(fh, 0, b"T")
    close(fs, fh)
    assert store.files() == {"/source": b"source", "/target": b"Target"}


def test_exclusive_creation_at_open(make_fs: MakeFs, store: MemoryStore) -> None:
    one, other = make_fs(excl="open"), make_fs(excl="open")
    assert names(other, "/") == []
    fh = one.create("/f", 0o600, os.O_CREAT | os.O_EXCL | os.O_WRONLY, ME).fh
    with pytest.raises(StoreFailed) as failure:
        other.create("/f", 0o600, os.O_CREAT | os.O_EXCL | os.O_WRONLY, ME)
    assert isinstance(failure.value.cause, AlreadyExists)
    assert names(other, "/") == ["f"]
    one.write(fh, 0, b"winner")
    close(one, fh)
    assert store.files() == {"/f": b"winner"}
    assert other.stop() == one.stop() == []
    assert make_fs().getattr("/f").mode & 0o777 == 0o600


def test_an_exclusive_creation_whose_answer_was_lost(make_fs: MakeFs, store: MemoryStore) -> None:
    plan = FaultPlan(
        Fault("write_file", on={1}, error=lambda: ConnectFailed("no route"), after=True)
    )
    fs = make_fs(over=FaultyStore(store, plan))
    fh = fs.create("/f", 0o600, os.O_CREAT | os.O_EXCL | os.O_WRONLY, ME).fh
    fs.write(fh, 0, b"mine")
    with pytest.raises(StoreFailed):
        fs.fsync(fh)
    fs.write(fh, 4, b" and more")
    fs.fsync(fh)
    close(fs, fh)
    assert store.files() == {"/f": b"mine and more"}


def test_what_another_created_is_not_taken_for_a_lost_answer(
    make_fs: MakeFs, store: MemoryStore, expect_log: Callable[[str], None]
) -> None:
    expect_log("not stored")
    plan = FaultPlan(Fault("write_file", on={1}, error=lambda: ConnectFailed("no route")))
    fs, other = make_fs(over=FaultyStore(store, plan)), make_fs()
    fh = fs.create("/f", 0o600, os.O_CREAT | os.O_EXCL | os.O_WRONLY, ME).fh
    fs.write(fh, 0, b"lock")
    with pytest.raises(StoreFailed):
        fs.fsync(fh)
    write_file(other, "/f", b"lock", os.O_EXCL)
    with pytest.raises(StoreFailed) as failure:
        fs.fsync(fh)
    assert isinstance(failure.value.cause, AlreadyExists)
    fs.release(fh)


def test_overwrites_without_a_check(
    make_fs: MakeFs, store: MemoryStore, clock: FakeClock
) -> None:
    fs = make_fs(overwrite="always")
    write_unseen(store, "/f", b"old")
    fh = open_file(fs, "/f", os.O_RDWR)
    assert fs.read(fh, 0, 3) == b"old"
    fs.write(fh, 3, b" mine")
    write_unseen(store, "/f", b"theirs")
    clock.advance(61)
    close(fs, fh)
    assert store.files() == {"/f": b"old mine"}


def test_a_removed_name_is_gone_for_the_heir_too(
    fs: FileSystem, make_fs: MakeFs, store: MemoryStore
) -> None:
    write_file(fs, "/f", b"1")
    fs.chmod("/f", 0o600)
    with store.unseen():
        store.delete_file("/f")
    heir = make_fs(journal_file=fs._journal.file)
    assert heir.stop() == []
    with pytest.raises(NotFound):
        make_fs().getattr("/f")
