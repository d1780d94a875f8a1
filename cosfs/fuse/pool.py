"""Owns the life of one mount in libfuse: mount, serve in threads, stop on a signal, unmount; must
not know what the calls do.

libfuse's own main function is replaced, for three reasons. Its threads are foreign to Python, so
that every call makes and drops a Python thread state (a half to a third of the throughput, and no
``threading.local``). Its main thread sits in C, so that no Python signal handler ever runs. And it
says why a mount failed on file descriptor 2 only.

Here Python threads run libfuse's single-threaded loop, all on one session, and the main thread
waits in Python. A loop looks at the exit flag only between two requests and the first one that
leaves resets the flag; hence threads are stopped one by one, each woken out of its read by a
signal.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fuse as fusepy

from cosfs import interrupts
from cosfs.clock import SystemClock
from cosfs.fuse import callers

log = logging.getLogger(__name__)

libfuse = fusepy._libfuse

_clock = SystemClock()

#: The kernel may send this many reads ahead at once ...
MAX_BACKGROUND = 48
#: ... and there are more threads than that, so that a lookup or an interrupt always finds one.
THREADS = 64
#: Calls may wait for as long as a server is away: while they do, so many threads do not, up to a
#: number that is more than a crowd of programs.
SPARE_THREADS = 16
MOST_THREADS = 1024
#: A thread that has asked whether its caller has given up is waiting, also if it asks late.
_WAITING_S = 2.0

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_KICK = signal.SIGUSR1

#: Bytes in the wake-up pipe that are no signal numbers.
_THREAD_LEFT = 0
_STOP_ASKED = 255

_VOID = ctypes.c_void_p
libfuse.fuse_setup.restype = _VOID
libfuse.fuse_get_session.restype = _VOID
libfuse.fuse_get_session.argtypes = [_VOID]
libfuse.fuse_session_next_chan.restype = _VOID
libfuse.fuse_session_next_chan.argtypes = [_VOID, _VOID]
libfuse.fuse_remove_signal_handlers.argtypes = [_VOID]
libfuse.fuse_loop.argtypes = [_VOID]
libfuse.fuse_session_exit.argtypes = [_VOID]
libfuse.fuse_unmount.argtypes = [ctypes.c_char_p, _VOID]
libfuse.fuse_destroy.argtypes = [_VOID]


class Pool:
    """Serves one mount, once.

    Thread safety: ``main`` belongs to the main thread; ``ask_to_stop`` may be called by any.
    """

    def __init__(
        self, threads: int = THREADS, before_end: Callable[[bytes], None] = lambda _where: None
    ) -> None:
        """``before_end`` is called with the mount point when a signal ends a mount that answers."""
        self._size = threads
        self._workers: list[_Worker] = []
        self._growing = threading.Lock()
        self._is_stopping = False
        self._before_end = before_end
        #: What libfuse or fusermount wrote when it refused to mount.
        self.refusal = ""
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._dismissed = threading.Event()

    def main(
        self, argc: int, argv: Any, operations: Any, size: int, user_data: Any
    ) -> int:
        """Do what ``fuse_main_real`` does: return once the mount is gone; 0, or 1 if refused."""
        mountpoint, multithreaded = ctypes.c_char_p(), ctypes.c_int()
        # Blocked while a death would leave a dead mount behind; the threads inherit that for good.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            with _captured_stderr() as said:
                handle = libfuse.fuse_setup(
                    argc,
                    argv,
                    operations,
                    ctypes.c_size_t(size),
                    ctypes.byref(mountpoint),
                    ctypes.byref(multithreaded),
                    user_data,
                )
            if not handle:
                self.refusal = " ".join(said).strip()
                return 1
            session = libfuse.fuse_get_session(handle)
            channel = libfuse.fuse_session_next_chan(session, None)
            libfuse.fuse_remove_signal_handlers(session)
            self._take_signals()
            self._workers = [_Worker(handle, self) for _ in range(self._size)]
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        if self._wait():
            assert mountpoint.value is not None
            self._before_end(mountpoint.value)
        with self._growing:
            self._is_stopping = True
        for worker in self._workers:
            worker.stop(session)
        self._dismissed.set()
        for worker in self._workers:
            worker.join()
        libfuse.fuse_unmount(mountpoint, channel)
        libfuse.fuse_destroy(handle)
        return 0

    def ask_to_stop(self) -> None:
        """Make ``main`` unmount and return, as SIGTERM does."""
        self._wake(_STOP_ASKED)

    def relieve(self, handle: int) -> None:
        """Called by a thread that begins to wait: let enough others be there for other calls."""
        with self._growing:
            waiting = sum(worker.is_waiting for worker in self._workers)
            is_enough = len(self._workers) - waiting >= SPARE_THREADS
            if not (is_enough or self._is_stopping or len(self._workers) >= MOST_THREADS):
                self._workers.append(_Worker(handle, self))

    def leave(self) -> None:
        """Called by a thread that serves no more; returns when it may end."""
        self._wake(_THREAD_LEFT)
        self._dismissed.wait()

    def _wake(self, reason: int) -> None:
        os.write(self._wake_write, bytes([reason]))

    def _take_signals(self) -> None:
        # The handlers do nothing: Python writes the number into the pipe that _wait reads.
        for number in (*STOP_SIGNALS, _KICK):
            signal.signal(number, lambda _number, _frame: None)
        # libfuse gave SIGPIPE its deadly default back; a closed connection must be an error only.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def _wait(self) -> bool:
        """Return when somebody unmounted, sent a signal or asked to stop: whether by a signal."""
        while not all(worker.has_left for worker in self._workers):
            for reason in os.read(self._wake_read, 64):
                if reason in STOP_SIGNALS:
                    log.info("stopping: %s", signal.Signals(reason).name)
                    return True
                if reason == _STOP_ASKED:
                    return False
        return False


class _Worker(threading.Thread):
    """One thread in libfuse's loop. It stays alive until dismissed, so that kicks never miss it."""

    def __init__(self, handle: int, pool: Pool) -> None:
        super().__init__(name="fuse", daemon=True)
        self._handle = handle
        self._pool = pool
        self._left = threading.Event()
        self._asked = float("-inf")
        self.start()

    def run(self) -> None:
        with interrupts.watched(self._has_given_up):
            if libfuse.fuse_loop(self._handle) != 0:
                log.error("a thread of the FUSE loop ended with an error")
        self._left.set()
        self._pool.leave()

    @property
    def has_left(self) -> bool:
        return self._left.is_set()

    @property
    def is_waiting(self) -> bool:
        return _clock.monotonic() - self._asked < _WAITING_S

    def _has_given_up(self) -> bool:
        begins, self._asked = not self.is_waiting, _clock.monotonic()
        if begins:
            self._pool.relieve(self._handle)
        return callers.has_given_up()

    def stop(self, session: int) -> None:
        """Wait until the loop has been left; the request it may be working on is finished first."""
        pause = 0.005
        while not self.has_left:
            libfuse.fuse_session_exit(session)
            assert self.ident is not None
            signal.pthread_kill(self.ident, _KICK)
            self._left.wait(pause)
            pause = min(2 * pause, 0.1)


@contextmanager
def _captured_stderr() -> Iterator[list[str]]:
    """Collect the lines that C code and its child processes write to file descriptor 2."""
    lines: list[str] = []
    kept = os.dup(2)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            try:
                yield lines
            finally:
                os.dup2(kept, 2)
                file.seek(0)
                lines.extend(file.read().decode("utf-8", "replace").splitlines())
    finally:
        os.close(kept)
