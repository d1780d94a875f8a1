"""mkdir, rmdir, unlink, symlink, mknod, mkfifo, bind and link: what they make and remove."""

from __future__ import annotations

import os
import socket
import stat

from tests.mount.posix.path_errors import NAME_255, NAME_256
from tests.mount.posix.tester import (
    ALICE,
    BOB,
    CAROL,
    ROOT,
    SHARED,
    Tester,
    make,
)

#: How each kind of thing is made: call, arguments after the path, what it is.
MAKERS = {
    "mkdir": ("mkdir", (0o777,), "dir"),
    "mkfifo": ("mkfifo", (0o666,), "fifo"),
    "mknod file": ("mknod", ("file", 0o666), "file"),
    "mknod fifo": ("mknod", ("fifo", 0o666), "fifo"),
    "mknod socket": ("mknod", ("socket", 0o666), "socket"),
    "mknod char": ("mknod", ("char", 0o666, os.makedev(1, 5)), "char"),
    "mknod block": ("mknod", ("block", 0o666, os.makedev(300, 70000)), "block"),
    "open": ("open", ("O_CREAT|O_WRONLY", 0o666), "file"),
    "open exclusively": ("open", ("O_CREAT|O_EXCL|O_RDWR", 0o666), "file"),
    "bind": ("bind", (), "socket"),
}

_KINDS = ("file", "dir", "fifo", "socket", "char", "block", "link")


def mkdir(tester: Tester) -> None:
    """Also what every maker has in common: modes, umask, owner, times."""
    for name, (call, args, kind) in MAKERS.items():
        with tester.scenario(f"made by {name}"):
            _check_maker(tester, call, args, kind)
    for name in ("mkdir", "mkfifo", "mknod file", "open"):
        call, args, kind = MAKERS[name]
        with tester.scenario(f"modes of {name}"):
            _check_modes(tester, call, args, kind)
    with tester.scenario("links of a folder"):
        tester.stat_is(".", nlink=2)
        for n, path in enumerate(("a", "b", "c")):
            os.mkdir(path)
            tester.stat_is(".", nlink=3 + n)
            tester.stat_is(path, nlink=2)
        make("file", "f")
        os.symlink("a", "l")
        tester.stat_is(".", nlink=5)
        os.mkdir("a/x")
        tester.stat_is("a", nlink=3)
        tester.stat_is(".", nlink=5)
        tester.expect("EEXIST", "mkdir", "a")
        tester.expect("EEXIST", "mkdir", "f")
        tester.stat_is(".", nlink=5)
        os.rmdir("a/x")
        tester.stat_is("a", nlink=2)
        os.rmdir("b")
        tester.stat_is(".", nlink=4)
        os.unlink("f")
        tester.stat_is(".", nlink=4)
        os.listdir(".")
        tester.stat_is(".", nlink=4)
    with tester.scenario("trailing slashes"):
        tester.expect("ok", "mkdir", "new/")
        tester.expect("ok", "mkdir", "new/more//")
        tester.expect("EEXIST", "mkdir", "new/")
        tester.expect("ENOENT", "mknod", "x/", "file")
        tester.expect("ENOENT", "symlink", "t", "x/")
        tester.expect("EISDIR", "open", "x/", "O_CREAT|O_WRONLY")
        tester.expect("EISDIR", "open", "new", "O_CREAT|O_WRONLY")
        tester.expect("EISDIR", "open", "new/", "O_CREAT|O_RDONLY")
    with tester.scenario("group of the folder"):
        for name, (call, args, kind) in MAKERS.items():
            _check_group(tester, name.replace(" ", "-"), call, args, kind)


