"""Owns how each operation is asked: method, path, JSON keys and form fields; must not know HTTP.

Together with ``parsing`` the only place with the server's JSON key names. Encodings are those of
the official Python SDK (reference 3.0 and 5.6), which every server of this protocol takes.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cosfs.errors import BadRequest
from cosfs.jsonapi.multipart import SourcePart
from cosfs.jsonapi.replies import SlicePart
from cosfs.model import Source

#: Largest content of a single upload (reference 3.6).
UPLOAD_LIMIT = 20 * 1024 * 1024
#: Slice size of uploads with a digest list, and the usual one without (reference 3.7).
SLICE_SIZE = 1024 * 1024
#: Largest page that some server takes, and the one that every server takes (reference 3.4).
PAGE_MAX = 1000
PAGE_SAFE = 199


class Signing(enum.Enum):
    """Which kind of signature a request carries (reference 2.4)."""

    ONCE = "once"
    MORE = "more"
    DOWNLOAD = "download"


class Effect(enum.Enum):
    """What repeating a request does."""

    #: Changes nothing.
    READ = "read"
    #: A second time leaves what the first time left.
    IDEMPOTENT = "idempotent"
    #: The second time is answered otherwise, or undoes someone else's work.
    CHANGE = "change"


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One operation, not yet signed and not bound to a host.

    ``cos_path`` begins with a slash; ``key`` is the name for messages. At most one of ``body``
    (JSON text) and ``fields`` (multipart, with ``content`` as its last part) is given.
    """

    op: str
    method: str
    bucket: str
    key: str
    cos_path: str
    signing: Signing
    effect: Effect
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    fields: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    content: SourcePart | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = ()


def file_path(key: str) -> str:
    """Return the server's path of a file key (``a/b.txt``).

    Raises:
        BadRequest: it cannot be sent as it is: an HTTP library or the server would change it.
    """
    if not key or key.endswith("/"):
        raise BadRequest("no key of a file", path=key)
    return _path(key)


def folder_path(key: str) -> str:
    """Return the server's path of a folder key (``a/b/``; the root is empty). Raises BadRequest."""
    if key and not key.endswith("/"):
        raise BadRequest("no key of a folder", path=key)
    return _path(key)


def _path(key: str) -> str:
    _checked_text(key, "the key", key)
    segments = key.removesuffix("/").split("/") if key else []
    # Empty segments are collapsed by the server (1.3), dots by HTTP libraries (6.1).
    if any(segment in ("", ".", "..") for segment in segments):
        raise BadRequest("the key has an empty, '.' or '..' part", path=key)
    return f"/{key}"


def _checked_text(value: str, name: str, key: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"{name} is not UTF-8", path=key) from None
    return value


def _json_request(
    op: str, bucket: str, key: str, path: str, signing: Signing, effect: Effect, **body: object
) -> ApiRequest:
    text = json.dumps({**body, "op": op}, ensure_ascii=True)
    return ApiRequest(op, "POST", bucket, key, path, signing, effect, body=text.encode("ascii"))


def stat(bucket: str, key: str, path: str) -> ApiRequest:
    """Ask for a file's or folder's facts (3.2, 3.12): the trailing slash alone selects which."""
    query = (("op", "stat"),)
    return ApiRequest("stat", "GET", bucket, key, path, Signing.MORE, Effect.READ, query)


def create_folder(bucket: str, key: str, biz_attr: str) -> ApiRequest:
    """Make a folder's marker (3.1)."""
    path = folder_path(key)
    _checked_text(biz_attr, "biz_attr", key)
    return _json_request(
        "create", bucket, key, path, Signing.MORE, Effect.CHANGE, biz_attr=biz_attr
    )


def update(
    bucket: str,
    key: str,
    path: str,
    *,
    biz_attr: str | None = None,
    authority: str | None = None,
    custom_headers: Mapping[str, str] | None = None,
    forbid: int | None = None,
) -> ApiRequest:
    """Set what is not ``None`` (3.3, 3.13); given custom headers replace all that there were."""
    body: dict[str, object] = {}
    if biz_attr is not None:
        body["biz_attr"] = _checked_text(biz_attr, "biz_attr", key)
    if authority is not None:
        body["authority"] = _checked_text(authority, "authority", key)
    if custom_headers is not None:
        for name, value in custom_headers.items():
            _checked_text(name + value, f"the header {name!r}", key)
        body["custom_headers"] = dict(custom_headers)
    if forbid is not None:
        body["forbid"] = forbid
    return _json_request("update", bucket, key, path, Signing.ONCE, Effect.IDEMPOTENT, **body)


def delete(bucket: str, key: str, path: str) -> ApiRequest:
    """Delete a file or a folder's marker (3.5)."""
    return _json_request("delete", bucket, key, path, Signing.ONCE, Effect.CHANGE)


def list_folder(
    bucket: str, key: str, *, prefix: str, context: str, num: int, delimiter: str | None
) -> ApiRequest:
    """Ask for a page of a listing (3.4); the prefix is glued to the path and signed with it."""
    path = folder_path(key) + _checked_text(prefix, "the prefix", key)
    if "/" in prefix:
        raise BadRequest("a prefix cannot hold a slash", path=key)
    query = [("op", "list"), ("num", str(num)), ("context", _checked_text(context, "context", key))]
    if delimiter is not None:
        query.append(("delimiter", _checked_text(delimiter, "the delimiter", key)))
    return ApiRequest("list", "GET", bucket, key, path, Signing.MORE, Effect.READ, tuple(query))


