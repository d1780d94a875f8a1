"""Multipart forms, as they arrive.

Owns cutting a byte stream into parts; must not know what the parts mean or where they go.

Source: section 1.5 of the protocol notes. A part is known by its `name` whether or not it has a
file name; its other headers are ignored; the boundary may have been quoted.
"""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

_MAX_HEADER_BYTES = 16 << 10
# The protocol knows about twenty names, of at most 16 bytes.
MAX_NAME_BYTES = 256
MAX_PARTS = 256
_PARAMETER = re.compile(r';\s*([\w*-]+)=("(?:[^"\\]|\\.)*"|[^;]*)')


class MultipartError(Exception):
    """The body is not the form it claims to be."""


class Event(NamedTuple):
    """Something that happened in the stream: a part begins, has data, ends."""

    kind: Literal["begin", "data", "end"]
    name: str = ""
    data: memoryview = memoryview(b"")


class MultipartParser:
    """A push parser; the data of a part comes out as views, without copying it."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        # The first delimiter has no line end before it: pretend there was one.
        self._rest = b"\r\n"
        self._state: Literal["delimiter", "headers", "data", "done"] = "delimiter"
        self._parts = 0

    @property
    def is_complete(self) -> bool:
        """Whether the closing delimiter was seen."""
        return self._state == "done"

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Take in the next bytes and yield what they bring.

        Raises:
            MultipartError: the stream is not a form with this boundary.
        """
        size = len(self._delimiter)
        seam = self._rest + chunk[:size]
        if self._state == "data" and len(chunk) >= size and self._delimiter not in seam:
            # The usual case, in the middle of a content: what is kept need not be joined to it.
            if self._rest:
                yield Event("data", data=memoryview(self._rest))
            buffer = chunk
        else:
            buffer = self._rest + chunk
        position = 0
        while self._state != "done":
            if self._state == "data":
                found = buffer.find(self._delimiter, position)
                end = found if found >= 0 else len(buffer) - len(self._delimiter) + 1
                if end > position:
                    yield Event("data", data=memoryview(buffer)[position:end])
                    position = end
                if found < 0:
                    break
                yield Event("end")
                self._state = "delimiter"
            elif self._state == "delimiter":
                after = position + len(self._delimiter)
                if len(buffer) < after + 2:
                    break
                if not buffer.startswith(self._delimiter, position):
                    raise MultipartError("a part does not begin with the boundary")
                if buffer.startswith(b"--", after):
                    self._state = "done"
                    break
                line_end = buffer.find(b"\r\n", after)
                if line_end < 0:
                    break
                if buffer[after:line_end].strip():
                    raise MultipartError("something follows a boundary")
                position = line_end
                self._state = "headers"
            else:
                block_end = buffer.find(b"\r\n\r\n", position)
                if block_end < 0:
                    break
                if block_end - position > _MAX_HEADER_BYTES:
                    raise MultipartError("the head of a part is too long")
                self._parts += 1
                if self._parts > MAX_PARTS:
                    raise MultipartError(f"the form has more than {MAX_PARTS} parts")
                yield Event("begin", name=_part_name(buffer[position:block_end]))
                position = block_end + 4
                self._state = "data"
        self._rest = b"" if self._state == "done" else buffer[position:]
        if self._state != "data" and len(self._rest) > _MAX_HEADER_BYTES:
            raise MultipartError("the head of a part is too long")


def _part_name(block: bytes) -> str:
    for line in block.split(b"\r\n"):
        head, _, value = line.partition(b":")
        if head.strip().lower() != b"content-disposition":
            continue
        try:
            text = value.decode()
        except UnicodeDecodeError:
            break
        for name, quoted in _PARAMETER.findall(text):
            if name.lower() == "name":
                found = str(quoted).strip().strip('"')
                if len(found.encode()) > MAX_NAME_BYTES:
                    raise MultipartError("the name of a part is too long")
                return found
    raise MultipartError("a part has no name")