def _check_maker(tester: Tester, call: str, args: tuple[object, ...], kind: str) -> None:
    os.umask(0o022)
    # A bound socket takes its mode from the umask alone.
    full = 0o777 if kind == "dir" or call == "bind" else 0o666
    tester.act(call, "x", *args, moves={".": "mc"})
    tester.stat_is("x", type=kind, mode=full & ~0o022, uid=0, gid=0)
    tester.stat_is("x", nlink=2 if kind == "dir" else 1)
    if kind != "dir":
        tester.stat_is("x", size=0)
    if kind in ("char", "block"):
        tester.stat_is("x", rdev=args[2])
    tester.born("y", lambda: _made(tester, call, "y", *args))
    exists = "EADDRINUSE" if call == "bind" else "EEXIST"
    if args and "O_CREAT|O_WRONLY" in args:
        exists = "ok"
    tester.act(call, "x", *args, expect=exists, keeps=[".", "x"])
    if kind in ("char", "block"):
        os.chmod(".", 0o777)
        tester.act(call, "z", *args, by=ALICE, expect="EPERM", keeps=["."])
        return
    tester.act(call, "z", *args, by=ALICE, expect="EACCES", keeps=["."])
    os.chmod(".", 0o777)
    for user, mask in ((ALICE, 0o022), (BOB, 0o077), (CAROL, 0o000), (CAROL, 0o151)):
        path = f"of-{user.name}-{mask:o}"
        os.umask(mask)
        tester.expect("ok", call, path, *args, by=user)
        os.umask(0o022)
        tester.stat_is(path, type=kind, mode=full & ~mask, uid=user.uid, gid=user.gid)
    for name in (" ", "a b", "-", "\n", "a\\b", "*?:|<>\"", "\udcff\udc80"):
        tester.expect("ok", call, name, *args)
        tester.stat_is(name, type=kind)
    if call != "bind":  # the address of a socket has 107 bytes at most
        for name in (NAME_255, "ä" * 127):
            tester.expect("ok", call, name, *args)
            tester.stat_is(name, type=kind)
        tester.expect("ENAMETOOLONG", call, NAME_256, *args)


def _made(tester: Tester, call: str, path: str, *args: object) -> None:
    tester.expect("ok", call, path, *args)


def _check_modes(tester: Tester, call: str, args: tuple[object, ...], kind: str) -> None:
    os.chmod(".", 0o777)
    for mode in (0o755, 0o151, 0o000, 0o345, 0o7777, 0o1777, 0o4711, 0o2755):
        for mask in (0o000, 0o022, 0o077, 0o70, 0o501):
            path = f"{mode:o}-{mask:o}"
            os.umask(mask)
            if call == "mkfifo":
                made = tester.expect("ok", call, path, mode)
            else:
                made = tester.expect("ok", call, path, *args[:-1], mode)
            os.umask(0o022)
            if not made:
                continue
            # Linux: mkdir takes the permission and sticky bits only.
            kept = mode & 0o1777 if kind == "dir" else mode
            tester.stat_is(path, mode=kept & ~mask)


def _check_group(
    tester: Tester, name: str, call: str, args: tuple[object, ...], kind: str
) -> None:
    """In a folder with the set-gid bit new names have its group, and new folders the bit too."""
    if kind in ("char", "block"):
        return
    os.mkdir(name)
    os.chown(name, CAROL.uid, SHARED)
    os.chmod(name, 0o2777)
    for user in (ROOT, ALICE, CAROL):
        path = f"{name}/{user.name}"
        tester.expect("ok", call, path, *args, by=user)
        tester.stat_is(path, uid=user.uid, gid=SHARED)
        if kind == "dir":
            tester.stat_is(path, mode=0o2755)
            tester.expect("ok", call, f"{path}/below", *args, by=user)
            tester.stat_is(f"{path}/below", mode=0o2755, gid=SHARED)
    if call in ("mknod", "open"):
        # A file that its group may execute has the bit only if its maker is in the group.
        tester.expect("ok", call, f"{name}/g-member", *args[:-1], 0o2775, by=ALICE)
        tester.stat_is(f"{name}/g-member", mode=0o2755)
        tester.expect("ok", call, f"{name}/g-other", *args[:-1], 0o2775, by=CAROL)
        tester.stat_is(f"{name}/g-other", mode=0o755)


