"""Owns connections: made and kept by ``requests`` and urllib3, the only place that imports these.

Must not know what is said over them. No setting is taken from the environment but the proxies,
once. Exceptions of the libraries end here: their texts hold URLs, so they are translated and never
chained.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import exceptions as urllib3_errors
from urllib3.connectionpool import HTTPConnectionPool

from cosfs.config import NetworkOptions
from cosfs.errors import ConnectFailed, StoreError, TlsRefused
from cosfs.jsonapi.proxies import Proxies
from cosfs.jsonapi.wire import HttpRequest, without_signature

#: Hosts whose connections are kept: the API's and a few buckets' download hosts.
_HOSTS_KEPT: Final = 16

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

#: TLS failures that happen while hands are shaken and that no repetition cures.
_HOPELESS_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST"}
)


class Line:
    """A connection that one request goes over, and what that one has to say to be let through.

    ``target`` is what is asked for in the first line of the request, ``host`` the value of that
    header, ``headers`` are those for a proxy on the way. Ends with ``release``.
    """

    __slots__ = ("_connection", "_pool", "headers", "host", "sock", "target")

    def __init__(
        self,
        pool: HTTPConnectionPool,
        connection: Any,
        target: str,
        host: str,
        headers: Mapping[str, str],
    ) -> None:
        self._pool = pool
        self._connection = connection
        self.sock: socket.socket = connection.sock
        self.target = target
        self.host = host
        self.headers = headers

    def release(self, *, is_usable: bool) -> None:
        """Keep the connection for the next request, or close it."""
        if not is_usable:
            self._connection.close()
        self._pool._put_conn(self._connection)


class Connections:
    """Connections to any number of hosts; ``pool_size`` of each stay open between requests.

    Thread-safe. Create it after a fork, not before.
    """

    def __init__(self, network: NetworkOptions, proxies: Proxies, *, ca_file: str) -> None:
        self._adapter = _Adapter(network.pool_size)
        self._proxies = proxies
        self._verify: bool | str = ca_file or True
        self._lock = threading.Lock()
        self._routes: dict[str, _Route] = {}
        for name in ("urllib3.connectionpool", "urllib3.connection"):
            logging.getLogger(name).addFilter(_keep_quiet)

    def take(self, request: HttpRequest) -> Line:
        """Return an open connection to the host of ``request``, over which nothing was sent.

        Raises:
            ConnectFailed: there is none.
            TlsRefused: the other side cannot be trusted, and never will.
        """
        connection: Any = None
        pool: Any = None
        failure: StoreError
        try:
            route = self._route(request.url)
            pool = route.pool
            connection = pool._get_conn()
            if connection.sock is None:
                connection.timeout = request.connect_timeout_s
                route.connect(connection)
            return Line(
                pool, connection, route.target(request.url), route.host, route.headers
            )
        except (requests.RequestException, urllib3_errors.HTTPError, OSError) as error:
            failure = _translated(error, request, by_proxy=pool is not None and bool(pool.proxy))
        if pool is not None and connection is not None:
            connection.close()
            pool._put_conn(connection)
        raise failure

    def close(self) -> None:
        """Close all connections that are not in use."""
        with self._lock:
            self._routes.clear()
        self._adapter.close()

    def _route(self, url: str) -> _Route:
        end = url.find("/", url.index("://") + 3)
        origin = url if end < 0 else url[:end]
        route = self._routes.get(origin)
        # The pool of a host that was not asked for long may have been closed in favour of others.
        if route is None or route.pool.pool is None:
            with self._lock:
                if len(self._routes) >= _HOSTS_KEPT:
                    self._routes.clear()
                route = self._routes[origin] = self._new_route(origin)
        return route

    def _new_route(self, origin: str) -> _Route:
        proxies = self._proxies.for_url(origin)
        asked = requests.PreparedRequest()
        asked.url = origin
        adapter: Any = self._adapter
        pool = adapter.get_connection_with_tls_context(asked, self._verify, proxies=proxies)
        adapter.cert_verify(pool, origin, self._verify, None)
        return _Route(origin, pool)


class _Route:
    """How the host of ``origin`` (scheme, host, port) is reached."""

    def __init__(self, origin: str, pool: HTTPConnectionPool) -> None:
        self.pool = pool
        parts = urlsplit(origin)
        is_secure = parts.scheme == "https"
        name = parts.hostname or ""
        if not name.isascii():
            name = name.encode("idna").decode("ascii")
        self.host = f"[{name}]" if ":" in name else name
        if parts.port not in (None, _DEFAULT_PORTS.get(parts.scheme)):
            self.host += f":{parts.port}"
        self._needs_tunnel = pool.proxy is not None and is_secure
        # A proxy that speaks HTTP itself is told the whole URL, and who asks.
        is_forwarded = pool.proxy is not None and not is_secure
        self._skip = 0 if is_forwarded else len(origin)
        self.headers: Mapping[str, str] = pool.proxy_headers if is_forwarded else {}

    def target(self, url: str) -> str:
        """Return what is asked for in the first line of a request of ``url``."""
        return url[self._skip :] or "/"

    def connect(self, connection: Any) -> None:
        if self._needs_tunnel:
            self.pool._prepare_proxy(connection)
        else:
            connection.connect()


class _Adapter(HTTPAdapter):
    """``requests``' adapter, which knows how TLS and proxies are set up."""

    def __init__(self, pool_size: int) -> None:
        super().__init__(pool_connections=_HOSTS_KEPT, pool_maxsize=pool_size)

    def close(self) -> None:
        # The library leaves that to the garbage collector.
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
        super().close()


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
        # One of ours is of an attempt before, whose end this one was begun in.
        if not isinstance(item, BaseException) or isinstance(item, StoreError) or id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        todo += [getattr(item, "reason", None), *item.args]
        todo += [getattr(item, "original_error", None), item.__cause__, item.__context__]


def _translated(error: BaseException, request: HttpRequest, *, by_proxy: bool) -> StoreError:
    causes = list(_causes(error))
    if any(_is_hopeless_tls(item) for item in causes):
        return TlsRefused(
            f"{request.op}: no trustworthy TLS connection ({_tls_reason(causes)})",
            path=request.path,
        )
    reason = "the proxy cannot be reached or refuses" if by_proxy else _reason(causes)
    return ConnectFailed(f"{request.op}: no connection ({reason})", path=request.path)


def _reason(causes: list[BaseException]) -> str:
    for item in causes:
        if isinstance(item, socket.gaierror):
            return "the host name is unknown"
        # Exactly: a connection that was refused is of a subclass.
        if type(item) is urllib3_errors.ConnectTimeoutError or isinstance(item, TimeoutError):
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
