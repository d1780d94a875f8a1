"""Owns HTTP: one request and its reply over a connection; must not know the protocol or retries.

Nothing is decoded, redirected, repeated or remembered (no cookies). What a small request takes is
mostly the library around it, so heads are written and read right here. Exceptions end here: what
they quote holds signatures, so they are translated and never chained.
"""

from __future__ import annotations

import errno
import http.client
import logging
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from cosfs.config import NetworkOptions
from cosfs.errors import ConnectionLost, RequestTimeout, StoreError, TruncatedBody
from cosfs.jsonapi.connections import Connections, Line
from cosfs.jsonapi.proxies import Proxies
from cosfs.jsonapi.replies import OpCount
from cosfs.jsonapi.wire import Body, HttpRequest, without_signature

_log = logging.getLogger(__name__)

#: Bytes handed to the socket at once; the usual 16 KiB cost a third of the speed.
_BLOCK_SIZE: Final = 256 * 1024
#: A body up to this size goes out with its head: one call, and mostly one packet less.
_JOINED_SIZE: Final = 64 * 1024

#: Limits of a reply's head, as the standard library has them.
_LINE_MAX: Final = 65536
_LINES_MAX: Final = 100

#: The other side is gone while it is sent to: it may have answered before.
_HUNG_UP: Final = (errno.EPIPE, errno.ECONNRESET)


class HttpTransport:
    """Sends requests over pooled connections.

    Thread-safe: any number of threads may send at once; ``pool_size`` connections of each host stay
    open between requests. Create it after a fork, not before.
    """

    def __init__(
        self, network: NetworkOptions, *, proxies: Proxies | None = None, ca_file: str = ""
    ) -> None:
        if proxies is None:
            proxies = Proxies.from_environment()
        self._connections = Connections(network, proxies, ca_file=ca_file)
        self._send_timeout_s = network.timeout_s
        self._lock = threading.Lock()
        self._counts: dict[str, OpCount] = {}

    def open(self, request: HttpRequest) -> _Stream:
        """Send ``request``; see ``wire.Transport``."""
        length = 0 if request.body is None else len(request.body)
        self._count(request.op, requests=1, bytes_sent=length)
        line = self._connections.take(request)
        response: _Response | None = None
        failure: StoreError
        try:
            line.sock.settimeout(self._send_timeout_s)
            is_sent = _send(line, _head(request, line, length), request.body)
            line.sock.settimeout(request.silence_timeout_s)
            response = _Response(line.sock, method=request.method)
            response.begin()
            response.will_close = response.will_close or not is_sent
        except TimeoutError:
            failure = RequestTimeout(f"{request.op}: no answer in time", path=request.path)
        except (OSError, http.client.HTTPException) as error:
            failure = ConnectionLost(_said(request, error), path=request.path)
        except BaseException:
            # The body could not be read, say: half of it is on its way.
            _drop(line, response)
            raise
        else:
            if _log.isEnabledFor(logging.DEBUG):
                target = without_signature(line.target)
                _log.debug("%s %s: %d", request.method, target, response.status)
            return _Stream(response, line, request, self)
        _drop(line, response)
        raise failure

    def counters(self) -> Mapping[str, OpCount]:
        """Return a snapshot of what was counted, by operation."""
        with self._lock:
            return MappingProxyType(dict(self._counts))

    def close(self) -> None:
        """Close all connections that are not in use."""
        self._connections.close()

    def _count(
        self, op: str, *, requests: int = 0, bytes_sent: int = 0, bytes_received: int = 0
    ) -> None:
        with self._lock:
            old = self._counts.get(op, OpCount())
            self._counts[op] = OpCount(
                old.requests + requests,
                old.bytes_sent + bytes_sent,
                old.bytes_received + bytes_received,
            )