def rmdir(tester: Tester) -> None:
    """Only empty folders, only those one may remove."""
    with tester.scenario("of empty folders"):
        os.mkdir("d")
        tester.act("rmdir", "d", moves={".": "mc"})
        tester.expect("ENOENT", "stat", "d")
        tester.expect("ENOENT", "rmdir", "d")
        os.mkdir("e")
        tester.expect("ok", "rmdir", "e/")
        os.mkdir("f")
        tester.expect("EINVAL", "rmdir", "f/.")
        tester.expect("EINVAL", "rmdir", ".")
        tester.expect("ENOTEMPTY|EEXIST|EINVAL", "rmdir", "f/..")
        tester.expect("EBUSY", "rmdir", "/")
    for kind in _KINDS:
        with tester.scenario(f"of a folder that holds a {kind}"):
            os.mkdir("d")
            make(kind, "d/x")
            tester.act("rmdir", "d", expect="ENOTEMPTY", keeps=[".", "d", "d/x"])
            tester.expect("ENOTEMPTY|EEXIST|EINVAL", "rmdir", "d/..")
            (os.rmdir if kind == "dir" else os.unlink)("d/x")
            tester.expect("ok", "rmdir", "d")
        if kind != "dir":
            with tester.scenario(f"of a {kind}"):
                make(kind, "x")
                tester.act("rmdir", "x", expect="ENOTDIR", keeps=[".", "x"])
                tester.expect("EACCES", "rmdir", "x", by=ALICE)
    with tester.scenario("through a link"):
        os.mkdir("d")
        os.symlink("d", "l")
        tester.expect("ENOTDIR", "rmdir", "l")
        tester.expect("ENOTDIR", "rmdir", "l/")
        tester.stat_is("d", type="dir")
    _check_removal(tester, "rmdir", "dir")
    with tester.scenario("of a folder that is open"):
        os.mkdir("d")
        descriptor = os.open("d", os.O_RDONLY)
        tester.expect("ok", "rmdir", "d")
        tester.fstat_is(descriptor, "the removed folder", type="dir", nlink=0)
        os.close(descriptor)
    with tester.scenario("with a file that was unlinked and is open"):
        os.mkdir("d")
        file = os.open("d/f", os.O_CREAT | os.O_RDWR)
        os.unlink("d/f")
        tester.check("names in it", [], os.listdir("d"))
        tester.expect("ok", "rmdir", "d")
        os.write(file, b"x")
        tester.check("what it holds", b"x", os.pread(file, 5, 0))
        os.close(file)


def _check_removal(tester: Tester, call: str, kind: str) -> None:
    """Who may remove: by write permission of the folder, and by its sticky bit."""
    with tester.scenario(f"{kind}, permissions"):
        os.mkdir("d")
        for mode, by, expected in (
            (0o755, ALICE, "EACCES"),
            (0o777, ALICE, "ok"),
            (0o776, CAROL, "EACCES"),
            (0o773, CAROL, "ok"),
            (0o775, BOB, "ok"),
            (0o755, BOB, "EACCES"),
            (0o555, ROOT, "ok"),
        ):
            make(kind, f"d/x{mode:o}{by.name}")
            os.chown("d", 0, SHARED)
            os.chmod("d", mode)
            if by is ALICE:
                os.chown("d", 0, 0)
            tester.act(
                call, f"d/x{mode:o}{by.name}", by=by, expect=expected,
                moves={"d": "mc" if expected == "ok" else ""}, keeps=["."],
            )  # fmt: skip
            os.chmod("d", 0o755)
    with tester.scenario(f"{kind}, sticky bit"):
        os.mkdir("d")
        for folder_owner in (ROOT, ALICE, BOB):
            for owner in (ROOT, ALICE, BOB):
                for by in (ROOT, ALICE, CAROL):
                    path = f"d/{folder_owner.name}-{owner.name}-{by.name}"
                    make(kind, path, owner=owner)
                    os.chown("d", folder_owner.uid, folder_owner.gid)
                    os.chmod("d", 0o1777)
                    is_allowed = by in (ROOT, folder_owner, owner)
                    tester.expect("ok" if is_allowed else "EPERM", call, path, by=by)
        os.chmod("d", 0o1755)
        os.chown("d", 0, 0)
        make(kind, "d/mine", owner=ALICE)
        tester.expect("EACCES", call, "d/mine", by=ALICE)


