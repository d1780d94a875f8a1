"""Owns the use of fusepy and libfuse 2; must not know what the file system does with a call.

A subclass of fusepy's ``FUSE`` replaces what that does badly: how errors are answered (an error
without errno returned garbage), how ``stat`` is packed, how directories are listed (offsets into
a snapshot, so that 100,000 names come piece by piece), times, and names that are not UTF-8.
Everything about threads and signals is in ``pool``.

Importing this module needs libfuse 2; the import fails with ``OSError`` where it is missing.
"""

from __future__ import annotations

import codecs
import ctypes
import errno
import operator
import struct
from collections.abc import Callable, Mapping
from typing import Any

import fuse as fusepy

from cosfs import interrupts
from cosfs.errors import FuseUnavailable
from cosfs.fuse import pages
from cosfs.fuse.errnos import errno_after
from cosfs.fuse.operations import FOREIGN_XATTRS, UTIME_NOW, Operations
from cosfs.fuse.pool import MAX_BACKGROUND, Pool, libfuse
from cosfs.vfs.types import Attrs, Caller

#: Bytes that are not UTF-8 become lone surrogates, as everywhere in Python.
CODEC = "utf8-or-bytes"

_FOREIGN_XATTRS = tuple(prefix.encode() for prefix in FOREIGN_XATTRS)

#: What libfuse itself shows for an inode number that it does not know.
_UNKNOWN_INO = 0xFFFFFFFF
_S_IFDIR = 0o040000

#: Always on. ``default_permissions`` leaves all permission checks to the kernel, ``big_writes``
#: gives pieces of 128 KiB, ``atomic_o_trunc`` makes open-and-truncate one call.
_OPTIONS: Mapping[str, str | bool] = {
    "default_permissions": True,
    "use_ino": True,
    "big_writes": True,
    "atomic_o_trunc": True,
    "subtype": "cosfs",
    "max_background": str(MAX_BACKGROUND),
}


def _find_codec(name: str) -> codecs.CodecInfo | None:
    if name.replace("_", "-") != CODEC:
        return None
    return codecs.CodecInfo(
        lambda text, _errors="": codecs.utf_8_encode(text, "surrogateescape"),
        lambda data, _errors="": codecs.utf_8_decode(data, "surrogateescape", True),
        name=CODEC,
    )


codecs.register(_find_codec)


def current_caller() -> Caller:
    """Return who made the call that the running thread answers."""
    return Caller(*fusepy.fuse_get_context())


