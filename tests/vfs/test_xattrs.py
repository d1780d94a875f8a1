"""Extended attributes through the file system, on a store in memory."""

from __future__ import annotations

import os

import pytest

from cosfs.errors import (
    AttributeExists,
    InvalidArgument,
    NoSuchAttribute,
    NotPermitted,
)
from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
from tests.fakeclock import FakeClock
from tests.vfs.conftest import ME, MakeFs
from tests.vfs.programs import append, close, open_file, write_file, write_unseen

SET = {
    "user.biz_attr": b"demo",
    "user.x-cos-meta-owner": b"me",
    "user.content_type": b"text/x-demo",
    "user.cache_control": b"no-cache",
    "user.anything else": bytes(range(256)),
}


def set_all(fs: FileSystem, path: str) -> None:
    for name, value in SET.items():
        fs.setxattr(path, name, value, create=False, replace=False)


def get_all(fs: FileSystem, path: str) -> dict[str, bytes]:
    names = [name for name in fs.listxattr(path) if not name.startswith("user.cos.")]
    return {name: fs.getxattr(path, name) for name in names}


@pytest.mark.parametrize("ttl_s", [0, 60])
def test_each_keeps_the_others_and_survives_every_change(make_fs: MakeFs, ttl_s: float) -> None:
    fs = make_fs(ttl_s=ttl_s)
    write_file(fs, "/f", b"1")
    set_all(fs, "/f")
    assert get_all(fs, "/f") == SET
    write_file(fs, "/f", b"overwritten")
    assert get_all(fs, "/f") == get_all(make_fs(), "/f") == SET
    append(fs, "/f", b"+")
    assert get_all(fs, "/f") == get_all(make_fs(), "/f") == SET
    fs.truncate("/f", 3, ME)
    assert get_all(fs, "/f") == get_all(make_fs(), "/f") == SET
    fs.rename("/f", "/g")
    assert get_all(fs, "/g") == get_all(make_fs(), "/g") == SET
    fs.removexattr("/g", "user.biz_attr")
    left = {name: value for name, value in SET.items() if name != "user.biz_attr"}
    assert get_all(fs, "/g") == get_all(make_fs(), "/g") == left


def test_attributes_of_a_new_file_travel_with_its_first_store(
    fs: FileSystem, store: MemoryStore, make_fs: MakeFs
) -> None:
    fh = open_file(fs, "/f", os.O_WRONLY | os.O_CREAT)
    fs.write(fh, 0, b"content")
    set_all(fs, "/f")
    assert get_all(fs, "/f") == SET
    assert store.requests["set_metadata"] == 0
    close(fs, fh)
    assert get_all(fs, "/f") == get_all(make_fs(), "/f") == SET


def test_attributes_set_while_a_file_is_dirty_survive_its_store(
    fs: FileSystem, make_fs: MakeFs
) -> None:
    write_file(fs, "/f", b"1")
    fh = open_file(fs, "/f", os.O_WRONLY)
    fs.write(fh, 0, b"2")
    set_all(fs, "/f")
    close(fs, fh)
    assert get_all(fs, "/f") == get_all(make_fs(), "/f") == SET


def test_a_foreign_change_of_one_is_not_undone_by_another(
    make_fs: MakeFs, clock: FakeClock
) -> None:
    mine, theirs = make_fs(), make_fs()
    write_file(mine, "/f", b"1")
    theirs.setxattr("/f", "user.x-cos-meta-theirs", b"t", create=False, replace=False)
    clock.advance(61)
    mine.setxattr("/f", "user.x-cos-meta-mine", b"m", create=False, replace=False)
    assert get_all(make_fs(), "/f") == {
        "user.x-cos-meta-theirs": b"t",
        "user.x-cos-meta-mine": b"m",
    }


def test_flags_and_refusals(fs: FileSystem, store: MemoryStore) -> None:
    write_file(fs, "/f", b"1")
    with pytest.raises(NoSuchAttribute):
        fs.getxattr("/f", "user.biz_attr")
    with pytest.raises(NoSuchAttribute):
        fs.setxattr("/f", "user.biz_attr", b"x", create=False, replace=True)
    fs.setxattr("/f", "user.biz_attr", b"x", create=True, replace=False)
    with pytest.raises(AttributeExists):
        fs.setxattr("/f", "user.biz_attr", b"y", create=True, replace=False)
    with pytest.raises(NoSuchAttribute):
        fs.removexattr("/f", "user.none")
    with pytest.raises(InvalidArgument):
        fs.setxattr("/f", "user.", b"y", create=False, replace=False)
    with pytest.raises(InvalidArgument):
        fs.setxattr("/f", "user.authority", b"everybody", create=False, replace=False)
    with pytest.raises(NotPermitted):
        fs.setxattr("/f", "user.cos.sha", b"0" * 40, create=False, replace=False)
    with pytest.raises(NotPermitted):
        fs.removexattr("/f", "user.cos.sha")
    assert fs.getxattr("/f", "user.cos.sha") == b"356a192b7913b04c54574d18c28d46e6395428ab"


def test_what_attributes_cost(fs: FileSystem, store: MemoryStore) -> None:
    write_unseen(store, "/f", b"1")
    fs.opendir("/")
    store.requests.clear()
    fs.listxattr("/f")
    fs.listxattr("/f")
    assert store.requests == {"stat_file": 1}
    fs.setxattr("/f", "user.biz_attr", b"x", create=False, replace=False)
    assert store.requests == {"stat_file": 1, "set_metadata": 1}


def test_a_folder_carries_biz_attr(fs: FileSystem, store: MemoryStore, make_fs: MakeFs) -> None:
    fs.mkdir("/d", 0o755, ME)
    write_unseen(store, "/implied/f", b"1")
    for path in ("/d", "/implied"):
        fs.setxattr(path, "user.biz_attr", b"note", create=False, replace=False)
        for seen in (fs, make_fs()):
            assert seen.getxattr(path, "user.biz_attr") == b"note"
