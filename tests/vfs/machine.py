"""A mount, its programs, its store and its bad luck, held against the model step by step.

``World`` has one method for each thing that can happen. Arguments are small numbers: which path,
which descriptor, which flags; what they pick depends on what is there. So every sequence of steps
is possible, and what is left after steps are taken away still means something.

What a mount may do that a local disk does not is the table ``ALLOWED``, and nothing else is.

Everything runs in the calling thread and on a clock that stands still, so a sequence always has the
same end. What threads do to each other is tested elsewhere.
"""

from __future__ import annotations

import copy
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from cosfs import paths
from cosfs.config import CacheOptions, DataOptions, ViewOptions
from cosfs.errors import (
    AccessDenied,
    ConnectFailed,
    ConnectionLost,
    CosfsError,
    QuotaExceeded,
    ServerFault,
)
from cosfs.model import Metadata
from cosfs.store.faulty import FaultPlan, FaultyStore
from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
from cosfs.vfs.types import Attrs, Caller
from tests.fakeclock import FakeClock
from tests.vfs.kernel import Kernel, OpenFd, Processes
from tests.vfs.model import SECOND, Model, Node, Open, Refused

T = TypeVar("T")

UID, GID, UMASK = 7, 8, 0o022
#: Whom processes run as, by their place among those that run.
USERS = ((UID, GID), (UID, GID), (1000, 1001))

NAMES = ("a", "f", "a-", "ab")
#: How deep folders lie in each other.
DEPTH = 3

#: What a number of a path means: a name in some folder, a name that is there, or nonsense.
_IN_FOLDER, _THERE = range(16), range(16, 28)
_NONSENSE = ("/none/f", "/f/a", "/a/f/a/f/a")

HOW = (
    os.O_RDONLY,
    os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    os.O_RDWR,
    os.O_RDWR | os.O_CREAT,
    os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    os.O_WRONLY | os.O_APPEND,
    os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    os.O_RDWR | os.O_TRUNC,
    os.O_RDONLY | os.O_CREAT,
    os.O_RDONLY | os.O_TRUNC,
)

MODES = (0o644, 0o600, 0o755, 0o400)
XATTRS = ("user.biz_attr", "user.x-cos-meta-a", "user.any thing")

#: Where what a mount shows may differ from what a local disk would show.
ALLOWED = {
    "atime": "local to the mount, and moved only by programs that set it",
    "ctime": "local to the mount",
    "st_ino": "made from the path: another after a rename",
    "size of a folder": "none",
    "nlink of a folder": "counts the subfolders that were listed or made on this mount",
    "mtime of a folder": "moves with its names on this mount; another mount sees what was set",
    "mtime of a file": "whole seconds, and those of its last store or rename, after a remount",
    "a failed call": "with a lost answer it may be done or not, then shows which",
    "a failed rename of a folder": "may have moved some names: asking again moves the rest",
    "listdir": "the type of a name may be unknown where it would cost a request",
}

_TYPES = {
    "file": stat.S_IFREG,
    "folder": stat.S_IFDIR,
    "link": stat.S_IFLNK,
    "fifo": stat.S_IFIFO,
}

_CHANGES = (
    "write_file",
    "move_file",
    "delete_file",
    "make_folder",
    "delete_folder",
    "set_metadata",
    "mark_folder",
)
_LOOKS = ("stat_file", "stat_folder", "stat_mark", "list_page", "read_range")

#: Errors that a store may give before it has done anything, with what a program is told.
ERRORS: Sequence[tuple[type[CosfsError], int]] = (
    (ConnectFailed, errno.EHOSTDOWN),
    (ServerFault, errno.EIO),
    (AccessDenied, errno.EACCES),
    (QuotaExceeded, errno.EDQUOT),
)
#: The one that it may give after a change.
LOST = (ConnectionLost, errno.EIO)


@dataclass
class Trouble:
    """What goes wrong with requests of the next step: the ``nth`` of those in ``methods``.

    All from there on if it is ``lasting``; ``after`` the change was done, or before.
    """

    methods: tuple[str, ...]
    nth: int
    error: type[CosfsError]
    number: int
    after: bool = False
    lasting: bool = False
    seen: int = field(default=0, init=False)

    def hits(self, method: str) -> bool:
        if method not in self.methods:
            return False
        self.seen += 1
        return self.seen == self.nth or (self.lasting and self.seen > self.nth)


