"""Downloads, up to the point where bytes are sent.

Owns who may read, ranges, and the headers of a reply (3.15 and 4.6 of the protocol notes); must not
know how a reply is sent.
"""

import functools
import re
from dataclasses import dataclass
from email.utils import formatdate

from cosfs.server import codes
from cosfs.server.addresses import Target
from cosfs.server.calls import Context
from cosfs.server.codes import Code, Refusal
from cosfs.server.objects import INHERITED, PUBLIC_READ, StoredObject
from cosfs.server.signatures import Verifier

DEFAULT_CONTENT_TYPE = "application/octet-stream"

_RANGE = re.compile(r"^bytes=(\d{0,30})-(\d{0,30})\Z", re.ASCII)

# What a refused signature becomes on a download host (6.5): these codes, with HTTP 403.
_SIGNATURE_CODES = {
    codes.SIGN_EXPIRED: codes.DOWNLOAD_EXPIRED,
    codes.SIGN_EXPIRED_NEWEST: codes.DOWNLOAD_EXPIRED,
    codes.NO_BUCKET: codes.DOWNLOAD_NO_BUCKET,
}


@dataclass(frozen=True)
class Download:
    """A reply: status, headers, and which bytes of which file."""

    status: int
    headers: dict[str, str]
    path: str
    start: int
    length: int


class UnsatisfiableRange(Refusal):
    """A range beyond the end; the reply tells the size."""

    def __init__(self, size: int) -> None:
        super().__init__(codes.DOWNLOAD_BAD_RANGE, "the range is beyond the end")
        self.size = size


def plan_download(
    context: Context, verifier: Verifier, target: Target, sign: str, range_header: str
) -> Download:
    """Decide what a GET or HEAD is answered with.

    Public-read files need no signature, and none is checked for them.

    Raises:
        Refusal: a code of 4.6.
    """
    if target.appid != context.account.appid:
        raise Refusal(codes.DOWNLOAD_NO_APPID, "the appid is not served here")
    authority = context.state.buckets().get(target.bucket)
    if authority is None:
        raise Refusal(codes.DOWNLOAD_NO_BUCKET, "no such bucket")
    entry = context.state.find(target.bucket, target.key)
    if entry is not None and entry.authority != INHERITED:
        authority = entry.authority
    if authority != PUBLIC_READ:
        try:
            verifier.verify(sign, target, context.clock())
        except Refusal as refusal:
            code = _SIGNATURE_CODES.get(refusal.code, codes.DOWNLOAD_REFUSED)
            raise Refusal(code, str(refusal)) from refusal
    return _build(context, _check(entry), range_header)


def _check(entry: StoredObject | None) -> StoredObject:
    if entry is None or entry.is_folder:
        raise Refusal(codes.DOWNLOAD_NO_FILE, "no such file")
    if entry.is_unfinished:
        raise Refusal(codes.DOWNLOAD_UNFINISHED, "the upload is not finished")
    if entry.forbid & 1:
        raise Refusal(codes.DOWNLOAD_REFUSED, "the file is banned from being read")
    return entry


def _build(context: Context, entry: StoredObject, range_header: str) -> Download:
    start, end = 0, entry.size
    status = 200
    headers = {
        "Content-Type": DEFAULT_CONTENT_TYPE,
        "ETag": f'"{entry.sha}"',
        "Last-Modified": _format_time(entry.mtime),
        "Accept-Ranges": "bytes",
    }
    headers.update((name, value) for name, value in entry.headers.items() if value)
    wanted = _read_range(range_header, entry.size)
    if wanted is not None:
        start, end = wanted
        status = 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{entry.size}"
    path = context.state.files.path(entry.content or "")
    return Download(status, headers, path, start, end - start)


@functools.lru_cache(maxsize=1024)
def _format_time(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def _read_range(header: str, size: int) -> tuple[int, int] | None:
    """Return start and end of a range; None when the whole file is to be sent.

    Other units, several ranges and reversed ones are ignored, as RFC 9110 lets a server do.
    """
    match = _RANGE.match(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = min(int(match[2]), size)
        if not length:
            raise UnsatisfiableRange(size)
        return size - length, size
    start = int(match[1])
    last = int(match[2]) if match[2] else size - 1
    if match[2] and last < start:
        return None
    if start >= size:
        raise UnsatisfiableRange(size)
    return start, min(last + 1, size)


def download_error_body(code: Code, detail: str) -> dict[str, object]:
    """Build the body of a refused download, in the shape of an older service generation."""
    return {"errorcode": code.number, "errormsg": code.name or detail, "retcode": code.number}