def _head(request: HttpRequest, line: Line, length: int) -> bytes:
    headers = {"Host": line.host, "Accept-Encoding": "identity", **line.headers, **request.headers}
    if request.body is not None or request.method == "POST":
        headers["Content-Length"] = str(length)
    lines = [f"{request.method} {line.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    text = "\r\n".join(lines)
    if text.count("\n") >= len(lines) or text.count("\r") >= len(lines):
        # It would end the head, and begin another request.
        raise ValueError(f"a header of {request.op} has a line end in it")
    return f"{text}\r\n\r\n".encode("latin-1")


def _send(line: Line, head: bytes, body: bytes | Body | None) -> bool:
    """Send a request; tell whether the other side took all of it: else it may have answered."""
    try:
        if body is None:
            line.sock.sendall(head)
        elif isinstance(body, bytes):
            _send_first(line, head, body)
        else:
            _send_first(line, head, body.read(_BLOCK_SIZE))
            while block := body.read(_BLOCK_SIZE):
                line.sock.sendall(block)
    except OSError as error:
        if error.errno not in _HUNG_UP:
            raise
        return False
    return True


def _send_first(line: Line, head: bytes, block: bytes) -> None:
    if len(block) <= _JOINED_SIZE:
        line.sock.sendall(head + block)
    else:
        line.sock.sendall(head)
        line.sock.sendall(block)


def _drop(line: Line, response: _Response | None) -> None:
    if response is not None:
        response.close()
    line.release(is_usable=False)


class _Response(http.client.HTTPResponse):
    """The standard library's response, with a head that is read in a fraction of the time.

    ``headers`` are a plain dictionary: names in lower case, repeated ones joined by commas.
    """

    def begin(self) -> None:
        """Read the head. Raises ``HTTPException`` when it is none, or ends too early."""
        status = 100
        while status == 100:
            version, status, reason = self._read_status()  # type: ignore[attr-defined]
            headers = self._read_headers()
        self.code = self.status = status
        self.reason = reason.strip()
        self.version = 11 if version.startswith("HTTP/1.") and version != "HTTP/1.0" else 10
        self.headers = self.msg = headers  # type: ignore[assignment]
        self.chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        self.will_close = self._check_close()  # type: ignore[attr-defined]
        length = headers.get("content-length", "")
        self.length = None
        if self._method == "HEAD" or status in (204, 304):  # type: ignore[attr-defined]
            self.length = 0
        elif length.isascii() and length.isdigit() and not self.chunked:
            self.length = int(length)
        # Nothing but the end of the connection tells that of such a body.
        self.will_close = self.will_close or (self.length is None and not self.chunked)

    def _read_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        name = ""
        for _ in range(_LINES_MAX):
            line = self.fp.readline(_LINE_MAX + 1)
            if line in (b"\r\n", b"\n"):
                return headers
            text = line.decode("latin-1")
            if name and text[0] in " \t":
                # An old way to write a long value: it goes on.
                headers[name] += f" {text.strip()}"
                continue
            name, colon, value = text.partition(":")
            if not colon or line[-1:] != b"\n":
                raise http.client.HTTPException("a line of the head is no header")
            name, value = name.strip().lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        raise http.client.HTTPException("the head does not end")


class _Stream:
    """A body that is read straight into the memory of whoever asks."""

    def __init__(
        self, response: _Response, line: Line, request: HttpRequest, transport: HttpTransport
    ) -> None:
        self._response = response
        self._line = line
        self._request = request
        self._transport = transport
        self.status: int = response.status
        headers: Any = response.headers
        self.headers: Mapping[str, str] = MappingProxyType(headers)
        self._left: int | None = response.length
        self._is_open = True
        if self._left == 0:
            self._finish(drained=True)

    def readinto(self, view: memoryview) -> int:
        if not self._is_open or not len(view):
            return 0
        failure: StoreError
        try:
            count = int(self._response.readinto(view))
        except TimeoutError:
            failure = RequestTimeout(
                f"{self._request.op}: the body stopped coming", path=self._request.path
            )
        except http.client.HTTPException:
            failure = self._cut()
        except (OSError, ValueError) as error:
            failure = ConnectionLost(_said(self._request, error), path=self._request.path)
        else:
            if count:
                self._transport._count(self._request.op, bytes_received=count)
            if self._left is not None:
                self._left -= count
            if not count and self._left:
                failure = self._cut()
            else:
                if not count or self._left == 0:
                    self._finish(drained=True)
                return count
        self._finish(drained=False)
        raise failure

    def close(self) -> None:
        if self._is_open:
            self._finish(drained=False)

    def _cut(self) -> TruncatedBody:
        missing = f", {self._left} bytes before its end" if self._left else ""
        return TruncatedBody(f"{self._request.op}: the body broke off{missing}", path=(
            self._request.path
        ))

    def _finish(self, *, drained: bool) -> None:
        self._is_open = False
        self._response.close()
        # Only when it was read to its end the connection takes the next request.
        self._line.release(is_usable=drained and not self._response.will_close)


def _said(request: HttpRequest, cause: BaseException) -> str:
    """Say what happened without any text that a library made: it may hold a URL."""
    text = getattr(cause, "strerror", None) or type(cause).__name__
    return f"{request.op}: no answer ({text})"
