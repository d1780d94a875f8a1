"""Owns HTTP: the one place that imports ``requests``; must not know the protocol or retries.

Nothing is decoded, redirected, repeated or remembered (no cookies), and no setting is taken from
the environment but the proxies, once. Exceptions of the libraries end here: their texts and their
requests hold signatures, so they are translated and never chained.
"""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import exceptions as urllib3_errors
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from cosfs.config import NetworkOptions
from cosfs.errors import (
    ConnectFailed,
    ConnectionLost,
    RequestTimeout,
    StoreError,
    TlsRefused,
    TruncatedBody,
)
from cosfs.jsonapi.proxies import Proxies
from cosfs.jsonapi.replies import OpCount
from cosfs.jsonapi.wire import HttpRequest, without_signature

#: Bytes handed to the socket at once; the library's 16 KiB cost a third of the speed.
_BLOCK_SIZE = 256 * 1024

#: Hosts whose connections are kept: the API's and a few buckets' download hosts.
_HOSTS_KEPT = 16

#: TLS failures that happen while hands are shaken and that no repetition cures.
_HOPELESS_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST"}
)


class HttpTransport:
    """Sends requests over pooled connections.

    Thread-safe: any number of threads may send at once; ``pool_size`` connections of each host stay
    open between requests. Create it after a fork, not before.
    """

    def __init__(
        self, network: NetworkOptions, *, proxies: Proxies | None = None, ca_file: str = ""
    ) -> None:
        self._adapter = _Adapter(network)
        self._proxies = Proxies.from_environment() if proxies is None else proxies
        self._verify: bool | str = ca_file or True
        self._lock = threading.Lock()
        self._counts: dict[str, OpCount] = {}
        for name in ("urllib3.connectionpool", "urllib3.connection"):
            logging.getLogger(name).addFilter(_keep_quiet)

    def open(self, request: HttpRequest) -> _Stream:
        """Send ``request``; see ``wire.Transport``."""
        length = 0 if request.body is None else len(request.body)
        self._count(request.op, requests=1, bytes_sent=length)
        # Made by hand: the library's own preparation would quote the URL anew.
        prepared = requests.PreparedRequest()
        prepared.method = request.method
        prepared.url = request.url
        prepared.headers = CaseInsensitiveDict(request.headers)
        prepared.headers["Accept-Encoding"] = "identity"
        prepared.body = request.body  # type: ignore[assignment]
        if request.body is not None or request.method == "POST":
            prepared.headers["Content-Length"] = str(length)
        failure: StoreError
        try:
            response = self._adapter.send(
                prepared,
                stream=True,
                timeout=(request.connect_timeout_s, request.silence_timeout_s),
                verify=self._verify,
                proxies=self._proxies.for_url(request.url),
            )
        except (requests.RequestException, urllib3_errors.HTTPError, OSError) as error:
            failure = _translated(error, request)
        except http.client.HTTPException as error:
            failure = ConnectionLost(_said(request, _cause(error)), path=request.path)
        else:
            stream = _Stream(response.raw, request, self)
            if stream.is_whole:
                return stream
            stream.close()
            failure = ConnectionLost(f"{request.op}: the reply is garbled", path=request.path)
        raise failure

    def counters(self) -> Mapping[str, OpCount]:
        """Return a snapshot of what was counted, by operation."""
        with self._lock:
            return MappingProxyType(dict(self._counts))

    def close(self) -> None:
        """Close all connections that are not in use."""
        self._adapter.close()

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


class _Stream:
    """A body read straight from http.client, past the buffering and decoding of the libraries."""

    def __init__(self, raw: Any, request: HttpRequest, transport: HttpTransport) -> None:
        self._raw = raw
        self._request = request
        self._transport = transport
        self.status: int = raw.status
        self.headers: Mapping[str, str] = MappingProxyType(
            {name.lower(): value for name, value in raw.headers.items()}
        )
        # http.client's response; its readinto() is the only one that does not copy.
        self._source = raw._fp
        self._left: int | None = None
        length = self.headers.get("content-length", "")
        chunked = self.headers.get("transfer-encoding", "").lower() == "chunked"
        if request.method == "HEAD" or self.status in (204, 304):
            self._left = 0
        elif length.isascii() and length.isdigit() and not chunked:
            self._left = int(length)
        self._is_open = True
        if self._left == 0:
            self._finish(drained=True)

    @property
    def is_whole(self) -> bool:
        """Tell whether the headers came to their end before the connection did."""
        return not self._source.msg.defects

    def readinto(self, view: memoryview) -> int:
        if not self._is_open or not len(view):
            return 0
        failure: StoreError
        try:
            count = int(self._source.readinto(view))
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
        if drained:
            # Only then the connection takes the next request; it stays open.
            self._source.close()
        else:
            self._raw.close()
        self._raw.release_conn()