class Watched(FaultyStore):
    """The store as the mount sees it: it notes what was done, and fails as it is told."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner, FaultPlan())
        self.trouble: Trouble | None = None
        self.done: list[tuple[str, tuple[str, ...]]] = []
        self.hits: list[str] = []

    def close(self) -> None:
        """The store outlives its mounts."""

    def _run_with(self, method: str, call: Callable[[Any], T], *touched: str) -> T:
        trouble = self.trouble
        is_hit = trouble is not None and trouble.hits(method)
        if is_hit:
            self.hits.append(method)
        if is_hit and trouble is not None and not trouble.after:
            raise trouble.error(f"injected before {method}", path=touched[0])
        result = call([])
        if is_hit and trouble is not None:
            raise trouble.error(f"injected after {method}", path=touched[0])
        self.done.append((method, touched))
        return result


class Inline:
    """An executor whose tasks are done when ``submit`` returns."""

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        pass

    def submit(self, call: Callable[..., T], *args: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(call(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def map(self, call: Callable[..., T], *several: Any) -> Iterator[T]:
        return iter([call(*args) for args in zip(*several, strict=True)])

    def shutdown(self, **_kwargs: object) -> None:
        pass


class World:
    """See the module's text."""

    def __init__(self, *, ttl_s: float = 60.0, lag_s: float = 0.0, page_size: int = 1000) -> None:
        self._ttl_s, self._lag_s = ttl_s, lag_s
        self.clock = FakeClock(1_700_000_000.25)
        self.store = MemoryStore(clock=self.clock, page_size=page_size, listing_lag_s=lag_s)
        self._watched = Watched(self.store)
        self._processes = Processes()
        self._pids = [self._processes.start() for _ in USERS]
        self.model = Model(0o777 & ~UMASK, UID, GID)
        self._written = 0
        self._fds: dict[int, OpenFd] = {}
        self._next_fd = 0
        self._orphans_left = 0
        #: Files without a name or descriptor that will be given their names.
        self._nameless: list[Node] = []
        self._exits = ExitStack()
        self._folder = Path(tempfile.mkdtemp(prefix="cosfs-machine-"))
        self._exits.callback(shutil.rmtree, self._folder)
        self._exits.enter_context(self._processes.visible())
        self._exits.enter_context(
            mock.patch("cosfs.vfs.filesystem.ThreadPoolExecutor", Inline)
        )
        for module in ("blocks", "openfile"):
            self._exits.enter_context(mock.patch(f"cosfs.vfs.{module}.BLOCK_SIZE", 8))
        self._mount()

    def end(self) -> None:
        """Look at everything once more, unmount, and look again."""
        try:
            self._watched.trouble = None
            self.audit()
            self.remount(0)
            self.audit()
            self._stop()
        finally:
            self.drop()

    def drop(self) -> None:
        """Give everything back without looking."""
        self._exits.close()

    # -- what happens to names -----------------------------------------------------------------

    def mkdir(self, path: int, mode: int, who: int) -> None:
        at, caller = self._path(path), self._caller(who)
        node = self._new("folder", MODES[mode], caller)
        self._both(
            lambda: self.kernel.mkdir(at, MODES[mode], caller),
            lambda: self._make(at, node),
            at,
        )

    def _make(self, path: str, node: Node) -> None:
        self.model.make(path, node, self._now())

    def rmdir(self, path: int) -> None:
        at = self._path(path)
        self._both(
            lambda: self.kernel.rmdir(at), lambda: self.model.rmdir(at, self._now()), at
        )

    def unlink(self, path: int) -> None:
        at = self._path(path)
        self._both(
            lambda: self.kernel.unlink(at), lambda: self.model.unlink(at, self._now()), at
        )

    def symlink(self, path: int, who: int) -> None:
        at, caller = self._path(path), self._caller(who)
        node = self._new("link", 0o777, caller)
        node.data = self._text(12)
        node.stored = [node.data]
        self._both(
            lambda: self.kernel.symlink(at, node.data.decode(), caller),
            lambda: self._make(at, node),
            at,
        )

    def mknod(self, path: int, mode: int, who: int) -> None:
        at, caller = self._path(path), self._caller(who)
        node = self._new("fifo", MODES[mode], caller)
        node.stored = [b""]
        self._both(
            lambda: self.kernel.mknod(at, stat.S_IFIFO | MODES[mode], caller),
            lambda: self._make(at, node),
            at,
        )

    def rename(self, path: int, to: int) -> None:
        old, new = self._path(path), self._path(to)
        now = self._now()

        def rename() -> None:
            self.model.rename(old, new, now)
            for node in self.model.all(new).values() if old != new else ():
                # A time that is old is kept by setting it; a young one may move with the name.
                # That of content which is not stored is told by its store.
                if node.is_folder or node.mtime_is_set or node.dirty:
                    continue
                if node.mtimes and now - max(node.mtimes) > 2 * SECOND:
                    node.mtime_is_set, node.later = True, set()
                else:
                    node.later.add(now // SECOND * SECOND)

        self._both(lambda: self.kernel.rename(old, new), rename, old, new)

    # -- what happens to attributes ------------------------------------------------------------

    def chmod(self, path: int, mode: int) -> None:
        at = self._path(path, or_root=True)

        def chmod() -> None:
            node = self.model.get(at)
            if node.kind == "link":
                raise Refused(errno.EOPNOTSUPP)
            node.mode = MODES[mode]

        if self._kind(at) != "link":
            self._both(lambda: self.kernel.chmod(at, MODES[mode]), chmod, at)

    def chown(self, path: int, uid: int, gid: int) -> None:
        at = self._path(path, or_root=True)
        new_uid, new_gid = (None, UID, 1000)[uid], (None, GID, 1001)[gid]

        def chown() -> None:
            node = self.model.get(at)
            node.uid = node.uid if new_uid is None else new_uid
            node.gid = node.gid if new_gid is None else new_gid

        self._both(lambda: self.kernel.chown(at, new_uid, new_gid), chown, at)

    def utimens(self, path: int, when: int) -> None:
        at = self._path(path, or_root=True)
        mtime = (None, 1_234_567_890_123_456_789, self._now(), -1)[when]

        def utimens() -> None:
            node = self.model.get(at)
            if mtime is not None:
                node.mtimes, node.mtime_is_set, node.later = {mtime}, True, {mtime}

        self._both(lambda: self.kernel.utimens(at, None, mtime), utimens, at)

    def setxattr(self, path: int, name: int, flag: int) -> None:
        at, key, value = self._path(path), XATTRS[name], self._text(4)
        create, must = flag == 1, flag == 2

        def setxattr() -> None:
            node = self.model.get(at)
            if create and key in node.xattrs:
                raise Refused(errno.EEXIST)
            if must and key not in node.xattrs:
                raise Refused(errno.ENODATA)
            node.xattrs[key] = value

        if self._can_have_xattrs(at, key):
            self._both(
                lambda: self.kernel.setxattr(at, key, value, create, must), setxattr, at
            )

    def removexattr(self, path: int, name: int) -> None:
        at, key = self._path(path), XATTRS[name]

        def removexattr() -> None:
            if self.model.get(at).xattrs.pop(key, None) is None:
                raise Refused(errno.ENODATA)

        if self._can_have_xattrs(at, key):
            self._both(lambda: self.kernel.removexattr(at, key), removexattr, at)

    # -- what is looked at ---------------------------------------------------------------------

    def stat(self, path: int) -> None:
        self._stat(self._path(path, or_root=True))

    def listdir(self, path: int) -> None:
        self._listdir(self._path(path, or_root=True))

    def readlink(self, path: int) -> None:
        at = self._path(path)

        def readlink() -> str:
            node = self.model.get(at)
            if node.kind != "link":
                raise Refused(errno.EINVAL)
            return node.data.decode()

        self._both(lambda: self.kernel.readlink(at), readlink, at)

    def getxattrs(self, path: int) -> None:
        self._getxattrs(self._path(path))

    def read_file(self, path: int) -> None:
        self._read_file(self._path(path))

    def audit(self) -> None:
        """Look at everything."""
        for path, node in self.model.all().items():
            self._stat(path)
            self._getxattrs(path)
            if node.is_folder:
                self._listdir(path)
            elif node.kind == "file":
                self._read_file(path)

    # -- what happens to open files ------------------------------------------------------------

    def open(self, path: int, how: int, mode: int, who: int) -> None:
        at, caller, flags = self._path(path), self._caller(who), HOW[how]
        node = self._new("file", MODES[mode], caller)
        node.dirty, node.stored = True, [None, b""]
        node.exclusive = bool(flags & os.O_EXCL)
        self._next_fd += 1
        number = self._next_fd

        def of_model() -> None:
            opener = self._processes.thread_group(caller.pid)
            opened = self.model.open(at, flags, node, opener, self._now())
            self.model.opens[number] = opened

        def of_kernel() -> None:
            self._fds[number] = self.kernel.open(at, flags, MODES[mode], caller)

        self._both(of_kernel, of_model, at)
        if number not in self._fds and number in self.model.opens:
            # Made, but the program was told an error.
            self.model.opens.pop(number).node.opens -= 1

    def read(self, fd: int, offset: int, size: int) -> None:
        picked = self._fd(fd, lambda opened: opened.readable)
        if picked is None:
            return
        opened, at = picked
        wanted = opened.node.data[offset : offset + size]
        got = self._both(
            lambda: self.kernel.read(at, offset, size), lambda: wanted, at.node.path
        )
        assert got in (None, wanted)

    def write(self, fd: int, offset: int, size: int) -> None:
        picked = self._fd(fd, lambda opened: opened.writable)
        if picked is None or not size:
            return
        opened, at = picked
        data, now = self._text(size), self._now()
        self._both(
            lambda: self.kernel.write(at, offset, data),
            lambda: self.model.write(opened, offset, data, now) or len(data),
            at.node.path,
        )

    def ftruncate(self, fd: int, length: int) -> None:
        picked = self._fd(fd, lambda opened: opened.writable)
        if picked is None:
            return
        opened, at = picked
        now = self._now()

        def ftruncate() -> None:
            self.model.truncate(opened.node, length, now)
            opened.wrote = True

        self._both(lambda: self.kernel.ftruncate(at, length), ftruncate, at.node.path)

    def fstat(self, fd: int, by_handle: int) -> None:
        picked = self._fd(fd, lambda _opened: True)
        if picked is None or (self._is_misnamed(*picked) and not by_handle):
            return
        opened, at = picked
        attrs = self._both(
            lambda: self.kernel.fstat(at, by_handle=bool(by_handle)),
            lambda: None,
            at.node.path,
        )
        if attrs is not None:
            self._compare(at.node.path, attrs, [opened.node])

    def fchmod(self, fd: int, mode: int) -> None:
        self._fchange(fd, lambda fs, path: fs.chmod(path, stat.S_IFREG | MODES[mode]), "mode", mode)

    def futimens(self, fd: int, when: int) -> None:
        mtime = (None, 1_234_567_890_123_456_789, self._now(), -1)[when]
        self._fchange(fd, lambda fs, path: fs.utimens(path, None, mtime), "mtime", mtime)

    def fsetxattr(self, fd: int, name: int) -> None:
        key, value = XATTRS[name], self._text(4)

        def change(fs: FileSystem, path: str) -> None:
            fs.setxattr(path, key, value, create=False, replace=False)

        self._fchange(fd, change, "xattr", (key, value))

    def _fchange(
        self, fd: int, change: Callable[[FileSystem, str], None], what: str, value: Any
    ) -> None:
        picked = self._fd(fd, lambda _opened: True)
        if picked is None or picked[1].node.lost or self._is_misnamed(*picked):
            return
        opened, at = picked

        def of_model() -> None:
            node = opened.node
            if what == "mode":
                node.mode = MODES[value]
            elif what == "xattr":
                node.xattrs[value[0]] = value[1]
            elif value is not None:
                node.mtimes, node.mtime_is_set, node.later = {value}, True, {value}

        self._both(
            lambda: self.kernel.fchange(at, lambda path: change(self.fs, path)),
            of_model,
            at.node.path,
        )

    def truncate(self, path: int, length: int, who: int) -> None:
        at, caller, now = self._path(path), self._caller(who), self._now()
        node = self.model.find(at)
        with self._step() as step:
            try:
                target = self.model.get(at)
                if target.kind != "file":
                    raise Refused(errno.EISDIR if target.is_folder else errno.EINVAL)
                expected = 0
            except Refused as refused:
                expected = refused.number
            number, _ = self._call(lambda: self.kernel.truncate(at, length, caller))
            if expected or node is None:
                assert number == expected or step.is_excused(number), (number, expected)
                return
            if number:
                assert step.is_excused(number), errno.errorcode[number]
                self._truncate_failed(at, node, length, now)
                return
            self.model.truncate(node, length, now)
            if not any(opened.wrote for opened in self._opens_of(node)):
                self._is_stored(node)

    def fsync(self, fd: int) -> None:
        picked = self._fd(fd, lambda _opened: True)
        if picked is None:
            return
        opened, at = picked
        with self._step() as step:
            number, _ = self._call(lambda: self.kernel.fsync(at))
            if number:
                is_won = number == errno.EEXIST and self._is_won(at.node.path, opened.node)
                assert is_won or step.is_excused(number), errno.errorcode[number]
                opened.node.failed = opened.node.failed or opened.node.dirty
            elif not opened.node.removed:
                self._is_stored(opened.node)
                self._check_attributes(at.node.path, opened.node)

    def dup(self, fd: int, who: int) -> None:
        picked = self._fd(fd, lambda _opened: True)
        if picked is not None:
            picked[0].holders.append(self._pids[who])

    def close(self, fd: int, holder: int, thread: int) -> None:
        picked = self._fd(fd, lambda _opened: True)
        if picked is not None:
            holders = picked[0].holders
            self._close(*picked, holders[holder % len(holders)], thread)

    def write_after_close(self, fd: int, offset: int, size: int) -> None:
        """Close all descriptors of a description of which a page is mapped, and change the page."""
        picked = self._fd(fd, lambda opened: opened.writable and opened.readable)
        if picked is None:
            return
        opened, at = picked
        size = min(size, len(opened.node.data) - offset)
        if size <= 0:
            return
        for holder in list(opened.holders):
            self._flush(opened, at, holder, 0)
        data, now = self._text(size), self._now()
        opened.append = at.append = False
        self.model.write(opened, offset, data, now)
        self.kernel.write(at, offset, data)
        self._release(opened, at)

    def write_file(self, path: int, size: int, who: int) -> None:
        """``>``: create or empty a file, write, close."""
        self.open(path, 1, 0, who)
        if self._next_fd in self._fds:
            opened, at = self.model.opens[self._next_fd], self._fds[self._next_fd]
            if size:
                data, now = self._text(size), self._now()
                self.kernel.write(at, 0, data)
                self.model.write(opened, 0, data, now)
            self._close(opened, at, opened.opener, 0)

    def exit(self, who: int) -> None:
        """End a process: its descriptors are closed; another takes its place."""
        pid = self._pids[who]
        for number in sorted(self._fds):
            opened, at = self.model.opens[number], self._fds[number]
            while pid in opened.holders:
                self._close(opened, at, pid, 0)
        self._processes.end(pid)
        self._pids[who] = self._processes.start()

    # -- what happens to the mount -------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        # Some program always looks at something.
        self._stat(paths.ROOT)

    def send(self) -> None:
        """Let the keeper of attributes do what its thread would do now."""
        with self._step():
            keeper = self.fs._keeper
            failures = keeper._send_several(keeper._due())
            assert self._watched.hits or not failures
            if failures:
                keeper._not_before = self.clock.monotonic() + 5

    def trouble(self, changes: int, nth: int, error: int, lasting: int) -> None:
        """Let requests of the next step fail before anything is done."""
        kind, number = ERRORS[error]
        methods = _CHANGES if changes else _LOOKS
        self._watched.trouble = Trouble(methods, nth, kind, number, lasting=bool(lasting))

    def lose_answer(self, nth: int) -> None:
        """Let the answer of a change of the next step be lost.

        While listings lag there is no way to tell at once what is so then.
        """
        if self._lag_s:
            return
        kind, number = LOST
        self._watched.trouble = Trouble(_CHANGES, nth, kind, number, after=True)

    def remount(self, offline: int) -> None:
        """Unmount and mount again; ``offline``: the store cannot be changed meanwhile."""
        kind, number = ERRORS[0]
        self._watched.trouble = (
            Trouble(_CHANGES, 1, kind, number, lasting=True) if offline else None
        )
        self._stop()
        self._watched.trouble = None
        self.clock.advance(self._lag_s)
        self._mount()

    def kill(self) -> None:
        """Kill the mount: what is not stored is lost, but no attribute of what is stored."""
        self._watched.trouble = None
        self.fs._journal.close()
        for descriptor in list(self.fs._files._descriptors._open.values()):
            descriptor.file.close()
        self._orphans_left += len(self._removed())
        # One that lost its name a moment ago may have been about to be replaced.
        self._nameless += [
            node
            for node in self._removed()
            if node.misplaced or self._now() - node.removed_at < SECOND // 2
        ]
        self._drop_opens()
        for path, node in self.model.all().items():
            if not node.is_folder:
                self._revert(path, node)
        self.clock.advance(self._lag_s)
        self._mount()
        # Names that are given back at the start are listed later, too.
        self.clock.advance(self._lag_s)

    # -- inside: steps -------------------------------------------------------------------------

    def _mount(self) -> None:
        self.fs = FileSystem(
            self._watched,
            clock=self.clock,
            cache=CacheOptions(ttl_s=self._ttl_s),
            view=ViewOptions(uid=UID, gid=GID, umask=UMASK),
            data=DataOptions(parallel=1, memory_bytes=256),
            spool_dir=self._folder,
            journal_file=self._folder / "journal.sqlite",
        )
        # The keeper's thread would send at any moment; ``send`` is that moment.
        with mock.patch.object(self.fs._keeper, "start"):
            self.fs.start()
        self.kernel = Kernel(self.fs, self.clock)
        self._find_again()
        self._nameless.clear()
        self._orphans_left = 0
        for node in self.model.all().values():
            if node.is_folder:
                node.mtimes = set(node.later) if node.mtime_is_set else set()
            elif node.mtimes:
                node.mtimes |= node.later
            node.later = set(node.mtimes) if node.mtime_is_set else set()

    def _stop(self) -> None:
        offline = self._watched.trouble is not None
        with self._step():
            before = self.model.all()
            left = self.fs.stop()
            self._note_stores(before)
            self._find_again()
            self._orphans_left += len(self._removed())
            self._nameless += [node for node in self._removed() if node.misplaced]
            for path, node in self.model.all().items():
                if node.dirty:
                    assert offline or self._is_won(path, node), f"{path}: not stored"
                    self._give_up(path, node)
            assert offline or len(left) == len(self.model.pending), left
            self._check_pending()
        for path, node in self.model.all().items():
            if not node.is_folder:
                self._revert(path, node)
            if not offline:
                self._check_attributes(path, node)
        self._drop_opens()

    def _drop_opens(self) -> None:
        self.model.opens.clear()
        self._fds.clear()
        for node in self.model.all().values():
            node.opens, node.failed = 0, False

    def _written_paths(self) -> set[str]:
        return {touched[0] for method, touched in self._watched.done if method == "write_file"}

    @contextmanager
    def _step(self) -> Iterator[Step]:
        """Do one thing; then the store holds what it must and the trouble is over."""
        before = self.model.all()
        self._watched.done.clear()
        self._watched.hits.clear()
        try:
            yield Step(self)
        finally:
            self._watched.trouble = None
        self._note_stores(before)
        self._check_store()
        self._check_pending()

    def _note_stores(self, before: dict[str, Node]) -> None:
        """Believe what was seen to be stored; ``before``: what was where when the step began."""
        now = {node: path for path, node in self.model.all().items()}
        for path in self._written_paths():
            for node in {before.get(path), self.model.find(path)} - {None}:
                assert node is not None
                if node.kind == "file":
                    self.model.supersede(path)
                    self.model.supersede(now.get(node, path))
                if node not in now or self._held(now[node]) != node.data:
                    continue
                node.stored = [node.data]
                node.dirty = node.failed = node.exclusive = False
                if not node.mtime_is_set:
                    node.later.add(self._now() // SECOND * SECOND)
                for opened in self._opens_of(node):
                    opened.wrote = False

    def _removed(self) -> set[Node]:
        """Return the files that have lost their names and are open."""
        return {opened.node for opened in self.model.opens.values() if opened.node.removed}

    def _held(self, path: str) -> bytes | None:
        """Return the content that the store has at a path."""
        return self.store.files().get(path)

    def _check_pending(self) -> None:
        """What could not be stored is kept, whole but for what the store still has."""
        kept = []
        for one in self.fs._files.pending.all():
            data = bytearray(one.data.read_bytes())
            for start, end in one.missing:
                data[start:end] = b"?" * (end - start)
            kept.append((one.path, bytes(data)))
        wanted = sorted(kept[:2] for kept in self.model.pending)
        assert len(kept) == len(wanted), (kept, wanted)
        for (path, data), (wanted_path, wanted_data) in zip(sorted(kept), wanted, strict=True):
            assert path == wanted_path and len(data) == len(wanted_data), (kept, wanted)
            same = [x in (y, ord("?")) for x, y in zip(data, wanted_data, strict=True)]
            assert all(same), (kept, wanted)

    def _call(self, call: Callable[[], T]) -> tuple[int, T | None]:
        try:
            return 0, call()
        except OSError as error:
            assert error.errno is not None
            return error.errno, None

    def _both(
        self, of_kernel: Callable[[], T], of_model: Callable[[], object], *touched: str
    ) -> T | None:
        """Make a call of the kernel and of the model; both must end in the same way."""
        with self._step() as step:
            before = copy.deepcopy(self.model) if self._watched.trouble is not None else None
            expected, wanted = 0, None
            try:
                wanted = of_model()
            except Refused as refused:
                expected = refused.number
            number, got = self._call(of_kernel)
            if number == expected:
                assert number or wanted is None or got == wanted, (got, wanted)
                return got
            assert step.is_excused(number), (
                f"{errno.errorcode.get(number)} instead of {errno.errorcode.get(expected)}"
            )
            assert before is not None
            if not expected:
                self._choose(before, touched)
            for path in touched:
                node = self.model.find(path)
                if node is not None and node.dirty and not node.failed:
                    # Its content may have been tried to be stored first.
                    node.failed = None
            return None

    def _choose(self, before: Model, touched: tuple[str, ...]) -> None:
        """A call failed: find out whether it has changed anything, and let all agree on that."""
        candidates = [before, self.model]
        if len(touched) == 2:
            candidates.append(self._without_target(before, touched[1]))
            candidates.append(self._half_renamed(before, *touched))
        problems = []
        for model in candidates:
            self.model = model
            trouble, self._watched.trouble = self._watched.trouble, None
            hits = list(self._watched.hits)
            try:
                self._check_store()
                for path in touched:
                    # An open target may have gone and come back.
                    parent = self.model.find(paths.parent(path))
                    if parent is not None and path != paths.ROOT:
                        parent.mtimes = set()
                    if model is not before:
                        self._adopt_attributes(path)
                    self._look(path)
                self._close_misnamed()
                return
            except AssertionError as error:
                problems.append(str(error))
            finally:
                self._watched.trouble = trouble
                self._watched.hits[:] = hits
        raise AssertionError(f"neither undone nor done: {problems}")

    def _without_target(self, model: Model, path: str) -> Model:
        """Return how things are when the target of a rename was hidden and could not come back."""
        model = copy.deepcopy(model)
        node = model.find(path)
        if node is not None and node.opens:
            model.set(path, None)
            node.removed, node.name, node.misplaced = True, path, True
        return model

    def _half_renamed(self, model: Model, old: str, new: str) -> Model:
        """Return how things are when some of what is in a folder was moved, as the store says."""
        model = copy.deepcopy(model)
        folders = self.store.folders()
        for path, node in model.all(old).items():
            target = paths.moved(path, old, new)
            if node.is_folder and target in folders and not model.find(target):
                model.set(target, Node("folder", node.mode, node.uid, node.gid, set()))
            elif not node.is_folder and self._held(path) is None is not self._held(target):
                model.set(path, None)
                model.set(target, node)
                model.rename_pending(path, target)
        for path, node in reversed(model.all(old).items()):
            if node.is_folder and not node.children and path not in folders:
                model.set(path, None)
        return model

    def _close_misnamed(self) -> None:
        """Close files of which libfuse does not know that they were moved."""
        for number, at in list(self._fds.items()):
            opened = self.model.opens[number]
            if not at.node.hidden and self._place(opened.node) != at.node.path:
                self._release(opened, at)

    def _find_again(self) -> None:
        """Files that have no name for a while have it back if the store says so."""
        nameless = [node for node in self._nameless if node.removed]
        nameless += [node for node in self._removed() if node.misplaced]
        for node in nameless:
            held = self._held(node.name)
            if held is not None and held in node.stored and not self.model.find(node.name):
                self.model.set(node.name, node)
                node.removed, node.misplaced, node.data = False, False, held
                node.dirty, node.failed, node.stored = False, False, [held]
                self._adopt_attributes(node.name, from_store=True)

    def _adopt_attributes(self, path: str, *, from_store: bool = False) -> None:
        """What was done though the answer was lost has content and names, but who knows when."""
        for at, node in self.model.all(path).items():
            node.mtimes, node.later, node.mtime_is_set = set(), set(), False
            if from_store:
                node.mode, node.uid, node.gid, *_ = self._stored_attributes(at, node)
                continue
            number, attrs = self._call(lambda: self.kernel.stat(at))  # noqa: B023 - at once
            assert attrs is not None, (at, number)
            node.mode, node.uid, node.gid = stat.S_IMODE(attrs.mode), attrs.uid, attrs.gid
            if node.is_folder:
                node.xattrs = self._xattrs_of(at)

    def _look(self, path: str) -> None:
        node = self.model.find(path)
        for number, at in self._fds.items():
            if at.node.path == path and at.node.hidden:
                attrs = self.kernel.fstat(at, by_handle=False)
                self._compare(path, attrs, [self.model.opens[number].node])
                return
        self._compare_stat(path)
        if node is not None:
            self._compare_xattrs(path)

    # -- inside: comparing ---------------------------------------------------------------------

    def _stat(self, path: str) -> None:
        with self._step() as step:
            self._compare_stat(path, step)

    def _compare_stat(self, path: str, step: Step | None = None) -> None:
        number, attrs = self._call(lambda: self.kernel.stat(path))
        if step is not None and step.is_excused(number):
            return
        try:
            node = self.model.get(path)
        except Refused as refused:
            assert number == refused.number, (path, number, refused)
            return
        assert attrs is not None, (path, errno.errorcode[number])
        self._compare(path, attrs, [node])

    def _compare(self, path: str, attrs: Attrs, nodes: list[Node]) -> None:
        problems = [self._difference(attrs, node) for node in nodes]
        assert "" in problems, f"{path}: {problems}"
        node = nodes[problems.index("")]
        if node.mtimes or node.is_folder:
            node.mtimes = {attrs.mtime_ns}

    @staticmethod
    def _difference(attrs: Attrs, node: Node) -> str:
        """Say in what ``attrs`` differ from what is allowed. See ``ALLOWED``."""
        shown = {
            "type": stat.S_IFMT(attrs.mode),
            "mode": oct(stat.S_IMODE(attrs.mode)),
            "uid": attrs.uid,
            "gid": attrs.gid,
            "nlink": attrs.nlink,
        }
        # Subfolders count that were listed or made here: not all after a remount.
        most = 2 + sum(child.is_folder for child in node.children.values())
        wanted = {
            "type": _TYPES[node.kind],
            "mode": oct(node.mode),
            "uid": node.uid,
            "gid": node.gid,
            "nlink": max(2, min(attrs.nlink, most)) if node.is_folder else 1 - node.removed,
        }
        if not node.is_folder:
            shown["size"], wanted["size"] = attrs.size, len(node.data)
        if node.mtimes and attrs.mtime_ns not in node.mtimes:
            shown["mtime"], wanted["mtime"] = attrs.mtime_ns, str(node.mtimes)
        return ", ".join(
            f"{key} {shown[key]} instead of {wanted[key]}"
            for key in shown
            if shown[key] != wanted[key]
        )

    def _listdir(self, path: str) -> None:
        def listdir() -> dict[str, int]:
            node = self.model.get(path)
            if not node.is_folder:
                raise Refused(errno.ENOTDIR)
            return {name: _TYPES[child.kind] for name, child in node.children.items()}

        def listed() -> dict[str, int]:
            shown = self.kernel.listdir(path)
            # A type that would cost a request is not told.
            node = self.model.find(path)
            assert node is not None
            for name in [name for name, bits in shown.items() if not bits]:
                if name in node.children and not node.children[name].is_folder:
                    shown[name] = _TYPES[node.children[name].kind]
            return shown

        self._both(listed, listdir, path)

    def _getxattrs(self, path: str) -> None:
        with self._step() as step:
            self._compare_xattrs(path, step)

    def _compare_xattrs(self, path: str, step: Step | None = None) -> None:
        number, xattrs = self._call(lambda: self._xattrs_of(path))
        if step is not None and step.is_excused(number):
            return
        try:
            node = self.model.get(path)
        except Refused as refused:
            assert number == refused.number
            return
        assert xattrs == node.xattrs, (path, number, xattrs, node.xattrs)

    def _xattrs_of(self, path: str) -> dict[str, bytes]:
        names = self.kernel.listxattr(path)
        return {
            name: self.kernel.getxattr(path, name)
            for name in names
            if not name.startswith("user.cos.")
        }

    def _read_file(self, path: str) -> None:
        node = self.model.find(path)
        if node is None or node.kind != "file":
            return
        with self._step() as step:
            number, data = self._call(lambda: self._read_whole(path))
            assert data == node.data or step.is_excused(number), (path, number, data, node.data)

    def _read_whole(self, path: str) -> bytes:
        fd = self.kernel.open(path, os.O_RDONLY, 0, self._caller(0))
        try:
            size = self.kernel.fstat(fd, by_handle=True).size
            return self.kernel.read(fd, 0, size + 1)
        finally:
            self.kernel.flush(fd, self._caller(0))
            self.kernel.release(fd)

    def _check_store(self) -> None:
        """The store holds what it must, and nothing that no program wrote."""
        raw = self.store.files()
        for path, node in self.model.all().items():
            held = raw.pop(path, None)
            if node.is_folder:
                assert held is None, f"{path}: a file and a folder"
                continue
            assert held in node.stored, f"{path}: {held!r} is stored instead of {node.stored}"
            last = len(node.stored) - 1 - node.stored[::-1].index(held)
            del node.stored[:last]
        orphans = {path for path in raw if path.startswith("/.cosfs-work/")}
        assert len(orphans) <= len(self._removed()) + self._orphans_left, orphans
        left = sorted(raw.keys() - orphans)
        assert not left, f"{left}: stored, though no program has such files"
        folders = {path for path, node in self.model.all().items() if node.is_folder}
        stored = {paths.ROOT, *self.store.folders()}
        assert folders == stored, f"folders: {sorted(stored)} instead of {sorted(folders)}"

    def _stored_attributes(
        self, path: str, node: Node
    ) -> tuple[int, int, int, dict[str, bytes], int | None]:
        """Return mode, owner, group, attributes and time of change as the store holds them."""
        with self.store.unseen():
            if node.is_folder:
                held = self.store.marks().get(path, Metadata())
                own = self.store.stat_folder(path).metadata or Metadata()
                properties = {**held.properties, **own.properties}
            else:
                held = self.store.stat_file(path).metadata or Metadata()
                properties = dict(held.properties)
        given, default = held.attributes, (0o777 if node.is_folder else 0o666) & ~UMASK
        return (
            default if given.mode is None else stat.S_IMODE(given.mode),
            UID if given.uid is None else given.uid,
            GID if given.gid is None else given.gid,
            {f"user.{name}": value for name, value in properties.items()},
            given.mtime_ns,
        )

    def _check_attributes(self, path: str, node: Node) -> None:
        """The store holds what programs have set beside the content."""
        *held, mtime = self._stored_attributes(path, node)
        assert held == [node.mode, node.uid, node.gid, node.xattrs], path
        if node.mtime_is_set:
            wanted = node.later if node.is_folder else node.mtimes
            assert mtime in wanted, f"{path}: {mtime} instead of {wanted}"

    # -- inside: open files --------------------------------------------------------------------

    def _close(self, opened: Open, at: OpenFd, pid: int, thread: int) -> None:
        self._flush(opened, at, pid, thread)
        if not opened.holders:
            self._release(opened, at)

    def _flush(self, opened: Open, at: OpenFd, pid: int, thread: int) -> None:
        """A process closes one descriptor."""
        node = opened.node
        uid, gid = USERS[self._pids.index(pid)] if pid in self._pids else (0, 0)
        is_openers = pid == opened.opener or not self._processes.is_alive(opened.opener)
        with self._step() as step:
            must_store = opened.wrote and is_openers and not node.removed
            may_fail = opened.wrote and node.failed is not False
            must_fail = may_fail and node.failed and not node.removed
            number, _ = self._call(
                lambda: self.kernel.flush(at, Caller(uid, gid, pid + thread))
            )
            opened.holders.remove(pid)
            if number:
                is_won = number == errno.EEXIST and self._is_won(self._place(node), node)
                assert is_won or may_fail or step.is_excused(number), errno.errorcode[number]
                node.failed = True
            else:
                assert not must_fail, "the failure was told once only"
                if must_store:
                    self._is_stored(node)

    def _release(self, opened: Open, at: OpenFd) -> None:
        node = opened.node
        is_last = node.opens == 1
        with self._step():
            self.kernel.release(at)
            node.opens -= 1
            for number in [n for n, other in self._fds.items() if other is at]:
                del self._fds[number], self.model.opens[number]
            hit, wrote = bool(self._watched.hits), self._written_paths()
            if node.removed:
                if node.misplaced and is_last:
                    self._nameless.append(node)
                    self._find_again()
                self._orphans_left += is_last and (hit or node.misplaced)
                return
            path = self._place(node) or at.node.path
            if hit and path not in wrote:
                node.failed = True
            if node.failed is None and (opened.wrote or is_last):
                node.failed = node.dirty and path not in wrote
            if is_last and node.dirty and self._is_won(path, node) and path not in wrote:
                node.failed = True
            if not node.failed and (opened.wrote or is_last):
                self._is_stored(node)
            elif node.failed and is_last:
                self._give_up(path, node)
                self._revert(path, node)

    def _is_stored(self, node: Node) -> None:
        """From now the store must hold the content as it is."""
        node.stored = [node.data]
        node.dirty = node.failed = node.exclusive = False
        for opened in self._opens_of(node):
            opened.wrote = False

    def _give_up(self, path: str, node: Node) -> None:
        """The content could not be stored: it is kept."""
        is_conflict = any(
            kept.is_conflict for kept in self.fs._files.pending.all() if kept.path == path
        )
        self.model.pending.append((path, node.data, is_conflict))

    def _revert(self, path: str, node: Node) -> None:
        """The content is given up: what the store holds is true."""
        held = self._held(path)
        assert held in node.stored, f"{path}: {held!r} is stored instead of {node.stored}"
        if held is None:
            self.model.set(path, None)
            return
        if node.dirty:
            node.data, node.dirty, node.failed = held, False, False
            node.mtimes, node.later, node.mtime_is_set = set(), set(), False
        node.stored = [held]

    def _truncate_failed(self, path: str, node: Node, length: int, now: int) -> None:
        """The file is as it was, or its new length waits for the last close."""
        raw = self._held(path)
        shorter = node.data[:length].ljust(length, b"\0")
        if raw == shorter and raw not in node.stored:
            node.stored.append(shorter)
        if not node.opens:
            assert raw in (node.data, shorter), (raw, node.data, shorter)
            node.data, node.stored = raw, [raw]
            if self._watched.trouble is not None and self._watched.trouble.after:
                node.mtimes, node.later, node.mtime_is_set = set(), set(), False
            return
        self._watched.trouble = None
        if self.fs._files.is_dirty_at(path) or path in self._written_paths():
            self.model.truncate(node, length, now)
            node.failed = None

    def _place(self, node: Node) -> str:
        """Return where a node is, "" if nowhere."""
        return next((path for path, other in self.model.all().items() if other is node), "")

    def _is_won(self, path: str, node: Node) -> bool:
        """Tell whether O_EXCL is refused because an attempt that had no answer has won."""
        return node.exclusive and self._held(path) is not None

    def _opens_of(self, node: Node) -> list[Open]:
        return [opened for opened in self.model.opens.values() if opened.node is node]

    @staticmethod
    def _is_misnamed(opened: Open, at: OpenFd) -> bool:
        """Tell whether libfuse has hidden a file for a rename that failed: it knows no way back."""
        return at.node.hidden and not opened.node.removed

    def _fd(self, pick: int, fits: Callable[[Open], bool]) -> tuple[Open, OpenFd] | None:
        numbers = [number for number in sorted(self._fds) if fits(self.model.opens[number])]
        if not numbers:
            return None
        number = numbers[pick % len(numbers)]
        return self.model.opens[number], self._fds[number]

    # -- inside: picking -----------------------------------------------------------------------

    def _path(self, pick: int, *, or_root: bool = False) -> str:
        """Return the path that a number means now: see ``_IN_FOLDER``."""
        everything = self.model.all()
        if pick in _IN_FOLDER:
            folders = [
                path
                for path, node in everything.items()
                if node.is_folder and len(paths.parts(path)) < DEPTH
            ]
            place, name = divmod(pick, len(NAMES))
            return paths.join(folders[place % len(folders)], NAMES[name])
        there = sorted(everything)[0 if or_root else 1 :]
        if pick in _THERE and there:
            return there[(pick - _THERE.start) % len(there)]
        return _NONSENSE[pick % len(_NONSENSE)]

    def _caller(self, who: int) -> Caller:
        uid, gid = USERS[who]
        return Caller(uid, gid, self._pids[who])

    def _now(self) -> int:
        return self.clock.wall_ns()

    def _text(self, size: int) -> bytes:
        """Return bytes that nobody has written before."""
        self._written += 1
        return (b"%x." % self._written * size)[:size]

    def _new(self, kind: Any, mode: int, caller: Caller) -> Node:
        stored: list[bytes | None] = [None]
        return Node(kind, mode, caller.uid, caller.gid, {self._now()}, stored=stored)

    def _kind(self, path: str) -> str:
        node = self.model.find(path)
        return "" if node is None else node.kind

    def _can_have_xattrs(self, path: str, key: str) -> bool:
        # ``user.`` is for files and folders (the kernel's rule); the root has no biz_attr.
        return self._kind(path) not in ("link", "fifo")


_SIZES = (0, 1, 3, 8, 9, 20)
_WHO = range(len(USERS))
_FEW = range(4)
#: Numbers of paths: for making names, for what needs one, and for both.
_NEW = range(_THERE.start + 2)
_OLD = range(_IN_FOLDER.stop - 4, _THERE.stop + len(_NONSENSE))
_ANY = range(_THERE.stop)

#: Each thing that can happen, how often beside the others, and what its arguments may be.
RULES: Mapping[str, tuple[int, Mapping[str, Sequence[Any]]]] = {
    "mkdir": (6, {"path": _NEW, "mode": _FEW, "who": _WHO}),
    "rmdir": (2, {"path": _OLD}),
    "unlink": (4, {"path": _OLD}),
    "symlink": (1, {"path": _NEW, "who": _WHO}),
    "mknod": (1, {"path": _NEW, "mode": _FEW, "who": _WHO}),
    "rename": (7, {"path": _OLD, "to": _ANY}),
    "chmod": (4, {"path": _OLD, "mode": _FEW}),
    "chown": (2, {"path": _OLD, "uid": range(3), "gid": range(3)}),
    "utimens": (3, {"path": _OLD, "when": _FEW}),
    "setxattr": (4, {"path": _OLD, "name": range(3), "flag": range(3)}),
    "removexattr": (1, {"path": _OLD, "name": range(3)}),
    "stat": (4, {"path": _ANY}),
    "listdir": (4, {"path": _OLD}),
    "readlink": (1, {"path": _OLD}),
    "getxattrs": (2, {"path": _OLD}),
    "read_file": (3, {"path": _OLD}),
    "audit": (1, {}),
    "open": (16, {"path": _ANY, "how": range(len(HOW)), "mode": _FEW, "who": _WHO}),
    "read": (4, {"fd": _FEW, "offset": _SIZES, "size": _SIZES}),
    "write": (8, {"fd": _FEW, "offset": _SIZES, "size": _SIZES}),
    "ftruncate": (3, {"fd": _FEW, "length": _SIZES}),
    "fstat": (3, {"fd": _FEW, "by_handle": range(2)}),
    "fchmod": (2, {"fd": _FEW, "mode": _FEW}),
    "futimens": (2, {"fd": _FEW, "when": _FEW}),
    "fsetxattr": (2, {"fd": _FEW, "name": range(3)}),
    "truncate": (2, {"path": _OLD, "length": _SIZES, "who": _WHO}),
    "fsync": (3, {"fd": _FEW}),
    "dup": (2, {"fd": _FEW, "who": _WHO}),
    "close": (8, {"fd": _FEW, "holder": _FEW, "thread": range(2)}),
    "write_after_close": (1, {"fd": _FEW, "offset": _SIZES, "size": _SIZES}),
    "write_file": (8, {"path": _ANY, "size": _SIZES, "who": _WHO}),
    "exit": (1, {"who": _WHO}),
    "advance": (6, {"seconds": (0.25, 1.5, 4.0, 61.0)}),
    "send": (4, {}),
    "trouble": (5, {"changes": range(2), "nth": (1, 2, 3), "error": _FEW, "lasting": range(2)}),
    "lose_answer": (3, {"nth": (1, 2, 3)}),
    "remount": (1, {"offline": range(2)}),
    "kill": (1, {}),
}


@dataclass
class Step:
    """What a step may fail with beside what the model says."""

    world: World

    def is_excused(self, number: int) -> bool:
        trouble = self.world._watched.trouble
        return bool(number and trouble is not None and self.world._watched.hits) and (
            number == trouble.number
        )