def unlink(tester: Tester) -> None:
    """All kinds but folders; open ones live on."""
    for kind in _KINDS:
        with tester.scenario(kind):
            make(kind, "x")
            if kind == "dir":
                tester.act("unlink", "x", expect="EISDIR|EPERM", keeps=[".", "x"])
                tester.expect("EACCES", "unlink", "x", by=ALICE)
                os.chmod(".", 0o777)
                tester.expect("EISDIR|EPERM", "unlink", "x", by=ALICE)
                tester.expect("EISDIR", "unlink", ".")
                tester.expect("EISDIR", "unlink", "..")
                tester.expect("EISDIR", "unlink", "x/")
                continue
            tester.act("unlink", "x", moves={".": "mc"})
            tester.expect("ENOENT", "lstat", "x")
            tester.act("unlink", "x", expect="ENOENT", keeps=["."])
            make("dir", "x")
            tester.stat_is("x", type="dir")
        if kind not in ("dir", "char", "block"):
            with tester.scenario(f"{kind} of others"):
                _check_removal(tester, "unlink", kind)
    with tester.scenario("a link, not what it names"):
        make("file", "f")
        os.symlink("f", "l")
        tester.act("unlink", "l", moves={".": "mc"}, keeps=["f"])
        tester.stat_is("f", type="file")
    with tester.scenario("open file"):
        for written in (True, False):
            path = f"{'written' if written else 'stored'}"
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
            os.write(descriptor, b"content")
            if not written:
                os.close(descriptor)
                descriptor = os.open(path, os.O_RDWR)
            tester.fstat_is(descriptor, path, nlink=1)
            with tester.fd_moves(descriptor, f"unlink of a {path} open file", "c"):
                os.unlink(path)
            tester.fstat_is(descriptor, path, nlink=0, size=7, type="file")
            tester.expect("ENOENT", "stat", path)
            tester.check("content", b"content", os.pread(descriptor, 10, 0))
            with tester.fd_moves(descriptor, "write to it", "mc"):
                os.write(descriptor, b" and more")
            with tester.fd_moves(descriptor, "fchmod of it", "c"):
                os.fchmod(descriptor, 0o600)
            tester.fstat_is(descriptor, path, mode=0o600)
            with tester.fd_moves(descriptor, "fchown of it", "c"):
                os.fchown(descriptor, ALICE.uid, ALICE.gid)
            tester.fstat_is(descriptor, path, uid=ALICE.uid, gid=ALICE.gid)
            with tester.fd_moves(descriptor, "ftruncate of it", "mc"):
                os.ftruncate(descriptor, 3)
            with tester.fd_moves(descriptor, "futimens of it", "mc", ignores="a"):
                os.utime(descriptor, ns=(5, 2**61))
            os.fsync(descriptor)
            tester.fstat_is(descriptor, path, size=3, nlink=0)
            tester.check("names", [], [name for name in os.listdir(".") if path in name])
            os.close(descriptor)
        tester.check("names in the end", [], os.listdir("."))
    with tester.scenario("name taken anew while open"):
        old = os.open("f", os.O_CREAT | os.O_RDWR)
        os.write(old, b"old")
        os.unlink("f")
        new = os.open("f", os.O_CREAT | os.O_EXCL | os.O_RDWR)
        os.write(new, b"newer")
        tester.check("old content", b"old", os.pread(old, 9, 0))
        tester.check("new content", b"newer", os.pread(new, 9, 0))
        tester.fstat_is(old, "the old", nlink=0, size=3)
        tester.fstat_is(new, "the new", nlink=1, size=5)
        os.close(old)
        os.close(new)
        tester.stat_is("f", size=5)


