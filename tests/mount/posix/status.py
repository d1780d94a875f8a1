"""chmod, chown, truncate and utimensat: who may, what they set, what else they change."""

from __future__ import annotations

import os

from tests.mount.posix.calls import AT_SYMLINK_NOFOLLOW, UTIME_NOW, UTIME_OMIT
from tests.mount.posix.tester import (
    ALICE,
    BOB,
    CAROL,
    ROOT,
    SHARED,
    Tester,
    make,
)

_ALL_KINDS = ("file", "dir", "fifo", "socket", "char", "block")
_NOW = (0, UTIME_NOW)
_OMIT = (0, UTIME_OMIT)


def chmod(tester: Tester) -> None:
    """Modes, owners, set-id bits."""
    for kind in _ALL_KINDS:
        with tester.scenario(f"{kind}"):
            make(kind, "x", mode=0o600, owner=ALICE)
            for mode in (0o000, 0o111, 0o644, 0o777, 0o2755, 0o4755, 0o1755, 0o7777):
                tester.expect("ok", "chmod", "x", mode)
                tester.stat_is("x", type=kind, mode=mode)
            tester.act("chmod", "x", 0o600, by=ALICE, moves={"x": "c"}, keeps=["."])
            tester.stat_is("x", mode=0o600, uid=ALICE.uid, gid=ALICE.gid)
            for user in (BOB, CAROL):
                tester.act("chmod", "x", 0o777, by=user, expect="EPERM", keeps=["x", "."])
            tester.stat_is("x", mode=0o600)
            os.symlink("x", "l")
            tester.act("chmod", "l", 0o640, moves={"x": "c"}, keeps=["l", "."])
            tester.stat_is("x", mode=0o640)
            tester.stat_is("l", type="link", mode=0o777)
    with tester.scenario("set-gid of a group that one is not in"):
        # The bit is dropped unless the caller is in the file's group, or is root.
        make("file", "f", mode=0o755, owner=ALICE)
        os.chown("f", ALICE.uid, CAROL.gid)
        tester.expect("ok", "chmod", "f", 0o2755, by=ALICE)
        tester.stat_is("f", mode=0o755)
        tester.expect("ok", "chmod", "f", 0o2755)
        tester.stat_is("f", mode=0o2755)
        os.chown("f", ALICE.uid, SHARED)
        tester.expect("ok", "chmod", "f", 0o2755, by=ALICE)
        tester.stat_is("f", mode=0o2755)
    with tester.scenario("sticky bit"):
        make("dir", "d", mode=0o755, owner=ALICE)
        tester.expect("ok", "chmod", "d", 0o1777, by=ALICE)
        tester.stat_is("d", mode=0o1777)
        make("file", "f", mode=0o644, owner=ALICE)
        tester.expect("ok", "chmod", "f", 0o1644, by=ALICE)
        tester.stat_is("f", mode=0o1644)
    with tester.scenario("an open file"):
        make("file", "f", mode=0o644, owner=ALICE)
        tester.expect("ok", "fchmod", "f", 0o600, by=ALICE)
        tester.stat_is("f", mode=0o600)
        os.chmod("f", 0o666)
        tester.act("fchmod", "f", 0o600, by=BOB, expect="EPERM", keeps=["f"])
        descriptor = os.open("g", os.O_CREAT | os.O_RDWR, 0o644)
        os.write(descriptor, b"content")
        with tester.fd_moves(descriptor, "fchmod of a file being written", "c"):
            os.fchmod(descriptor, 0o600)
        tester.fstat_is(descriptor, "g", mode=0o600, size=7)
        changed = os.fstat(descriptor).st_ctime_ns
        os.close(descriptor)
        tester.stat_is("g", mode=0o600, size=7)
        stays = os.stat("g").st_ctime_ns >= changed
        tester.check("ctime of g after its close", "not before its chmod", (
            "not before its chmod" if stays else "before"
        ))
    with tester.scenario("permissions are in force"):
        make("file", "f", owner=ALICE)
        for mode, flags, owner, member, other in (
            (0o000, "O_RDONLY", "EACCES", "EACCES", "EACCES"),
            (0o400, "O_RDONLY", "ok", "EACCES", "EACCES"),
            (0o400, "O_WRONLY", "EACCES", "EACCES", "EACCES"),
            (0o200, "O_WRONLY", "ok", "EACCES", "EACCES"),
            (0o040, "O_RDONLY", "EACCES", "ok", "EACCES"),
            (0o020, "O_WRONLY", "EACCES", "ok", "EACCES"),
            (0o060, "O_RDWR", "EACCES", "ok", "EACCES"),
            (0o004, "O_RDONLY", "EACCES", "EACCES", "ok"),
            (0o002, "O_WRONLY", "EACCES", "EACCES", "ok"),
            (0o006, "O_RDWR", "EACCES", "EACCES", "ok"),
            (0o640, "O_RDWR", "ok", "EACCES", "EACCES"),
        ):
            os.chown("f", ALICE.uid, SHARED)
            os.chmod("f", mode)
            for user, expected in ((ALICE, owner), (BOB, member), (CAROL, other), (ROOT, "ok")):
                with_mode = f"{flags}"
                tester.expect(expected, "open", "f", with_mode, by=user)
        for mode, flags in ((0o100, os.X_OK), (0o400, os.R_OK), (0o200, os.W_OK)):
            os.chmod("f", mode)
            tester.expect("EACCES", "open", "f", "O_RDWR", by=ALICE)
            os.chown("f", ALICE.uid, ALICE.gid)
            del flags


