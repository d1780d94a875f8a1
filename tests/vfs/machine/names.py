"""What programs do with names and attributes."""

from __future__ import annotations

import errno
import stat

from tests.vfs.machine.bench import GID, MODES, UID
from tests.vfs.machine.model import SECOND, Node, Refused
from tests.vfs.machine.outcomes import Outcomes

XATTRS = ("user.biz_attr", "user.x-cos-meta-a", "user.any thing")
#: Times of change that programs set; ``None``: left as it is; 0: now.
TIMES = (None, 1_234_567_890_123_456_789, 0, -1)


class Names(Outcomes):
    """One method for each system call: see ``rules``."""

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
                if node.mtimes and now - max(node.shown_mtimes) > 2 * SECOND:
                    node.mtime_is_set, node.later = True, set()
                else:
                    node.later.add(now // SECOND * SECOND)

        self._both(lambda: self.kernel.rename(old, new), rename, old, new)

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
        mtime = self._time(when)

        def utimens() -> None:
            node = self.model.get(at)
            if mtime is not None:
                node.mtimes, node.mtime_is_set, node.later = {mtime}, True, {mtime}

        self._both(lambda: self.kernel.utimens(at, None, mtime), utimens, at)

    def _time(self, when: int) -> int | None:
        return self._now() if TIMES[when] == 0 else TIMES[when]

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

        if self._can_have_xattrs(at):
            self._both(lambda: self.kernel.setxattr(at, key, value, create, must), setxattr, at)

    def _can_have_xattrs(self, path: str) -> bool:
        # ``user.`` is for files and folders: the kernel's rule.
        return self._kind(path) not in ("link", "fifo")

    def removexattr(self, path: int, name: int) -> None:
        at, key = self._path(path), XATTRS[name]

        def removexattr() -> None:
            if self.model.get(at).xattrs.pop(key, None) is None:
                raise Refused(errno.ENODATA)

        if self._can_have_xattrs(at):
            self._both(lambda: self.kernel.removexattr(at, key), removexattr, at)

    def stat(self, path: int) -> None:
        self._stat(self._path(path, or_root=True, to_look=True))

    def listdir(self, path: int) -> None:
        self._listdir(self._path(path, or_root=True, to_look=True))

    def readlink(self, path: int) -> None:
        at = self._path(path)

        def readlink() -> str:
            node = self.model.get(at)
            if node.kind != "link":
                raise Refused(errno.EINVAL)
            return node.data.decode()

        self._both(lambda: self.kernel.readlink(at), readlink, at)

    def getxattrs(self, path: int) -> None:
        self._getxattrs(self._path(path, to_look=True))

    def read_file(self, path: int) -> None:
        self._read_file(self._path(path, to_look=True))
