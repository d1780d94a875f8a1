"""Owns time: the one place that reads clocks and sleeps; must not know anything else (a leaf)."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Injected wherever time matters, so that tests move it by hand."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards: for expiry and budgets."""
        ...

    def wall(self) -> float:
        """Return Unix seconds: for signatures and shown times."""
        ...

    def wall_ns(self) -> int:
        """Return Unix nanoseconds: for file times."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for ``seconds``."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def wall_ns(self) -> int:
        return time.time_ns()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
