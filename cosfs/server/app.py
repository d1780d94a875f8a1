"""The life of a server: from opening the data folder to closing it.

Owns its options, its parts and their order at start and stop; must not know what a request is.
"""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from cosfs.server.calls import Context
from cosfs.server.control import Counters
from cosfs.server.door import Door
from cosfs.server.faults import Faults
from cosfs.server.listing import DelayedView
from cosfs.server.objects import PRIVATE
from cosfs.server.signatures import Account
from cosfs.server.state import State
from cosfs.server.switches import Switches

# Hashing and writing take little of the interpreter: more threads than cores keep the disk busy.
_POOL_THREADS = 8
# A path of 850 bytes may take 2550 characters, and once more inside the signature.
_LINE_BYTES = 64 << 10
_READ_BUFFER_BYTES = 1 << 20
_DEFAULT_BUCKET = "demo"


def _hide_request(record: logging.LogRecord) -> bool:
    """Cut what aiohttp quotes of a request it cannot read: signatures may be in there."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, web.RequestPayloadError):
        return False  # The door has answered, or the client is gone.
    if isinstance(error, HttpProcessingError):
        record.msg, record.args = f"{record.getMessage()}: {type(error).__name__}", ()
        record.exc_info = None
    return True


_http_logger = logging.getLogger("cosfs.server.http")
_http_logger.addFilter(_hide_request)


@dataclass(frozen=True)
class Options:
    """Everything a server is made from."""

    data_dir: Path
    account: Account
    host: str = "127.0.0.1"
    port: int = 8500
    # Every bucket that must exist, with its authority.
    buckets: Mapping[str, str] = field(default_factory=dict)
    switches: Switches = Switches()
    has_control: bool = True
    has_log: bool = False
    clock: Callable[[], float] = time.time


class Server:
    """One running server. All methods belong to one event loop."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._pool = _start_pool()
        try:
            self._state = State(options.data_dir, self._pool)
        except BaseException:
            self._pool.shutdown()
            raise
        self._add_buckets()
        switches = options.switches
        view = DelayedView(self._state, switches.listing_delay_s, options.clock)
        context = Context(
            self._state, view, options.account, switches, self._pool, options.clock
        )
        self._door = Door(context, options.has_control, options.has_log)
        self._listener: asyncio.Server | None = None
        self._http: web.Server | None = None

    def _add_buckets(self) -> None:
        now = int(self._options.clock())
        for bucket, authority in self._options.buckets.items():
            if self._state.buckets().get(bucket) != authority:
                self._state.add_bucket(bucket, authority, now)
        if not self._state.buckets():
            self._state.add_bucket(_DEFAULT_BUCKET, PRIVATE, now)

    @property
    def buckets(self) -> list[str]:
        """The names of the buckets."""
        return sorted(self._state.buckets())

    @property
    def url(self) -> str:
        """The address, once the server listens."""
        return self._door.url

    @property
    def counters(self) -> Counters:
        """What was asked of the server so far."""
        return self._door.counters

    @property
    def faults(self) -> Faults:
        """The faults in force."""
        return self._door.faults

    async def start(self) -> None:
        """Listen; afterwards `url` is known.

        Raises:
            OSError: the address is taken or not ours.
        """
        self._http = web.Server(
            self._door.handle,
            access_log=None,
            logger=_http_logger,
            read_bufsize=_READ_BUFFER_BYTES,
            max_line_size=_LINE_BYTES,
            max_field_size=_LINE_BYTES,
        )
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            self._http, self._options.host, self._options.port, backlog=1024
        )
        host, port = self._listener.sockets[0].getsockname()[:2]
        shown = f"[{host}]" if self._listener.sockets[0].family == socket.AF_INET6 else host
        self._door.url = f"http://{shown}:{port}"

    async def stop(self, patience_s: float = 10.0) -> None:
        """Take no more requests, let those under way end, and close the data folder."""
        if self._listener is not None:
            self._listener.close()
        self._door.is_stopping = True
        if self._http is not None:
            await _close_connections(self._http, patience_s)
        self._pool.shutdown(wait=True)
        self._state.close()


async def _close_connections(http: web.Server, patience_s: float) -> None:
    for _ in range(3):
        await asyncio.sleep(0)  # A connection may have been accepted and not be known yet.
    transports = [connection.transport for connection in http.connections]
    await http.shutdown(patience_s)
    for transport in transports:
        if transport is not None:
            transport.abort()  # What was not sent by now has had its time.
    for _ in range(2):
        await asyncio.sleep(0)  # asyncio closes the sockets a turn or two later.


def _start_pool() -> ThreadPoolExecutor:
    """Return a pool whose threads run already: none appears later, in the middle of a test."""
    pool = ThreadPoolExecutor(_POOL_THREADS, thread_name_prefix="cosfs-server")
    barrier = threading.Barrier(_POOL_THREADS + 1)
    for _ in range(_POOL_THREADS):
        pool.submit(barrier.wait)
    barrier.wait()
    return pool
