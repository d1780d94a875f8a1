"""Owns going into the background and telling the parent how the start went; must not know mounts.

The child says over a pipe how far it is, one JSON value per line: ``"probed"``, then ``"ready"``,
or ``[code, sentence]`` when it ends instead. Nothing that makes threads or sockets may run before
the fork.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import NoReturn, Protocol

from cosfs.exits import ExitCode, Failure

log = logging.getLogger(__name__)

#: After the probe there is this machine to wait for, and the end of what a killed mount had begun:
#: a folder's rename takes a request for each file.
_READY_PATIENCE_S = 600.0


class _Silent(Failure):
    """The child has not said anything for too long."""


class Progress(Protocol):
    """Told by the work how far it is."""

    def probed(self) -> None:
        """Whatever needs the network is done."""
        ...

    def ready(self) -> None:
        """It serves: from here on nobody waits any more."""
        ...


class Silent:
    """The progress of work in the foreground, which the user sees himself."""

    def probed(self) -> None:
        pass

    def ready(self) -> None:
        pass


def run_in_background(
    work: Callable[[Progress], ExitCode], *, patience_s: float, on_silence: Failure
) -> None:
    """Fork; return in the parent once the child's ``work`` serves. The child never returns.

    Raises:
        Failure: what ended the child, or ``on_silence`` when it does not come to "probed" within
            ``patience_s``; it is ended then.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _live(work, writer)
    os.close(writer)
    try:
        _await(reader, patience_s, on_silence)
    except BaseException as error:
        # A child that has said why it fails ends by itself.
        if isinstance(error, _Silent):
            os.kill(pid, signal.SIGKILL)
        elif not isinstance(error, Failure):
            os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(reader)


def _await(reader: int, patience_s: float, on_silence: Failure) -> None:
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    with os.fdopen(reader, "rb", buffering=0, closefd=False) as stream:
        for wanted, patience, silence in (
            ("probed", patience_s, on_silence),
            ("ready", _READY_PATIENCE_S, _hangs()),
        ):
            if not poll.poll(patience * 1000):
                raise _Silent(silence.code, silence.sentence)
            line = stream.readline()
            if not line:
                raise Failure(ExitCode.FUSE, "the mount process died while it was starting")
            said = json.loads(line)
            if said != wanted:
                raise Failure(ExitCode(said[0]), said[1])


def _hangs() -> Failure:
    return Failure(
        ExitCode.FUSE, f"the kernel did not complete the mount within {_READY_PATIENCE_S:g} s"
    )


class _Messages:
    """The child's end of the pipe."""

    def __init__(self, writer: int) -> None:
        self._writer = writer

    def probed(self) -> None:
        self._say("probed")

    def ready(self) -> None:
        self._say("ready")
        os.close(self._writer)
        self._writer = -1

    def failed(self, failure: Failure) -> None:
        self._say([int(failure.code), failure.sentence])

    def _say(self, value: object) -> None:
        if self._writer < 0:
            return
        try:
            os.write(self._writer, json.dumps(value).encode("ascii") + b"\n")
        except BrokenPipeError:
            log.debug("nobody waits for %r", value)


def _live(work: Callable[[Progress], ExitCode], writer: int) -> NoReturn:
    """Be the child: no terminal, no streams, no files of whoever started us."""
    code = ExitCode.FAILED
    messages = _Messages(writer)
    try:
        os.setsid()
        os.umask(0o077)
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        os.closerange(3, writer)
        os.closerange(writer + 1, os.sysconf("SC_OPEN_MAX"))
        code = work(messages)
    except Failure as failure:
        log.error("%s", failure.sentence)
        messages.failed(failure)
        code = failure.code
    except BaseException as error:  # noqa: B036 - the process ends here in any case
        log.critical("the mount process fails", exc_info=True)
        messages.failed(
            Failure(ExitCode.FAILED, f"unexpected {type(error).__name__}: {error} (see the log)")
        )
    finally:
        logging.shutdown()
        os._exit(code)
