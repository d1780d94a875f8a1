"""The suite ``requests``: what everyday work costs, by the server's counters."""

from __future__ import annotations

from collections.abc import Iterator

from .place import Place
from .rows import Row
from .workloads import run_all


def measure(place: Place) -> Iterator[Row]:
    """Count the requests of each workload, those that are sent after its end included."""
    for cost in run_all(place, slow=False):
        work = cost.work
        yield Row(
            work.what,
            cost.requests,
            "requests",
            work.least,
            "at most",
            f"{cost.operations or 'none'}; {cost.seconds:.2f} s on loopback",
        )
