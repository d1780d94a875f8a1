"""Owns the numbers that stand for open things; must not know what is open."""

from __future__ import annotations

import itertools
import threading
from typing import Generic, TypeVar

from cosfs.errors import BadHandle

T = TypeVar("T")


class HandleTable(Generic[T]):
    """Gives each open thing a number that is never used again. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[int, T] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, thing: T) -> int:
        """Return a new handle for ``thing``."""
        with self._lock:
            fh = next(self._numbers)
            self._open[fh] = thing
            return fh

    def get(self, fh: int) -> T:
        """Return what ``fh`` stands for. Raises ``BadHandle``."""
        try:
            return self._open[fh]
        except KeyError:
            raise BadHandle(f"handle {fh}") from None

    def all(self) -> list[T]:
        """Return all that is open."""
        with self._lock:
            return list(self._open.values())

    def remove(self, fh: int) -> T:
        """Forget ``fh``; return what it stood for. Raises ``BadHandle``."""
        with self._lock:
            try:
                return self._open.pop(fh)
            except KeyError:
                raise BadHandle(f"handle {fh}") from None
