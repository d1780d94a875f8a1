"""rename: every kind over every kind, folders, sticky bits, times, links of folders."""

from __future__ import annotations

import os

from tests.mount.posix.path_errors import NAME_255, NAME_256
from tests.mount.posix.tester import ALICE, BOB, CAROL, ROOT, Tester, make

_KINDS = ("file", "dir", "fifo", "socket", "char", "block", "link")


def run(tester: Tester) -> None:
    """All of it."""
    for kind in _KINDS:
        with tester.scenario(f"{kind} to a new name"):
            _check_plain(tester, kind)
        for target in _KINDS:
            with tester.scenario(f"{kind} over {target}"):
                _check_over(tester, kind, target)
    with tester.scenario("folder over a folder that is not empty"):
        for kind in _KINDS:
            os.mkdir(f"a-{kind}")
            os.mkdir(f"b-{kind}")
            make(kind, f"b-{kind}/x")
            tester.act(
                "rename", f"a-{kind}", f"b-{kind}", expect="ENOTEMPTY|EEXIST",
                keeps=[".", f"a-{kind}", f"b-{kind}", f"b-{kind}/x"],
            )  # fmt: skip
    with tester.scenario("folder with content"):
        os.makedirs("d/sub/deep")
        for path in ("d/f", "d/sub/g", "d/sub/deep/h"):
            with open(path, "w") as file:
                file.write(path)
        os.symlink("f", "d/l")
        os.mkfifo("d/p")
        os.chmod("d/f", 0o600)
        os.chown("d/sub", ALICE.uid, ALICE.gid)
        os.utime("d/sub/g", ns=(10**9, 2 * 10**9))
        tester.act("rename", "d", "e", moves={"d>e": "c", ".": "mc"})
        tester.expect("ENOENT", "stat", "d")
        tester.expect("ENOENT", "stat", "d/f")
        for path in ("e/f", "e/sub/g", "e/sub/deep/h"):
            with open(path) as file:
                tester.check(f"content of {path}", "d" + path[1:], file.read())
        tester.stat_is("e/f", mode=0o600)
        tester.stat_is("e/sub", uid=ALICE.uid, gid=ALICE.gid, nlink=3)
        tester.stat_is("e/sub/g", mtime=2 * 10**9)
        tester.stat_is("e/l", type="link")
        tester.stat_is("e/p", type="fifo")
        tester.check("names in e", ["f", "l", "p", "sub"], sorted(os.listdir("e")))
        tester.stat_is("e", nlink=3)
        os.mkdir("empty")
        tester.act("rename", "e", "empty", moves={"e>empty": "c", ".": "mc"})
        tester.check("names in empty", ["f", "l", "p", "sub"], sorted(os.listdir("empty")))
    with tester.scenario("links of folders"):
        for path in ("a", "b", "a/x", "a/y"):
            os.mkdir(path)
        make("file", "a/f")
        tester.stat_is("a", nlink=4)
        tester.expect("ok", "rename", "a/x", "b/x")
        tester.stat_is("a", nlink=3)
        tester.stat_is("b", nlink=3)
        tester.stat_is(".", nlink=4)
        tester.expect("ok", "rename", "a/y", "b/x")
        tester.stat_is("a", nlink=2)
        tester.stat_is("b", nlink=3)
        tester.expect("ok", "rename", "b/x", "b/z")
        tester.stat_is("b", nlink=3)
        tester.expect("ok", "rename", "a/f", "b/f")
        tester.stat_is("b", nlink=3)
        tester.expect("ok", "rename", "b/z", "z")
        tester.stat_is("b", nlink=2)
        tester.stat_is(".", nlink=5)
        tester.stat_is("z", nlink=2)
        inode = os.stat("z").st_ino
        tester.check("parent of z", os.stat(".").st_ino, os.stat("z/..").st_ino)
        tester.check("inode of z by fstat", inode, _fstat_ino("z"))
    with tester.scenario("into itself"):
        os.makedirs("d/e/f")
        for new in ("d/x", "d/e", "d/e/x", "d/e/f/x", "d/e/f"):
            tester.act("rename", "d", new, expect="EINVAL", keeps=["d", "d/e"])
        tester.expect("ENOTEMPTY|EEXIST", "rename", "d/e", "d")
        tester.expect("ok", "rename", "d", "dd")
        tester.expect("ok", "rename", "dd", "d")
    with tester.scenario("dots"):
        os.mkdir("d")
        for old, new in (("d/.", "x"), ("d/..", "x"), (".", "x"), ("..", "x")):
            tester.expect("EBUSY|EINVAL", "rename", old, new)
        for old, new in (("d", "."), ("d", ".."), ("d", "d/."), ("d", "d/..")):
            tester.expect("EBUSY|EINVAL|EEXIST|ENOTEMPTY", "rename", old, new)
        tester.expect("EBUSY|EXDEV", "rename", "d", "/")
        tester.expect("EBUSY|EXDEV", "rename", "/", "x")
        tester.expect("EXDEV", "rename", "d", "/dev/shm/cosfs-not-made")
    with tester.scenario("trailing slashes"):
        os.mkdir("d")
        make("file", "f")
        tester.expect("ok", "rename", "d/", "e/")
        tester.stat_is("e", type="dir")
        tester.expect("ENOTDIR", "rename", "f", "g/")
        tester.expect("ENOTDIR", "rename", "f/", "g")
        os.symlink("e", "l")
        tester.expect("ENOTDIR", "rename", "l/", "m")
        tester.expect("ok", "rename", "l", "m")
    with tester.scenario("to itself"):
        for kind in _KINDS:
            make(kind, kind)
            tester.act("rename", kind, kind, keeps=[kind, "."])
    with tester.scenario("long names"):
        make("file", "f")
        make("dir", "d")
        tester.expect("ok", "rename", "f", NAME_255)
        tester.stat_is(NAME_255, type="file")
        tester.act("rename", NAME_255, NAME_256, expect="ENAMETOOLONG", keeps=[NAME_255, "."])
        tester.expect("ok", "rename", NAME_255, f"d/{NAME_255[1:]}ä"[: 2 + 254])
        os.mkdir("e")
        tester.expect("ok", "rename", "d", "D" * 255)
        tester.check("names in it", 1, len(os.listdir("D" * 255)))
    _check_permissions(tester)
    with tester.scenario("open files"):
        _check_open(tester)


