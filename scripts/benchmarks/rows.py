"""Owns what a measurement is, and its text; must not know how anything is measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

#: How ``goal`` is meant: a bound that is to be kept, or what would be possible at best.
Sense = Literal["at most", "at least", "ideal", ""]


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. ``note`` says what limits it or how it was taken, if that is known."""

    what: str
    measured: float
    unit: str
    goal: float | None = None
    sense: Sense = ""
    note: str = ""

    @property
    def is_missed(self) -> bool:
        """Whether the measured value is on the wrong side of a bound."""
        if self.goal is None:
            return False
        if self.sense == "at most":
            return self.measured > self.goal
        return self.sense == "at least" and self.measured < self.goal

    @property
    def share(self) -> float | None:
        """How much of the goal is reached: 1 is just that, more is better. ``None`` without one."""
        if not self.measured or not self.goal:
            return None
        is_more_better = self.sense == "at least" or self.unit.endswith("/s")
        return self.measured / self.goal if is_more_better else self.goal / self.measured

    def as_json(self) -> dict[str, Any]:
        """Return the row as it is written to the file."""
        return {**asdict(self), "missed": self.is_missed}


def text_of(rows: Iterable[Row]) -> str:
    """Return a table for people."""
    lines = [("", "measured", "", "goal", "", "note")]
    for row in rows:
        goal = "" if row.goal is None else f"{row.sense} {_number(row.goal)}"
        verdict = "MISSED" if row.is_missed else ""
        lines.append((row.what, _number(row.measured), row.unit, goal, verdict, row.note))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column == 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, (*widths, 0), strict=True))
        ).rstrip()
        for line in lines
    )


def _number(value: float) -> str:
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
