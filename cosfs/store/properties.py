"""Owns how properties are spelt on an object: biz_attr, authority, headers; must not know requests.

A property is what a program sees as an extended attribute without ``user.`` (``model.Metadata``):

===============================  ================================================================
property                         where it stands
===============================  ================================================================
``biz_attr``                     the free text of the object; empty and absent are one
``authority``                    the access rule of the object; ``eInvalid`` and absent are one
``content_type`` and four more   the header of that name
``x-cos-meta-NAME``              the header of that name
anything else                    ``x-cos-meta-xattr-...``: the name's bytes but ``[a-z0-9]`` are
                                 written as ``-`` and two lower-case hex digits
===============================  ================================================================

**Values.** Ordinary text stands plain, so that other tools and the server's answers show it as it
was set. What a header cannot carry (bytes that are not UTF-8, control characters, outer blanks,
nothing at all) stands as ``=?cosfs?B?<base64>?=``, the form of RFC 2047 with a charset of our own.
A text that would be read as such a form is itself written in it, and a form that we would not have
written is read as plain text: so value -> text -> value and text -> value -> text are identities,
and writing all headers back never changes one that another tool has set.

A ``biz_attr`` that would be read as the envelope of ``attributes`` is such a text too. The headers
that hold POSIX attributes are no properties. Other names in the space of ``x-cos-meta-xattr-`` that
we would not have written are shown under their own name: they can be read and are carried along,
and nobody can set them by it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cosfs.errors import AttributesTooLarge, InvalidArgument, NotPermitted
from cosfs.store import attributes

BIZ_ATTR = "biz_attr"
AUTHORITY = "authority"

#: The authority that says nothing: the bucket's holds.
INHERITED = "eInvalid"
AUTHORITIES = (INHERITED, "eWRPrivate", "eWPrivateRPublic")

#: Properties with a header of their own.
NAMED_HEADERS: Mapping[str, str] = {
    "cache_control": "Cache-Control",
    "content_type": "Content-Type",
    "content_disposition": "Content-Disposition",
    "content_language": "Content-Language",
    "content_encoding": "Content-Encoding",
}
_PROPERTY_OF_HEADER = {header.lower(): name for name, header in NAMED_HEADERS.items()}

META_PREFIX = "x-cos-meta-"
XATTR_PREFIX = "x-cos-meta-xattr-"
#: The name space of facts: what the server alone decides.
FACT_PREFIX = "cos."

#: Limits in bytes, assumed, not verified: no source names those of this API; the first is what the
#: local server takes, the others are those of the later XML API (reference 6.1), names included.
BIZ_ATTR_MAX = 1024
META_MAX = 2 * 1024
HEADERS_MAX = 4 * 1024

_META_NAME = re.compile(r"x-cos-meta-[a-z0-9-]+")
_NOT_IN_HEADER = re.compile(r"[\0-\x1f\x7f-\x9f]|\A\s|\s\Z|\A\Z")
_NOT_IN_TEXT = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")
_PLAIN_IN_NAME = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789")
_NAME_PIECE = re.compile(r"-([0-9a-f]{2})|([a-z0-9])")
_FORM_BEGIN, _FORM_END = "=?cosfs?B?", "?="

#: Tells of a text that it cannot stand plain.
_Odd = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Spelling:
    """The properties of one object as the server holds them."""

    biz_attr: str = ""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    authority: str = INHERITED


def check(path: str, name: str, value: bytes) -> None:
    """Check that a program may set a property.

    Raises:
        NotPermitted: a fact, or a name that is reserved.
        InvalidArgument: the name or the value cannot be.
        AttributesTooLarge: the value alone is already longer than the server takes.
    """
    if name.startswith(FACT_PREFIX):
        raise NotPermitted(path, hint=f"{name} is decided by the server")
    if name in attributes.HEADERS or name.startswith(XATTR_PREFIX):
        raise NotPermitted(path, hint=f"{name} is reserved")
    if name.startswith(META_PREFIX) and not _META_NAME.fullmatch(name):
        raise InvalidArgument(path, hint=f"{name}: after {META_PREFIX} come a-z, 0-9 and - alone")
    if name == AUTHORITY and value not in [known.encode() for known in AUTHORITIES]:
        raise InvalidArgument(path, hint=f"authority is one of {', '.join(AUTHORITIES)}")
    if name in NAMED_HEADERS and _NOT_IN_HEADER.search(_plain(path, name, value)):
        raise InvalidArgument(path, hint=f"{name} must be text that can stand in a header")
    check_size(path, spell(path, {name: value}))


def check_size(path: str, wanted: Spelling, held: Spelling | None = None) -> None:
    """Raise ``AttributesTooLarge`` if the server may refuse ``wanted`` for its length.

    What it was seen to hold (``held``) may be as long: the limits are assumed, and an object that
    another tool has given more must stay changeable.
    """
    held = held or Spelling()
    limits = [
        (BIZ_ATTR, BIZ_ATTR_MAX, text_size(wanted.biz_attr), text_size(held.biz_attr)),
        ("the headers", HEADERS_MAX, _total(wanted.headers), _total(held.headers)),
    ]
    for header, text in wanted.headers.items():
        if header.startswith(META_PREFIX):
            before = _total({header: held.headers.get(header, "")})
            limits.append((header, META_MAX, _total({header: text}), before))
    for name, limit, length, before in limits:
        if length > max(limit, before):
            raise AttributesTooLarge(path, hint=f"{name}: {length} bytes, {limit} allowed")


def spell(path: str, properties: Mapping[str, bytes]) -> Spelling:
    """Return how the server is to hold ``properties``, whatever their length.

    Raises:
        InvalidArgument: a value cannot stand where it belongs.
    """
    biz_attr, authority, headers = "", INHERITED, {}
    for name, value in properties.items():
        if name == BIZ_ATTR:
            biz_attr = _to_text(value, _odd_for_file)
        elif name == AUTHORITY:
            authority = _plain(path, name, value)
        elif name in NAMED_HEADERS:
            headers[NAMED_HEADERS[name]] = _plain(path, name, value)
        else:
            headers[_to_header(path, name)] = _to_text(value, _NOT_IN_HEADER.search)
    return Spelling(biz_attr, headers, authority)


def read(spelling: Spelling) -> dict[str, bytes]:
    """Return the properties that the server holds as ``spelling``. Never fails."""
    properties = {}
    if spelling.biz_attr and attributes.from_envelope(spelling.biz_attr) is None:
        properties[BIZ_ATTR] = _to_value(spelling.biz_attr, _odd_for_file)
    if spelling.authority and spelling.authority != INHERITED:
        properties[AUTHORITY] = _to_bytes(spelling.authority)
    for header, text in spelling.headers.items():
        lower = header.lower()
        if lower in _PROPERTY_OF_HEADER and text:
            properties[_PROPERTY_OF_HEADER[lower]] = _to_bytes(text)
        elif lower.startswith(META_PREFIX) and lower not in attributes.HEADERS:
            properties[_to_property(lower)] = _to_value(text, _NOT_IN_HEADER.search)
        # Others cannot be set by anybody, so there is nothing to keep.
    return properties


def settled(properties: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return ``properties`` without those whose value says as much as their absence."""
    silent = {BIZ_ATTR: b"", AUTHORITY: INHERITED.encode()}
    return {name: value for name, value in properties.items() if value != silent.get(name)}


