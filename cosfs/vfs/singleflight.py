"""Owns "one fetch per key at a time"; must not know what is fetched."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from cosfs import interrupts
from cosfs.errors import Interrupted

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Lets concurrent callers that ask for one key share one fetch.

    The first caller of a key runs the fetch in its own thread; those that come while it runs wait
    for its result or its exception. Nothing is remembered after it ends: that is a cache's work.

    Thread safety: any method from any thread. The lock is never held while a fetch runs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[K, Future[V]] = {}

    def run(self, key: K, fetch: Callable[[], V]) -> V:
        """Return ``fetch()``, or the result of the same key's fetch that is under way."""
        while True:
            with self._lock:
                future = self._flights.get(key)
                if future is None:
                    mine = self._flights[key] = Future()
                    break
            try:
                return interrupts.result(future)
            except Interrupted:
                # Whoever fetched has given up; unless it is our caller too, the next one fetches.
                interrupts.check()
        try:
            result = fetch()
        except BaseException as error:
            self._land(key)
            mine.set_exception(error)
            raise
        self._land(key)
        mine.set_result(result)
        return result

    def _land(self, key: K) -> None:
        with self._lock:
            del self._flights[key]
