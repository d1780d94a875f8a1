"""Owns doing one work with several threads, the caller's being one; must not know the work."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future

_log = logging.getLogger(__name__)


class Team:
    """Threads that share one work; the first failure ends it for all. Run once.

    ``work`` is called once by each of them. It returns when nothing is left to do, and as soon as
    ``has_failed``: another one raised something, which the run raises when all have stopped.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._failure: BaseException | None = None

    @property
    def has_failed(self) -> bool:
        return self._failure is not None

    def run(self, helpers: int, name: str) -> None:
        """Work with at most ``helpers`` threads of our own, fewer when no more can be started."""
        threads: list[threading.Thread] = []
        for number in range(helpers):
            thread = threading.Thread(target=self._take_part, name=f"{name}-{number}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                _log.info("no thread can be started: going on with %d", len(threads) + 1)
                break
            threads.append(thread)
        self._take_part()
        self._wait(thread.join for thread in threads)

    def run_with(self, executor: Executor, helpers: int) -> None:
        """Work with at most ``helpers`` threads of ``executor``, which may be busy or closed."""
        futures: list[Future[None]] = []
        try:
            for _ in range(helpers):
                futures.append(executor.submit(self._take_part))
        except RuntimeError:
            _log.debug("the executor takes no more work: %d helpers", len(futures))
        self._take_part()
        # One that never began must not touch anything later, one that did is waited for.
        self._wait(future.result for future in futures if not future.cancel())

    def _wait(self, waits: Iterable[Callable[[], None]]) -> None:
        try:
            for wait in waits:
                wait()
        except BaseException as error:
            # An interrupt: those that nobody waits for any more stop soon.
            self._fail(error)
            raise
        if self._failure is not None:
            raise self._failure

    def _take_part(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: B036 - the run raises it when all have stopped
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._failure = self._failure or error