def to_plain(value: bytes) -> str:
    """Return the text for ``value`` where any text can stand."""
    return _to_text(value, _NOT_IN_TEXT.search)


def from_plain(text: str) -> bytes:
    """Return the value that a text of ``to_plain``, or of another tool, stands for."""
    return _to_value(text, _NOT_IN_TEXT.search)


def raw_name(path: str, name: str) -> bytes:
    """Return the bytes of a name. Raises ``InvalidArgument`` if no attribute can have it."""
    raw = name.encode("utf-8", "surrogateescape")
    if not raw or b"\0" in raw:
        raise InvalidArgument(path, hint="an attribute's name is empty or holds a NUL")
    return raw


def text_size(text: str) -> int:
    """Return the length of a text on the wire, in bytes."""
    return len(_to_bytes(text))


def _total(headers: Mapping[str, str]) -> int:
    return sum(len(name) + text_size(text) for name, text in headers.items())


def _plain(path: str, name: str, value: bytes) -> str:
    """Return a value that others interpret: it stands plain or not at all."""
    text = _decoded(value)
    if text is None:
        raise InvalidArgument(path, hint=f"{name} must be text")
    return text


def _to_header(path: str, name: str) -> str:
    if name in attributes.HEADERS:
        raise NotPermitted(path, hint=f"{name} is reserved")
    if name.startswith(META_PREFIX):
        return name
    return XATTR_PREFIX + "".join(
        chr(byte) if byte in _PLAIN_IN_NAME else f"-{byte:02x}" for byte in raw_name(path, name)
    )


def _to_property(header: str) -> str:
    """Return the property of an ``x-cos-meta-`` header: its own name unless it is our spelling."""
    if not header.startswith(XATTR_PREFIX):
        return header
    escaped = header[len(XATTR_PREFIX) :]
    raw = bytearray()
    position = 0
    while piece := _NAME_PIECE.match(escaped, position):
        raw += bytes.fromhex(piece[1]) if piece[1] else piece[2].encode()
        position = piece.end()
    name = raw.decode("utf-8", "surrogateescape")
    special = name in (BIZ_ATTR, AUTHORITY) or name in NAMED_HEADERS
    if position < len(escaped) or not raw or 0 in raw or special:
        return header
    if name.startswith((FACT_PREFIX, META_PREFIX)) or _to_header("", name) != header:
        return header
    return name


def _decoded(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _odd_for_file(text: str) -> bool:
    return bool(_NOT_IN_TEXT.search(text)) or attributes.from_envelope(text) is not None


def _to_text(value: bytes, is_odd: _Odd) -> str:
    text = _decoded(value)
    if text is None or is_odd(text) or _from_form(text, is_odd) is not None:
        return f"{_FORM_BEGIN}{base64.b64encode(value).decode()}{_FORM_END}"
    return text


def _to_value(text: str, is_odd: _Odd) -> bytes:
    value = _from_form(text, is_odd)
    return _to_bytes(text) if value is None else value


def _from_form(text: str, is_odd: _Odd) -> bytes | None:
    """Return what ``text`` stands for if it is the form that ``_to_text`` writes."""
    if not (text.startswith(_FORM_BEGIN) and text.endswith(_FORM_END)):
        return None
    try:
        value = base64.b64decode(text[len(_FORM_BEGIN) : -len(_FORM_END)], validate=True)
    except binascii.Error:
        return None
    return value if _to_text(value, is_odd) == text else None
