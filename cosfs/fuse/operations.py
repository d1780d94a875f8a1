"""Owns the translation of FUSE's calls into the file system's; must not decide or know libfuse.

One handler per call, in the order of ``fuse.h``. What has no handler here is answered by libfuse
with ENOSYS, after which the kernel does without: ``access`` (the kernel checks permissions itself),
``lock`` and ``flock`` (right between the processes of one machine), ``ioctl``, ``bmap``, and
``link``, for which the kernel tells the program EPERM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from cosfs.clock import Clock
from cosfs.errors import NoSuchAttribute, NotSupported
from cosfs.vfs.filesystem import FileSystem
from cosfs.vfs.types import Attrs, Caller, DirEntry, Opened

#: ``tv_nsec`` values with a meaning of their own (<sys/stat.h>).
UTIME_NOW = 0x3FFFFFFF
UTIME_OMIT = 0x3FFFFFFE

#: Flags of setxattr (<sys/xattr.h>).
XATTR_CREATE = 1
XATTR_REPLACE = 2

#: Attributes of the kernel and of root: never in a bucket. The kernel asks for
#: security.capability before every single write, so this answer must not cost a look at anything.
FOREIGN_XATTRS = ("security.", "system.", "trusted.")


class FileInfo(Protocol):
    """The fields of ``struct fuse_file_info`` that are used here."""

    flags: int
    fh: int
    keep_cache: int
    direct_io: int


class Operations:
    """What the binding calls. Handlers may run in any number of threads at once.

    ``caller_of_call`` tells who made the call that the running thread answers.
    """

    #: Times are integers of nanoseconds.
    use_ns = True
    #: The kernel may leave one of the two times of utimens as it is.
    flag_utime_omit_ok = 1
    #: Calls on open files come without a path: they still work once it is gone, and neither wait
    #: for a slow rename of a folder above nor cost the making of a path.
    flag_nullpath_ok = 1
    flag_nopath = 1

    def __init__(
        self, fs: FileSystem, clock: Clock, caller_of_call: Callable[[], Caller]
    ) -> None:
        self._fs = fs
        self._clock = clock
        self._caller = caller_of_call

    def __call__(self, operation: str, *args: Any) -> Any:
        """Run the handler of that name, as the binding's own methods ask for."""
        return getattr(self, operation)(*args)

    def mappable(self) -> list[str]:
        """Return the paths of open files that programs may have changed through a mapping."""
        return self._fs.mappable()

    def init(self, _path: str) -> None:
        self._fs.start()

    def getattr(self, path: str, fh: int | None = None) -> Attrs:
        return self._fs.getattr(path, fh)

    def readlink(self, path: str) -> str:
        return self._fs.readlink(path)

    def mknod(self, path: str, mode: int, device: int) -> None:
        """Make a special file; regular ones come as ``create``."""
        self._fs.mknod(path, mode, device, self._caller())

    def mkdir(self, path: str, mode: int) -> None:
        self._fs.mkdir(path, mode, self._caller())

    def unlink(self, path: str) -> None:
        self._fs.unlink(path)

    def rmdir(self, path: str) -> None:
        self._fs.rmdir(path)

    def symlink(self, path: str, target: str) -> None:
        self._fs.symlink(path, target, self._caller())

    def rename(self, old: str, new: str) -> None:
        self._fs.rename(old, new)

    def chmod(self, path: str, mode: int) -> None:
        self._fs.chmod(path, mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        self._fs.chown(path, None if uid == -1 else uid, None if gid == -1 else gid)

    def truncate(self, path: str | None, length: int, fi: FileInfo | None = None) -> None:
        if fi is not None:
            self._fs.ftruncate(fi.fh, length)
        else:
            self._fs.truncate(path or "", length, self._caller())

    def open(self, path: str, fi: FileInfo) -> None:
        _tell_kernel(fi, self._fs.open(path, fi.flags, self._caller()))

    def read(self, fh: int, offset: int, into: memoryview) -> int:
        return self._fs.read_into(fh, offset, into)

    def write(self, fh: int, offset: int, data: bytes) -> int:
        return self._fs.write(fh, offset, data)

    def statfs(self, _path: str) -> dict[str, int]:
        stats = self._fs.statfs()
        return {
            "f_bsize": stats.block_size,
            "f_frsize": stats.block_size,
            "f_blocks": stats.blocks,
            "f_bfree": stats.blocks_free,
            "f_bavail": stats.blocks_free,
            "f_files": stats.files,
            "f_ffree": stats.files_free,
            "f_favail": stats.files_free,
            "f_namemax": stats.name_max,
        }

    def flush(self, _path: str | None, fi: FileInfo) -> None:
        self._fs.flush(fi.fh, self._caller())

    def release(self, _path: str | None, fi: FileInfo) -> None:
        self._fs.release(fi.fh)

    def fsync(self, _path: str | None, _datasync: int, fi: FileInfo) -> None:
        self._fs.fsync(fi.fh)

    def setxattr(self, path: str, name: str, value: bytes, flags: int) -> None:
        if name.startswith(FOREIGN_XATTRS):
            raise NotSupported(path, name)
        create, replace = bool(flags & XATTR_CREATE), bool(flags & XATTR_REPLACE)
        self._fs.setxattr(path, name, value, create=create, replace=replace)

    def getxattr(self, path: str, name: str) -> bytes:
        """Return a value; that there is none of ``FOREIGN_XATTRS`` is for the binding to know."""
        return self._fs.getxattr(path, name)

    def listxattr(self, path: str) -> list[str]:
        return self._fs.listxattr(path)

    def removexattr(self, path: str, name: str) -> None:
        if name.startswith(FOREIGN_XATTRS):
            raise NoSuchAttribute(path, name)
        self._fs.removexattr(path, name)

    def opendir(self, path: str) -> int:
        return self._fs.opendir(path)

    def readdir(self, fh: int) -> Sequence[DirEntry]:
        return self._fs.readdir(fh)

    def rewinddir(self, fh: int) -> None:
        """Begin to read an open folder from its start; libfuse has no operation for it."""
        self._fs.rewinddir(fh)

    def releasedir(self, _path: str | None, fh: int) -> None:
        self._fs.releasedir(fh)

    def fsyncdir(self, _path: str | None, _datasync: int, fh: int) -> None:
        self._fs.fsyncdir(fh)

    def create(self, path: str, mode: int, fi: FileInfo) -> None:
        _tell_kernel(fi, self._fs.create(path, mode, fi.flags, self._caller()))

    def utimens(self, path: str, atime: tuple[int, int], mtime: tuple[int, int]) -> None:
        """Set both times, each given as (seconds, nanoseconds or a ``UTIME_`` value)."""
        now = self._clock.wall_ns()
        self._fs.utimens(path, _time(atime, now), _time(mtime, now))


def _tell_kernel(fi: FileInfo, opened: Opened) -> None:
    fi.fh = opened.fh
    fi.keep_cache = int(opened.keep_cache)
    fi.direct_io = int(opened.direct_io)


def _time(given: tuple[int, int], now_ns: int) -> int | None:
    seconds, nanoseconds = given
    if nanoseconds == UTIME_NOW:
        return now_ns
    if nanoseconds == UTIME_OMIT:
        return None
    return seconds * 10**9 + nanoseconds