def serve(
    operations: Operations,
    mountpoint: str,
    options: Mapping[str, str | bool],
    *,
    on_ready: Callable[[], None],
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Mount, answer calls, and return when the mount is gone: by umount, SIGTERM, SIGINT, SIGHUP.

    To be called from the main thread; takes over the handlers of those signals and of SIGUSR1.
    ``on_ready`` is called once, from another thread, when the file system is about to answer;
    ``on_stop`` when a signal is to end it: from then on no call may wait for what may never come.

    Raises:
        FuseUnavailable: libfuse, fusermount or the kernel refused; the message holds their words.
        Exception: whatever the file system's start raised.
    """

    def before_end(where: bytes) -> None:
        on_stop()
        pages.write_back(where, operations.mappable)

    pool = Pool(before_end=before_end)
    stock_main = libfuse.fuse_main_real
    libfuse.fuse_main_real = pool.main
    try:
        Binding(operations, mountpoint, options, pool, on_ready)
    except RuntimeError as error:
        raise FuseUnavailable(pool.refusal or "libfuse refused without a word") from error
    finally:
        libfuse.fuse_main_real = stock_main


class Binding(fusepy.FUSE):  # type: ignore[misc]
    """Answers libfuse. The methods have the names and arguments of ``struct fuse_operations``."""

    def __init__(
        self,
        operations: Operations,
        mountpoint: str,
        options: Mapping[str, str | bool],
        pool: Pool,
        on_ready: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._on_ready = on_ready
        self._failed_start: BaseException | None = None
        super().__init__(
            operations,
            mountpoint,
            raw_fi=True,
            encoding=CODEC,
            foreground=True,
            **_OPTIONS,
            **options,
        )
        if self._failed_start is not None:
            raise self._failed_start

    def _wrapper(self, handler: Callable[..., Any], *args: Any) -> int:
        """Run one call; whatever goes wrong, give libfuse a number that is an errno."""
        try:
            return handler(*args) or 0
        except BaseException as error:  # noqa: B036 - there is nobody above to raise it to
            try:
                return -errno_after(handler.__name__, error)
            except BaseException:  # noqa: B036 - not even the log works
                return -errno.EIO

    def init(self, _connection: Any) -> None:
        try:
            # Nobody has asked for this, and libfuse must not be asked who.
            with interrupts.watched(None):
                self.operations.init("/")
                self._on_ready()
        except BaseException as error:  # noqa: B036 - raised again by __init__, in the main thread
            self._failed_start = error
            self._pool.ask_to_stop()

    def getattr(self, path: bytes | None, buf: Any) -> int:
        return self.fgetattr(path, buf, None)

    def fgetattr(self, path: bytes | None, buf: Any, fip: Any) -> int:
        fh = fip.contents.fh if fip else None
        packed = _pack_stat(self.operations.getattr(_decoded(path), fh))
        ctypes.memmove(buf, packed, len(packed))
        return 0

    def read(self, _path: bytes | None, buf: Any, size: int, offset: int, fip: Any) -> int:
        into = _view(buf, size, _PYBUF_WRITE)
        try:
            count: int = self.operations.read(fip.contents.fh, offset, into)
        finally:
            # Whoever kept it must not write into what libfuse has given back.
            into.release()
        if count > size:
            raise ValueError(f"{count} bytes were read where {size} fit")
        return count

    def write(self, _path: bytes | None, buf: Any, size: int, offset: int, fip: Any) -> int:
        written: int = self.operations.write(
            fip.contents.fh, offset, ctypes.string_at(buf, size)
        )
        return written

    def readdir(
        self, _path: bytes | None, buf: Any, filler: Any, offset: int, fip: Any
    ) -> int:
        """Fill ``buf`` from the entry at ``offset`` on; of a stat, libfuse uses inode and type."""
        if not offset:
            self.operations.rewinddir(fip.contents.fh)
        entries = self.operations.readdir(fip.contents.fh)
        stat = fusepy.c_stat()
        pointer = ctypes.pointer(stat)
        stat.st_ino, stat.st_mode = _UNKNOWN_INO, _S_IFDIR
        for position, dots in enumerate((b".", b"..")):
            if position >= offset and filler(buf, dots, pointer, position + 1):
                return 0
        for position in range(max(offset - 2, 0), len(entries)):
            name, stat.st_ino, stat.st_mode = entries[position]
            if filler(buf, name.encode("utf-8", "surrogateescape"), pointer, position + 3):
                break
        return 0

    def getxattr(self, path: bytes, name: bytes, buf: Any, size: int) -> int:
        # Asked for before each write and twice for each line of "ls -l": answered right here, that
        # takes 1.5 us instead of 7.
        if name.startswith(_FOREIGN_XATTRS):
            return -errno.ENODATA
        return _give(self.operations.getxattr(_decoded(path), _decoded(name)), buf, size)

    def listxattr(self, path: bytes, buf: Any, size: int) -> int:
        names = self.operations.listxattr(_decoded(path))
        return _give(b"".join(name.encode(CODEC) + b"\0" for name in names), buf, size)

    def utimens(self, path: bytes, times: Any) -> int:
        atime = mtime = (0, UTIME_NOW)
        if times:
            given = times.contents
            atime = (given.actime.tv_sec, given.actime.tv_nsec)
            mtime = (given.modtime.tv_sec, given.modtime.tv_nsec)
        self.operations.utimens(_decoded(path), atime, mtime)
        return 0


#: Returns a ``memoryview`` of memory that is not Python's: here libfuse's, which is copied to once.
_view = ctypes.pythonapi.PyMemoryView_FromMemory
_view.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]
_view.restype = ctypes.py_object
_PYBUF_WRITE = 0x200


def _decoded(path: bytes | None) -> str:
    return path.decode("utf-8", "surrogateescape") if path else ""


def _give(value: bytes, buf: Any, size: int) -> int:
    """Answer a call that asks for a value's length (no ``buf``) or for the value."""
    if buf and size:
        if len(value) > size:
            return -errno.ERANGE
        ctypes.memmove(buf, value, len(value))
    return len(value)


def _stat_layout() -> tuple[struct.Struct, Callable[[tuple[int, ...]], tuple[int, ...]]]:
    """Return how ``struct stat`` is packed here, and what puts our fields into its order.

    Made from fusepy's description, as every architecture orders the fields in its own way.
    """
    c_stat = fusepy.c_stat
    form, position, order = "=", 0, []
    for name, kind in c_stat._fields_:
        offset, size = getattr(c_stat, name).offset, ctypes.sizeof(kind)
        form += f"{offset - position}x"
        position = offset + size
        if name in _STAT_FIELDS:
            is_time = kind is fusepy.c_timespec
            form += {8: "ii", 16: "qq"}[size] if is_time else {2: "H", 4: "I", 8: "Q"}[size]
            first = _STAT_FIELDS.index(name)
            order += [first, first + 1] if is_time else [first]
        else:
            form += f"{size}x"
    return struct.Struct(form), operator.itemgetter(*order)


#: As ``_pack_stat`` makes them; a time has seconds and nanoseconds.
_STAT_FIELDS = (
    "st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_ino", "st_blocks", "st_rdev",
    "st_blksize",
    "st_atimespec", "", "st_mtimespec", "", "st_ctimespec", "",
)  # fmt: skip
_STAT, _in_stat_order = _stat_layout()

#: What programs like cp take as the size of their buffer: as large as one request.
_BLKSIZE = 128 * 1024


def _pack_stat(attrs: Attrs) -> bytes:
    fields = (
        attrs.mode, attrs.nlink, attrs.uid, attrs.gid, attrs.size, attrs.ino, attrs.blocks,
        attrs.rdev, _BLKSIZE,
        *divmod(attrs.atime_ns, 10**9), *divmod(attrs.mtime_ns, 10**9),
        *divmod(attrs.ctime_ns, 10**9),
    )  # fmt: skip
    return _STAT.pack(*_in_stat_order(fields))
