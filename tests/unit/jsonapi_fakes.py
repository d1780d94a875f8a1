"""Owns what the tests of the JSON API client share: a scripted transport and raw socket servers."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from cosfs.config import Account, Credentials, Endpoints, NetworkOptions
from cosfs.errors import StoreError
from cosfs.jsonapi.client import JsonApi
from cosfs.jsonapi.replies import OpCount
from cosfs.jsonapi.wire import HttpRequest
from tests.fakeclock import FakeClock

SECRET = "KeyExampleKeyExampleKeyExample01"
CREDENTIALS = Credentials("1250000000", "AKIDEXAMPLEexampleEXAMPLEexample0123", SECRET)
ACCOUNT = Account(CREDENTIALS, Endpoints.of_region("sh"))
BUCKET = "mybucket"

#: What stat says of a file, as the server gives it (reference 3.12).
FILE = {
    "access_url": "http://mybucket-1250000000.file.myqcloud.com/d/a.txt",
    "authority": "eInvalid",
    "biz_attr": "",
    "ctime": 1700000000,
    "custom_headers": {},
    "filelen": 5,
    "filesize": 5,
    "forbid": 0,
    "mtime": 1700000000,
    "preview_url": "",
    "sha": "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",
    "slicesize": 0,
    "source_url": "http://mybucket-1250000000.cossh.myqcloud.com/d/a.txt",
}
UPLOADED = {
    "access_url": "http://mybucket-1250000000.file.myqcloud.com/d/a.txt",
    "resource_path": "/1250000000/mybucket/d/a.txt",
    "source_url": "http://mybucket-1250000000.cossh.myqcloud.com/d/a.txt",
    "url": "http://sh.file.myqcloud.com/files/v2/1250000000/mybucket/d/a.txt",
}


class FakeStream:
    """A reply that is there already; ``fails`` is raised when its bytes are used up."""

    def __init__(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        fails: StoreError | None = None,
    ) -> None:
        self.status = status
        self.headers = MappingProxyType(dict(headers or {}))
        self._body = body
        self._fails = fails
        self.closed = False

    def readinto(self, view: memoryview) -> int:
        count = min(len(view), len(self._body))
        view[:count] = self._body[:count]
        self._body = self._body[count:]
        if not count and self._fails is not None:
            raise self._fails
        return count

    def close(self) -> None:
        self.closed = True


Step = FakeStream | StoreError | Callable[[HttpRequest], "FakeStream | StoreError"]


class FakeTransport:
    """Answers from a script, and keeps what was asked, bodies read to their end."""

    def __init__(self, *script: Step) -> None:
        self.script = list(script)
        self.requests: list[HttpRequest] = []
        self.bodies: list[bytes] = []
        self.streams: list[FakeStream] = []

    def open(self, request: HttpRequest) -> FakeStream:
        self.requests.append(request)
        body = request.body
        self.bodies.append(body if isinstance(body, bytes) else body.read() if body else b"")
        assert self.script, f"an unexpected request: {request}"
        step = self.script.pop(0)
        if callable(step):
            step = step(request)
        if isinstance(step, StoreError):
            raise step
        self.streams.append(step)
        return step

    @property
    def ops(self) -> list[str]:
        return [request.op for request in self.requests]

    def counters(self) -> Mapping[str, OpCount]:
        return {}

    def close(self) -> None:
        raise AssertionError("a transport that was lent is not the client's to close")


def ok(data: Mapping[str, Any] | None = None, **headers: str) -> FakeStream:
    """A success of the API host."""
    body = {"code": 0, "message": "SUCCESS", "request_id": "NWEy", "data": data or {}}
    return FakeStream(200, json.dumps(body).encode(), headers)


def refused(code: int, status: int = 400, message: str = "ERROR", **headers: str) -> FakeStream:
    """A refusal of the API host."""
    body = {"code": code, "message": message, "request_id": "NWEy"}
    return FakeStream(status, json.dumps(body).encode(), headers)


def content(
    data: bytes,
    begin: int = 0,
    total: int | None = None,
    *,
    etag: str = "e1",
    fails: StoreError | None = None,
    announced: int | None = None,
) -> FakeStream:
    """A 206 of the download host that holds ``data`` from ``begin``."""
    length = len(data) if announced is None else announced
    total = begin + length if total is None else total
    headers = {
        "content-range": f"bytes {begin}-{begin + length - 1}/{total}",
        "content-length": str(length),
        "etag": f'"{etag}"',
    }
    return FakeStream(206, data, headers, fails)


def make_api(
    transport: FakeTransport,
    *,
    clock: FakeClock | None = None,
    timeout_s: float = 60.0,
    account: Account = ACCOUNT,
) -> JsonApi:
    """A client that speaks to ``transport``, with time that stands still and dice that repeat."""
    return JsonApi(
        account,
        NetworkOptions(timeout_s=timeout_s),
        clock=clock or FakeClock(),
        rng=random.Random(1),
        transport=transport,
    )


def form_fields(body: bytes) -> dict[str, bytes]:
    """Take a multipart body apart, strictly as the official SDK makes it."""
    boundary = body.split(b"\r\n", 1)[0]
    assert body.endswith(boundary + b"--\r\n")
    fields = {}
    for part in body[: -len(boundary) - 4].split(boundary + b"\r\n")[1:]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = head.removeprefix(b'Content-Disposition: form-data; name="').split(b'"')[0]
        assert head == b'Content-Disposition: form-data; name="%b"; filename="%b"' % (name, name)
        assert value.endswith(b"\r\n")
        fields[name.decode()] = value[:-2]
    return fields


class SocketServer:
    """Runs ``handle(connection)`` for every connection, one after the other, in a thread."""

    def __init__(
        self, handle: Callable[[socket.socket], None], context: ssl.SSLContext | None = None
    ) -> None:
        self._handle = handle
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, name="test-socket-server")
        self._closing = False

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            if self._closing:
                connection.close()
                return
            self.connections += 1
            # A client that refuses or breaks off is what some tests are about.
            with contextlib.suppress(OSError), connection:
                if self._context is not None:
                    connection = self._context.wrap_socket(connection, server_side=True)
                with connection:
                    self._handle(connection)

    def __enter__(self) -> SocketServer:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._closing = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._socket.close()


def read_request(connection: socket.socket) -> tuple[str, dict[str, str], bytes] | None:
    """Read one request: its first line, headers in lower case, and body; None at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines[1:])
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    length = int(headers.get("content-length", "0"))
    while len(body) < length:
        more = connection.recv(65536)
        if not more:
            return None
        body += more
    return lines[0], headers, body


def answers(*replies: bytes) -> Callable[[socket.socket], None]:
    """Make a handler that gives ``replies`` to the requests of one connection, then hangs up."""

    def handle(connection: socket.socket) -> None:
        for reply in replies:
            if read_request(connection) is None:
                return
            connection.sendall(reply)

    return handle


def http_reply(body: bytes, status: str = "200 OK", headers: Sequence[str] = ()) -> bytes:
    """Spell a reply."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@contextlib.contextmanager
def capture(
    reply: bytes, seen: list[tuple[str, dict[str, str], bytes]]
) -> Iterator[SocketServer]:
    """A server that keeps what it is asked and always answers ``reply``."""

    def handle(connection: socket.socket) -> None:
        while (request := read_request(connection)) is not None:
            seen.append(request)
            connection.sendall(reply)

    with SocketServer(handle) as server:
        yield server
