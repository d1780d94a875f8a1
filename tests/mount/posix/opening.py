"""open: flags, permissions, kinds; what O_CREAT, O_EXCL and O_TRUNC change."""

from __future__ import annotations

import os

from tests.mount.posix.tester import ALICE, BOB, CAROL, ROOT, SHARED, Tester, make

_ACCESS = ("O_RDONLY", "O_WRONLY", "O_RDWR")


def run(tester: Tester) -> None:
    """All of it."""
    with tester.scenario("kinds"):
        for kind in ("dir", "socket", "char"):
            make(kind, kind, mode=0o777)
        for flags in ("O_WRONLY", "O_RDWR", "O_RDONLY|O_TRUNC", "O_RDWR|O_CREAT"):
            tester.act("open", "dir", flags, expect="EISDIR", keeps=["dir", "."])
            tester.expect("EISDIR", "open", "dir", flags, by=ALICE)
        tester.expect("EISDIR|EINVAL", "open", "dir", "O_RDONLY|O_CREAT|O_DIRECTORY")
        tester.expect("ok", "open", "dir", "O_RDONLY")
        tester.expect("ok", "open", "dir", "O_RDONLY|O_DIRECTORY")
        for flags in _ACCESS:
            tester.expect("ENXIO", "open", "socket", flags)
        for kind in ("socket", "char"):
            tester.expect("ENOTDIR", "open", kind, "O_RDONLY|O_DIRECTORY")
        make("file", "file")
        tester.expect("ENOTDIR", "open", "file", "O_RDONLY|O_DIRECTORY")
        tester.expect("ENOTDIR", "open", "file", "O_RDONLY|O_DIRECTORY|O_NOFOLLOW")
    with tester.scenario("links"):
        make("file", "f")
        os.mkdir("d")
        for name, target in {"l": "f", "dl": "d", "loop": "loop", "dangling": "made"}.items():
            os.symlink(target, name)
        for flags in _ACCESS:
            tester.expect("ok", "open", "l", flags)
            tester.expect("ELOOP", "open", "l", f"{flags}|O_NOFOLLOW")
            tester.expect("ELOOP", "open", "dangling", f"{flags}|O_NOFOLLOW")
            tester.expect("ok", "open", "f", f"{flags}|O_NOFOLLOW")
        tester.expect("ELOOP|ENOTDIR", "open", "dl", "O_RDONLY|O_NOFOLLOW|O_DIRECTORY")
        tester.expect("ok", "open", "dl", "O_RDONLY|O_DIRECTORY")
        tester.expect("ok", "open", "dl/", "O_RDONLY|O_NOFOLLOW")
        tester.expect("ELOOP", "open", "loop", "O_RDONLY|O_CREAT")
        tester.act("open", "dangling", "O_RDWR|O_CREAT|O_EXCL", expect="EEXIST",
                   keeps=[".", "dangling"])
        tester.act("open", "loop", "O_RDWR|O_CREAT|O_EXCL", expect="EEXIST", keeps=["."])
        tester.expect("ENOENT", "stat", "made")
        tester.act("open", "dangling", "O_RDWR|O_CREAT", moves={".": "mc"}, keeps=["dangling"])
        tester.stat_is("made", type="file", size=0)
    with tester.scenario("O_CREAT"):
        tester.act("open", "f", "O_WRONLY|O_CREAT", 0o640, moves={".": "mc"})
        tester.stat_is("f", mode=0o640, size=0, nlink=1)
        tester.act("open", "f", "O_WRONLY|O_CREAT", 0o777, keeps=[".", "f"])
        tester.stat_is("f", mode=0o640)
        tester.act("open", "f", "O_WRONLY|O_CREAT|O_EXCL", expect="EEXIST", keeps=[".", "f"])
        tester.act("open", "g", "O_WRONLY|O_CREAT", by=ALICE, expect="EACCES", keeps=["."])
        tester.expect("ENOENT", "open", "g", "O_WRONLY")
        # Opened for writing although the mode that it gets does not allow it.
        descriptor = os.open("h", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0)
        os.write(descriptor, b"x")
        os.close(descriptor)
        tester.stat_is("h", mode=0, size=1)
        os.chmod(".", 0o777)
        tester.expect("ok", "open", "i", "O_CREAT|O_RDWR", 0o000, by=ALICE)
        tester.expect("EACCES", "open", "i", "O_CREAT|O_RDWR", 0o777, by=ALICE)
        tester.expect("ok", "open", "j", "O_CREAT|O_RDONLY|O_TRUNC", 0o644, by=ALICE)
    with tester.scenario("O_TRUNC"):
        for flags in _ACCESS[1:]:
            with open("f", "wb") as file:
                file.write(b"content")
            tester.act("open", "f", f"{flags}|O_TRUNC", moves={"f": "mc"}, keeps=["."])
            tester.stat_is("f", size=0)
            # Linux dates the file anew although it was empty.
            tester.act("open", "f", f"{flags}|O_TRUNC", moves={"f": "mc"}, keeps=["."])
        with open("f", "wb") as file:
            file.write(b"content")
        os.chmod("f", 0o644)
        tester.act("open", "f", "O_WRONLY|O_TRUNC", by=ALICE, expect="EACCES", keeps=["f", "."])
        tester.expect("EACCES", "open", "f", "O_RDONLY|O_TRUNC", by=ALICE)
        tester.stat_is("f", size=7)
        reader = os.open("f", os.O_RDONLY)
        writer = os.open("f", os.O_WRONLY | os.O_TRUNC)
        tester.fstat_is(reader, "another descriptor of the emptied file", size=0)
        os.write(writer, b"new")
        tester.check("what it reads", b"new", os.read(reader, 10))
        os.close(reader)
        os.close(writer)
    with tester.scenario("set-id bits"):
        make("file", "f", owner=ALICE)
        for mode, after in ((0o4777, 0o777), (0o2777, 0o777), (0o6777, 0o777), (0o4666, 0o666)):
            for by, left in ((BOB, after), (ALICE, after), (ROOT, mode)):
                for how, flags in (("truncation", "O_WRONLY|O_TRUNC"), ("opening", "O_RDWR")):
                    os.chmod("f", mode)
                    tester.expect("ok", "open", "f", flags, by=by)
                    tester.stat_is("f", mode=left if how == "truncation" else mode)
    with tester.scenario("permissions"):
        make("file", "f", owner=ALICE)
        os.chown("f", ALICE.uid, SHARED)
        for mode in (0o000, 0o400, 0o200, 0o600, 0o040, 0o020, 0o060, 0o004, 0o002, 0o006):
            os.chmod("f", mode)
            for by, shift in ((ALICE, 6), (BOB, 3), (CAROL, 0), (ROOT, None)):
                bits = 6 if shift is None else mode >> shift & 6
                for flags, needed in (("O_RDONLY", 4), ("O_WRONLY", 2), ("O_RDWR", 6)):
                    is_allowed = bits & needed == needed
                    tester.expect("ok" if is_allowed else "EACCES", "open", "f", flags, by=by)
        os.chmod("f", 0o644)
        tester.expect("EPERM", "open", "f", "O_RDONLY|O_NOATIME", by=BOB)
        tester.expect("ok", "open", "f", "O_RDONLY|O_NOATIME", by=ALICE)
    with tester.scenario("execution"):
        with open("script", "w") as file:
            file.write("#!/bin/sh\nexit 0\n")
        os.chmod("script", 0o644)
        tester.expect("EACCES", "execute", "./script")
        tester.expect("EACCES", "access", "script", os.X_OK, by=ALICE)
        os.chmod("script", 0o755)
        tester.expect("ok", "execute", "./script")
    with tester.scenario("folders and their permissions"):
        os.mkdir("d")
        make("file", "d/f")
        for mode, listing, walk, new in (
            (0o700, "EACCES", "EACCES", "EACCES"),
            (0o704, "ok", "EACCES", "EACCES"),
            (0o701, "EACCES", "ok", "EACCES"),
            (0o705, "ok", "ok", "EACCES"),
            (0o702, "EACCES", "EACCES", "EACCES"),
            (0o703, "EACCES", "ok", "ok"),
        ):
            os.chmod("d", mode)
            tester.expect(listing, "opendir", "d", by=CAROL)
            tester.expect(walk, "stat", "d/f", by=CAROL)
            tester.expect(walk, "open", "d/f", "O_RDONLY", by=CAROL)
            tester.expect(new, "open", f"d/new{mode:o}", "O_CREAT|O_WRONLY", by=CAROL)
    with tester.scenario("a bad mix"):
        make("file", "f")
        tester.expect("ok", "open", "f", "O_RDONLY|O_DIRECT")
        tester.expect("ok", "open", "f", "O_RDWR|O_SYNC")
        tester.expect("ok", "open", "f", "O_RDWR|O_DSYNC|O_APPEND|O_NONBLOCK|O_NOCTTY")
        tester.expect("ok", "open", "f", "O_PATH")
        tester.expect("ENOENT", "open", "", "O_RDONLY")