def _fstat_ino(path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)


def _check_plain(tester: Tester, kind: str) -> None:
    make(kind, "x", mode=0o640, owner=ALICE)
    before = os.lstat("x")
    tester.act("rename", "x", "y", moves={"x>y": "c", ".": "mc"})
    tester.expect("ENOENT", "lstat", "x")
    mode = 0o777 if kind == "link" else 0o640
    tester.stat_is(
        "y", type=kind, mode=mode, uid=ALICE.uid, gid=ALICE.gid, size=before.st_size,
        nlink=before.st_nlink, rdev=before.st_rdev, mtime=before.st_mtime_ns,
    )  # fmt: skip
    os.utime("y", ns=(10**15, 10**15), follow_symlinks=False)
    os.mkdir("to")
    tester.act("rename", "y", "to/z", moves={"y>to/z": "c", ".": "mc", "to": "mc"})
    tester.stat_is("to/z", type=kind, mtime=10**15, atime=10**15)
    tester.check("names", (["to"], ["z"]), (os.listdir("."), os.listdir("to")))
    tester.act("rename", "gone", "x", expect="ENOENT", keeps=[".", "to"])
    os.mkdir("from")
    os.rename("to/z", "from/z")
    tester.act("rename", "from/z", "to/z", moves={"from": "mc", "to": "mc", "from/z>to/z": "c"},
               keeps=["."])


def _check_over(tester: Tester, kind: str, target: str) -> None:
    make(kind, "old", owner=ALICE)
    make(target, "new", owner=BOB)
    os.utime("old", ns=(5 * 10**9, 6 * 10**9), follow_symlinks=False)
    expected = "ok"
    if kind == "dir" and target != "dir":
        expected = "ENOTDIR"
    if kind != "dir" and target == "dir":
        expected = "EISDIR"
    if expected == "ok":
        tester.act("rename", "old", "new", moves={"old>new": "c", ".": "mc"})
        tester.expect("ENOENT", "lstat", "old")
        tester.stat_is("new", type=kind, uid=ALICE.uid, mtime=6 * 10**9)
        tester.stat_is("new", nlink=2 if kind == "dir" else 1)
        tester.check("names", ["new"], os.listdir("."))
    else:
        tester.act("rename", "old", "new", expect=expected, keeps=[".", "old", "new"])
        tester.stat_is("old", type=kind, uid=ALICE.uid)
        tester.stat_is("new", type=target, uid=BOB.uid)


