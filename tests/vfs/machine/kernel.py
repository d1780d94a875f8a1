"""Linux and libfuse 2 as the file system meets them: system calls in, ``FileSystem`` calls out.

What is here was traced with real programs: lookups of every part of a path unless the kernel still
knows it, one flush per close of a duplicate and one release at the end, the renames with which
libfuse hides an open file that loses its name, the look that it takes after making a name, and the
second try that a path gets when a call says ESTALE.

Not here: permissions (the kernel's own work) and pages (see ``test_binding``).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from cosfs import paths
from cosfs.vfs.types import Attrs, Caller
from tests.vfs.machine.lookups import Lookups, error, run

T = TypeVar("T")

#: What answers a call that the kernel makes on its own, as at writing back a mapped page.
NOBODY = Caller(0, 0, 0)


@dataclass(eq=False)
class Node:
    """A name of libfuse's table that somebody has open, or that was taken from an open file."""

    path: str
    opens: int = 0
    hidden: bool = False
    #: Its folder was removed: libfuse does not say when it ends.
    lost: bool = False
    #: It was hidden for a rename that failed, and has its name again: libfuse does not know.
    strayed: bool = False


@dataclass(eq=False)
class OpenFd:
    """An open file description."""

    node: Node
    fh: int
    #: The size that an append goes to is that of the moment it is made.
    append: bool = False


