"""Owns multipart/form-data bodies that are streamed from a source; must not know field meanings.

Every part carries a ``filename`` and no ``Content-Type``, and the boundary is unquoted: the form
that the official Python SDK sends (reference 1.5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cosfs.errors import SourceFailed
from cosfs.model import Source


@dataclass(frozen=True, slots=True)
class SourcePart:
    """A part whose value is ``length`` bytes of ``source`` from ``offset``."""

    name: str
    source: Source
    offset: int
    length: int


class MultipartBody:
    """A form, read once from front to back; at most what is asked for is in memory.

    ``on_read`` is called whenever bytes are handed out: sending makes progress.
    Not thread-safe: it belongs to the thread that sends.
    """

    def __init__(
        self,
        boundary: str,
        fields: Sequence[tuple[str, str]],
        content: SourcePart | None = None,
        on_read: Callable[[], None] | None = None,
    ) -> None:
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._content = content
        self._on_read = on_read
        head = b"".join(
            _part_head(boundary, name) + value.encode() + b"\r\n" for name, value in fields
        )
        tail = f"--{boundary}--\r\n".encode("ascii")
        if content is not None:
            head += _part_head(boundary, content.name)
            tail = b"\r\n" + tail
        self._head = head
        self._tail = tail
        self._middle = 0 if content is None else content.length
        self._position = 0

    def __len__(self) -> int:
        return len(self._head) + self._middle + len(self._tail)

    def read(self, size: int = -1) -> bytes:
        """Return the next ``size`` bytes, fewer only at the end; all that is left when negative.

        Raises:
            SourceFailed: the source cannot be read or is shorter than it was.
        """
        left = len(self) - self._position
        wanted = left if size < 0 else min(size, left)
        # Across the borders: a small form goes out in one piece.
        pieces = []
        while wanted:
            piece = self._next(wanted)
            self._position += len(piece)
            wanted -= len(piece)
            pieces.append(piece)
        if pieces and self._on_read is not None:
            self._on_read()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _next(self, wanted: int) -> bytes:
        start = self._position
        in_content = start - len(self._head)
        if in_content < 0:
            return self._head[start : start + wanted]
        if in_content < self._middle and self._content is not None:
            length = min(wanted, self._middle - in_content)
            return _read_source(self._content, in_content, length)
        return self._tail[in_content - self._middle :][:wanted]


def _part_head(boundary: str, name: str) -> bytes:
    return (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n'
    ).encode("ascii")


def _read_source(content: SourcePart, position: int, length: int) -> bytes:
    try:
        data = content.source.read_at(content.offset + position, length)
    except OSError as error:
        # An OSError would be taken for one of the connection's.
        raise SourceFailed(
            f"the content cannot be read ({error.strerror or type(error).__name__})"
        ) from error
    if len(data) != length:
        raise SourceFailed("the content is shorter than it was when its upload began")
    return data
