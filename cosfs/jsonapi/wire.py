"""Owns the interface between the client and whatever speaks HTTP; must not know the protocol.

A ``Transport`` sends one request and gives the reply as a stream. It maps every failure to the
classes of ``errors`` and repeats nothing: whether to try again is decided above it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from cosfs.errors import MalformedReply
from cosfs.jsonapi.replies import OpCount

_SIGNATURE = re.compile(r"(?i)\b(sign=)[^&\s'\"]*")

#: Bytes asked from a stream at once: what an interrupted read may lose.
READ_SIZE = 256 * 1024
#: The same for replies that are texts: most are shorter than this.
_TEXT_SIZE = 16 * 1024


class Body(Protocol):
    """Content of a request: read once from front to back, its length known before."""

    def __len__(self) -> int: ...

    def read(self, size: int = -1) -> bytes: ...


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, ready to be sent. URL and headers hold signatures, so they are not shown.

    ``op`` names the operation for the counters, ``path`` what it is about for messages.
    """

    op: str
    path: str
    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | Body | None = field(repr=False)
    connect_timeout_s: float
    #: Longest silence while sending or receiving.
    silence_timeout_s: float


class HttpStream(Protocol):
    """A reply whose body is still on the wire. Used by one thread, closed by whoever got it."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Header names in lower case; repeated headers are joined by commas."""
        ...

    def readinto(self, view: memoryview) -> int:
        """Read the next bytes into ``view``; return how many, 0 at the end of the body.

        Raises:
            TruncatedBody: the body ended before its announced length.
            RequestTimeout, ConnectionLost: it broke.
        """
        ...

    def close(self) -> None:
        """Give the connection back, or drop it when the body was not read to its end."""
        ...


class Transport(Protocol):
    """Sends requests. Any number of threads may use one at once."""

    def open(self, request: HttpRequest) -> HttpStream:
        """Send ``request`` and return the reply, whatever its status.

        Raises:
            ConnectFailed: surely nothing was sent.
            RequestTimeout, ConnectionLost: anything may have happened.
        """
        ...

    def counters(self) -> Mapping[str, OpCount]:
        """Return what was counted up to now, by operation."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


def without_signature(text: str) -> str:
    """Return ``text`` with the value of every ``sign=`` removed, so that it may be shown."""
    return _SIGNATURE.sub(r"\1...", text)


def read_body(stream: HttpStream, limit: int) -> bytes:
    """Read the rest of a body that is at most ``limit`` bytes long.

    Raises:
        MalformedReply: it is longer.
    """
    collected = bytearray()
    chunk = bytearray(_TEXT_SIZE)
    with memoryview(chunk) as view:
        while count := stream.readinto(view):
            collected += view[:count]
            if len(collected) > limit:
                raise MalformedReply(f"the reply is longer than {limit} bytes")
    return bytes(collected)
