"""Owns the checks of parameters and their messages; must not know requests or the server.

Every check returns ``None`` for what is good and else the sentence that says what is wrong, in the
words of the official SDK where it has one (reference 5.4).
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping

from cosfs.config import valid_bucket
from cosfs.errors import ConfigError

MIN_SLICE_SIZE = 64 * 1024
MAX_SLICE_SIZE = 3 * 1024 * 1024
#: The one slice size for which digests of slices exist (reference 3.7).
DIGEST_SLICE_SIZE = 1024 * 1024

AUTHORITIES = ("", "eInvalid", "eWRPrivate", "eWPrivateRPublic")
META_PREFIX = "x-cos-meta-"

_INTEGER_END = 2**63
#: Longest key in bytes (reference 6.1).
_KEY_MAX = 850
#: What the documented client refuses, and the characters that the service does not take (6.1).
_ILLEGAL_LETTERS = ("?", "*", ":", "|", "\\", "<", ">", '"', "\x18", "\x19", "\x1a", "\x1b")
_BLANK_PART = re.compile(r"/\s*/", re.ASCII)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
#: Headers of a download that are the client's own.
_OWN_HEADERS = frozenset(
    {"authorization", "host", "content-length", "transfer-encoding", "connection", "expect"}
)


def text(name: str, value: object) -> str | None:
    """Check that ``value`` is a text that can be sent."""
    if value is None:
        return f"{name} is None!"
    if not isinstance(value, str):
        return f"{name} is not unicode!"
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"{name} is not UTF-8!"
    return None


def integer(name: str, value: object) -> str | None:
    """Check that ``value`` is an int that a server could read."""
    if value is None:
        return f"{name} is None!"
    if not isinstance(value, int):
        return f"{name} is not int!"
    # Larger ones mean nothing, and Python itself does not write very large ones.
    return None if abs(value) < _INTEGER_END else f"{name} is too large!"


def bucket(value: str) -> str | None:
    """Check that a text can be a bucket's name (reference 6.1)."""
    try:
        valid_bucket(value)
    except ConfigError as error:
        return f"bucket is not valid: {error}"
    return None


def cos_path(value: str, *, is_file: bool, label: str = "cos_path") -> str | None:
    """Check the path of a file (``/a/b.txt``) or of a folder (``/a/b/``)."""
    words = label.replace("_", " ")
    if not value.startswith("/"):
        return f"{words} must start with /"
    if is_file and value.endswith("/"):
        return f"for file operation, {label} must not end with /"
    if not is_file and not value.endswith("/"):
        return f"for folder operation, {label} must end with /"
    for letter in _ILLEGAL_LETTERS:
        if letter in value:
            shown = letter if letter.isprintable() else ascii(letter)
            return f"{words} contain illegal letter {shown}"
    if _BLANK_PART.search(value):
        return f"{words} contain illegal letter / /"
    if not {".", ".."}.isdisjoint(value.split("/")):
        return f"{words} contain a part . or .., which is no name"
    if len(value.encode()) > _KEY_MAX + 1:
        return f"{words} is longer than {_KEY_MAX} bytes"
    return None


def not_root(value: str) -> str | None:
    """Check that a path is not the root, which no call of this API changes."""
    if value != "/":
        return None
    return (
        "bucket operation is not supported by sdk,"
        " please use cos console: https://console.qcloud.com/cos"
    )


def local_text(name: str, value: object) -> str | None:
    """Check that ``value`` is a text; which names are good is the file system's to say."""
    if value is None:
        return f"{name} is None!"
    return None if isinstance(value, str) else f"{name} is not unicode!"


def local_file(path: str) -> str | None:
    """Check that there is a file that can be read."""
    if not os.path.exists(path):
        return f"local_file {path} not exist!"
    if not os.path.isfile(path):
        return f"local_file {path} is not regular file!"
    if not os.access(path, os.R_OK):
        return f"local_file {path} is not readable!"
    return None


def local_name(name: str, value: str) -> str | None:
    """Check that a file could have this name."""
    try:
        is_good = value != "" and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        is_good = False
    return None if is_good else f"{name} is no name of a file!"


def content(name: str, value: object) -> str | None:
    """Check that there are bytes, or a binary file object that can seek."""
    if value is None:
        return f"{name} is None!"
    if hasattr(value, "read"):
        if isinstance(value, io.TextIOBase):
            return f"{name} is not bytes!"
        return None if _can_seek(value) else f"{name} cannot seek: read it into memory first!"
    try:
        memoryview(value).cast("B")  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return f"{name} is not bytes!"
    return None


def _can_seek(value: object) -> bool:
    try:
        return bool(value.seekable())  # type: ignore[attr-defined]
    except (AttributeError, ValueError):
        return False


def insert_only(value: object) -> str | None:
    """Check the switch that is 1 to fail when there is a file, 0 to replace it."""
    return None if value in (0, 1) else "insert_only only support 0 and 1"


def slice_size(value: int, *, with_sha1: bool) -> str | None:
    """Check the size of a slice in bytes."""
    if with_sha1 and value != DIGEST_SLICE_SIZE:
        return "slice_size is invalid, slice must be 1MB with enable_sha1"
    if not MIN_SLICE_SIZE <= value <= MAX_SLICE_SIZE:
        return f"slice_size is invalid, only accept [{MIN_SLICE_SIZE}, {MAX_SLICE_SIZE}]"
    return None


def authority(value: str) -> str | None:
    """Check who may read and write a file."""
    if value in AUTHORITIES:
        return None
    return "file authority valid value is: eInvalid, eWRPrivate, eWPrivateRPublic"


def x_cos_meta(key: object, value: object) -> str | None:
    """Check one ``x-cos-meta-`` header."""
    problem = text("x-cos-meta-key", key) or text("x-cos-meta-value", value)
    if problem is not None:
        return problem
    if not str(key).startswith(META_PREFIX):
        return "x-cos-meta key must start with x-cos-meta-"
    if key == META_PREFIX:
        return "x-cos-meta key must not just be x-cos-meta-"
    return None if value else "x-cos-meta value must not be empty"


def prefix(value: str) -> str | None:
    """Check the prefix of a listing, which would be read as folders if it held a slash."""
    return "prefix must not contain /" if "/" in value else None


def byte_range(start: object, end: object) -> str | None:
    """Check a range of bytes, both ends inclusive, each may be ``None``."""
    for name, value in (("range_start", start), ("range_end", end)):
        problem = None if value is None else integer(name, value)
        if problem is not None:
            return problem
    first = start if isinstance(start, int) else 0
    if first < 0 or (isinstance(end, int) and end < first):
        return "range is invalid, only accept 0 <= range_start <= range_end"
    return None


def headers(value: object) -> str | None:
    """Check headers that are to go with a download."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        return "headers is not dict!"
    for name, item in value.items():
        if not isinstance(name, str) or not isinstance(item, str):
            return "headers is not unicode!"
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(item):
            return f"headers cannot hold {ascii(name)} with this value"
        if name.lower() in _OWN_HEADERS:
            return f"headers must not contain {name}"
    return None
