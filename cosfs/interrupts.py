"""Owns waiting that ends when nobody wants the result any more; must not know who that is (a leaf).

A program that waits for an answer may be told to end. The thread that answers it installs a
question, ``has_given_up``, and the waits here ask it every now and then: they end with
``Interrupted`` once it says yes. In a thread without such a question they are ordinary waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final, TypeVar

from cosfs.errors import Interrupted

T = TypeVar("T")

#: Seconds between two questions.
_POLL_S: Final = 0.1


class _State(threading.local):
    has_given_up: Callable[[], bool] | None = None
    asker: int | None = None


_state: Final = _State()


def is_watched() -> bool:
    """Tell whether waits of this thread may end early."""
    return _state.has_given_up is not None


def check(path: str = "") -> None:
    """Raise ``Interrupted`` if nobody waits for this thread any more."""
    if _state.has_given_up is not None and _state.has_given_up():
        raise Interrupted(path)


@contextmanager
def watched(has_given_up: Callable[[], bool] | None) -> Iterator[None]:
    """Let waits of this thread end once ``has_given_up`` says so; with ``None`` they never do."""
    before, _state.has_given_up = _state.has_given_up, has_given_up
    try:
        yield
    finally:
        _state.has_given_up = before


@contextmanager
def on_behalf_of(thread: int) -> Iterator[None]:
    """Let ``asker`` say ``thread``, which has given its work to this one."""
    before, _state.asker = _state.asker, thread
    try:
        yield
    finally:
        _state.asker = before


def asker() -> int:
    """Return the thread whose work this is: this one, or the one that gave it away."""
    return threading.get_ident() if _state.asker is None else _state.asker


def result(future: Future[T]) -> T:
    """Return a future's result or raise its exception. Raises ``Interrupted``."""
    while _state.has_given_up is not None and not future.done():
        try:
            return future.result(_POLL_S)
        except TimeoutError:
            # Ours, unless the work itself has failed so: then it is raised below.
            if not future.done():
                check()
    return future.result()


def wait(event: threading.Event) -> None:
    """Wait for an event. Raises ``Interrupted``."""
    while is_watched() and not event.wait(_POLL_S):
        check()
    event.wait()


def acquire(lock: threading.Lock) -> None:
    """Acquire a lock that may be held for long. Raises ``Interrupted``."""
    while is_watched():
        if lock.acquire(timeout=_POLL_S):
            return
        check()
    lock.acquire()


def exception(future: Future[T]) -> BaseException | None:
    """Return the exception that a future ends with, if any. Raises ``Interrupted``."""
    try:
        result(future)
    except BaseException:  # noqa: B036 - it is returned
        if not future.done():
            raise
    return future.exception()


class Condition(threading.Condition):
    """A condition that is neither waited for nor locked after the caller has given up.

    ``wait`` may return early in a watched thread: ask again for what is waited for.
    """

    def __enter__(self) -> bool:
        # First what is the rule, and cheap: every read asks for one.
        if self.acquire(False):
            return True
        if not is_watched():
            return self.acquire()
        while not self.acquire(timeout=_POLL_S):
            check()
        return True

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is not None or not is_watched():
            return super().wait(timeout)
        is_notified = super().wait(_POLL_S)
        if not is_notified:
            check()
        return is_notified
