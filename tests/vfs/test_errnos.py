"""Each errno of the table, provoked by a call that a program can make."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from cosfs import errors
from cosfs.errors import CosfsError, FsError, StoreError
from cosfs.fuse.errnos import TABLE, errno_after
from cosfs.fuse.operations import Operations
from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
from tests.fakeclock import FakeClock
from tests.vfs.conftest import ME
from tests.vfs.programs import open_file, write_file, write_unseen

ExpectLog = Callable[[str], None]

#: How a program gets each of the file system's own refusals, in a folder with a file ``/f``, a
#: folder ``/d`` with a file in it, and a file ``/foreign`` that somebody else makes just now.
OWN: dict[type[CosfsError], tuple[int, Callable[[Operations], object]]] = {
    errors.NotFound: (errno.ENOENT, lambda ops: ops.getattr("/missing")),
    errors.AlreadyExists: (errno.EEXIST, lambda ops: ops.mkdir("/d", 0o755)),
    errors.FolderNotEmpty: (errno.ENOTEMPTY, lambda ops: ops.rmdir("/d")),
    errors.IsFolder: (errno.EISDIR, lambda ops: ops.rename("/f", "/d")),
    errors.NotFolder: (errno.ENOTDIR, lambda ops: ops.rename("/d", "/f")),
    errors.NameTooLong: (errno.ENAMETOOLONG, lambda ops: ops.mkdir("/" + "n" * 256, 0o755)),
    errors.InvalidArgument: (errno.EINVAL, lambda ops: ops.rename("/d", "/d/new")),
    errors.BadHandle: (errno.EBADF, lambda ops: ops.read(999, 0, 1)),
    errors.NotPermitted: (errno.EPERM, lambda ops: ops.mkdir("/.cosfs", 0o755)),
    errors.NoSuchAttribute: (errno.ENODATA, lambda ops: ops.getxattr("/f", "user.none")),
    errors.AttributeExists: (
        errno.EEXIST,
        lambda ops: [ops.setxattr("/f", "user.biz_attr", b"x", 1) for _ in range(2)],
    ),
    errors.AttributesTooLarge: (
        errno.ENOSPC,
        lambda ops: ops.setxattr("/f", "user.biz_attr", b"x" * 5000, 0),
    ),
    errors.NotSupported: (
        errno.EOPNOTSUPP,
        lambda ops: ops.setxattr("/f", "trusted.mine", b"x", 0),
    ),
}

#: Raised by a store that is out of order; what a program hears of it.
FROM_THE_STORE = sorted(
    (kind for kind in TABLE if issubclass(kind, StoreError) and not issubclass(kind, FsError)),
    key=lambda kind: kind.__name__,
)

#: What no call that a program makes on a mount can raise here, and where it is provoked instead.
ELSEWHERE = {
    errors.CosfsError: "the root of all",
    errors.FsError: "the root of the file system's own",
    errors.ConfigError: "before there is a mount: tests/unit/test_cli.py",
    errors.FuseUnavailable: "before there is a mount: tests/mount/test_starting.py",
    errors.InvalidName: "a name that no Linux kernel passes on: tests/unit/test_store_names.py",
    errors.Busy: "cosfs pending --retry, no call of a program: tests/vfs/test_leftovers.py",
    errors.ReadOnlyMount: "cosfs pending --retry: tests/unit/test_asking.py; calls: the kernel",
    errors.NoSpace: "a full local disk: tests/mount/test_disk_full.py",
    errors.FileTooLarge: "a limit of the local disk: tests/vfs/test_races.py",
    errors.SpoolFailed: "a broken local disk: below",
    errors.Stale: "somebody else's change: tests/vfs/test_openfiles.py",
    errors.StoreFailed: "a close in an outage: tests/vfs/test_openfiles.py",
    errors.Interrupted: "a signal: tests/vfs/test_interrupts.py",
}


@pytest.fixture
def operations(fs: FileSystem, clock: FakeClock) -> Operations:
    write_file(fs, "/f", b"content")
    fs.mkdir("/d", 0o755, ME)
    write_file(fs, "/d/below", b"content")
    return Operations(fs, clock, lambda: ME)


def test_every_line_of_the_table_is_provoked() -> None:
    provoked = {*OWN, *FROM_THE_STORE, *ELSEWHERE}
    assert set(TABLE) - provoked == set()
    assert set(ELSEWHERE) & set(OWN) == set()


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.__name__)
def test_own_refusals(operations: Operations, kind: type[CosfsError]) -> None:
    number, call = OWN[kind]
    with pytest.raises(kind) as caught:
        call(operations)
    assert errno_after("test", caught.value) == number


@pytest.mark.parametrize("kind", FROM_THE_STORE, ids=lambda kind: kind.__name__)
def test_what_the_store_refuses(
    operations: Operations,
    store: MemoryStore,
    expect_log: ExpectLog,
    kind: type[StoreError],
) -> None:
    def refuse(method: str, path: str) -> None:
        raise kind("out of order", path=path)

    store.hook = refuse
    with pytest.raises(kind) as caught:
        operations.mkdir("/new", 0o755)
    store.hook = None
    number, level = TABLE[kind]
    if level > 10:
        expect_log("out of order")
    assert errno_after("mkdir", caught.value) == number
    assert number != errno.ENOENT or kind is errors.NotFound


def test_a_foreign_file_in_the_way_of_a_folder(
    operations: Operations, fs: FileSystem, store: MemoryStore
) -> None:
    write_unseen(store, "/foreign", b"x")
    fs.refresh("/")
    with pytest.raises(errors.NotFolder):
        operations.rename("/d", "/foreign")
    assert stat.S_ISREG(operations.getattr("/foreign").mode)
    fh = open_file(fs, "/d/below", os.O_RDONLY)
    assert fs.read(fh, 0, 10) == b"content"
    fs.release(fh)


def test_a_spool_that_cannot_be_made(
    operations: Operations, fs: FileSystem, tmp_path: Path, expect_log: ExpectLog
) -> None:
    (spool,) = [folder for folder in tmp_path.rglob("spool*") if folder.is_dir()]
    spool.rename(tmp_path / "elsewhere")
    with pytest.raises(errors.SpoolFailed) as caught:
        fs.create("/new", 0o644, os.O_WRONLY, ME)
    (tmp_path / "elsewhere").rename(spool)
    expect_log("EIO")
    assert errno_after("create", caught.value) == errno.EIO