def chown(tester: Tester) -> None:
    """Owner and group; -1; who may; which set-id bits go."""
    for kind in (*_ALL_KINDS, "link"):
        with tester.scenario(f"{kind}"):
            make(kind, "x", mode=0o644)
            call = "lchown"
            for uid, gid in (
                (ALICE.uid, ALICE.gid),
                (65534, 65534),
                (2**31, 2**31 + 1),
                (2**32 - 2, 2**32 - 2),
                (0, 0),
            ):
                tester.act(call, "x", uid, gid, moves={"x": "c"}, keeps=["."])
                tester.stat_is("x", uid=uid, gid=gid, type=kind)
            os.lchown("x", ALICE.uid, ALICE.gid)
            tester.expect("ok", call, "x", -1, BOB.gid)
            tester.stat_is("x", uid=ALICE.uid, gid=BOB.gid)
            tester.expect("ok", call, "x", BOB.uid, -1)
            tester.stat_is("x", uid=BOB.uid, gid=BOB.gid)
            tester.expect("ok", call, "x", -1, -1)
            tester.stat_is("x", uid=BOB.uid, gid=BOB.gid)
            os.lchown("x", ALICE.uid, ALICE.gid)
            # The owner may give it to a group of his own, to nobody else.
            tester.act(call, "x", -1, SHARED, by=ALICE, moves={"x": "c"}, keeps=["."])
            tester.stat_is("x", uid=ALICE.uid, gid=SHARED)
            tester.expect("ok", call, "x", ALICE.uid, ALICE.gid, by=ALICE)
            tester.act(call, "x", -1, CAROL.gid, by=ALICE, expect="EPERM", keeps=["x"])
            tester.act(call, "x", BOB.uid, -1, by=ALICE, expect="EPERM", keeps=["x"])
            tester.expect("EPERM", call, "x", BOB.uid, SHARED, by=ALICE)
            for user in (BOB, CAROL):
                tester.act(call, "x", user.uid, user.gid, by=user, expect="EPERM", keeps=["x"])
                tester.expect("EPERM", call, "x", -1, user.gid, by=user)
                tester.expect("EPERM", call, "x", user.uid, -1, by=user)
            tester.stat_is("x", uid=ALICE.uid, gid=ALICE.gid)
    with tester.scenario("a link is followed"):
        make("file", "f")
        os.symlink("f", "l")
        tester.act("chown", "l", ALICE.uid, ALICE.gid, moves={"f": "c"}, keeps=["l"])
        tester.stat_is("f", uid=ALICE.uid, gid=ALICE.gid)
        tester.stat_is("l", uid=0, gid=0)
        tester.act("lchown", "l", BOB.uid, BOB.gid, moves={"l": "c"}, keeps=["f"])
        tester.stat_is("l", uid=BOB.uid, gid=BOB.gid, type="link")
    for mode, after_owner, after_root in (
        (0o4755, 0o755, 0o755),
        (0o2755, 0o755, 0o755),
        (0o6755, 0o755, 0o755),
        (0o6555, 0o555, 0o555),
        (0o4644, 0o644, 0o644),
        (0o2745, 0o2745, 0o2745),
        (0o0755, 0o0755, 0o755),
        (0o1644, 0o1644, 0o1644),
    ):
        with tester.scenario(f"set-id bits of a file {mode:o}"):
            make("file", "f", mode=mode, owner=ALICE)
            tester.expect("ok", "chown", "f", -1, SHARED, by=ALICE)
            tester.stat_is("f", gid=SHARED)
            # Group may not execute: then the bit is mandatory locking's, and its fate is open.
            if mode != 0o2745:
                tester.stat_is("f", mode=after_owner)
            os.chmod("f", mode)
            tester.expect("ok", "chown", "f", BOB.uid, BOB.gid)
            if mode != 0o2745:
                tester.stat_is("f", mode=after_root)
    with tester.scenario("set-id bits of a file, nothing changed"):
        make("file", "f", mode=0o6755, owner=ALICE)
        tester.expect("ok", "chown", "f", -1, -1, by=ALICE)
        tester.stat_is("f", mode=0o755)
    for mode in (0o4755, 0o2755, 0o6755, 0o1777):
        with tester.scenario(f"set-id bits of a folder {mode:o}"):
            make("dir", "d", mode=mode, owner=ALICE)
            tester.expect("ok", "chown", "d", -1, SHARED, by=ALICE)
            tester.stat_is("d", mode=mode, gid=SHARED)
            tester.expect("ok", "chown", "d", BOB.uid, BOB.gid)
            tester.stat_is("d", mode=mode, uid=BOB.uid)
    with tester.scenario("an open file"):
        make("file", "f", mode=0o666, owner=ALICE)
        tester.expect("ok", "fchown", "f", -1, SHARED, by=ALICE)
        tester.stat_is("f", gid=SHARED)
        tester.act("fchown", "f", BOB.uid, -1, by=BOB, expect="EPERM", keeps=["f"])
        descriptor = os.open("g", os.O_CREAT | os.O_RDWR, 0o644)
        os.write(descriptor, b"content")
        with tester.fd_moves(descriptor, "fchown of a file being written", "c"):
            os.fchown(descriptor, ALICE.uid, ALICE.gid)
        os.close(descriptor)
        tester.stat_is("g", uid=ALICE.uid, gid=ALICE.gid, size=7)


