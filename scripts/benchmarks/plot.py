"""Owns the picture of all rows: how much of its goal each reaches. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .rows import Row

HOW_TO_GET_IT = "the plot needs matplotlib: pip install -e '.[bench]'"

_COLOURS = {"at most": ("#2a7", "#c33"), "at least": ("#2a7", "#c33"), "ideal": ("#47a", "#47a")}


def is_possible() -> bool:
    """Tell whether matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def write(file: Path, rows_by_suite: Mapping[str, Sequence[Row]]) -> None:
    """Write a PNG: a bar for each row with a goal, 1 being the goal and more being better."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    bars = [
        (f"{suite}: {row.what}" + (f" ({row.unit})" if row.unit else ""), row.share, row)
        for suite, rows in rows_by_suite.items()
        for row in rows
        if row.share is not None
    ]
    figure, axes = pyplot.subplots(figsize=(12, 1.5 + 0.28 * len(bars)))
    labels = [label for label, _, _ in bars]
    places = list(range(len(bars)))
    colours = [_COLOURS[row.sense][row.is_missed] for _, _, row in bars]
    axes.barh(places, [share for _, share, _ in bars], color=colours)
    axes.set_yticks(places, labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("part of the goal (green: kept, red: missed) or of the ideal (blue)")
    figure.tight_layout()
    figure.savefig(file, dpi=100)
    pyplot.close(figure)
