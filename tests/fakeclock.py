"""Owns clocks for tests: one that is moved by hand, one on which nobody waits."""

from __future__ import annotations

import threading

from cosfs.clock import SystemClock


class FakeClock:
    """Stands still until told; ``sleep`` moves it, so that nothing ever waits. Thread-safe."""

    def __init__(self, wall: float = 1_700_000_000.0) -> None:
        self._lock = threading.Lock()
        self._monotonic = 1000.0
        self._wall = wall

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._monotonic += seconds
            self._wall += seconds

    def monotonic(self) -> float:
        with self._lock:
            return self._monotonic

    def wall(self) -> float:
        with self._lock:
            return self._wall

    def wall_ns(self) -> int:
        with self._lock:
            return int(self._wall * 1_000_000_000)

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)


class SleeplessClock(SystemClock):
    """The machine's clock, on which waits pass at once: what was waited is added to the time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waited = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self._waited

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._waited += seconds
