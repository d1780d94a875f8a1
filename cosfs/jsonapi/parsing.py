"""Owns how the server's bodies are read: JSON keys and their types; must not know how they came.

Whatever is not as reference section 3 says becomes ``MalformedReply``; nothing is guessed. Numbers
may be decimal strings, as servers of some years sent them (3.2, 3.12).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import MappingProxyType

from cosfs.errors import MalformedReply, ReplyInfo
from cosfs.jsonapi.replies import (
    Downloaded,
    FileInfo,
    FolderInfo,
    ListedEntry,
    Listing,
    ObjectBody,
    Reply,
    SliceList,
    SlicePart,
    SliceSession,
    UploadedFile,
)

#: Longest text of the server that is kept in an error.
_MESSAGE_MAX = 200
#: Sizes of slices a server may choose, generously (reference 3.7 names 64 KiB to 3 MiB).
_SLICE_SIZE_MAX = 64 * 1024 * 1024

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_SIGNATURE = re.compile(r"[A-Za-z0-9+/%=_-]{80,}")
_NO_DATA: Mapping[str, object] = MappingProxyType({})


def parse_envelope(
    status: int, headers: Mapping[str, str], body: bytes
) -> tuple[Reply | None, ReplyInfo]:
    """Read an answer of the API host: the reply if it is a success, and what to say of it else.

    A body that is no JSON object with a number ``code`` gives ``(None, info without a code)``.
    """
    envelope = _json_object(body)
    code = None if envelope is None else _optional_number(envelope.get("code"))
    if envelope is None or code is None:
        return None, ReplyInfo(status)
    message = _short(envelope.get("message"))
    request_id = _short(envelope.get("request_id"))
    info = ReplyInfo(status, code, message, request_id, envelope)
    if code != 0 or not 200 <= status < 300:
        return None, info
    data = envelope.get("data")
    reply = Reply(
        status=status,
        headers=headers,
        message=message,
        request_id=request_id,
        data=data if isinstance(data, dict) else _NO_DATA,
        envelope=envelope,
    )
    return reply, info


def parse_download_error(status: int, headers: Mapping[str, str], body: bytes) -> ReplyInfo:
    """Read an answer of the download host that carries no content (3.15): any of it may lack."""
    envelope = _json_object(body) or {}
    code = None
    for value in (
        envelope.get("errorcode"),
        envelope.get("retcode"),
        envelope.get("code"),
        headers.get("x-errno"),
    ):
        code = code or _optional_number(value)
    message = _short(envelope.get("errormsg")) or _short(envelope.get("message"))
    return ReplyInfo(status, code or None, message, _short(envelope.get("request_id")))


def parse_downloaded(status: int, headers: Mapping[str, str]) -> tuple[Downloaded, int]:
    """Read the headers of a download; return them and where in the object the body begins.

    Raises:
        MalformedReply: the size of the object cannot be told from them.
    """
    begin = 0
    if status == 206:
        match = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
        if match is None:
            raise MalformedReply(
                "a part of an object without a Content-Range", reply=ReplyInfo(status)
            )
        begin, total = int(match[1]), int(match[3])
    else:
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            raise MalformedReply("a download without Content-Length", reply=ReplyInfo(status))
        total = int(length)
    downloaded = Downloaded(
        total_size=total,
        etag=_etag(headers),
        last_modified=headers.get("last-modified", ""),
        headers=headers,
    )
    return downloaded, begin


def parse_object_body(status: int, headers: Mapping[str, str]) -> ObjectBody:
    """Read the headers of a download that asked for anything, a range of its own words included.

    Raises:
        MalformedReply: nothing in them tells where the body ends.
    """
    length = headers.get("content-length", "")
    size = int(length) if length.isascii() and length.isdigit() else None
    if headers.get("transfer-encoding", "").lower() == "chunked":
        size = None
    elif size is None:
        raise MalformedReply("a download without Content-Length", reply=ReplyInfo(status))
    begin: int | None = 0
    total = size
    if status == 206:
        # Several ranges at once have none of their own here.
        match = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
        begin, total = (int(match[1]), int(match[3])) if match else (None, None)
        if match:
            size = int(match[2]) - int(match[1]) + 1
    return ObjectBody(begin, size, total, _etag(headers), headers.get("last-modified", ""))


def _etag(headers: Mapping[str, str]) -> str:
    return headers.get("etag", "").strip().removeprefix("W/").strip('"')


def parse_file(reply: Reply) -> FileInfo:
    """Read the answer of stat about a file (3.12)."""
    data = reply.data
    filesize = _number(data, "filesize")
    return FileInfo(
        biz_attr=_text(data, "biz_attr", ""),
        ctime=_number(data, "ctime"),
        mtime=_number(data, "mtime"),
        filesize=filesize,
        filelen=_number(data, "filelen", filesize),
        sha=_text(data, "sha", "").lower(),
        slicesize=_number(data, "slicesize", 0),
        authority=_text(data, "authority", "") or "eInvalid",
        forbid=_number(data, "forbid", 0),
        custom_headers=_headers(data),
        access_url=_text(data, "access_url", ""),
        source_url=_text(data, "source_url", ""),
    )


def parse_folder(reply: Reply) -> FolderInfo:
    """Read the answer of stat about a folder (3.2)."""
    data = reply.data
    return FolderInfo(
        biz_attr=_text(data, "biz_attr", ""),
        ctime=_number(data, "ctime"),
        mtime=_number(data, "mtime"),
    )


def parse_listing(reply: Reply) -> Listing:
    """Read one page (3.4)."""
    infos = reply.data.get("infos")
    if not isinstance(infos, list):
        raise _wrong("infos", infos)
    listover = _flag(reply.data, "listover")
    context = _text(reply.data, "context", "")
    if not listover and not context:
        raise MalformedReply("a page that is not the last has no context")
    return Listing(tuple(_entry(info) for info in infos), context, listover)


def _entry(info: object) -> ListedEntry:
    if not isinstance(info, dict):
        raise _wrong("infos", info)
    name = _text(info, "name")
    is_folder = name.endswith("/") or not ("filesize" in info or "access_url" in info)
    filesize = 0 if is_folder else _number(info, "filesize")
    return ListedEntry(
        name=name.removesuffix("/"),
        is_folder=is_folder,
        ctime=_number(info, "ctime", 0),
        mtime=_number(info, "mtime", 0),
        filesize=filesize,
        filelen=0 if is_folder else _number(info, "filelen", filesize),
        sha=_text(info, "sha", "").lower(),
        authority="" if is_folder else _text(info, "authority", "") or "eInvalid",
        access_url=_text(info, "access_url", ""),
        source_url=_text(info, "source_url", ""),
    )


def parse_uploaded(reply: Reply) -> UploadedFile:
    """Read the answer of an upload that is complete (3.6)."""
    data = reply.data
    return UploadedFile(
        access_url=_text(data, "access_url"),
        source_url=_text(data, "source_url", ""),
        url=_text(data, "url", ""),
        resource_path=_text(data, "resource_path", ""),
        envelope=reply.envelope,
    )


def parse_slice_init(reply: Reply) -> SliceSession | UploadedFile:
    """Read the answer of a slice upload's begin (3.7): no session means an instant upload."""
    data = reply.data
    if "session" not in data and "access_url" in data:
        return parse_uploaded(reply)
    return SliceSession(
        session=_text(data, "session"),
        slice_size=_slice_size(data),
        serial=_number(data, "serial_upload", 0) == 1,
    )


