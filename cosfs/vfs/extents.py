"""Owns sets of byte ranges; must not know what the bytes are."""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class Extents:
    """A set of bytes, kept as sorted, disjoint, non-adjacent half-open ranges.

    Thread safety: none; the owner locks.
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def ranges(self) -> list[tuple[int, int]]:
        """Return the ranges in ascending order."""
        return list(zip(self._starts, self._ends, strict=True))

    def add(self, start: int, end: int) -> None:
        """Add the bytes ``start <= b < end``."""
        if start >= end:
            return
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def cut(self, length: int) -> None:
        """Remove every byte from ``length`` on."""
        keep = bisect_left(self._starts, length)
        del self._starts[keep:], self._ends[keep:]
        if self._ends and self._ends[-1] > length:
            self._ends[-1] = length

    def gaps(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the ranges of ``start <= b < end`` that are not in the set, ascending."""
        missing = []
        at = start
        for index in range(bisect_right(self._ends, start), len(self._starts)):
            if self._starts[index] >= end:
                break
            if self._starts[index] > at:
                missing.append((at, self._starts[index]))
            at = self._ends[index]
        if at < end:
            missing.append((at, end))
        return missing
