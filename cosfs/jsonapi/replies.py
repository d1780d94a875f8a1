"""Owns the frozen values that the server's replies become; must not know JSON keys or HTTP.

Times are Unix seconds of the server's clock, sizes are bytes, digests lower-case SHA-1 hex.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_NOTHING: Mapping[str, str] = MappingProxyType({})
_NO_ENVELOPE: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful answer of the API host.

    ``headers`` have lower-case names; ``data`` is the object of that name, empty if there was none;
    ``envelope`` is the whole JSON object as it came.
    """

    status: int
    headers: Mapping[str, str]
    message: str
    request_id: str
    data: Mapping[str, object]
    envelope: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What the server knows about a file (reference 3.12).

    ``filelen`` < ``filesize`` marks an upload that is not finished. ``sha`` may be empty for one.
    ``authority`` is ``eInvalid`` where the bucket's applies; ``forbid`` is a bit set, 0 normal.
    """

    biz_attr: str
    ctime: int
    mtime: int
    filesize: int
    filelen: int
    sha: str
    slicesize: int
    authority: str
    forbid: int
    custom_headers: Mapping[str, str]
    access_url: str
    source_url: str

    @property
    def is_complete(self) -> bool:
        return self.filelen == self.filesize


@dataclass(frozen=True, slots=True)
class FolderInfo:
    """What the server knows about a folder that has a marker (reference 3.2)."""

    biz_attr: str
    ctime: int
    mtime: int


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """One name of a listing (reference 3.4), relative to the listed folder, no trailing slash.

    Times of a folder are 0 where the server gives none; the fields of files are 0 or empty for a
    folder. In a recursive listing names hold slashes.
    """

    name: str
    is_folder: bool
    ctime: int
    mtime: int
    filesize: int
    filelen: int
    sha: str
    authority: str
    access_url: str
    source_url: str


@dataclass(frozen=True, slots=True)
class Listing:
    """One page. ``listover`` alone tells the end: a page may be empty although more follows."""

    entries: tuple[ListedEntry, ...]
    context: str
    listover: bool


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file that is complete on the server (reference 3.6).

    ``envelope`` is the server's whole answer, empty where stat had to tell instead of it.
    """

    access_url: str
    source_url: str
    url: str
    resource_path: str
    envelope: Mapping[str, object] = field(
        default_factory=lambda: _NO_ENVELOPE, repr=False, compare=False
    )


@dataclass(frozen=True, slots=True)
class SliceSession:
    """A slice upload that was begun. ``slice_size`` is the server's and must be used."""

    session: str
    slice_size: int
    serial: bool


@dataclass(frozen=True, slots=True)
class SlicePart:
    """A slice: as described to the server with its ``digest`` (3.8), or as held by it (3.11)."""

    offset: int
    length: int
    digest: str = ""


@dataclass(frozen=True, slots=True)
class SliceList:
    """An unfinished slice upload and the slices that the server holds of it."""

    session: str
    slice_size: int
    filesize: int
    sha: str
    parts: tuple[SlicePart, ...]
    serial: bool = False


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What a download said about the object. ``headers`` have lower-case names.

    ``etag`` is without quotes, ``last_modified`` as it came; both may be empty.
    """

    total_size: int
    etag: str
    last_modified: str
    headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class ObjectBody:
    """The body of a download that is still on the wire: which bytes of which version it holds.

    ``begin`` and ``size`` are bytes; ``None`` is what the headers do not tell. ``total`` is the
    length of the whole object.
    """

    begin: int | None
    size: int | None
    total: int | None
    etag: str
    last_modified: str

    @property
    def version(self) -> tuple[int | None, str, str]:
        return self.total, self.etag, self.last_modified


@dataclass(frozen=True, slots=True)
class OpCount:
    """What was sent and received for one kind of operation, failed attempts included."""

    requests: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
