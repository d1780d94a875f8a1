"""What is done with open files: appending, holes, locks, mapping, copying, allocation."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import select
from collections.abc import Callable
from functools import partial

from tests.mount.posix.tester import ALICE, BOB, Tester, make


def _errno_of(call: Callable[[], object]) -> str:
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


def run(tester: Tester) -> None:
    """All of it."""
    with tester.scenario("wrong descriptors"):
        make("file", "f")
        reader, writer = os.open("f", os.O_RDONLY), os.open("f", os.O_WRONLY)
        for what, expected, call in (
            ("write to a reader", "EBADF", lambda: os.write(reader, b"x")),
            ("read from a writer", "EBADF", lambda: os.read(writer, 1)),
            ("pwrite before the start", "EINVAL", lambda: os.pwrite(writer, b"x", -1)),
            ("seek before the start", "EINVAL", lambda: os.lseek(writer, -1, os.SEEK_SET)),
            ("fsync of a reader", "ok", lambda: os.fsync(reader)),
            ("fdatasync of a writer", "ok", lambda: os.fdatasync(writer)),
        ):
            tester.check(what, expected, _errno_of(call))
        folder = os.open(".", os.O_RDONLY)
        tester.check("fsync of a folder", "ok", _errno_of(lambda: os.fsync(folder)))
        tester.check("read of a folder", "EISDIR", _errno_of(lambda: os.read(folder, 1)))
        for descriptor in (reader, writer, folder):
            os.close(descriptor)
    with tester.scenario("writing"):
        make("file", "f", owner=ALICE)
        descriptor = os.open("f", os.O_RDWR)
        with tester.fd_moves(descriptor, "write", "mc"):
            os.write(descriptor, b"content")
        with tester.fd_moves(descriptor, "write of nothing", ""):
            os.write(descriptor, b"")
        with tester.fd_moves(descriptor, "read", "", ignores="a"):
            os.pread(descriptor, 3, 0)
        with tester.fd_moves(descriptor, "fsync", ""):
            os.fsync(descriptor)
        shown = os.fstat(descriptor)
        os.close(descriptor)
        found = os.stat("f")
        tester.check("times after the close", (shown.st_mtime_ns, shown.st_ctime_ns),
                     (found.st_mtime_ns, found.st_ctime_ns))
        for mode, left in ((0o4777, 0o777), (0o2777, 0o777), (0o6777, 0o777)):
            os.chmod("f", mode)
            descriptor = os.open("f", os.O_WRONLY)
            os.write(descriptor, b"x")
            tester.stat_is("f", mode=mode)
            os.seteuid(BOB.uid)
            os.write(descriptor, b"x")
            os.seteuid(0)
            tester.stat_is("f", mode=left)
            os.close(descriptor)
            tester.stat_is("f", mode=left)
    with tester.scenario("appending"):
        one = os.open("f", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        two = os.open("f", os.O_WRONLY | os.O_APPEND)
        for n in range(50):
            os.write(one if n % 2 else two, b"%02d" % n)
        os.close(one)
        os.close(two)
        with open("f", "rb") as file:
            tester.check("what two appenders wrote", b"".join(b"%02d" % n for n in range(50)),
                         file.read())
        descriptor = os.open("f", os.O_RDWR | os.O_APPEND)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, b"end")
        tester.fstat_is(descriptor, "the appended file", size=103)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, b"end")
        tester.fstat_is(descriptor, "the emptied and appended file", size=3)
        os.close(descriptor)
    with tester.scenario("holes"):
        descriptor = os.open("f", os.O_CREAT | os.O_RDWR)
        os.pwrite(descriptor, b"end", 100_000)
        tester.fstat_is(descriptor, "file with a hole", size=100_003)
        os.pwrite(descriptor, b"start", 0)
        os.ftruncate(descriptor, 100_010)
        os.close(descriptor)
        with open("f", "rb") as file:
            tester.check("its content", True,
                         file.read() == b"start" + bytes(99_995) + b"end" + bytes(7))
        descriptor = os.open("f", os.O_RDONLY)
        tester.check("SEEK_END", 100_010, os.lseek(descriptor, 0, os.SEEK_END))
        tester.check("SEEK_DATA", 0, os.lseek(descriptor, 0, os.SEEK_DATA))
        tester.check("SEEK_DATA behind the end", "ENXIO",
                     _errno_of(lambda: os.lseek(descriptor, 100_010, os.SEEK_DATA)))
        tester.check("read behind the end", b"", os.pread(descriptor, 10, 200_000))
        os.close(descriptor)
    with tester.scenario("locks"):
        make("file", "f", mode=0o666)
        _check_locks(tester)
    with tester.scenario("mapping"):
        _check_mapping(tester)
    with tester.scenario("copying"):
        with open("from", "wb") as file:
            file.write(bytes(range(256)) * 1000)
        source, target = os.open("from", os.O_RDONLY), os.open("to", os.O_CREAT | os.O_RDWR)
        copied = 0
        while copied < 256_000:
            copied += os.copy_file_range(source, target, 256_000 - copied)
        whole = bytes(range(256)) * 1000
        tester.check("copy_file_range", True, os.pread(target, 10**6, 0) == whole)
        os.lseek(source, 0, os.SEEK_SET)
        os.lseek(target, 0, os.SEEK_SET)
        os.ftruncate(target, 0)
        sent = 0
        while sent < 256_000:
            sent += os.sendfile(target, source, sent, 256_000 - sent)
        tester.check("sendfile", True, os.pread(target, 10**6, 0) == whole)
        os.close(source)
        os.close(target)
        tester.stat_is("to", size=256_000)
    with tester.scenario("allocation"):
        make("file", "f")
        make("dir", "d")
        tester.act("posix_fallocate", "f", 0, 1000, moves={"f": "mc"}, keeps=["."])
        tester.stat_is("f", size=1000)
        tester.expect("ok", "posix_fallocate", "f", 500, 1000)
        tester.stat_is("f", size=1500)
        tester.expect("ok", "posix_fallocate", "f", 0, 100)
        tester.stat_is("f", size=1500)
        for offset, length in ((0, 0), (-1, 10), (10, -1), (0, -1)):
            tester.act("posix_fallocate", "f", offset, length, expect="EINVAL", keeps=["f"])
        tester.act("posix_fallocate_rdonly", "f", 0, 10, expect="EBADF", keeps=["f"])
        tester.expect("EBADF", "posix_fallocate_rdonly", "d", 0, 10)
        tester.expect("EFBIG", "posix_fallocate", "f", 2**63 - 1, 10)
        with open("g", "wb") as file:
            file.write(b"content")
        tester.expect("ok", "posix_fallocate", "g", 0, 5000)
        with open("g", "rb") as file:
            tester.check("content is kept", b"content" + bytes(4993), file.read())
    with tester.scenario("read past other descriptors"):
        descriptor = os.open("f", os.O_CREAT | os.O_RDWR)
        again = os.open("f", os.O_RDONLY)
        os.write(descriptor, b"one")
        tester.check("written and read elsewhere", b"one", os.pread(again, 10, 0))
        os.pwrite(descriptor, b"two", 0)
        tester.check("overwritten and read elsewhere", b"two", os.pread(again, 10, 0))
        os.ftruncate(descriptor, 1)
        tester.check("cut and read elsewhere", b"t", os.pread(again, 10, 0))
        os.close(descriptor)
        tester.check("read after the writer's close", b"t", os.pread(again, 10, 0))
        os.close(again)
    with tester.scenario("direct"):
        descriptor = os.open("f", os.O_CREAT | os.O_RDWR | os.O_DIRECT)
        page = mmap.mmap(-1, 8192)
        page.write(b"x" * 8192)
        tester.check("write", 8192, os.write(descriptor, page))
        tester.check("read", 8192, os.preadv(descriptor, [page], 0))
        os.close(descriptor)
        tester.stat_is("f", size=8192)
    with tester.scenario("extended attributes"):
        make("file", "f", mode=0o644, owner=ALICE)
        make("dir", "d", mode=0o755, owner=ALICE)
        for path in ("f", "d"):
            tester.act("setxattr", path, "user.mine", b"value", moves={path: "c"}, keeps=["."])
            tester.check(f"value of {path}", b"value", os.getxattr(path, "user.mine"))
            tester.act("getxattr", path, "user.mine", keeps=[path])
            tester.act("setxattr", path, "user.mine", b"x", by=BOB, expect="EACCES", keeps=[path])
            tester.act("getxattr", path, "user.other", expect="ENODATA", keeps=[path])
            tester.act("removexattr", path, "user.other", expect="ENODATA", keeps=[path])
            tester.act("removexattr", path, "user.mine", moves={path: "c"}, keeps=["."])


def _check_locks(tester: Tester) -> None:
    """Locks hold between processes."""
    for name, lock in (
        ("flock", lambda fd: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)),
        ("fcntl", lambda fd: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)),
        ("fcntl of a range", lambda fd: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5)),
    ):
        ready, ready_end = os.pipe()
        done, done_end = os.pipe()
        child = os.fork()
        if not child:
            try:
                descriptor = os.open("f", os.O_RDWR)
                lock(descriptor)
                os.write(ready_end, b"1")
                select.select([done], [], [], 30)
            finally:
                os._exit(0)
        os.read(ready, 1)
        descriptor = os.open("f", os.O_RDWR)
        tester.check(f"{name} held by another", "EAGAIN", _errno_of(partial(lock, descriptor)))
        os.write(done_end, b"1")
        os.waitpid(child, 0)
        tester.check(f"{name} that is free again", "ok", _errno_of(partial(lock, descriptor)))
        for one in (descriptor, ready, ready_end, done, done_end):
            os.close(one)


def _check_mapping(tester: Tester) -> None:
    with open("f", "wb") as file:
        file.write(b"0123456789" * 1000)
    descriptor = os.open("f", os.O_RDWR)
    shared = mmap.mmap(descriptor, 10_000)
    tester.check("mapped content", b"01234", shared[:5])
    shared[5_000:5_005] = b"stored"[:5]
    shared.flush()
    tester.check("read of what was mapped and written", b"store", os.pread(descriptor, 5, 5_000))
    os.pwrite(descriptor, b"written", 0)
    tester.check("mapped content after a write", b"written", shared[:7])
    os.close(descriptor)
    shared[9_000:9_004] = b"late"
    shared.close()
    with open("f", "rb") as file:
        content = file.read()
    tester.check("content in the end", (b"written", b"store", b"late", 10_000),
                 (content[:7], content[5_000:5_005], content[9_000:9_004], len(content)))
    private = os.open("f", os.O_RDONLY)
    with mmap.mmap(private, 10_000, access=mmap.ACCESS_COPY) as copy:
        copy[:3] = b"own"
    tester.check("a private mapping changes nothing", b"wri", os.pread(private, 3, 0))
    os.close(private)
