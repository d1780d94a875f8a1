"""Owns reading a source front to back and checking ranges; must not know where content goes."""

from __future__ import annotations

from collections.abc import Iterator

from cosfs.errors import InvalidArgument, SourceFailed
from cosfs.model import Source, Version

#: Bytes read at once: large enough for hashlib's speed, small beside a mount's memory.
CHUNK = 1024 * 1024


def chunks(source: Source) -> Iterator[bytes]:
    """Yield the content of ``source`` in order.

    Raises:
        SourceFailed: it ended before its size.
    """
    offset = 0
    while offset < source.size:
        length = min(CHUNK, source.size - offset)
        data = source.read_at(offset, length)
        if len(data) != length:
            raise SourceFailed(f"content ended at byte {offset + len(data)} of {source.size}")
        yield data
        offset += length


def check_range(path: str, offset: int, length: int, version: Version) -> None:
    """Raise ``InvalidArgument`` unless the range lies inside ``version``."""
    if offset < 0 or offset + length > version.size:
        raise InvalidArgument(
            path, hint=f"bytes {offset} to {offset + length} of {version.size} do not exist"
        )