class _Adapter(HTTPAdapter):
    """``requests``' adapter with connections that send in large blocks and wait long enough."""

    def __init__(self, network: NetworkOptions) -> None:
        self._pools = _pool_classes(network.timeout_s)
        super().__init__(pool_connections=_HOSTS_KEPT, pool_maxsize=network.pool_size)

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        # Nobody looks at cookies, encodings or the request in what comes back.
        response = requests.Response()
        response.raw = resp
        return response

    def close(self) -> None:
        # The library leaves that to the garbage collector.
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
        super().close()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager


def _pool_classes(send_timeout_s: float) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "blocksize": _BLOCK_SIZE})

        def connect(self) -> None:
            super().connect()
            # The library would go on with the (short) timeout of connecting.
            self.sock.settimeout(send_timeout_s)

    class Secure(HTTPSConnection):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "blocksize": _BLOCK_SIZE})

        def connect(self) -> None:
            super().connect()
            self.sock.settimeout(send_timeout_s)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _keep_quiet(record: logging.LogRecord) -> bool:
    """Filter urllib3's log: its lines hold URLs, and a busy moment is no reason for a warning."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            without_signature(arg) if isinstance(arg, str) else arg for arg in record.args
        )
    return not str(record.msg).startswith("Connection pool is full")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and what it wraps as the libraries do: in ``reason``, ``args``, chained."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        item = todo.pop(0)
        if not isinstance(item, BaseException) or id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        todo += [getattr(item, "reason", None), *item.args]
        todo += [getattr(item, "original_error", None), item.__cause__, item.__context__]


def _cause(error: BaseException) -> BaseException:
    """Return the innermost failure of the system, or ``error`` itself."""
    found = error
    for item in _causes(error):
        if isinstance(item, (OSError, http.client.HTTPException)) and not isinstance(
            item, requests.RequestException
        ):
            found = item
    return found


def _said(request: HttpRequest, cause: BaseException) -> str:
    """Say what happened without any text that a library made: it may hold a URL."""
    text = getattr(cause, "strerror", None) or type(cause).__name__
    return f"{request.op}: no answer ({text})"


def _translated(error: BaseException, request: HttpRequest) -> StoreError:
    causes = list(_causes(error))

    def has(*classes: type[BaseException]) -> bool:
        return any(isinstance(item, classes) for item in causes)

    for item in causes:
        if isinstance(item, StoreError):  # raised by the body while it was read
            return item
    what = _said(request, _cause(error))
    if any(_is_hopeless_tls(item) for item in causes):
        return TlsRefused(
            f"{request.op}: no trustworthy TLS connection ({_tls_reason(causes)})",
            path=request.path,
        )
    if has(
        urllib3_errors.NewConnectionError,
        urllib3_errors.ConnectTimeoutError,
        urllib3_errors.ProxyError,
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidProxyURL,
    ):
        return ConnectFailed(f"{request.op}: no connection ({_reason(causes)})", path=request.path)
    if has(urllib3_errors.ReadTimeoutError, TimeoutError):
        return RequestTimeout(f"{request.op}: no answer in time", path=request.path)
    return ConnectionLost(what, path=request.path)


def _reason(causes: list[BaseException]) -> str:
    for item in causes:
        if isinstance(item, urllib3_errors.ProxyError):
            return "the proxy cannot be reached or refuses"
        if isinstance(item, socket.gaierror):
            return "the host name is unknown"
        # Exactly: a connection that was refused is of a subclass.
        if type(item) is urllib3_errors.ConnectTimeoutError:
            return "timed out"
    for item in causes:
        if isinstance(item, OSError) and item.strerror:
            return item.strerror
    return type(causes[-1]).__name__


def _is_hopeless_tls(error: BaseException) -> bool:
    if isinstance(error, ssl.SSLCertVerificationError):
        return True
    return isinstance(error, ssl.SSLError) and error.reason in _HOPELESS_TLS


def _tls_reason(causes: list[BaseException]) -> str:
    for item in causes:
        if isinstance(item, ssl.SSLCertVerificationError):
            return item.verify_message or "the certificate is not valid"
    return "the server does not speak TLS here"