@dataclass
class Kernel(Lookups):
    """The kernel above one mount. Every method raises ``OSError`` as the system call would."""

    _nodes: dict[str, Node] = field(default_factory=dict)
    _hidden: int = 0

    # -- names ---------------------------------------------------------------------------------

    def stat(self, path: str) -> Attrs:
        def look() -> Attrs:
            self._walk(paths.parent(path))
            return self._getattr(path)

        return self._retried(path, look)

    def listdir(self, path: str) -> dict[str, int]:
        """Return the names in a folder with their type bits, 0 where they are not told."""

        def read() -> dict[str, int]:
            if not stat.S_ISDIR(self._known(path)):
                raise error(errno.ENOTDIR, path)
            fh = run(lambda: self.fs.opendir(path))
            try:
                entries = run(lambda: self.fs.readdir(fh))
                assert len({entry.name for entry in entries}) == len(entries)
                return {entry.name: entry.mode for entry in entries}
            finally:
                self.fs.releasedir(fh)

        return self._retried(path, read)

    def mkdir(self, path: str, mode: int, caller: Caller) -> None:
        def make() -> None:
            self._new(path)
            run(lambda: self.fs.mkdir(path, mode, caller))
            self._getattr(path)

        self._retried(path, make)

    def symlink(self, path: str, target: str, caller: Caller) -> None:
        def make() -> None:
            self._new(path)
            run(lambda: self.fs.symlink(path, target, caller))
            self._getattr(path)

        self._retried(path, make)

    def mknod(self, path: str, mode: int, caller: Caller) -> None:
        def make() -> None:
            self._new(path)
            run(lambda: self.fs.mknod(path, mode, 0, caller))
            self._getattr(path)

        self._retried(path, make)

    def readlink(self, path: str) -> str:
        def read() -> str:
            if not stat.S_ISLNK(self._known(path)):
                raise error(errno.EINVAL, path)
            return run(lambda: self.fs.readlink(path))

        return self._retried(path, read)

    def unlink(self, path: str) -> None:
        def remove() -> None:
            if stat.S_ISDIR(self._known(path)):
                raise error(errno.EISDIR, path)
            if path in self._nodes:
                self._hide(path)
            else:
                run(lambda: self.fs.unlink(path))
            self._names.pop(path, None)

        self._retried(path, remove)

    def rmdir(self, path: str) -> None:
        def remove() -> None:
            if not stat.S_ISDIR(self._known(path)):
                raise error(errno.ENOTDIR, path)
            run(lambda: self.fs.rmdir(path))
            self._forget(path)
            for node in [n for n in self._nodes.values() if paths.is_inside(n.path, path)]:
                del self._nodes[node.path]
                node.lost = True

        self._retried(path, remove)

    def rename(self, old: str, new: str) -> None:
        def move() -> None:
            self._walk(paths.parent(old))
            self._walk(paths.parent(new))
            mode = self._known(old)
            if paths.is_inside(new, old):
                raise error(errno.EINVAL, new)
            if paths.is_inside(old, new):
                raise error(errno.ENOTEMPTY, new)
            target = self._find(new)
            if target is not None and old != new:
                if stat.S_ISDIR(mode) and not stat.S_ISDIR(target):
                    raise error(errno.ENOTDIR, new)
                if stat.S_ISDIR(target) and not stat.S_ISDIR(mode):
                    raise error(errno.EISDIR, new)
            if old == new:
                return
            if new in self._nodes:
                self._hide(new)
            run(lambda: self.fs.rename(old, new))
            self._forget(old)
            self._forget(new)
            self._follow(old, new)

        self._retried(old, lambda: self._retried(new, move))

    # -- metadata ------------------------------------------------------------------------------

    def chmod(self, path: str, mode: int) -> None:
        self._change(path, lambda mode_before: self.fs.chmod(path, mode_before | mode))

    def chown(self, path: str, uid: int | None, gid: int | None) -> None:
        self._change(path, lambda _mode: self.fs.chown(path, uid, gid))

    def utimens(self, path: str, atime_ns: int | None, mtime_ns: int | None) -> None:
        self._change(path, lambda _mode: self.fs.utimens(path, atime_ns, mtime_ns))

    def truncate(self, path: str, length: int, caller: Caller) -> None:
        def change(mode: int) -> None:
            if not stat.S_ISREG(mode):
                raise error(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, path)
            self.fs.truncate(path, length, caller)

        self._change(path, change)

    def _change(self, path: str, change: Callable[[int], None]) -> None:
        """``setattr``: libfuse asks for the attributes after the change."""

        def both() -> None:
            mode = self._known(path)
            run(lambda: change(stat.S_IFMT(mode)))
            self._getattr(path)

        # ``chmod`` is told the type bits too; ``truncate`` of no file is refused above.
        self._retried(path, both)

    def setxattr(self, path: str, name: str, value: bytes, create: bool, replace: bool) -> None:
        def change() -> None:
            self._known(path)
            run(lambda: self.fs.setxattr(path, name, value, create=create, replace=replace))

        self._retried(path, change)

    def getxattr(self, path: str, name: str) -> bytes:
        def read() -> bytes:
            self._known(path)
            return run(lambda: self.fs.getxattr(path, name))

        return self._retried(path, read)

    def listxattr(self, path: str) -> list[str]:
        def read() -> list[str]:
            self._known(path)
            return run(lambda: self.fs.listxattr(path))

        return self._retried(path, read)

    def removexattr(self, path: str, name: str) -> None:
        def change() -> None:
            self._known(path)
            run(lambda: self.fs.removexattr(path, name))

        self._retried(path, change)

    # -- open files ----------------------------------------------------------------------------

    def open(self, path: str, flags: int, mode: int, caller: Caller) -> OpenFd:
        def attempt() -> OpenFd:
            self._walk(paths.parent(path))
            found = self._find(path)
            if found is None:
                if not flags & os.O_CREAT:
                    raise error(errno.ENOENT, path)
                fh = run(lambda: self.fs.create(path, mode, flags, caller)).fh
                try:
                    self._getattr(path, fh)
                except OSError:
                    self.fs.release(fh)
                    raise
            else:
                if flags & os.O_CREAT and flags & os.O_EXCL:
                    raise error(errno.EEXIST, path)
                if not stat.S_ISREG(found):
                    raise error(errno.EISDIR if stat.S_ISDIR(found) else errno.ENXIO, path)
                flags_of_open = flags & ~(os.O_CREAT | os.O_EXCL)
                fh = run(lambda: self.fs.open(path, flags_of_open, caller)).fh
            node = self._nodes.setdefault(path, Node(path))
            node.opens += 1
            return OpenFd(node, fh, bool(flags & os.O_APPEND))

        return self._retried(path, attempt)

    def read(self, fd: OpenFd, offset: int, size: int) -> bytes:
        return run(lambda: self.fs.read(fd.fh, offset, size))

    def write(self, fd: OpenFd, offset: int, data: bytes) -> int:
        """Write; to the end, whatever ``offset`` says, through a description that appends."""
        if fd.append:
            offset = run(lambda: self.fs.getattr(fd.node.path, fd.fh)).size
        return run(lambda: self.fs.write(fd.fh, offset, data))

    def ftruncate(self, fd: OpenFd, length: int) -> None:
        run(lambda: self.fs.ftruncate(fd.fh, length))

    def fsync(self, fd: OpenFd) -> None:
        run(lambda: self.fs.fsync(fd.fh))

    def fstat(self, fd: OpenFd, *, by_handle: bool) -> Attrs:
        return run(lambda: self.fs.getattr(fd.node.path, fd.fh if by_handle else None))

    def fchange(self, fd: OpenFd, change: Callable[[str], T]) -> T:
        """A call on a descriptor that libfuse makes of a path: ``fchmod`` and its like."""
        if fd.node.lost:
            raise error(errno.ENOENT, fd.node.path)
        result = run(lambda: change(fd.node.path))
        run(lambda: self.fs.getattr(fd.node.path))
        return result

    def flush(self, fd: OpenFd, caller: Caller) -> None:
        """One duplicate is closed."""
        run(lambda: self.fs.flush(fd.fh, caller))

    def release(self, fd: OpenFd) -> None:
        """The last duplicate is closed and no page of it is mapped."""
        run(lambda: self.fs.release(fd.fh))
        node = fd.node
        node.opens -= 1
        if node.opens or node.lost:
            return
        if self._nodes.get(node.path) is node:
            del self._nodes[node.path]
        if node.hidden:
            try:
                run(lambda: self.fs.unlink(node.path))
            except OSError:
                pass  # libfuse does not look at this answer

    # -- inside ---------------------------------------------------------------------------------

    def _follow(self, old: str, new: str) -> None:
        for path, node in list(self._nodes.items()):
            if path == old or paths.is_inside(path, old):
                del self._nodes[path]
                node.path = paths.moved(path, old, new)
                self._nodes[node.path] = node

    def _hide(self, path: str) -> None:
        """What libfuse does with an open file that loses its name."""
        for _ in range(10):
            self._hidden += 1
            hidden = paths.join(paths.parent(path), f".fuse_hidden{7:08x}{self._hidden:08x}")
            try:
                run(lambda: self.fs.getattr(hidden))  # noqa: B023 - called at once
            except OSError as failure:
                if failure.errno == errno.ENOENT:
                    break
                raise error(errno.EBUSY, path) from failure
        else:
            raise error(errno.EBUSY, path)
        run(lambda: self.fs.rename(path, hidden))
        node = self._nodes.pop(path)
        node.path, node.hidden = hidden, True
        self._nodes[hidden] = node
        self._names.pop(path, None)
