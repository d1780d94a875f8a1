"""Where a request goes.

Owns turning the request line and the Host header into a target and the query into parameters:
decoding, collapsing slashes, virtual hosts and path style; must not know signatures or state.

Source: sections 1.2-1.4 and 3.15 of the protocol notes.
"""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote_plus, unquote_to_bytes

from cosfs.server import codes
from cosfs.server.codes import Refusal

Kind = Literal["api", "buckets", "download", "control", "nowhere"]

_BUCKET_HOST = re.compile(r"^([a-z0-9][a-z0-9-]*)-([0-9]+)\.")
_BUCKET_SEGMENT = re.compile(r"^([a-z0-9][a-z0-9-]*)-([0-9]+)\Z")
_SLASHES = re.compile(r"/{2,}")
_BASE_HOST = re.compile(r"^[A-Za-z0-9.\-]+(:\d+)?$|^\[[0-9a-fA-F:.]+\](:\d+)?$")
_PLAIN = re.compile(r"^[A-Za-z0-9_.~/-]*\Z")
# Of a query or an urlencoded body, which may have 16 MiB: millions would hold up everybody else.
MAX_FIELDS = 1000
# Object storage of the vendor does not take ASCII 24-27 in a key (6.1).
_REFUSED = re.compile("[\x18-\x1b]")


@dataclass(frozen=True, slots=True)
class Target:
    """What a request names; `path` is decoded, begins with `/` and is relative to the bucket."""

    kind: Kind
    appid: str
    bucket: str
    path: str

    @property
    def key(self) -> bytes:
        """The key of the object or folder marker: the path without its first slash."""
        return self.path[1:].encode()

    @property
    def full_path(self) -> str:
        """The path as the `f` field of an API signature spells it."""
        return f"/{self.appid}/{self.bucket}{self.path}"


def parse_target(raw_path: str, host: str, served_appid: str) -> Target:
    """Find out what a request names.

    A host `<bucket>-<appid>.<anything>` is a download, whatever its path, unless its appid is not
    the served one and the path is an API path (the machine itself may have such a name).

    Args:
        raw_path: the request target without its query, still percent-encoded.
        host: the Host header, maybe empty.
    Raises:
        Refusal: -147 when the path is not UTF-8, -180 when it holds a character no key may have.
    """
    path = _decode_path(raw_path)
    match = _BUCKET_HOST.match(host.lower())
    is_api_path = path.startswith(("/files/v2/", "/_server/"))
    if match and (match[2] == served_appid or not is_api_path):
        return Target("download", match[2], match[1], path)
    if path.startswith("/files/v2/"):
        segments = path.split("/", 5)
        appid = segments[3]
        bucket = segments[4] if len(segments) > 4 else ""
        rest = "/" + segments[5] if len(segments) > 5 else "/"
        return Target("api" if bucket else "buckets", appid, bucket, rest)
    if path.startswith("/_server/"):
        return Target("control", "", "", path)
    first, _, rest = path[1:].partition("/")
    match = _BUCKET_SEGMENT.match(first)
    if match:
        return Target("download", match[2], match[1], "/" + rest)
    return Target("nowhere", "", "", path)


def _decode_path(raw_path: str) -> str:
    if not raw_path.startswith("/"):
        # The absolute form, which a client behind a proxy sends.
        raw_path = "/" + raw_path.partition("://")[2].partition("/")[2]
    try:
        path = unquote_to_bytes(raw_path.encode("utf-8", "surrogateescape")).decode()
    except UnicodeDecodeError:
        raise Refusal(codes.PATH_NOT_UTF8, "the path is not UTF-8") from None
    return normalise_path(path)


def normalise_path(path: str) -> str:
    """Collapse slashes in a decoded path.

    Raises:
        Refusal: -180 when it holds a character no key may have.
    """
    if _REFUSED.search(path):
        raise Refusal(codes.PATH_INVALID, "the path holds one of the characters 0x18 to 0x1B")
    return _SLASHES.sub("/", path)


def parse_query(query: str) -> dict[str, str]:
    """Read a query string; names come out in lower case, the last of equal names wins.

    The value of `sign` keeps its `+`: SDKs paste raw base64 there (1.4).

    Raises:
        Refusal: -5999 when a value is not UTF-8, or there are far too many.
    """
    if query.count("&") > MAX_FIELDS:
        raise Refusal(codes.BAD_PARAMETER, f"more than {MAX_FIELDS} fields")
    fields: dict[str, str] = {}
    for piece in query.split("&"):
        if not piece:
            continue
        name, _, value = piece.partition("=")
        name = name.lower()
        try:
            if name == "sign":
                fields[name] = unquote_to_bytes(value).decode("ascii").replace(" ", "+")
            else:
                fields[name] = unquote_plus(value, errors="strict")
                fields[name].encode()
        except UnicodeError:
            raise Refusal(codes.BAD_PARAMETER, f"{name!r} is not text") from None
    return fields


def build_base_url(host: str, fallback: str) -> str:
    """Build `http://HOST:PORT` as the client spelt it, or `fallback` when that is no address."""
    if host and len(host) <= 255 and _BASE_HOST.match(host) and not _BUCKET_HOST.match(host):
        return f"http://{host}"
    return fallback


def quote_path(path: str) -> str:
    """Percent-encode a path; most names need nothing, and a listing has many."""
    return path if _PLAIN.match(path) else quote(path, safe="/~")


def build_download_base(base_url: str, suffix: str, appid: str, bucket: str) -> str:
    """Build the address that downloads of a bucket begin with.

    It leads to this server: path style without a suffix, the host `<bucket>-<appid>.<suffix>`
    with one.
    """
    return f"http://{bucket}-{appid}.{suffix}" if suffix else f"{base_url}/{bucket}-{appid}"


def build_urls(
    base_url: str, suffix: str, appid: str, bucket: str, path: str
) -> dict[str, str]:
    """Build the four addresses of a file that uploads answer with (3.6).

    The three URLs are percent-encoded, `resource_path` is raw.
    """
    quoted = quote_path(path)
    download = build_download_base(base_url, suffix, appid, bucket) + quoted
    return {
        "access_url": download,
        "resource_path": f"/{appid}/{bucket}{path}",
        "source_url": download,
        "url": f"{base_url}/files/v2/{appid}/{bucket}{quoted}",
    }
