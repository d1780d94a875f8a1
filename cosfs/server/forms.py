"""Parameters of a request.

Owns merging query, JSON, multipart and urlencoded bodies into one set of fields, and reading fields
as the types operations want; must not know which operation wants what.

Source: section 3.0 of the protocol notes. The encoding is not tied to the operation, names match
whatever their case, numbers may be texts, a field of the body wins over one of the query, and
unknown fields are left alone.
"""

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

from cosfs.server import codes
from cosfs.server.addresses import parse_query
from cosfs.server.codes import Code, Refusal
from cosfs.server.content import Spool
from cosfs.server.multipart import MultipartError, MultipartParser

# All fields but the file content together. `uploadparts` takes about 90 bytes for each MiB.
MAX_FIELD_BYTES = 16 << 20
# What a part costs beside its name and its data, so that many empty ones count, too.
_PART_BYTES = 256
CONTENT_FIELD = "filecontent"
# Stands for a content that went into the spool; no JSON can say it.
_RECEIVED = object()

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]+)"|([^;\s"]+))', re.IGNORECASE)
_INTEGER = re.compile(r"^-?\d{1,18}\Z", re.ASCII)


class Fields:
    """The merged parameters of one request."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Take parameters whose names are in lower case."""
        self._values = values

    def has(self, name: str) -> bool:
        """Tell whether a field was sent."""
        return name in self._values

    @property
    def has_content(self) -> bool:
        """Whether a form had a part with the file content; it is in the spool."""
        return self._values.get(CONTENT_FIELD) is _RECEIVED

    def text(self, name: str, default: str = "", *, missing: Code | None = None) -> str:
        """Return a field as text; numbers are taken as their text.

        Raises:
            Refusal: `missing` when given and the field was not sent; -5999 when it is no text.
        """
        value = self._values.get(name)
        if value is None:
            if missing is not None:
                raise Refusal(missing, f"{name} is missing")
            return default
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not _is_unicode(value):
            raise Refusal(codes.BAD_PARAMETER, f"{name} is not text")
        return value

    def integer(self, name: str, *, missing: Code, invalid: Code = codes.BAD_PARAMETER) -> int:
        """Return a field as an integer; texts of decimal digits are taken as their number.

        Raises:
            Refusal: `missing` or `invalid`.
        """
        value = self._values.get(name)
        if value is None or value == "":
            raise Refusal(missing, f"{name} is missing")
        if isinstance(value, str) and _INTEGER.match(value):
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 62:
            return value
        raise Refusal(invalid, f"{name} is not an integer")

    def switch(self, name: str, default: bool) -> bool:
        """Return a field that is 0 or 1, as number or text.

        Raises:
            Refusal: -5999 for anything else.
        """
        value = self._values.get(name)
        if value is None or value == "":
            return default
        if value in ("0", "1") or (isinstance(value, int) and value in (0, 1)):
            return bool(int(value))
        raise Refusal(codes.BAD_PARAMETER, f"{name} is neither 0 nor 1")

    def mapping(self, name: str) -> dict[str, Any]:
        """Return a field that is a JSON object, or a text holding one (Java, JS).

        Raises:
            Refusal: -5999 for anything else.
        """
        value = self._json(name)
        if not isinstance(value, dict):
            raise Refusal(codes.BAD_PARAMETER, f"{name} is not an object")
        return value

    def array(self, name: str, *, invalid: Code) -> list[Any]:
        """Return a field that is a JSON array, or a text holding one.

        Raises:
            Refusal: `invalid` for anything else.
        """
        value = self._json(name)
        if not isinstance(value, list):
            raise Refusal(invalid, f"{name} is not an array")
        return value

    def _json(self, name: str) -> Any:
        value = self._values.get(name)
        if isinstance(value, str):
            try:
                return json.loads(value)
            except (ValueError, RecursionError):
                return None
        return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


async def read_body(
    content_type: str, body: AsyncIterator[bytes], spool: Spool
) -> dict[str, Any]:
    """Read a body to its end; the file content goes into the spool.

    Returns:
        the fields, names in lower case; `Fields.has_content` tells whether there was a content.
    Raises:
        Refusal: -5975 malformed JSON, -5993 malformed form or a content type that is neither,
            -5995 for fields that are too long.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _read_multipart(content_type, body, spool)
    text = await _read_all(body)
    if not text:
        return {}
    if kind == "application/x-www-form-urlencoded":
        try:
            return dict(parse_query(text.decode()))
        except UnicodeDecodeError:
            raise Refusal(codes.BAD_FORM, "the form is not UTF-8") from None
    if kind.endswith("json") or not kind:
        return parse_json(text)
    raise Refusal(codes.BAD_FORM, f"no form and no JSON: {kind[:60]!r}")


def parse_json(text: bytes) -> dict[str, Any]:
    """Read a JSON object; names come out in lower case.

    Raises:
        Refusal: -5975.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise Refusal(codes.BAD_JSON, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Refusal(codes.BAD_JSON, "the body is no JSON object")
    # null says "not given", as in the JSON of several SDKs.
    return {name.lower(): item for name, item in value.items() if item is not None}


async def _read_all(body: AsyncIterator[bytes]) -> bytes:
    pieces = []
    size = 0
    async for piece in body:
        size += len(piece)
        if size <= MAX_FIELD_BYTES:
            pieces.append(piece)
    if size > MAX_FIELD_BYTES:
        raise Refusal(codes.BODY_TOO_LARGE, "the fields are too long")
    return b"".join(pieces)


async def _read_multipart(
    content_type: str, body: AsyncIterator[bytes], spool: Spool
) -> dict[str, Any]:
    match = _BOUNDARY.search(content_type)
    if match is None:
        await _read_all(body)
        raise Refusal(codes.BAD_FORM, "the form has no boundary")
    parser = MultipartParser((match[1] or match[2]).encode())
    fields: dict[str, Any] = {}
    size = 0
    name = ""
    pieces: list[bytes] = []
    failure = ""
    async for chunk in body:
        if failure:
            continue  # The whole body is read before the refusal: the client is still sending.
        try:
            for event in parser.feed(chunk):
                if event.kind == "begin":
                    name = event.name.lower()
                    pieces = []
                    size += _PART_BYTES + len(event.name)
                    if name in fields:
                        raise MultipartError(f"two parts are called {name[:40]!r}")
                elif event.kind == "data":
                    if name == CONTENT_FIELD:
                        await spool.write(event.data)
                    else:
                        size += len(event.data)
                        if size > MAX_FIELD_BYTES:
                            raise MultipartError("the fields are too long")
                        pieces.append(bytes(event.data))
                elif name == CONTENT_FIELD:
                    fields[name] = _RECEIVED
                else:
                    fields[name] = b"".join(pieces).decode()
        except MultipartError as error:
            failure = str(error)
        except UnicodeDecodeError:
            failure = f"{name[:40]!r} is not UTF-8"
        if failure:
            # The rest of the body may take long to come; nobody will look at these.
            fields.clear()
            pieces.clear()
    if not failure and not parser.is_complete:
        failure = "the form ends early"
    if failure:
        raise Refusal(codes.BAD_FORM, failure)
    return fields
