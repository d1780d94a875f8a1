"""Owns the exception tree of cosfs; must not know anything else (a leaf).

::

    CosfsError(Exception)                deliberately not an OSError: see below
    ├─ ConfigError                       a user's mistake: a sentence, exit code 2
    ├─ FuseUnavailable                   libfuse or /dev/fuse is missing: exit code 5
    ├─ StoreError(message, path, reply)  what any store may answer
    │  ├─ NotFound ─ BucketNotFound
    │  ├─ AlreadyExists ─ SameContentExists
    │  ├─ FolderNotEmpty
    │  ├─ AccessDenied
    │  ├─ BadCredentials ─ SignatureExpired
    │  ├─ BadRequest ─ RangeNotSatisfiable
    │  ├─ UnfinishedUpload ─ UnfinishedOther
    │  ├─ UploadSessionLost
    │  ├─ TooLarge
    │  ├─ QuotaExceeded
    │  ├─ ObjectChanged
    │  ├─ Transient                      may be cured by asking again
    │  │  ├─ RateLimited
    │  │  ├─ ServerFault
    │  │  └─ Unavailable ─ ConnectFailed ─ TlsRefused
    │  │                 ─ RequestTimeout · ConnectionLost
    │  ├─ MalformedReply ─ TruncatedBody
    │  ├─ IntegrityError
    │  ├─ SourceFailed
    │  └─ UnknownReply
    └─ FsError(path)                     decided by the file system, not by a store
       ├─ IsFolder · NotFolder · InvalidName · NameTooLong · InvalidArgument
       ├─ BadHandle · Busy · NoSpace · FileTooLarge · ReadOnlyMount · NotPermitted
       ├─ NoSuchAttribute · AttributeExists · AttributesTooLarge · NotSupported
       ├─ Stale · Interrupted · SpoolFailed
       └─ StoreFailed(cause)

None of them is an ``OSError``, as the FUSE binding reads ``errno`` of every ``OSError`` and returns
garbage where it is ``None``. Which errno a class becomes is said in one table, ``fuse/errnos.py``;
whether a failure is tried again is said by ``jsonapi/retry.py``. Messages are made of data that
may be printed: secrets and signatures never enter an exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class CosfsError(Exception):
    """Root of every error that cosfs raises on purpose."""


class ConfigError(CosfsError):
    """The user asked for something that cannot be: the message says what, and what to do."""


class FuseUnavailable(CosfsError):
    """libfuse 2, /dev/fuse or fusermount is missing or refuses: no mount can be made."""


@dataclass(frozen=True, slots=True)
class ReplyInfo:
    """What a server said, kept as evidence: HTTP status, server code, message, request id.

    ``envelope`` is the whole JSON object as it came, for those who pass it on; it is not shown.
    """

    status: int
    code: int | None = None
    message: str = ""
    request_id: str = ""
    envelope: Mapping[str, object] | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        parts = [f"HTTP {self.status}"]
        if self.code is not None:
            parts.append(f"code {self.code}")
        if self.message:
            parts.append(self.message)
        if self.request_id:
            parts.append(f"request {self.request_id}")
        return ", ".join(parts)


class StoreError(CosfsError):
    """An operation on the object store failed.

    ``what`` is a short sentence without secrets, ``path`` the key or path it was about, ``reply``
    what the server said, if one spoke.
    """

    def __init__(self, what: str, *, path: str = "", reply: ReplyInfo | None = None) -> None:
        self.what = what
        self.path = path
        self.reply = reply
        message = what
        if path:
            message += f": {path!r}"
        if reply is not None:
            message += f" ({reply})"
        super().__init__(message)

    @property
    def reason(self) -> str:
        """The message without the path, for where that stands already."""
        return self.what if self.reply is None else f"{self.what} ({self.reply})"


class NotFound(StoreError):
    """There is no such file or folder."""


class BucketNotFound(NotFound):
    """There is no such bucket at this endpoint."""


class AlreadyExists(StoreError):
    """A file or folder of this name is there already."""


class SameContentExists(AlreadyExists):
    """A file of this name with exactly this content is there already."""


class FolderNotEmpty(StoreError):
    """The folder still holds something."""


class AccessDenied(StoreError):
    """The credentials are good but do not allow this."""


class BadCredentials(StoreError):
    """The server does not accept the signature, the secret id or the appid."""


class SignatureExpired(BadCredentials):
    """The signature was too old when it arrived: mostly a clock that is wrong."""


class BadRequest(StoreError):
    """The server found a parameter, a name or a form invalid."""


class RangeNotSatisfiable(BadRequest):
    """The asked range begins behind the end of the object."""


class UnfinishedUpload(StoreError):
    """An unfinished slice upload of the same content occupies the name: it can be resumed."""


class UnfinishedOther(UnfinishedUpload):
    """An unfinished slice upload of other content occupies the name: only deleting it helps."""


class UploadSessionLost(StoreError):
    """The server does not know (or no longer knows) the slice session."""


class TooLarge(StoreError):
    """The content is larger than the server takes in this way."""


class QuotaExceeded(StoreError):
    """The account or bucket has no room for this."""


class ObjectChanged(StoreError):
    """The object is no longer the version that the caller works on."""


class Transient(StoreError):
    """The failure may pass: the same question may be answered later."""


class RateLimited(Transient):
    """The server asks to go slower."""


class ServerFault(Transient):
    """The server failed inside."""


class Unavailable(Transient):
    """No answer could be had from the server."""


class ConnectFailed(Unavailable):
    """No connection came about: nothing was sent."""


class TlsRefused(ConnectFailed):
    """No trustworthy TLS connection can be had: asking again does not help."""


class RequestTimeout(Unavailable):
    """The server did not answer in time: the request may have been carried out."""


class ConnectionLost(Unavailable):
    """The connection broke after sending began: the request may have been carried out."""


class MalformedReply(StoreError):
    """The reply is not what the protocol promises: not JSON, a field missing or of another type."""


class TruncatedBody(MalformedReply):
    """The body ended before its announced length."""


class IntegrityError(StoreError):
    """Content does not have the digest it should have."""


class SourceFailed(StoreError):
    """The content that was to be stored could not be read on this side."""


class UnknownReply(StoreError):
    """The server gave a code that no known table explains; it is kept, never guessed."""


class FsError(CosfsError):
    """The file system refuses or cannot do something to ``path``."""

    def __init__(self, path: str, hint: str = "") -> None:
        self.path = path
        self.hint = hint
        label = (type(self).__doc__ or type(self).__name__).split("\n", 1)[0].rstrip(".")
        super().__init__(f"{label}: {path!r}" + (f" ({hint})" if hint else ""))


class IsFolder(FsError):
    """Is a folder."""


class NotFolder(FsError):
    """A part of the path is not a folder."""


class InvalidName(FsError):
    """The name cannot be stored."""


class NameTooLong(FsError):
    """The name or the whole key is too long."""


class InvalidArgument(FsError):
    """An argument makes no sense."""


class BadHandle(FsError):
    """The handle is not open, or not open for this."""


class Busy(FsError):
    """In use."""


class NoSpace(FsError):
    """No space left for this."""


class FileTooLarge(FsError):
    """The file would become too large."""


class ReadOnlyMount(FsError):
    """The mount is read-only."""


class NotPermitted(FsError):
    """Not permitted."""


class NoSuchAttribute(FsError):
    """There is no such extended attribute."""


class AttributeExists(FsError):
    """The extended attribute is there already."""


class AttributesTooLarge(FsError):
    """The extended attributes are too large for the server."""


class NotSupported(FsError):
    """Not supported here."""


class Stale(FsError):
    """The object was replaced or removed by someone else."""


class Interrupted(FsError):
    """The calling program was interrupted while it waited."""

    def __init__(self, path: str = "", hint: str = "") -> None:
        super().__init__(path, hint)


class SpoolFailed(FsError):
    """The local disk that holds unstored content failed."""


class StoreFailed(FsError):
    """The content could not be stored.

    ``cause`` says why.
    """

    def __init__(self, path: str, cause: CosfsError) -> None:
        self.cause = cause
        super().__init__(path, hint=str(cause))
