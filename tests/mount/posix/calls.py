"""The calls that checks make, by the name that stands in a check's identity.

Each one leaves no descriptor open and gives what the system call gives, or raises ``OSError``.
What Python's ``os`` refuses by itself, or does differently, goes to libc directly.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import stat
from collections.abc import Callable
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)

UTIME_NOW = 0x3FFFFFFF
UTIME_OMIT = 0x3FFFFFFE
AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EACCESS = 0x200


class _Timespec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]


def _checked(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def flags_of(names: str) -> int:
    """Return the number for flags written like ``O_CREAT|O_EXCL``."""
    flags = 0
    for name in names.split("|"):
        flags |= getattr(os, name)
    return flags


def _open(path: str, flags: str, mode: int = 0o644) -> None:
    # Without O_NONBLOCK a FIFO that nobody reads would be waited for.
    os.close(os.open(path, flags_of(flags), mode))


def _on_open(flags: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def made(path: str, *args: Any) -> Any:
        descriptor = os.open(path, flags_of(flags))
        try:
            return call(descriptor, *args)
        finally:
            os.close(descriptor)

    return made


def _utimensat(
    path: str, atime: tuple[int, int], mtime: tuple[int, int], flags: int = 0
) -> None:
    times = (_Timespec * 2)(_Timespec(*atime), _Timespec(*mtime))
    _checked(_libc.utimensat(AT_FDCWD, os.fsencode(path), times, flags))


def _utimensat_now(path: str) -> None:
    _checked(_libc.utimensat(AT_FDCWD, os.fsencode(path), None, 0))


def _futimens(descriptor: int, atime: tuple[int, int], mtime: tuple[int, int]) -> None:
    times = (_Timespec * 2)(_Timespec(*atime), _Timespec(*mtime))
    _checked(_libc.futimens(descriptor, times))


def _truncate(path: str, length: int) -> None:
    _checked(_libc.truncate(os.fsencode(path), ctypes.c_int64(length)))


def _ftruncate(descriptor: int, length: int) -> None:
    _checked(_libc.ftruncate(descriptor, ctypes.c_int64(length)))


def _chown(path: str, uid: int, gid: int) -> None:
    _checked(_libc.chown(os.fsencode(path), ctypes.c_uint32(uid), ctypes.c_uint32(gid)))


def _mkdir(path: str, mode: int = 0o755) -> None:
    _checked(_libc.mkdir(os.fsencode(path), mode))


def _mknod(path: str, kind: str, mode: int = 0o644, device: int = 0) -> None:
    kinds = {
        "file": stat.S_IFREG, "fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK,
        "char": stat.S_IFCHR, "block": stat.S_IFBLK,
    }  # fmt: skip
    os.mknod(path, kinds[kind] | mode, device)


def _bind(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path)


def _rename(old: str, new: str) -> None:
    _checked(_libc.rename(os.fsencode(old), os.fsencode(new)))


def _posix_fallocate(descriptor: int, offset: int, length: int) -> None:
    # Gives the error itself, not -1.
    number = _libc.posix_fallocate(descriptor, ctypes.c_int64(offset), ctypes.c_int64(length))
    if number:
        raise OSError(number, os.strerror(number))


def _chdir(path: str) -> None:
    here = os.open(".", os.O_PATH)
    try:
        os.chdir(path)
        os.fchdir(here)
    finally:
        os.close(here)


def _bad_pointer(name: str, *rest: Any) -> None:
    _checked(getattr(_libc, name)(ctypes.c_void_p(1), *rest))


def _access(path: str, mode: int = os.F_OK) -> None:
    # By the effective ids: the real ones stay root's.
    _checked(_libc.faccessat(AT_FDCWD, os.fsencode(path), mode, AT_EACCESS))


def _execute(path: str) -> None:
    import subprocess

    subprocess.run([path], check=True)


CALLS: dict[str, Callable[..., Any]] = {
    "access": _access,
    "bad_pointer": _bad_pointer,
    "bind": _bind,
    "chdir": _chdir,
    "chmod": os.chmod,
    "chown": _chown,
    "execute": _execute,
    "fchmod": _on_open("O_RDONLY", os.fchmod),
    "fchown": _on_open("O_RDONLY", os.fchown),
    "ftruncate": _on_open("O_RDWR", _ftruncate),
    "ftruncate_rdonly": _on_open("O_RDONLY", _ftruncate),
    "ftruncate_wronly": _on_open("O_WRONLY", _ftruncate),
    "futimens": _on_open("O_RDONLY", _futimens),
    "getxattr": lambda path, name="user.none": os.getxattr(path, name),
    "lchown": lambda path, uid, gid: os.lchown(path, uid, gid),
    "link": os.link,
    "listxattr": os.listxattr,
    "lstat": os.lstat,
    "mkdir": _mkdir,
    "mkfifo": os.mkfifo,
    "mknod": _mknod,
    "open": _open,
    "opendir": os.listdir,
    "posix_fallocate": _on_open("O_RDWR", _posix_fallocate),
    "posix_fallocate_rdonly": _on_open("O_RDONLY", _posix_fallocate),
    "readlink": os.readlink,
    "removexattr": lambda path, name="user.none": os.removexattr(path, name),
    "rename": _rename,
    "rmdir": os.rmdir,
    "setxattr": lambda path, name="user.none", value=b"1": os.setxattr(path, name, value),
    "stat": os.stat,
    "statvfs": os.statvfs,
    "symlink": os.symlink,
    "truncate": _truncate,
    "unlink": os.unlink,
    "utimensat": _utimensat,
    "utimensat_now": _utimensat_now,
    "flock": _on_open("O_RDONLY", lambda fd: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)),
}
