"""Owns the socket on which a running mount answers its user; must not know what is asked.

The socket ``control`` lies in the mount's state folder. A client sends one line, a JSON object, and
gets one line back::

    {"command": "refresh", "arguments": {"path": "/a"}}
    {"result": ...}       or       {"error": "one sentence"}

Only the user whom the mount belongs to is answered, and root.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from cosfs.errors import ConfigError, CosfsError

log = logging.getLogger(__name__)

#: What may be asked: called with the question's arguments, returns what JSON can say.
Commands = Mapping[str, Callable[..., Any]]

NAME: Final = "control"

#: Longest question: a path is up to 4096 bytes, each of them up to six in JSON.
QUESTION_MAX: Final = 64 * 1024

#: How long a client may take to send its question or to take its answer.
_PATIENCE_S: Final = 10.0

#: Questions answered at once; further clients wait.
_AT_ONCE: Final = 8

_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid: struct ucred of <sys/socket.h>


@contextmanager
def address(folder: Path) -> Iterator[str]:
    """Give the socket's address for ``bind`` and ``connect``.

    An address holds 107 bytes, and a state folder's path is often longer; so it goes over a
    descriptor of the folder.
    """
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)


class ControlServer:
    """Answers questions from ``start`` to ``stop``.

    Thread safety: ``start`` and ``stop`` belong to one thread. Commands are called in several.
    """

    def __init__(self, folder: Path, commands: Commands, *, owner: int) -> None:
        """Answer with ``commands`` to the user ``owner`` and to root."""
        self._folder = folder
        self._commands = commands
        self._may_ask = frozenset({owner, 0})
        self._listener: socket.socket | None = None
        self._accepting: threading.Thread | None = None
        self._lock = threading.Lock()
        self._answering: dict[threading.Thread, socket.socket] = {}
        self._places = threading.BoundedSemaphore(_AT_ONCE)

    def start(self) -> None:
        """Begin to answer. Raises ``OSError`` where no socket can be made."""
        # Whoever left one here is dead: the folder is locked.
        (self._folder / NAME).unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        try:
            os.fchmod(listener.fileno(), 0o600)  # what bind gives the file, before anyone sees it
            with address(self._folder) as where:
                listener.bind(where)
            listener.listen()
        except OSError:
            listener.close()
            raise
        self._listener = listener
        self._accepting = threading.Thread(
            target=self._accept, args=(listener,), name="control", daemon=True
        )
        self._accepting.start()

    def stop(self) -> None:
        """End: questions that are being answered get their answer first. Never fails."""
        if self._listener is None or self._accepting is None:
            return
        with suppress(OSError):  # should the folder be gone: more has to be ended than this
            (self._folder / NAME).unlink()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._accepting.join()
        self._listener.close()
        self._listener = None
        with self._lock:
            answering = dict(self._answering)
            for connection in answering.values():
                with suppress(OSError):  # who has left; who has not asked yet is too late
                    connection.shutdown(socket.SHUT_RD)
        for thread in answering:
            thread.join()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            self._places.acquire()
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(
                target=self._serve, args=(connection,), name="control", daemon=True
            )
            with self._lock:
                try:
                    thread.start()
                except RuntimeError as error:
                    log.error("a question cannot be answered: %s", error)
                    connection.close()
                    self._places.release()
                    continue
                self._answering[thread] = connection

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(_PATIENCE_S)
            reply = self._reply(connection)
            if reply is not None:
                connection.sendall(json.dumps(reply).encode("ascii") + b"\n")
        except OSError as error:
            log.debug("a client of the control socket left: %s", error)
        finally:
            with self._lock:
                del self._answering[threading.current_thread()]
                connection.close()
            self._places.release()

    def _reply(self, connection: socket.socket) -> dict[str, Any] | None:
        peer = connection.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
        )
        _, uid, _ = _CREDENTIALS.unpack(peer)
        if uid not in self._may_ask:
            log.warning("user %d asked, but this mount answers only its owner", uid)
            return {"error": "this mount answers only the user who made it"}
        line = _read_line(connection)
        if line is None:
            return None
        try:
            return {"result": self._answer(line)}
        except CosfsError as error:
            return {"error": str(error)}
        except Exception as error:
            log.exception("a question could not be answered")
            return {"error": f"unexpected {type(error).__name__}: {error} (see the log)"}

    def _answer(self, line: bytes) -> Any:
        try:
            question = json.loads(line)
            name, arguments = question["command"], question.get("arguments", {})
            keywords = dict(**arguments)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigError(
                'a question is one line: {"command": NAME, "arguments": {...}}'
            ) from error
        command = self._commands.get(name) if isinstance(name, str) else None
        if command is None:
            known = ", ".join(sorted(self._commands))
            raise ConfigError(f"there is no command {name!r}; there are: {known}")
        try:
            inspect.signature(command).bind(**keywords)
        except TypeError as error:
            raise ConfigError(f"{name}: {error}") from error
        return command(**keywords)


def _read_line(connection: socket.socket) -> bytes | None:
    """Return the question, ``None`` if the client left before its end."""
    line = bytearray()
    while not line.endswith(b"\n"):
        if len(line) > QUESTION_MAX:
            return bytes(line[:QUESTION_MAX])  # cut, it is no JSON
        piece = connection.recv(8192)
        if not piece:
            return None
        line += piece
    return bytes(line)
