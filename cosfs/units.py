"""Owns how sizes, spans and moments are written for people; must not know what they are of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size_text(size: int) -> str:
    """Return a size in bytes as ``512 B``, ``1.5 KiB``, ``23 MiB``."""
    value, unit = float(size), 0
    # Not 1024: what would be rounded to four digits is shown in the next unit.
    while value >= 999.5 and unit < len(_SIZES) - 1:
        value, unit = value / 1024, unit + 1
    shown = f"{value:.1f}" if unit and value < 9.95 else f"{value:.0f}"
    return f"{shown} {_SIZES[unit]}"


def span_text(seconds: float) -> str:
    """Return a span of time with its two largest units: ``3 days 4 h``, ``2 min 5 s``."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, length)
        if number or (unit == "s" and not parts):
            parts.append(f"{number} {unit}" if number != 1 or unit != "days" else "1 day")
        elif parts:
            break
    return " ".join(parts[:2])


def moment_text(unix_seconds: float | None) -> str:
    """Return a moment in this machine's time zone."""
    if unix_seconds is None:
        return "some time ago"
    return f"{datetime.fromtimestamp(int(unix_seconds)):%Y-%m-%d %H:%M:%S}"


def printable(text: str) -> str:
    """Return a name as a terminal can show it in one line: what it cannot is escaped."""
    return text if text.isprintable() else ascii(text)[1:-1]


def table(rows: Iterable[Sequence[str]], *, right: frozenset[int] = frozenset()) -> list[str]:
    """Return lines with columns of equal width; those in ``right`` are aligned on that side."""
    kept = [list(row) for row in rows]
    if not kept:
        return []
    widths = [max(len(row[column]) for row in kept) for column in range(len(kept[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in kept
    ]
