"""Owns asking a running mount: finding it, and one question on its socket.

Must not know what the answers mean.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cosfs import mounts
from cosfs.control import address
from cosfs.errors import CosfsError
from cosfs.statedir import Info, MountState, default_root, find_mounts, root_of_user

#: How long a mount may take over an answer for which it asks nobody else.
_PATIENCE_S: Final = 10.0


class AskFailed(CosfsError):
    """The mount did not answer, or refused: the message says what."""


class NotRunning(AskFailed):
    """No process answers there."""


def ask(
    folder: Path, command: str, /, *, patience_s: float | None = _PATIENCE_S, **arguments: Any
) -> Any:
    """Ask the mount whose state is in ``folder``; wait ``patience_s`` for it, ``None``: for ever.

    Raises:
        NotRunning: there is no process to answer.
        AskFailed: it refuses, and says why; or it does not answer.
    """
    question = json.dumps({"command": command, "arguments": arguments}).encode("ascii")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(patience_s)
        try:
            with address(folder) as where:
                client.connect(where)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NotRunning("no mount process answers") from error
        except OSError as error:
            raise AskFailed(f"the mount cannot be asked: {error.strerror}") from error
        try:
            client.sendall(question + b"\n")
            with client.makefile("rb") as stream:
                line = stream.readline()
        except TimeoutError as error:
            raise AskFailed(f"no answer within {patience_s:g} s") from error
        except OSError as error:
            raise AskFailed(f"the mount left: {error.strerror}") from error
    try:
        reply = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        reply = None
    if not isinstance(reply, dict):
        raise AskFailed("the mount's process ended before it had answered")
    if "error" in reply:
        raise AskFailed(str(reply["error"]))
    return reply.get("result")


def roots(where: str | None, environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return where the state of mounts may be: ours, and that of whoever mounted ``where``."""
    found = [default_root(environ, os.geteuid(), home)]
    mount = mounts.mounted_at(where) if where is not None else None
    if mount is not None and mount.owner not in (None, os.geteuid()):
        found += filter(None, [root_of_user(mount.owner or 0)])
    return found


def find(
    where: str, environ: Mapping[str, str], home: Path
) -> Iterator[tuple[MountState, Info]]:
    """Yield what is or was mounted on the resolved ``where``: what runs first, then newest."""
    found = [pair for root in roots(where, environ, home) for pair in find_mounts(root, where)]
    yield from sorted(found, key=lambda pair: not pair[0].is_alive())
