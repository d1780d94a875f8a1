"""What the checks are made with: run a call as a user, compare what it gave, watch times.

A check is one comparison. Its identity tells where it stands (the scenario), what was done and by
whom, so that it says enough when it fails; two runs of one table give the same identities, and so
a mount can be compared with a local disk.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.mount.posix.calls import CALLS


@dataclass(frozen=True)
class User:
    """Who makes a call. ``gid`` is the effective group, ``groups`` are the supplementary ones."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


ROOT = User("root", 0, 0)
#: Alice and Bob share the group 60500; Carol has none in common with anybody.
SHARED = 60500
ALICE = User("alice", 60001, 60101, (60101, 60102, SHARED))
BOB = User("bob", 60002, 60201, (60201, SHARED))
CAROL = User("carol", 60003, 60301, (60301,))

#: CLOCK_REALTIME_COARSE of Linux: the clock that files are dated by.
_COARSE = 5

_TIMES = {"a": "st_atime_ns", "m": "st_mtime_ns", "c": "st_ctime_ns"}

_TYPES = {
    stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link", stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket", stat.S_IFCHR: "char", stat.S_IFBLK: "block",
}  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One check: what was expected, and what came."""

    identity: str
    expected: str
    got: str

    @property
    def is_passed(self) -> bool:
        return self.expected == self.got


class Tester:
    """Runs scenarios in the current folder, as root, and collects results."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self._scenario = ""
        self._seen: Counter[str] = Counter()

    @contextmanager
    def scenario(self, name: str) -> Iterator[None]:
        """Work in a fresh folder that everybody may search; what breaks it is a failed check."""
        above = self._scenario
        here = os.open(".", os.O_PATH)
        self._scenario = f"{above}/{name}" if above else name
        folder = name.replace("/", "-").replace(" ", "-")[:80]
        try:
            os.mkdir(folder, 0o755)
            os.chdir(folder)
            yield
        except Exception as error:
            self.check("runs to its end", "yes", f"{type(error).__name__}: {error}")
        finally:
            become(ROOT)
            os.umask(0o022)
            os.fchdir(here)
            os.close(here)
            self._scenario = above

    def check(self, what: str, expected: object, got: object) -> bool:
        """Record one comparison."""
        identity = f"{self._scenario}: {what}"
        self._seen[identity] += 1
        if self._seen[identity] > 1:
            identity += f" #{self._seen[identity]}"
        result = Result(identity, str(expected), str(got))
        self.results.append(result)
        return result.is_passed

    def expect(self, expected: str, call: str, *args: Any, by: User = ROOT) -> bool:
        """Check that a call succeeds (``ok``) or gives the errno of that name, or one of several.

        Several errnos are written ``EEXIST|ENOTEMPTY``, where POSIX allows any of them.
        """
        got = self.attempt(call, *args, by=by)
        return self.check(
            f"{_written(call, args)} by {by.name}",
            expected,
            expected if got in expected.split("|") else got,
        )

    def attempt(self, call: str, *args: Any, by: User = ROOT) -> str:
        """Make a call; return ``ok`` or the name of its errno."""
        with acting(by):
            try:
                CALLS[call](*args)
            except OSError as error:
                return errno.errorcode.get(error.errno or 0, str(error))
            return "ok"

    def act(
        self,
        call: str,
        *args: Any,
        by: User = ROOT,
        expect: str = "ok",
        moves: Mapping[str, str] | None = None,
        keeps: Iterable[str] = (),
    ) -> bool:
        """Check a call, and which times of which names it moves.

        ``moves`` has letters of the times that must move (``a``, ``m``, ``c``), by name; written
        ``old>new`` where the name changes. All other times of these and of ``keeps`` must stay.
        """
        watched = dict(moves or {}) | dict.fromkeys(keeps, "")
        pairs = {name: tuple(name.split(">")) if ">" in name else (name, name) for name in watched}
        before = {name: os.lstat(old) for name, (old, _) in pairs.items()}
        tick()
        passed = self.expect(expect, call, *args, by=by)
        label = _written(call, args)
        for name, (_, new) in pairs.items():
            try:
                after = os.lstat(new)
            except OSError as error:
                self.check(f"{label} by {by.name}: lstat {new!r}", "ok", error)
                continue
            for letter, field in _TIMES.items():
                if letter == "a" and stat.S_ISLNK(after.st_mode) and letter not in watched[name]:
                    # Walking through a link is a read of it: whether that is dated is open.
                    continue
                moved = getattr(after, field) > getattr(before[name], field)
                same = getattr(after, field) == getattr(before[name], field)
                self.check(
                    f"{label} by {by.name}: {letter}time of {name!r}",
                    "moves" if letter in watched[name] else "stays",
                    "moves" if moved else "stays" if same else "goes back",
                )
        return passed

    def stat_is(self, path: str, *, follow: bool = False, **expected: Any) -> None:
        """Check fields of ``stat``: type, mode, uid, gid, nlink, size, rdev, atime, mtime."""
        self._compare(repr(path), lambda: os.stat(path, follow_symlinks=follow), expected)

    def fstat_is(self, descriptor: int, what: str, **expected: Any) -> None:
        """Check fields of ``fstat``; ``what`` says which descriptor it is."""
        self._compare(what, lambda: os.fstat(descriptor), expected)

    def _compare(
        self, what: str, look: Callable[[], os.stat_result], expected: Mapping[str, Any]
    ) -> None:
        try:
            found = look()
        except OSError as error:
            for field, value in expected.items():
                self.check(f"{field} of {what}", value, errno.errorcode[error.errno or 0])
            return
        for field, value in expected.items():
            got: Any
            if field == "type":
                got = _TYPES.get(stat.S_IFMT(found.st_mode), "unknown")
            elif field == "mode":
                value, got = oct(value), oct(stat.S_IMODE(found.st_mode))
            elif field in ("atime", "mtime", "ctime"):
                got = getattr(found, f"st_{field}_ns")
            else:
                got = getattr(found, f"st_{field}")
            self.check(f"{field} of {what}", value, got)

    def born(self, path: str, by: Callable[[], object]) -> None:
        """Make ``path`` by ``by``; check that all its times are those of that moment."""
        start = time.clock_gettime_ns(_COARSE)
        tick()
        by()
        found = os.lstat(path)
        for letter, field in _TIMES.items():
            fresh = getattr(found, field) >= start
            self.check(f"{letter}time of the new {path!r}", "fresh", "fresh" if fresh else "old")

    @contextmanager
    def fd_moves(
        self, descriptor: int, what: str, letters: str, *, ignores: str = ""
    ) -> Iterator[None]:
        """Check which times of an open file move in a ``with``."""
        before = os.fstat(descriptor)
        tick()
        yield
        after = os.fstat(descriptor)
        for letter, field in _TIMES.items():
            if letter in ignores:
                continue
            moved = getattr(after, field) > getattr(before, field)
            same = getattr(after, field) == getattr(before, field)
            self.check(
                f"{what}: {letter}time",
                "moves" if letter in letters else "stays",
                "moves" if moved else "stays" if same else "goes back",
            )


