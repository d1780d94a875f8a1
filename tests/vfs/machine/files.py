"""What programs do with open files."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Any

from cosfs.vfs.filesystem import FileSystem
from cosfs.vfs.types import Caller
from tests.vfs.machine.bench import MODES, USERS
from tests.vfs.machine.faults import Killed
from tests.vfs.machine.kernel import OpenFd
from tests.vfs.machine.model import Node, Open, Refused
from tests.vfs.machine.names import XATTRS, Names

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


def is_writable(opened: Open) -> bool:
    # Where an append goes to is not known of a file that is another by now.
    return opened.writable and not (opened.append and opened.node.overtaken)


class Files(Names):
    """One method for each system call: see ``rules``."""

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
            made = self.model.opens.pop(number).node
            made.opens -= 1
            if not made.opens and self.model.find(at) is made:
                self._revert(at, made)

    # -- looks ---------------------------------------------------------------------------------

    def read(self, fd: int, offset: int, size: int) -> None:
        picked = self._fd(fd, lambda opened: opened.readable)
        if picked is None:
            return
        node, at = picked[0].node, picked[1]
        with self._step() as step:
            number, got = self._call(lambda: self.kernel.read(at, offset, size))
            wanted = node.data[offset : offset + size]
            is_excused = step.is_excused(number, self._foreign(node))
            assert got == wanted or is_excused, (number, got, wanted)

    def fstat(self, fd: int, by_handle: int) -> None:
        picked = self._fd(fd, lambda _opened: True)
        if picked is None or (self._is_misnamed(*picked) and not by_handle):
            return
        node, at = picked[0].node, picked[1]
        with self._step() as step:
            number, attrs = self._call(lambda: self.kernel.fstat(at, by_handle=bool(by_handle)))
            if step.is_excused(number, self._foreign(node)):
                return
            assert attrs is not None, errno.errorcode[number]
            nodes = [node]
            if node.overtaken:
                nodes += self._views(node.name)
            self._compare(at.node.path, attrs, nodes)

    # -- changes -------------------------------------------------------------------------------

    def write(self, fd: int, offset: int, size: int) -> None:
        picked = self._fd(fd, is_writable)
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

    def fchmod(self, fd: int, mode: int) -> None:
        self._fchange(fd, lambda fs, path: fs.chmod(path, stat.S_IFREG | MODES[mode]), "mode", mode)

    def futimens(self, fd: int, when: int) -> None:
        mtime = self._time(when)
        self._fchange(fd, lambda fs, path: fs.utimens(path, None, mtime), "mtime", mtime)

    def fsetxattr(self, fd: int, name: int) -> None:
        key, value = XATTRS[name], self._text(4)

        def change(fs: FileSystem, path: str) -> None:
            fs.setxattr(path, key, value, create=False, replace=False)

        self._fchange(fd, change, "xattr", (key, value))

    def _fchange(
        self, fd: int, change: Callable[[FileSystem, str], None], what: str, value: Any
    ) -> None:
        """Change attributes through a descriptor: libfuse makes that a call on its path."""
        picked = self._fd(fd, lambda opened: not opened.node.overtaken)
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
            try:
                number, _ = self._call(lambda: self.kernel.truncate(at, length, caller))
            except Killed:
                if node is not None and not expected:
                    self.model.truncate(node, length, now)
                raise
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
            node.is_local = node.opens > 0

    # -- storing -------------------------------------------------------------------------------

    def fsync(self, fd: int) -> None:
        picked = self._fd(fd, lambda _opened: True)
        if picked is None:
            return
        opened, at = picked
        node = opened.node
        with self._step() as step:
            number, _ = self._call(lambda: self.kernel.fsync(at))
            if number:
                is_won = number == errno.EEXIST and self._is_won(self._place(node), node)
                is_right = is_won or step.is_excused(number, self._foreign(node))
                assert is_right, errno.errorcode[number]
                node.failed = node.failed or node.dirty
            elif node.overtaken:
                path = node.name
                assert not node.dirty or self._held(path) == node.data, f"{path}: not stored"
            elif not node.removed:
                self._is_stored(node)
                self._check_attributes(self._place(node), node)

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
        picked = self._fd(fd, lambda opened: is_writable(opened) and opened.readable)
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
            number, _ = self._call(lambda: self.kernel.flush(at, Caller(uid, gid, pid + thread)))
            opened.holders.remove(pid)
            if number:
                is_won = number == errno.EEXIST and self._is_won(self._place(node), node)
                is_right = is_won or may_fail or step.is_excused(number, self._foreign(node))
                assert is_right, errno.errorcode[number]
                node.failed = node.failed or node.dirty
            else:
                assert not must_fail, "the failure was told once only"
                if must_store and node.overtaken:
                    assert self._held(node.name) == node.data, f"{node.name}: not stored"
                elif must_store:
                    self._is_stored(node)

    def _release(self, opened: Open, at: OpenFd) -> None:
        node = opened.node
        is_last = node.opens == 1
        with self._step():
            self.kernel.release(at)
            node.opens -= 1
            node.is_local = node.is_local and not is_last
            for number in [n for n, other in self._fds.items() if other is at]:
                del self._fds[number], self.model.opens[number]
            if node.removed:
                self._removed_is_released(node, is_last=is_last)
            elif node.overtaken:
                self._overtaken_is_released(opened, is_last=is_last)
            else:
                self._named_is_released(opened, at, is_last=is_last)

    def _removed_is_released(self, node: Node, *, is_last: bool) -> None:
        if node.misplaced and is_last:
            if node.dirty:
                self._give_up(node.name, node)
            self._nameless.append(node)
            self._find_again()
            if not node.removed:
                # The kernel may remember that there was no such name.
                self.model.note_earlier(node.name, None, self._kernel_knows_until())
        self._orphans_left += is_last and (bool(self._watched.hits) or node.misplaced)

    def _overtaken_is_released(self, opened: Open, *, is_last: bool) -> None:
        node, path = opened.node, opened.node.name
        is_stored = self._held(path) == node.data and path in self._written_paths()
        if is_stored and node.dirty:
            self._wins(node, path)
        elif node.dirty and is_last:
            self._give_up(path, node)
            self._is_remembered(path, node)

    def _named_is_released(self, opened: Open, at: OpenFd, *, is_last: bool) -> None:
        node = opened.node
        path, wrote = self._place(node) or at.node.path, self._written_paths()
        if self._watched.hits and path not in wrote:
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
            self._is_remembered(path, node)

    def _is_remembered(self, path: str, node: Node) -> None:
        """The kernel may take a file for being there that was given up: nobody tells it."""
        if self.model.find(path) is None:
            self.model.note_earlier(path, node, self._kernel_knows_until())
