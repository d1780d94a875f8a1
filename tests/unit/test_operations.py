"""The adapter: arguments and results, against a file system that only takes notes."""

from __future__ import annotations

import os
from typing import Any

import pytest

from cosfs.errors import NoSuchAttribute, NotSupported
from cosfs.fuse.operations import UTIME_NOW, UTIME_OMIT, Operations
from cosfs.vfs.filesystem import FileSystem
from cosfs.vfs.types import Caller, FsStats, Opened
from tests.fakeclock import FakeClock

CALLER = Caller(7, 8, 9)


BUFFER = memoryview(bytearray(20))


class Notes:
    """Answers every method of a file system; remembers what was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.answers: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        def method(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, *args, *([kwargs] if kwargs else [])))
            return self.answers.get(name)

        return method


class FileInfo:
    def __init__(self, fh: int = 0, flags: int = 0) -> None:
        self.fh, self.flags, self.keep_cache, self.direct_io = fh, flags, 0, 0


@pytest.fixture
def fs() -> Notes:
    return Notes()


@pytest.fixture
def operations(fs: Notes) -> Operations:
    return Operations(fs, FakeClock(1000.5), lambda: CALLER)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (("init", "/"), ("start",)),
        (("getattr", "/a"), ("getattr", "/a", None)),
        (("getattr", "", 3), ("getattr", "", 3)),
        (("readlink", "/a"), ("readlink", "/a")),
        (("mknod", "/a", 0o010644, 5), ("mknod", "/a", 0o010644, 5, CALLER)),
        (("symlink", "/a", "target"), ("symlink", "/a", "target", CALLER)),
        (("mkdir", "/a", 0o755), ("mkdir", "/a", 0o755, CALLER)),
        (("unlink", "/a"), ("unlink", "/a")),
        (("rmdir", "/a"), ("rmdir", "/a")),
        (("rename", "/a", "/b"), ("rename", "/a", "/b")),
        (("chmod", "/a", 0o600), ("chmod", "/a", 0o600)),
        (("chown", "/a", 1, 2), ("chown", "/a", 1, 2)),
        (("chown", "/a", -1, 2), ("chown", "/a", None, 2)),
        (("chown", "/a", 1, -1), ("chown", "/a", 1, None)),
        (("truncate", "/a", 5), ("truncate", "/a", 5, CALLER)),
        (("truncate", None, 5, FileInfo(fh=3)), ("ftruncate", 3, 5)),
        (("read", 3, 10, BUFFER), ("read_into", 3, 10, BUFFER)),
        (("write", 3, 10, b"x"), ("write", 3, 10, b"x")),
        (("flush", None, FileInfo(fh=3)), ("flush", 3, CALLER)),
        (("release", None, FileInfo(fh=3)), ("release", 3)),
        (("fsync", None, 1, FileInfo(fh=3)), ("fsync", 3)),
        (("setxattr", "/a", "user.x", b"v", 0), (
            "setxattr", "/a", "user.x", b"v", {"create": False, "replace": False})),
        (("setxattr", "/a", "user.x", b"v", 1), (
            "setxattr", "/a", "user.x", b"v", {"create": True, "replace": False})),
        (("setxattr", "/a", "user.x", b"v", 2), (
            "setxattr", "/a", "user.x", b"v", {"create": False, "replace": True})),
        (("getxattr", "/a", "user.x"), ("getxattr", "/a", "user.x")),
        (("listxattr", "/a"), ("listxattr", "/a")),
        (("removexattr", "/a", "user.x"), ("removexattr", "/a", "user.x")),
        (("opendir", "/a"), ("opendir", "/a")),
        (("readdir", 4), ("readdir", 4)),
        (("rewinddir", 4), ("rewinddir", 4)),
        (("releasedir", None, 4), ("releasedir", 4)),
        (("fsyncdir", None, 0, 4), ("fsyncdir", 4)),
    ],
)  # fmt: skip
def test_calls(
    operations: Operations, fs: Notes, call: tuple[Any, ...], expected: tuple[Any, ...]
) -> None:
    operations(*call)
    assert fs.calls == [expected]


@pytest.mark.parametrize("name", ["open", "create"])
def test_what_the_kernel_is_told_of_an_open_file(
    operations: Operations, fs: Notes, name: str
) -> None:
    fs.answers[name] = Opened(fh=42, keep_cache=True, direct_io=False)
    fi = FileInfo(flags=os.O_RDWR)
    mode = [0o644] if name == "create" else []
    operations(name, "/a", *mode, fi)
    assert fs.calls == [(name, "/a", *mode, os.O_RDWR, CALLER)]
    assert (fi.fh, fi.keep_cache, fi.direct_io) == (42, 1, 0)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((5, 6), 5_000_000_006),
        ((-5, 6), -4_999_999_994),
        ((1, UTIME_NOW - 10**9), 10**9 + UTIME_NOW - 10**9),
        ((0, UTIME_NOW), 1_000_500_000_000),
        ((0, UTIME_OMIT), None),
    ],
)
def test_times(
    operations: Operations, fs: Notes, given: tuple[int, int], expected: object
) -> None:
    operations.utimens("/a", given, (0, 0))
    assert fs.calls == [("utimens", "/a", expected, 0)]


def test_both_times_now_are_one_moment(operations: Operations, fs: Notes) -> None:
    operations.utimens("/a", (0, UTIME_NOW), (0, UTIME_NOW))
    ((_, _, atime, mtime),) = fs.calls
    assert atime == mtime


def test_statfs(operations: Operations, fs: Notes) -> None:
    fs.answers["statfs"] = FsStats(4096, 100, 90, 80, 70, 255)
    found = operations.statfs("/")
    assert found["f_bsize"] == found["f_frsize"] == 4096
    assert (found["f_blocks"], found["f_bfree"], found["f_bavail"]) == (100, 90, 90)
    assert (found["f_files"], found["f_ffree"], found["f_namemax"]) == (80, 70, 255)


@pytest.mark.parametrize("name", ["security.capability", "system.posix_acl_access", "trusted.x"])
def test_attributes_of_the_kernel_cost_nothing(
    operations: Operations, fs: Notes, name: str
) -> None:
    with pytest.raises(NotSupported):
        operations.setxattr("/a", name, b"", 0)
    with pytest.raises(NoSuchAttribute):
        operations.removexattr("/a", name)
    assert fs.calls == []


@pytest.mark.parametrize("name", ["access", "lock", "ioctl", "bmap", "link"])
def test_calls_that_the_kernel_does_without(name: str) -> None:
    assert getattr(Operations, name, None) is None


def test_every_method_that_is_called_exists() -> None:
    """The notes above answer anything; the file system does not."""
    import ast
    import inspect

    import cosfs.fuse.operations as module

    called = {
        node.attr
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "_fs"
    }
    assert called and all(hasattr(FileSystem, name) for name in called)