def symlink(tester: Tester) -> None:
    """Any target; owner, mode, times, length."""
    with tester.scenario("made"):
        tester.act("symlink", "anything", "l", moves={".": "mc"})
        tester.stat_is("l", type="link", mode=0o777, size=8, nlink=1, uid=0, gid=0)
        tester.act("symlink", "other", "l", expect="EEXIST", keeps=[".", "l"])
        tester.born("m", lambda: os.symlink("x", "m"))
        tester.act("symlink", "other", "n", by=ALICE, expect="EACCES", keeps=["."])
        os.chmod(".", 0o777)
        os.umask(0o077)
        tester.expect("ok", "symlink", "other", "n", by=ALICE)
        tester.stat_is("n", type="link", mode=0o777, uid=ALICE.uid, gid=ALICE.gid)
    with tester.scenario("targets"):
        targets = ["/", ".", "..", "a b", "ä", "\udcff", "a//b/", "x" * 255, "x" * 1023]
        targets += ["y" * 1024, "z/" * 2047, "z" * 4095, " ", "\n"]
        for n, target in enumerate(targets):
            tester.expect("ok", "symlink", target, f"l{n}")
            tester.check(f"readlink of number {n}", target, os.readlink(f"l{n}"))
            tester.stat_is(f"l{n}", size=len(os.fsencode(target)))
        tester.expect("ENAMETOOLONG", "symlink", "z" * 4096, "long")
        tester.expect("ENOENT", "symlink", "", "empty")
    with tester.scenario("walked"):
        os.mkdir("d")
        make("file", "d/f")
        for name, target in {"a": "d", "b": "a", "c": "b/f", "up": "d/../d/f"}.items():
            os.symlink(target, name)
        tester.stat_is("b/f", type="file")
        tester.stat_is("c", type="link")
        tester.stat_is("c", type="file", follow=True)
        tester.stat_is("up", type="file", follow=True)
        tester.expect("EINVAL", "readlink", "d")
        tester.expect("EINVAL", "readlink", "d/f")
        tester.expect("EINVAL", "readlink", "a/")
    with tester.scenario("group of the folder"):
        os.chown(".", 0, SHARED)
        os.chmod(".", 0o2777)
        tester.expect("ok", "symlink", "x", "l", by=CAROL)
        tester.stat_is("l", uid=CAROL.uid, gid=SHARED)


def mknod(tester: Tester) -> None:
    """Special files beyond their making: they can be used, changed, moved and listed."""
    for kind in ("fifo", "socket", "char", "block"):
        with tester.scenario(kind):
            make(kind, "x", mode=0o640, owner=ALICE)
            before = os.lstat("x")
            os.rename("x", "y")
            tester.stat_is("y", type=kind, mode=0o640, uid=ALICE.uid, rdev=before.st_rdev, nlink=1)
            tester.check("its name in the listing", ["y"], os.listdir("."))
            with os.scandir(".") as entries:
                tester.check("its type in the listing", [stat.S_IFMT(before.st_mode)], [
                    stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode) for entry in entries
                ])
            tester.expect("ok", "unlink", "y")
            tester.expect("ENOENT", "lstat", "y")
    with tester.scenario("devices"):
        for n, (major, minor) in enumerate(((0, 0), (1, 3), (255, 255), (4095, 1048575), (8, 256))):
            for kind in ("char", "block"):
                path = f"{kind}{n}"
                tester.expect("ok", "mknod", path, kind, 0o600, os.makedev(major, minor))
                tester.stat_is(path, type=kind, rdev=os.makedev(major, minor))
    with tester.scenario("fifo used"):
        os.mkfifo("f")
        tester.expect("ENXIO", "open", "f", "O_WRONLY|O_NONBLOCK")
        reader = os.open("f", os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open("f", os.O_WRONLY | os.O_NONBLOCK)
        os.write(writer, b"through")
        tester.check("what comes out", b"through", os.read(reader, 100))
        os.close(reader)
        os.close(writer)
        tester.stat_is("f", type="fifo", size=0)
        tester.expect("ENXIO", "open", "f", "O_WRONLY|O_NONBLOCK|O_TRUNC")
    with tester.scenario("socket used"):
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind("s")
            server.listen()
            client.connect("s")
            client.send(b"hello")
            with server.accept()[0] as peer:
                tester.check("what comes out", b"hello", peer.recv(10))
        tester.expect("ENXIO", "open", "s", "O_RDONLY")
        tester.expect("ENXIO", "open", "s", "O_RDWR")


def link(tester: Tester) -> None:
    """Hard links: what is refused before they are, and that they are refused at once."""
    make("file", "f", owner=ALICE)
    make("dir", "d")
    tester.act("link", "f", "g", moves={"f": "c", ".": "mc"})
    tester.stat_is("f", nlink=2)
    tester.expect("ok", "stat", "g")
    tester.act("link", "f", "d", expect="EEXIST", keeps=["f", "d", "."])
    tester.expect("EPERM", "link", "d", "e")
    tester.expect("EXDEV", "link", "f", "/dev/shm/cosfs-not-made")
    tester.expect("EPERM|EACCES", "link", "f", "h", by=BOB)
    tester.expect("ENOENT", "link", "f", "x/")
