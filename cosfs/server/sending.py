"""Replies on the wire.

Owns turning a decided reply into HTTP: JSON bodies, files by sendfile, bodies held to a rate, cut
bodies, dropped connections; must not know operations.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from cosfs.server.faults import Pace

# What is smaller goes out together with its headers, in one piece.
_SMALL_BYTES = 64 << 10


@dataclass(slots=True)
class Reply:
    """A decided reply: a body in memory, or a range of a file."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    path: str | None = None
    start: int = 0
    length: int = 0
    is_head: bool = False
    # A fault: send half of the body and hang up.
    is_cut: bool = False

    def __post_init__(self) -> None:
        if self.path is None:
            self.length = len(self.body)


@dataclass(slots=True)
class Sent:
    """How many bytes of a body went out."""

    size: int = field(default=0)


async def send(
    request: web.BaseRequest, reply: Reply, pace: Pace, sent: Sent
) -> web.StreamResponse:
    """Send a reply, or return one that aiohttp sends in one piece.

    Raises:
        OSError: the file is not there; nothing was sent.
        ConnectionError: the client went away.
    """
    length = 0 if reply.is_head else reply.length
    is_plain = pace.is_unlimited and not reply.is_cut
    if reply.path is not None and is_plain and 0 < length <= _SMALL_BYTES:
        reply.body = _read(reply.path, reply.start, length)
        reply.path = None
    if is_plain and (reply.path is None or not length):
        sent.size = length
        if not reply.is_head:
            return web.Response(status=reply.status, headers=reply.headers, body=reply.body)
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.content_length = reply.length
    fd = -1
    try:
        if reply.path is not None and length:
            fd = os.open(reply.path, os.O_RDONLY | os.O_CLOEXEC)
        await response.prepare(request)
        if reply.is_cut:
            length //= 2
        if fd >= 0 and pace.is_unlimited:
            await _send_file(request, fd, reply.start, length, sent)
        elif length:
            await _send_slowly(response, reply, fd, length, pace, sent)
    finally:
        if fd >= 0:
            os.close(fd)
    if reply.is_cut:
        hang_up(request)
    else:
        await response.write_eof()
    return response


def _read(path: str, start: int, length: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, length, start)
    finally:
        os.close(fd)


async def _send_file(
    request: web.BaseRequest, fd: int, start: int, length: int, sent: Sent
) -> None:
    if not length:
        return
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client went away")
    with open(fd, "rb", buffering=0, closefd=False) as stream:
        try:
            sent.size = await asyncio.get_running_loop().sendfile(transport, stream, start, length)
        except RuntimeError as error:
            # asyncio's word for a transport that was closed before the call.
            raise ConnectionResetError(str(error)) from error


async def _send_slowly(
    response: web.StreamResponse, reply: Reply, fd: int, length: int, pace: Pace, sent: Sent
) -> None:
    position = 0
    while position < length:
        size = min(pace.step, length - position)
        if fd >= 0:
            data = os.pread(fd, size, reply.start + position)
        else:
            data = reply.body[position : position + size]
        await pace.wait(len(data))
        await response.write(data)
        position += len(data)
        sent.size = position


def hang_up(request: web.BaseRequest) -> None:
    """Close the connection after what was written; the client sees an early end."""
    if request.transport is not None:
        request.transport.close()


def drop(request: web.BaseRequest) -> None:
    """Reset the connection at once."""
    if request.transport is not None:
        request.transport.abort()


async def wait_for_disconnect(request: web.BaseRequest, is_over: Callable[[], bool]) -> None:
    """Wait until the client gives up, or this is over."""
    while request.transport is not None and not request.transport.is_closing() and not is_over():
        await asyncio.sleep(0.1)
