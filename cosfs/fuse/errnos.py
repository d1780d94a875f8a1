"""Owns the one table from exception class to errno; must not know libfuse or who raises what.

A class that has no line of its own has the one of its nearest base class. ENOSYS is never used: the
kernel stops asking after it. No value is 512 or above: the kernel restarts calls on those.

The log level belongs to the outcome. What programs cause and expect (a name that is not there) is
DEBUG, what the network or the account refuses is WARNING, what should never happen is ERROR.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping
from typing import NamedTuple

from cosfs import errors
from cosfs.errors import CosfsError, StoreFailed

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What a program is told, and how loudly the log says so."""

    errno: int
    level: int


def _expected(number: int) -> Answer:
    return Answer(number, logging.DEBUG)


def _refused(number: int) -> Answer:
    return Answer(number, logging.WARNING)


def _surprising(number: int) -> Answer:
    return Answer(number, logging.ERROR)


#: The right column says why, where the name of the class does not.
TABLE: Mapping[type[CosfsError], Answer] = {
    CosfsError: _surprising(errno.EIO),
    # Raised before there is a mount; a program never meets them.
    errors.ConfigError: _surprising(errno.EIO),
    errors.FuseUnavailable: _surprising(errno.EIO),
    # -- what a store answers
    errors.StoreError: _refused(errno.EIO),
    errors.NotFound: _expected(errno.ENOENT),
    # Not ENOENT: files must not look deleted because the whole bucket went away.
    errors.BucketNotFound: _refused(errno.EIO),
    errors.AlreadyExists: _expected(errno.EEXIST),
    errors.FolderNotEmpty: _expected(errno.ENOTEMPTY),
    errors.AccessDenied: _refused(errno.EACCES),
    errors.BadCredentials: _refused(errno.EACCES),
    # The server found a name or value invalid that no check of ours knew.
    errors.BadRequest: _refused(errno.EINVAL),
    # Only a file that changed underneath gives this, and the program asked nothing wrong.
    errors.RangeNotSatisfiable: _refused(errno.EIO),
    # The name is occupied by somebody's half of an upload; it may be free later.
    errors.UnfinishedUpload: _refused(errno.EBUSY),
    errors.UploadSessionLost: _refused(errno.EIO),
    errors.TooLarge: _refused(errno.EFBIG),
    errors.QuotaExceeded: _refused(errno.EDQUOT),
    # As NFS says it: what the handle stood for is no longer there.
    errors.ObjectChanged: _expected(errno.ESTALE),
    # Never EAGAIN, which programs take for a non-blocking descriptor.
    errors.Transient: _refused(errno.EIO),
    errors.Unavailable: _refused(errno.EIO),
    # "Host is down" says more to whoever reads cp's message than an I/O error.
    errors.ConnectFailed: _refused(errno.EHOSTDOWN),
    errors.RequestTimeout: _refused(errno.ETIMEDOUT),
    # Not ECONNRESET or EPIPE, which programs take for a socket or pipe of theirs.
    errors.ConnectionLost: _refused(errno.EIO),
    # The server breaks its protocol: worth an ERROR with the request id.
    errors.MalformedReply: _surprising(errno.EIO),
    # A body that breaks off is the network's doing.
    errors.TruncatedBody: _refused(errno.EIO),
    errors.IntegrityError: _surprising(errno.EIO),
    # The local spool cannot be read back.
    errors.SourceFailed: _surprising(errno.EIO),
    errors.UnknownReply: _surprising(errno.EIO),
    # -- what the file system decides
    errors.FsError: _expected(errno.EIO),
    errors.IsFolder: _expected(errno.EISDIR),
    errors.NotFolder: _expected(errno.ENOTDIR),
    errors.InvalidName: _expected(errno.EINVAL),
    errors.NameTooLong: _expected(errno.ENAMETOOLONG),
    errors.InvalidArgument: _expected(errno.EINVAL),
    errors.BadHandle: _expected(errno.EBADF),
    errors.Busy: _expected(errno.EBUSY),
    # The local disk is full: the user must hear of it.
    errors.NoSpace: _refused(errno.ENOSPC),
    errors.FileTooLarge: _expected(errno.EFBIG),
    errors.ReadOnlyMount: _expected(errno.EROFS),
    errors.NotPermitted: _expected(errno.EPERM),
    errors.NoSuchAttribute: _expected(errno.ENODATA),
    errors.AttributeExists: _expected(errno.EEXIST),
    # What ext4 says when an inode has no more room for attributes.
    errors.AttributesTooLarge: _expected(errno.ENOSPC),
    errors.NotSupported: _expected(errno.EOPNOTSUPP),
    errors.Stale: _expected(errno.ESTALE),
    errors.Interrupted: _expected(errno.EINTR),
    errors.SpoolFailed: _surprising(errno.EIO),
    # The errno of its cause; this line gives the level.
    errors.StoreFailed: _refused(errno.EIO),
}


def answer_of(error: CosfsError) -> Answer:
    """Return the line of the most specific class of ``error``."""
    if isinstance(error, StoreFailed):
        return Answer(answer_of(error.cause).errno, logging.WARNING)
    for kind in type(error).__mro__:
        if kind in TABLE:
            return TABLE[kind]
    return TABLE[CosfsError]


def errno_after(operation: str, error: BaseException) -> int:
    """Log that ``operation`` failed and return the errno (> 0) that its caller is told.

    Anything that is not a ``CosfsError`` is a fault of ours: EIO, and a traceback in the log. That
    holds for an ``OSError`` too, as its errno is about some local file that no program asked for.
    """
    if isinstance(error, CosfsError):
        number, level = answer_of(error)
        log.log(level, "%s: %s: %s", operation, errno.errorcode[number], error)
        return number
    log.error("%s failed unexpectedly", operation, exc_info=error)
    return errno.ENOMEM if isinstance(error, MemoryError) else errno.EIO
