"""The suite ``list``: folders with many names, each listed by a mount that is cold."""

from __future__ import annotations

from collections.abc import Iterator

from . import content
from .place import Place
from .rows import Row
from .sizes import MIB

_PAGE = 1000
_MEMORY_MIB = 200
_PATIENCE_S = 120


def measure(place: Place) -> Iterator[Row]:
    """Measure time, requests and memory."""
    for number in place.sizes.names:
        folder = f"names{number}"
        paths = [f"/{folder}/{index:06}.dat" for index in range(number)]
        filled = place.fill(paths, content.small(100))
        pages = -(-(number + 1) // _PAGE)
        with place.mounted() as mount:
            what = f"{number:,} names"
            # The root is listed by whoever completes a path; the folder is known from that.
            mount.sh("ls")
            place.reset_stats()
            seconds = mount.seconds(f"ls -f {folder} > /dev/null")
            note = f"the server was filled in {filled:.1f} s"
            yield Row(f"{what}, ls -f", seconds, "s", note=note)
            asked = place.requests()
            yield Row(f"{what}, ls -f", asked, "requests", pages, "at most")
            # Once the listing is older than the mount's ttl, each name costs requests of its own.
            script = f"timeout {_PATIENCE_S} ls -l {folder} > /dev/null || [ $? = 124 ]"
            seconds = mount.seconds(script)
            note = "given up before its end" if seconds >= _PATIENCE_S else ""
            yield Row(f"{what}, ls -l after it", seconds, "s", note=note)
            more = place.requests() - asked
            yield Row(f"{what}, ls -l after it", more, "requests", 0, "at most")
            peak = mount.peak_memory() / MIB
            yield Row(f"{what}, memory", peak, "MiB", _MEMORY_MIB, "at most", "peak RSS")