def truncate(tester: Tester) -> None:
    """Up, down, in vain; set-id bits go when somebody else does it."""
    for call in ("truncate", "ftruncate", "ftruncate_wronly"):
        with tester.scenario(call):
            make("file", "f", mode=0o644, owner=ALICE)
            os.chmod(".", 0o777)
            for length in (1234567, 567, 567, 0, 1, 0):
                tester.expect("ok", call, "f", length, by=ALICE)
                tester.stat_is("f", size=length)
            tester.act(call, "f", 100, by=ALICE, moves={"f": "mc"}, keeps=["."])
            tester.act(call, "f", 10, by=ALICE, moves={"f": "mc"}, keeps=["."])
            tester.act(call, "f", -1, by=ALICE, expect="EINVAL", keeps=["f", "."])
            tester.expect("EINVAL", call, "f", -(2**63), by=ALICE)
            tester.act(call, "f", 0, by=BOB, expect="EACCES", keeps=["f"])
            tester.stat_is("f", size=10, uid=ALICE.uid, mode=0o644)
            with open("f", "wb") as file:
                file.write(b"0123456789")
            tester.expect("ok", call, "f", 4)
            tester.expect("ok", call, "f", 8)
            with open("f", "rb") as file:
                tester.check("what is cut comes back as zeros", b"0123\0\0\0\0", file.read())
            for mode, after in ((0o4777, 0o777), (0o2777, 0o777), (0o6777, 0o777)):
                os.chmod("f", mode)
                tester.expect("ok", call, "f", 3, by=BOB)
                tester.stat_is("f", mode=after)
                os.chmod("f", mode)
                tester.expect("ok", call, "f", 5)
                tester.stat_is("f", mode=mode)
            os.chmod("f", 0o444)
            tester.expect("EACCES", call, "f", 0, by=ALICE)
            tester.expect("ok", call, "f", 0)
    with tester.scenario("wrong kinds"):
        for kind in ("dir", "fifo", "socket"):
            make(kind, kind, mode=0o777)
        tester.expect("EISDIR", "truncate", "dir", 0)
        tester.expect("EISDIR", "truncate", "dir", 0, by=ALICE)
        tester.expect("EINVAL", "truncate", "fifo", 0)
        tester.expect("EINVAL", "truncate", "socket", 0)
        make("file", "f", mode=0o666)
        tester.act("ftruncate_rdonly", "f", 0, expect="EINVAL|EBADF", keeps=["f"])
        tester.expect("EINVAL|EBADF", "ftruncate_rdonly", "f", 10, by=ALICE)
    with tester.scenario("far too long"):
        make("file", "f")
        for length in (10**15, 2**62):
            got = tester.attempt("truncate", "f", length)
            size = os.stat("f").st_size
            is_right = (got, size) == ("ok", length) or got in ("EFBIG", "EINVAL") and size == 0
            tester.check(f"truncate to {length}", "done, or refused", (
                "done, or refused" if is_right else (got, size)
            ))
            tester.expect("ok", "truncate", "f", 0)
    with tester.scenario("while it is executed"):
        with open("program", "wb") as file, open("/bin/sleep", "rb") as source:
            file.write(source.read())
        os.chmod("program", 0o755)
        child = os.posix_spawn("./program", ["program", "60"], {})
        try:
            _wait_until_executed(child)
            tester.expect("ETXTBSY", "truncate", "program", 0)
            tester.expect("ETXTBSY", "open", "program", "O_WRONLY")
            tester.expect("ETXTBSY", "open", "program", "O_RDWR|O_TRUNC")
            tester.expect("ok", "open", "program", "O_RDONLY")
            tester.expect("ok", "unlink", "program")
        finally:
            os.kill(child, 9)
            os.waitpid(child, 0)


