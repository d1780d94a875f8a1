"""What every call says of a path that cannot be walked: one table of paths, one of calls."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from tests.mount.posix.calls import UTIME_NOW
from tests.mount.posix.tester import ALICE, BOB, CAROL, ROOT, Tester, User, make

_NOW = (0, UTIME_NOW)

NAME_255 = "n" * 255
NAME_256 = "n" * 256


def _padded(end: str, length: int) -> str:
    """Return a path of ``length`` bytes to ``end``, made longer by ``./`` and slashes."""
    dots = (length - len(end)) // 2
    return "/" * 0 + "./" * dots + "/" * ((length - len(end)) % 2) + end


#: Paths whose walk fails before the last name, whatever the call wants with it.
BROKEN = {
    "": "ENOENT",
    "missing/x": "ENOENT",
    "dir/missing/x": "ENOENT",
    "missing/..": "ENOENT",
    "dangling/x": "ENOENT",
    "file/x": "ENOTDIR",
    "file/.": "ENOTDIR",
    "file/..": "ENOTDIR",
    "file/x/y": "ENOTDIR",
    "fifo/x": "ENOTDIR",
    "socket/x": "ENOTDIR",
    "char/x": "ENOTDIR",
    "link/x": "ENOTDIR",
    "dir/file/x": "ENOTDIR",
    "loop/x": "ELOOP",
    "loop-a/x": "ELOOP",
    "chain-41/x": "ELOOP",
    NAME_256: "ENAMETOOLONG",
    f"dir/{NAME_256}": "ENAMETOOLONG",
    f"{NAME_256}/x": "ENAMETOOLONG",
    f"{NAME_255}/x": "ENOENT",
    _padded("dir/x", 4096): "ENAMETOOLONG",
    _padded("x", 5000): "ENAMETOOLONG",
}

#: The same, for those whom permissions keep out.
FORBIDDEN = {
    "closed/file": "EACCES",
    "closed/missing": "EACCES",
    "closed/missing/x": "EACCES",
    "closed/dir/file": "EACCES",
    "closed-link/file": "EACCES",
    "unsearchable/file": "EACCES",
    "closed/..": "EACCES",
}

#: Paths to something that is not there, for calls that want it to be there.
ABSENT = {
    "missing": "ENOENT",
    "missing/": "ENOENT",
    "dir/missing": "ENOENT",
    NAME_255: "ENOENT",
    f"dir/{NAME_255}": "ENOENT",
    _padded("missing", 4095): "ENOENT",
    "dangling/": "ENOENT",
    "loop/": "ELOOP",
    "file/": "ENOTDIR",
    "fifo/": "ENOTDIR",
    "link/": "ENOTDIR",
}

#: For calls that follow a link at the end of the path.
FOLLOWED = {"dangling": "ENOENT", "loop": "ELOOP", "loop-a": "ELOOP", "chain-41": "ELOOP"}

#: For calls that make a new name.
TAKEN = {
    name: "EEXIST"
    for name in (
        "file", "dir", "dir/", "fifo", "socket", "char", "block", "link", "dir-link", "dangling",
        "loop", ".", "..", "dir/.", "dir/..", "/", _padded("dir", 4095),
    )
}  # fmt: skip


class Call(NamedTuple):
    """A call with its arguments; ``None`` among them stands for the path."""

    name: str
    args: tuple[Any, ...]


def _call(name: str, *args: Any) -> Call:
    return Call(name, args or (None,))


FOLLOWING = [
    _call("stat"),
    _call("access"),
    _call("chdir"),
    _call("opendir"),
    _call("statvfs"),
    _call("chmod", None, 0o644),
    _call("chown", None, 0, 0),
    _call("truncate", None, 10),
    _call("utimensat", None, _NOW, _NOW),
    _call("open", None, "O_RDONLY|O_NONBLOCK"),
    _call("open", None, "O_WRONLY|O_TRUNC|O_NONBLOCK"),
    _call("open", None, "O_RDONLY|O_DIRECTORY"),
    _call("getxattr"),
    _call("setxattr"),
    _call("listxattr"),
    _call("removexattr"),
]

NOT_FOLLOWING = [
    _call("lstat"),
    _call("lchown", None, 0, 0),
    _call("readlink"),
    _call("unlink"),
    _call("rmdir"),
    _call("rename", None, "new"),
    _call("link", None, "new"),
    _call("utimensat", None, _NOW, _NOW, 0x100),
]

MAKING = [
    _call("mkdir"),
    _call("mkfifo"),
    _call("mknod", None, "file"),
    _call("mknod", None, "socket"),
    _call("mknod", None, "char", 0o600, os.makedev(1, 3)),
    _call("mknod", None, "block", 0o600, os.makedev(7, 99)),
    _call("symlink", "target", None),
    _call("open", None, "O_CREAT|O_EXCL|O_WRONLY"),
    _call("link", "file", None),
    _call("rename", "file", None),
]


def run(tester: Tester) -> None:
    """Make one folder with everything in it, and let all calls walk into it."""
    for name in ("dir", "closed", "closed/dir", "unsearchable"):
        make("dir", name)
    for name in ("file", "dir/file", "closed/file", "closed/dir/file", "unsearchable/file"):
        make("file", name)
    for kind in ("fifo", "socket", "char", "block"):
        make(kind, kind)
    links = {
        "link": "file", "dir-link": "dir", "dangling": "nothing", "loop": "loop",
        "loop-a": "loop-b", "loop-b": "loop-a", "closed-link": "closed", "chain-0": "dir",
    }  # fmt: skip
    # The kernel follows 40 links in one walk.
    links |= {f"chain-{n}": f"chain-{n - 1}" for n in range(1, 42)}
    for link, target in links.items():
        os.symlink(target, link)
    os.chmod("closed", 0o700)
    os.chmod("unsearchable", 0o644)
    keeps = {name: _times(name) for name in (".", "file", "dir", "fifo", "dir/file", "link")}
    for call in FOLLOWING + NOT_FOLLOWING:
        for path, errno_name in (BROKEN | ABSENT).items():
            _expect(tester, call, path, errno_name)
        for path, errno_name in FORBIDDEN.items():
            _expect(tester, call, path, errno_name, BOB)
    for call in FOLLOWING:
        for path, errno_name in FOLLOWED.items():
            _expect(tester, call, path, errno_name)
    for call in MAKING:
        for path, errno_name in BROKEN.items():
            _expect(tester, call, path, errno_name)
        for path, errno_name in FORBIDDEN.items():
            _expect(tester, call, path, errno_name, BOB)
        if call.name != "rename":
            for path, errno_name in TAKEN.items():
                _expect(tester, call, path, errno_name)
            for user in (ALICE, CAROL):
                if not _needs_privilege(call):
                    _expect(tester, call, "file", "EEXIST", user)
                    _expect(tester, call, "new", "EACCES", user)
    tester.expect("ok", "stat", "chain-39/file")
    tester.expect("ok", "stat", _padded("file", 4095))
    tester.expect("ok", "access", _padded("dir/file", 4095))
    for name, args in _BAD_POINTERS.items():
        tester.expect("EFAULT", "bad_pointer", name, *args)
    for name, times in keeps.items():
        tester.check(f"times of {name!r} after all these refusals", times, _times(name))


_BAD_POINTERS: dict[str, tuple[Any, ...]] = {
    "chmod": (0o644,), "chown": (0, 0), "lchown": (0, 0), "truncate": (0,), "unlink": (),
    "rmdir": (), "mkdir": (0o755,), "mkfifo": (0o644,), "open": (0,), "readlink": (b" " * 9, 9),
    "rename": (b"x",), "symlink": (b"x",), "link": (b"x",),
}  # fmt: skip


def _needs_privilege(call: Call) -> bool:
    return "char" in call.args or "block" in call.args or call.name == "link"


def _expect(tester: Tester, call: Call, path: str, errno_name: str, by: User = ROOT) -> None:
    exception = _EXCEPTIONS.get((call.name, path))
    args = [path if arg is None else arg for arg in call.args]
    tester.expect(exception or errno_name, call.name, *args, by=by)


#: Where a call looks at something else first.
_EXCEPTIONS = {
    # A slash after a link of which the call wants the name itself.
    (call, path): "ENOTDIR"
    for call in ("unlink", "rmdir", "rename")
    for path in ("dangling/", "loop/")
} | {("open", "dir/"): "EISDIR"}


def _times(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_mtime_ns, found.st_ctime_ns
