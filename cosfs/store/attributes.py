"""Owns how POSIX attributes are spelt for a server; must not know other metadata.

**Envelope.** One line of JSON in the free text of an object, which travels with its content::

    {"cosfs":1,"mode":33188,"uid":0,"gid":0,"mtime":"1700000000.000000000","rdev":259,"nonce":"5f..."}

Only what is set is there, in this order; ``cosfs`` is the version of the spelling. ``mode`` is a
whole ``st_mode``, ``mtime`` a ``struct timespec``: -0.5 s is ``-1.500000000``. The ``nonce`` says
which attempt has stored the object; nobody is shown it. A text is an envelope only if it is exactly
what is written here, so another version, or JSON of another tool, is the text of its owner.

**Headers.** ``x-cos-meta-mode``, ``-uid``, ``-gid`` and ``-rdev`` in decimal digits,
``x-cos-meta-mtime`` in whole seconds and ``x-cos-meta-mtime-ns`` as above, which counts only when
its seconds are those of ``-mtime``: a tool that does not know it may have changed that. The names
are those that Tencent's own mount writes, as far as it has them. What cannot be read counts as
absent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from cosfs.model import Attributes

#: Of the spelling of envelopes and marks.
VERSION = 1

_SECOND = 10**9

#: The numbers and the largest that each can be: what ``struct stat`` of Linux holds.
_NUMBERS: Mapping[str, int] = {"mode": 0o177777, "uid": 2**32 - 1, "gid": 2**32 - 1}
_RDEV_MAX = 2**64 - 1
_SECONDS_MAX = 2**63 - 1

_HEADER = "x-cos-meta-"
#: The headers that hold attributes.
HEADERS = frozenset(
    _HEADER + name for name in ("mode", "uid", "gid", "mtime", "mtime-ns", "rdev")
)

_DIGITS = re.compile(r"[0-9]{1,20}")
_TIME = re.compile(r"(-?[0-9]{1,19})(?:\.([0-9]{1,9})[0-9]*)?")
_NONCE = re.compile(r"[0-9a-f]{32}")
_BEGIN = f'{{"cosfs":{VERSION},'


def to_fields(attributes: Attributes) -> dict[str, int | str]:
    """Return what is set, as it stands in JSON."""
    values = {
        "mode": attributes.mode,
        "uid": attributes.uid,
        "gid": attributes.gid,
        "mtime": None if attributes.mtime_ns is None else _to_time(attributes.mtime_ns),
        "rdev": attributes.rdev,
    }
    return {name: value for name, value in values.items() if value is not None}


def from_fields(fields: Mapping[str, object]) -> Attributes:
    """Return the attributes among ``fields``; what cannot be is absent."""
    time = fields.get("mtime")
    numbers = {name: _number(fields.get(name), limit) for name, limit in _NUMBERS.items()}
    return Attributes(
        **numbers,
        mtime_ns=_from_time(time) if isinstance(time, str) else None,
        rdev=_number(fields.get("rdev"), _RDEV_MAX),
    )


def to_json(fields: Mapping[str, object]) -> str:
    """Return a document of this version, or "" if it would hold nothing."""
    if not fields:
        return ""
    whole = {"cosfs": VERSION, **fields}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))


def from_json(text: str) -> dict[str, object] | None:
    """Return the fields of a document of this version, ``None`` if ``text`` is none."""
    if not text.startswith(_BEGIN):
        return None
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return {name: value for name, value in fields.items() if name != "cosfs"}


def to_envelope(attributes: Attributes, nonce: str = "") -> str:
    """Return the envelope of ``attributes``, "" if there is nothing to say.

    ``nonce`` is 32 lower-case hex digits, or empty.
    """
    fields: dict[str, object] = {**to_fields(attributes)}
    if nonce:
        fields["nonce"] = nonce
    return to_json(fields)


def nonce_of(text: str) -> str:
    """Return the nonce in an envelope, "" if there is none."""
    fields = from_json(text)
    if fields is None or from_envelope(text) is None:
        return ""
    return str(fields.get("nonce", ""))


def from_envelope(text: str) -> Attributes | None:
    """Return the attributes in an envelope, ``None`` if ``text`` is none."""
    fields = from_json(text)
    if fields is None:
        return None
    nonce = fields.get("nonce", "")
    if not isinstance(nonce, str) or (nonce and not _NONCE.fullmatch(nonce)):
        return None
    attributes = from_fields(fields)
    return attributes if to_envelope(attributes, nonce) == text else None


def to_headers(attributes: Attributes) -> dict[str, str]:
    """Return the headers that hold what is set."""
    headers = {_HEADER + name: str(value) for name, value in to_fields(attributes).items()}
    if attributes.mtime_ns is not None:
        headers[_HEADER + "mtime"] = str(attributes.mtime_ns // _SECOND)
        headers[_HEADER + "mtime-ns"] = _to_time(attributes.mtime_ns)
    return headers


def from_headers(headers: Mapping[str, str]) -> Attributes:
    """Return what the headers of an object say, whoever wrote them."""
    found = {
        name.lower()[len(_HEADER) :]: text.strip()
        for name, text in headers.items()
        if name.lower() in HEADERS
    }
    fields: dict[str, object] = {
        name: int(text) for name, text in found.items() if _DIGITS.fullmatch(text)
    }
    seconds, exact = _from_time(found.get("mtime", "")), _from_time(found.get("mtime-ns", ""))
    if seconds is not None:
        if exact is not None and exact // _SECOND == seconds // _SECOND:
            seconds = exact
        fields["mtime"] = _to_time(seconds)
    return from_fields(fields)


def _number(value: object, limit: int) -> int | None:
    # A bool is an int, but never a number in JSON.
    return value if type(value) is int and 0 <= value <= limit else None


def _to_time(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, _SECOND)
    return f"{seconds}.{rest:09}"


def _from_time(text: str) -> int | None:
    match = _TIME.fullmatch(text)
    if match is None or abs(int(match[1])) > _SECONDS_MAX:
        return None
    return int(match[1]) * _SECOND + int((match[2] or "").ljust(9, "0"))