def _wait_until_executed(child: int) -> None:
    while not os.readlink(f"/proc/{child}/exe").endswith("/program"):
        os.sched_yield()


def utimensat(tester: Tester) -> None:
    """Times set, omitted and now; by whom; far away."""
    second = 10**9
    for kind in (*_ALL_KINDS, "link"):
        with tester.scenario(f"{kind}"):
            make(kind, "x", mode=0o644, owner=ALICE)
            flag = AT_SYMLINK_NOFOLLOW
            tester.act(
                "utimensat", "x", (1900000000, 1), (1950000000, 999999999), flag,
                moves={"x": "amc"}, keeps=["."],
            )  # fmt: skip
            tester.stat_is("x", atime=1900000000 * second + 1, mtime=1950000001 * second - 1)
            tester.act(
                "utimensat", "x", (1960000000, 5), _OMIT, flag, by=ALICE, moves={"x": "ac"}
            )
            tester.stat_is("x", atime=1960000000 * second + 5)
            tester.act("utimensat", "x", _OMIT, (1960000000, 7), flag, moves={"x": "mc"})
            tester.stat_is("x", mtime=1960000000 * second + 7)
            tester.expect("ok", "utimensat", "x", _OMIT, _OMIT, flag)
            tester.stat_is("x", mtime=1960000000 * second + 7, atime=1960000000 * second + 5)
            tester.expect("ok", "utimensat", "x", (1, 2), (3, 4), flag)
            tester.stat_is("x", atime=second + 2, mtime=3 * second + 4)
            tester.act("utimensat", "x", _NOW, _NOW, flag, by=ALICE, moves={"x": "amc"})
    with tester.scenario("only the time of change is omitted first"):
        for kind in ("file", "dir"):
            make(kind, kind)
            tester.act("utimensat", kind, _OMIT, (2100000000, 0), moves={kind: "mc"})
        make("file", "g")
        tester.act("utimensat", "g", (2100000000, 0), _OMIT, moves={"g": "ac"})
    with tester.scenario("far away"):
        for path in ("file", "dir"):
            make(path, path)
            for seconds in (-1, -(2**31), 2**31, 2**32 + 5, 4102444800):
                tester.expect("ok", "utimensat", path, (seconds, 0), (seconds, 500), 0)
                tester.stat_is(path, atime=seconds * second, mtime=seconds * second + 500)
    with tester.scenario("who may"):
        os.chmod(".", 0o777)
        make("file", "mine", mode=0o444, owner=ALICE)
        make("file", "writable", mode=0o646, owner=ALICE)
        make("file", "readable", mode=0o644, owner=ALICE)
        for path, by, given, omitted, now in (
            ("mine", ALICE, "ok", "ok", "ok"),
            ("mine", ROOT, "ok", "ok", "ok"),
            ("writable", CAROL, "EPERM", "ok", "ok"),
            ("readable", CAROL, "EPERM", "ok", "EACCES"),
        ):
            tester.expect(given, "utimensat", path, (5, 6), (7, 8), by=by)
            tester.expect(given, "utimensat", path, _OMIT, (7, 8), by=by)
            tester.expect(given, "utimensat", path, (7, 8), _OMIT, by=by)
            tester.expect(given, "utimensat", path, _NOW, _OMIT, by=by)
            tester.expect(given, "utimensat", path, _OMIT, _NOW, by=by)
            tester.expect(omitted, "utimensat", path, _OMIT, _OMIT, by=by)
            tester.expect(now, "utimensat", path, _NOW, _NOW, by=by)
            tester.expect(now, "utimensat_now", path, by=by)
        tester.act("utimensat", "readable", (5, 6), (7, 8), by=CAROL, expect="EPERM",
                   keeps=["readable"])
        tester.act("utimensat_now", "writable", by=CAROL, moves={"writable": "amc"})
    with tester.scenario("wrong times"):
        make("file", "f")
        for nanoseconds in (-1, 10**9, 2**31):
            tester.expect("EINVAL", "utimensat", "f", (1, nanoseconds), (1, 0))
            tester.expect("EINVAL", "utimensat", "f", (1, 0), (1, nanoseconds))
    with tester.scenario("links"):
        make("file", "f")
        os.symlink("f", "l")
        os.utime("f", ns=(1, 1))
        tester.expect("ok", "utimensat", "l", (50, 0), (60, 0))
        tester.stat_is("f", atime=50 * second, mtime=60 * second)
        tester.expect("ok", "utimensat", "l", (70, 0), (80, 0), AT_SYMLINK_NOFOLLOW)
        tester.stat_is("l", atime=70 * second, mtime=80 * second)
        tester.stat_is("f", atime=50 * second, mtime=60 * second)
    with tester.scenario("an open file"):
        make("file", "f", mode=0o666, owner=ALICE)
        tester.expect("ok", "futimens", "f", (50, 1), (60, 2))
        tester.stat_is("f", atime=50 * second + 1, mtime=60 * second + 2)
        descriptor = os.open("g", os.O_CREAT | os.O_RDWR)
        os.write(descriptor, b"content")
        os.utime(descriptor, ns=(1000000005, 2000000006))
        tester.fstat_is(descriptor, "g", atime=1000000005, mtime=2000000006)
        os.close(descriptor)
        tester.stat_is("g", atime=1000000005, mtime=2000000006)
        descriptor = os.open("g", os.O_RDWR)
        with tester.fd_moves(descriptor, "write after a time was set", "mc"):
            os.write(descriptor, b"more")
        os.close(descriptor)
    with tester.scenario("write after a time in the future"):
        make("file", "f")
        os.utime("f", ns=(4102444800 * second, 4102444800 * second))
        now = os.stat("f").st_ctime_ns
        tester.check("ctime is not what was set", True, now < 4102444800 * second)
        with open("f", "wb") as file:
            file.write(b"x")
        found = os.stat("f")
        tester.check("mtime is now", True, found.st_mtime_ns < 4102444800 * second)
        tester.check("ctime is now", True, now <= found.st_ctime_ns < 4102444800 * second)
        tester.check("atime is as set", 4102444800 * second, found.st_atime_ns)