def become(user: User) -> None:
    """Let this process act as ``user``."""
    os.seteuid(0)
    os.setgroups(user.groups)
    os.setegid(user.gid)
    os.seteuid(user.uid)


@contextmanager
def acting(user: User) -> Iterator[None]:
    """Act as ``user`` in a ``with``, else as root."""
    if user is ROOT:
        yield
        return
    become(user)
    try:
        yield
    finally:
        become(ROOT)


def tick() -> None:
    """Return once the coarsest clock that files are dated by is past this moment.

    A file that was looked at may be dated by the exact clock, which is ahead of the coarse one:
    that this one has gone on would not be enough.
    """
    start = time.time_ns()
    while time.clock_gettime_ns(_COARSE) <= start:
        time.sleep(0.0005)


def make(kind: str, path: str, *, mode: int | None = None, owner: User | None = None) -> None:
    """Make something of a kind that checks go through: a file, dir, fifo, socket, link…"""
    if kind == "file":
        with open(path, "xb"):
            pass
    elif kind == "dir":
        os.mkdir(path)
    elif kind == "link":
        os.symlink("nothing", path)
    else:
        CALLS["mknod"](path, kind, 0o644, os.makedev(1, 3) if kind in ("char", "block") else 0)
    if mode is not None and kind != "link":
        os.chmod(path, mode)
    if owner is not None:
        os.lchown(path, owner.uid, owner.gid)


def _written(call: str, args: Iterable[Any]) -> str:
    return f"{call}({', '.join(_short(arg) for arg in args)})"


def _short(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return oct(value) if 8 <= value <= 0o7777 else str(value)
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:28]}…{text[-12:]} ({len(value)})"