def move_or_copy(
    op: str, bucket: str, key: str, dest_key: str, *, overwrite: bool, spelling: str = ""
) -> ApiRequest:
    """Move or copy a file inside the bucket (3.14): all in the query, as the official SDK.

    ``spelling`` is how to name ``dest_key`` to the server instead of by its path: relative to the
    folder of ``key``.
    """
    path = file_path(dest_key)
    query = (
        ("op", op),
        ("dest_fileid", spelling or path),
        ("to_over_write", "1" if overwrite else "0"),
    )
    effect = Effect.IDEMPOTENT if op == "copy" and overwrite else Effect.CHANGE
    return ApiRequest(op, "POST", bucket, key, file_path(key), Signing.ONCE, effect, query)


def _form(
    op: str,
    bucket: str,
    key: str,
    effect: Effect,
    fields: Sequence[tuple[str, str]] = (),
    content: SourcePart | None = None,
) -> ApiRequest:
    for name, value in fields:
        _checked_text(value, name, key)
    return ApiRequest(
        op,
        "POST",
        bucket,
        key,
        file_path(key),
        Signing.MORE,
        effect,
        fields=(("op", op), *fields),
        content=content,
    )


def upload(
    bucket: str, key: str, source: Source, *, sha: str, biz_attr: str, insert_only: bool
) -> ApiRequest:
    """Store a file with one request (3.6)."""
    return _form(
        "upload",
        bucket,
        key,
        Effect.CHANGE if insert_only else Effect.IDEMPOTENT,
        [("sha", sha), ("biz_attr", biz_attr), ("insertOnly", "1" if insert_only else "0")],
        SourcePart("filecontent", source, 0, source.size),
    )


def slice_init(
    bucket: str,
    key: str,
    *,
    filesize: int,
    slice_size: int,
    sha: str | None,
    uploadparts: Sequence[SlicePart] | None,
    biz_attr: str,
    insert_only: bool,
) -> ApiRequest:
    """Begin a slice upload (3.7); ``sha`` and ``uploadparts`` belong together.

    Without them a repetition starts over what was begun (6.5), so it is harmless.
    """
    fields = [
        ("filesize", str(filesize)),
        ("slice_size", str(slice_size)),
        ("biz_attr", biz_attr),
        ("insertOnly", "1" if insert_only else "0"),
    ]
    if sha is not None:
        fields.append(("sha", sha))
    if uploadparts is not None:
        parts = [
            {"offset": part.offset, "datalen": part.length, "datasha": part.digest}
            for part in uploadparts
        ]
        fields.append(("uploadparts", json.dumps(parts)))
    effect = Effect.IDEMPOTENT if sha is None else Effect.CHANGE
    return _form("upload_slice_init", bucket, key, effect, fields)


def slice_data(
    bucket: str,
    key: str,
    session: str,
    content_offset: int,
    source: Source,
    length: int,
    sha: str | None,
) -> ApiRequest:
    """Send one slice (3.9); a slice that is there already is written over."""
    fields = [("session", session), ("offset", str(content_offset))]
    if sha is not None:
        fields.append(("sha", sha))
    content = SourcePart("filecontent", source, content_offset, length)
    return _form("upload_slice_data", bucket, key, Effect.IDEMPOTENT, fields, content)


def slice_finish(
    bucket: str, key: str, session: str, filesize: int, sha: str | None
) -> ApiRequest:
    """End a slice upload (3.10); ``sha`` is mandatory when the beginning carried it."""
    fields = [("session", session), ("filesize", str(filesize))]
    if sha is not None:
        fields.append(("sha", sha))
    return _form("upload_slice_finish", bucket, key, Effect.CHANGE, fields)


def slice_list(bucket: str, key: str) -> ApiRequest:
    """Ask which slices of an unfinished upload are there (3.11)."""
    return _form("upload_slice_list", bucket, key, Effect.READ)


def download(bucket: str, key: str, *, offset: int, length: int) -> ApiRequest:
    """Ask for bytes of a file (3.15); ``length`` is at least 1."""
    return ApiRequest(
        "download",
        "GET",
        bucket,
        key,
        file_path(key),
        Signing.DOWNLOAD,
        Effect.READ,
        headers=(("Range", f"bytes={offset}-{offset + length - 1}"),),
    )


def download_from(
    bucket: str,
    key: str,
    *,
    first: int = 0,
    last: int | None = None,
    headers: Sequence[tuple[str, str]] = (),
) -> ApiRequest:
    """Ask for a file from byte ``first`` to ``last`` inclusive, its end if ``None`` (3.15).

    The whole is asked for without ``Range``; ``headers`` go along and may have one of their own.
    """
    sent = tuple(headers)
    if first or last is not None:
        sent += (("Range", f"bytes={first}-{'' if last is None else last}"),)
    path = file_path(key)
    return ApiRequest(
        "download", "GET", bucket, key, path, Signing.DOWNLOAD, Effect.READ, headers=sent
    )


def head(bucket: str, key: str) -> ApiRequest:
    """Ask for the headers of a download (3.15)."""
    path = file_path(key)
    return ApiRequest("download", "HEAD", bucket, key, path, Signing.DOWNLOAD, Effect.READ)