def parse_slice_data(reply: Reply) -> UploadedFile | None:
    """Read the answer of one slice (3.9): old servers complete the file with the last one."""
    return parse_uploaded(reply) if "access_url" in reply.data else None


def parse_slice_list(reply: Reply) -> SliceList | UploadedFile:
    """Read the answer of slice list (3.11): without a session the file is complete."""
    data = reply.data
    if "session" not in data and "access_url" in data:
        return parse_uploaded(reply)
    parts = data.get("listparts", [])
    if isinstance(parts, str):  # the documentation's table calls it a string
        parts = _json_list(parts)
    if not isinstance(parts, list):
        raise _wrong("listparts", parts)
    return SliceList(
        session=_text(data, "session"),
        slice_size=_slice_size(data),
        filesize=_number(data, "filesize"),
        # Servers may append a suffix after an underscore (3.11).
        sha=_text(data, "sha", "").partition("_")[0].lower(),
        parts=tuple(_part(part) for part in parts),
        serial=_number(data, "serial_upload", 0) == 1,
    )


def _part(part: object) -> SlicePart:
    if not isinstance(part, dict):
        raise _wrong("listparts", part)
    return SlicePart(_number(part, "offset"), _number(part, "datalen"))


def _slice_size(data: Mapping[str, object]) -> int:
    size = _number(data, "slice_size")
    if not 0 < size <= _SLICE_SIZE_MAX:
        raise MalformedReply(f"a slice size of {size}")
    return size


def _headers(data: Mapping[str, object]) -> Mapping[str, str]:
    headers = data.get("custom_headers")
    if isinstance(headers, str) and headers:  # Java and JS clients meet it as text (3.0)
        headers = _json_object(headers.encode(errors="replace"))
        if headers is None:
            raise _wrong("custom_headers", headers)
    if not headers:
        return MappingProxyType({})
    if not isinstance(headers, dict):
        raise _wrong("custom_headers", headers)
    found = {}
    for name, value in headers.items():
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise _wrong("custom_headers", value)
        found[name] = str(value)
    return MappingProxyType(found)


def _text(data: Mapping[str, object], name: str, default: str | None = None) -> str:
    value = data.get(name)
    if isinstance(value, str):
        return value
    if value is None and default is not None:
        return default
    raise _wrong(name, value)


def _number(data: Mapping[str, object], name: str, default: int | None = None) -> int:
    value = data.get(name)
    number = _optional_number(value)
    if number is not None and number >= 0:
        return number
    if value is None and default is not None:
        return default
    raise _wrong(name, value)


def _optional_number(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and len(value) <= 20:
        digits = value.strip().removeprefix("-")
        if digits.isascii() and digits.isdigit():
            return int(value)
    return None


def _flag(data: Mapping[str, object], name: str) -> bool:
    value = data.get(name)
    if isinstance(value, bool):
        return value
    number = _optional_number(value)
    if number in (0, 1):
        return number == 1
    raise _wrong(name, value)


def _wrong(name: str, value: object) -> MalformedReply:
    if value is None:
        return MalformedReply(f"the reply lacks {name!r}")
    return MalformedReply(f"{name!r} of the reply is no such value: {type(value).__name__}")


def _json_object(body: bytes) -> dict[str, object] | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _json_list(text: str) -> object:
    try:
        return json.loads(text) if text else []
    except (ValueError, RecursionError):
        return None


def _short(value: object) -> str:
    """Return a text of the server for an error: bounded, and without a signature it may quote."""
    return _SIGNATURE.sub("...", value)[:_MESSAGE_MAX] if isinstance(value, str) else ""
