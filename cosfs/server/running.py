"""Servers for tests and scripts.

Owns starting a server in a thread or in a process and stopping it; must not know HTTP.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

from cosfs.server.app import Options, Server
from cosfs.server.objects import PRIVATE, PUBLIC_READ
from cosfs.server.signatures import Account
from cosfs.server.switches import Switches

APPID = "1250000000"
SECRET_ID = "AKIDEXAMPLEexampleEXAMPLEexample0123"
SECRET_KEY = "KeyExampleKeyExampleKeyExample01"

T = TypeVar("T")


class LocalServer:
    """A server in a thread of this process, on a free port.

    Example::

        with LocalServer(buckets=["mybucket"], page_size=199) as server:
            requests.get(server.url + "/_server/stats")

    Thread safety: every method may be called from any thread.
    """

    def __init__(
        self,
        data_dir: Path | str | None = None,
        *,
        buckets: Sequence[str] = ("mybucket",),
        public_buckets: Sequence[str] = (),
        appid: str | int = APPID,
        secret_id: str = SECRET_ID,
        secret_key: str = SECRET_KEY,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] | None = None,
        control: bool = True,
        log: bool = False,
        **switches: Any,
    ) -> None:
        """Remember what to start.

        Args:
            data_dir: kept; None takes a temporary folder that is removed at the end.
            switches: fields of `cosfs.server.switches.Switches`.
        """
        self.appid = str(appid)
        self.secret_id = secret_id
        self.secret_key = secret_key
        self.url = ""
        self._data_dir = data_dir
        self._host, self._port = host, port
        self._buckets = dict.fromkeys(buckets, PRIVATE)
        self._buckets.update(dict.fromkeys(public_buckets, PUBLIC_READ))
        self._switches = Switches(**switches)
        self._clock = clock
        self._control, self._log = control, log
        self._resources = contextlib.ExitStack()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None

    @property
    def host(self) -> str:
        """The address without the port."""
        return self.url.removeprefix("http://").rpartition(":")[0]

    @property
    def port(self) -> int:
        """The port."""
        return int(self.url.rpartition(":")[2])

    @property
    def data_dir(self) -> Path:
        """The data folder; valid while the server runs."""
        assert self._data_dir is not None
        return Path(self._data_dir)

    def start(self) -> "LocalServer":
        """Start listening; returns when requests are taken."""
        if self._data_dir is None:
            self._data_dir = tempfile.mkdtemp(prefix="cosfs-server-")
            self._resources.callback(self._remove_data)
        options = Options(
            data_dir=Path(self._data_dir),
            account=Account(self.appid, self.secret_id, self.secret_key),
            host=self._host,
            port=self._port,
            buckets=self._buckets,
            switches=self._switches,
            has_control=self._control,
            has_log=self._log,
        )
        if self._clock is not None:
            options = Options(**{**vars(options), "clock": self._clock})
        loop = asyncio.new_event_loop()
        self._resources.callback(loop.close)
        thread = threading.Thread(target=loop.run_forever, name="cosfs-local-server", daemon=True)
        thread.start()
        self._resources.callback(thread.join)
        self._resources.callback(lambda: loop.call_soon_threadsafe(loop.stop))
        self._loop = loop
        try:
            self._server = self._run(_start(options))
        except BaseException:
            self._resources.close()
            raise
        self.url = self._server.url
        self._port = self.port
        return self

    def stop(self) -> None:
        """Stop; safe to call twice. The same object may be started again, on the same port."""
        server, self._server = self._server, None
        if server is not None:
            self._run(_stop(server))
            self._resources.close()

    def _remove_data(self) -> None:
        if self._data_dir is not None:
            shutil.rmtree(self._data_dir, ignore_errors=True)
            self._data_dir = None

    def stats(self) -> dict[str, Any]:
        """Return the counters, as `GET /_server/stats` does."""
        return self._call(lambda server: server.counters.describe())

    def reset_stats(self) -> None:
        """Set the counters to zero."""
        self._call(lambda server: server.counters.reset())

    def set_faults(self, plan: dict[str, Any]) -> None:
        """Order faults; the plan is the JSON of `PUT /_server/faults`."""
        self._call(lambda server: server.faults.order(plan))

    def clear_faults(self) -> None:
        """Order no faults."""
        self.set_faults({})

    def faults(self) -> dict[str, Any]:
        """Return the plan in force and how often each rule has fired."""
        return self._call(lambda server: server.faults.describe())

    def _call(self, function: Callable[[Server], T]) -> T:
        server = self._server
        if server is None:
            raise RuntimeError("the server does not run")

        async def run() -> T:
            return function(server)

        return self._run(run())

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def __enter__(self) -> "LocalServer":
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


async def _start(options: Options) -> Server:
    server = Server(options)
    try:
        await server.start()
    except BaseException:
        await server.stop()
        raise
    return server


async def _stop(server: Server) -> None:
    await server.stop(patience_s=2.0)
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


class ServerProcess:
    """A server in a process of its own, on a free port; can be killed and started again."""

    def __init__(
        self,
        data_dir: Path | str,
        arguments: Sequence[str] = (),
        *,
        buckets: Sequence[str] = ("mybucket",),
        appid: str | int = APPID,
        secret_id: str = SECRET_ID,
        secret_key: str = SECRET_KEY,
        stderr: IO[str] | None = None,
    ) -> None:
        """Remember what to start.

        Args:
            arguments: further options of `cosfs serve`.
            stderr: where the server's log goes; None leaves it to this process's own.
        """
        self._stderr = stderr
        self.appid = str(appid)
        self.secret_id = secret_id
        self.secret_key = secret_key
        self.url = ""
        self._port = 0
        self._arguments = ["--data", str(data_dir), "--appid", self.appid]
        self._arguments += ["--secret-id", secret_id, "--secret-key", secret_key]
        for bucket in buckets:
            self._arguments += ["--bucket", bucket]
        self._arguments += arguments
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """The id of the process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> "ServerProcess":
        """Start; returns when requests are taken. A second start takes the same port.

        Raises:
            RuntimeError: the process ended instead.
        """
        command = [sys.executable, "-m", "cosfs.server", "--port", str(self._port)]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            command + self._arguments,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env=environment,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("listening on "):
            raise RuntimeError(f"the server ended with {self._process.wait()}")
        self.url = line.split()[-1]
        self._port = int(self.url.rpartition(":")[2])
        return self

    def kill(self) -> None:
        """Kill the process with SIGKILL and wait for its end."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask the process to stop and return its exit code; safe to call twice."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(30)
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def __enter__(self) -> "ServerProcess":
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