def _check_permissions(tester: Tester) -> None:
    for kind in ("file", "dir", "link"):
        with tester.scenario(f"{kind}, permissions"):
            for path in ("a", "b"):
                os.mkdir(path)
            make(kind, "a/x", owner=ALICE)
            for a, b, expected in (
                (0o755, 0o777, "EACCES"),
                (0o777, 0o755, "EACCES"),
                (0o776, 0o777, "EACCES"),
                (0o777, 0o776, "EACCES"),
                (0o777, 0o777, "ok"),
            ):
                os.chmod("a", a)
                os.chmod("b", b)
                tester.expect(expected, "rename", "a/x", "b/x", by=ALICE)
            if kind == "dir":
                # Moving a folder changes its `..`: that takes the right to write to it.
                make(kind, "a/y", owner=CAROL)
                tester.expect("EACCES", "rename", "a/y", "b/y", by=BOB)
                tester.expect("ok", "rename", "a/y", "a/z", by=BOB)
        for with_target in (False, True):
            label = "over another" if with_target else "to a new name"
            with tester.scenario(f"{kind}, sticky bit, {label}"):
                _check_sticky(tester, kind, with_target)


def _check_sticky(tester: Tester, kind: str, with_target: bool) -> None:
    """Check all owners of the sticky folders and of what is renamed and replaced."""
    for folder_owner in (ROOT, ALICE, BOB):
        for owner in (ROOT, ALICE, BOB):
            for by in (ALICE, CAROL):
                if not with_target:
                    place = f"{folder_owner.name}-{owner.name}-{by.name}"
                    os.mkdir(place)
                    os.mkdir(f"{place}/from")
                    os.mkdir(f"{place}/to")
                    make(kind, f"{place}/from/x", owner=owner, mode=0o777)
                    os.chown(f"{place}/from", folder_owner.uid, folder_owner.gid)
                    os.chmod(f"{place}/from", 0o1777)
                    os.chmod(f"{place}/to", 0o777)
                    is_allowed = by in (folder_owner, owner)
                else:
                    place = f"{folder_owner.name}-{owner.name}-{by.name}"
                    os.mkdir(place)
                    os.mkdir(f"{place}/from")
                    os.mkdir(f"{place}/to")
                    make(kind, f"{place}/from/x", owner=by, mode=0o777)
                    make(kind, f"{place}/to/x", owner=owner)
                    os.chown(f"{place}/to", folder_owner.uid, folder_owner.gid)
                    os.chmod(f"{place}/to", 0o1777)
                    os.chmod(f"{place}/from", 0o777)
                    is_allowed = by in (folder_owner, owner)
                tester.act(
                    "rename", f"{place}/from/x", f"{place}/to/x", by=by,
                    expect="ok" if is_allowed else "EPERM",
                    keeps=[] if is_allowed else [f"{place}/from/x", f"{place}/to"],
                )  # fmt: skip


def _check_open(tester: Tester) -> None:
    for state in ("unstored", "stored", "changed"):
        os.mkdir(state)
        old, new = f"{state}/old", f"{state}/new"
        descriptor = os.open(old, os.O_CREAT | os.O_RDWR)
        os.write(descriptor, b"old")
        if state != "unstored":
            os.close(descriptor)
            descriptor = os.open(old, os.O_RDWR)
        if state == "changed":
            os.pwrite(descriptor, b"O", 0)
        with tester.fd_moves(descriptor, f"rename of an {state} open file", "c"):
            os.rename(old, new)
        content = b"Old" if state == "changed" else b"old"
        tester.check(f"{state}: content after it", content, os.pread(descriptor, 9, 0))
        os.pwrite(descriptor, b"er", 3)
        tester.fstat_is(descriptor, f"{state} open file", size=5, nlink=1)
        tester.check(f"{state}: inode", os.stat(new).st_ino, os.fstat(descriptor).st_ino)
        os.close(descriptor)
        tester.stat_is(new, size=5)
        tester.check(f"{state}: names", ["new"], os.listdir(state))
    for state in ("unstored", "stored", "changed"):
        folder = f"over-{state}"
        os.mkdir(folder)
        target, other = f"{folder}/target", f"{folder}/other"
        descriptor = os.open(target, os.O_CREAT | os.O_RDWR)
        os.write(descriptor, b"replaced")
        if state != "unstored":
            os.close(descriptor)
            descriptor = os.open(target, os.O_RDWR)
        if state == "changed":
            os.pwrite(descriptor, b"R", 0)
        with open(other, "w") as file:
            file.write("winner")
        with tester.fd_moves(descriptor, f"rename over an {state} open file", "c"):
            os.rename(other, target)
        tester.fstat_is(descriptor, f"replaced {state} file", nlink=0, size=8)
        tester.check("its content", b"eplaced", os.pread(descriptor, 9, 1))
        os.pwrite(descriptor, b"!", 8)
        tester.fstat_is(descriptor, f"replaced {state} file", size=9)
        tester.stat_is(target, size=6, nlink=1)
        with open(target) as file:
            tester.check("content of the name", "winner", file.read())
        os.close(descriptor)
        tester.check("names", ["target"], os.listdir(folder))
        with open(target) as file:
            tester.check("content of the name after the close", "winner", file.read())
