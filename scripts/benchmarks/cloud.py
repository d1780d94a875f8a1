"""The suite ``cloud``: wall time over a network with latency and so much for each connection.

The ideal of a workload is its round trips that must wait for one another.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import content, files
from .place import Place
from .rows import Row
from .sizes import MIB, Sizes
from .workloads import FILE_BYTES, run_all

_READERS = 16
#: Connections that a large file is to be read and stored with, as it were.
_READ_WIDTH = 8
_STORE_WIDTH = 5


def measure(place: Place) -> Iterator[Row]:
    """Measure with the latency and bandwidth of ``place.sizes``."""
    yield from _workloads(place)
    yield _reading(place)
    yield _storing(place)
    yield _many_readers(place)
    yield _one_reader(place)
    yield _folders(place)


def _workloads(place: Place) -> Iterator[Row]:
    latency_s = place.sizes.latency_ms / 1000
    for cost in run_all(place, slow=True):
        work = cost.work
        yield Row(
            work.what,
            cost.seconds,
            "s",
            work.trips * latency_s,
            "ideal",
            f"{cost.requests} requests, at least {work.trips} one after another",
        )


def _reading(place: Place) -> Row:
    sizes = place.sizes
    with place.connection() as connection:
        connection.put_slices("/read", content.slices(sizes.large), sizes.large)
    with place.mounted() as mount, place.faults():
        seconds = files.read(mount.path / "read")
    rate, one = sizes.large / 1e6 / seconds, sizes.bytes_per_second / 1e6
    note = f"{rate / one:.1f} times one connection"
    return Row(
        f"read {_size(sizes.large)}", rate, "MB/s", _READ_WIDTH * one, "at least", note
    )


def _storing(place: Place) -> Row:
    sizes = place.sizes
    with place.mounted() as mount, place.faults():
        written, closed = files.write(mount.path / "written", sizes.large)
        mount.sh("rm written")
    rate, one = sizes.large / 1e6 / closed, sizes.bytes_per_second / 1e6
    return Row(
        f"store {_size(sizes.large)}, begin to end of close",
        rate,
        "MB/s",
        _STORE_WIDTH * one,
        "at least",
        f"{rate / one:.1f} times one connection; writing before took {written:.1f} s",
    )


def _many_readers(place: Place) -> Row:
    number = place.sizes.read_by_many
    names = [f"/many/{index % 10}/{index}" for index in range(number)]
    _put_all(place, names)
    with place.mounted() as mount, place.faults():
        paths = [mount.path / name[1:] for name in names]
        began = time.monotonic()
        threads = [
            threading.Thread(target=_read_each, args=(paths[first::_READERS],))
            for first in range(_READERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - began
    ideal = number / _READERS * place.sizes.latency_ms / 1000
    what = f"{_READERS} readers, {number} files of {FILE_BYTES} bytes in 10 folders"
    return Row(what, seconds, "s", 3.0, "at most", f"{ideal:.2f} s without anything read ahead")


def _one_reader(place: Place) -> Row:
    number = place.sizes.read_by_one
    _put_all(place, [f"/one/{index}" for index in range(number)])
    with place.mounted() as mount, place.faults():
        place.reset_stats()
        seconds = mount.seconds("cat one/* > /dev/null")
        asked = place.requests()
    what = f"one reader, {number} files of {FILE_BYTES} bytes, listing included"
    ideal = (number + 2) * place.sizes.latency_ms / 1000
    note = f"{asked} requests; {ideal:.2f} s without anything read ahead"
    return Row(what, seconds, "s", 1.5, "at most", note)


def _folders(place: Place) -> Row:
    number = place.sizes.folders
    place.fill(
        [f"/wide/{index}/{name}" for index in range(number) for name in range(10)],
        content.small(FILE_BYTES),
    )
    with place.mounted() as mount, place.faults():
        place.reset_stats()
        seconds = mount.seconds("ls -lR wide > /dev/null")
        asked = place.requests()
    ideal = (number + 2) * place.sizes.latency_ms / 1000
    note = f"{asked} requests; {ideal:.2f} s one after another"
    return Row(f"ls -lR of {number} folders with 10 files", seconds, "s", 3.5, "at most", note)


def _put_all(place: Place, names: Sequence[str]) -> None:
    """Store files that differ: what a mount has read once it need not read under other names."""
    with place.connection() as connection:
        for name in names:
            connection.put(name, content.small(FILE_BYTES))


def _read_each(paths: Sequence[Path]) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            while os.read(descriptor, 128 * 1024):
                pass
        finally:
            os.close(descriptor)


def _size(size: int) -> str:
    return f"{size // MIB:,} MiB"


def describe(sizes: Sizes) -> str:
    """Return what network is meant."""
    return f"{sizes.latency_ms} ms, {sizes.bytes_per_second / 1e6:g} MB/s for each connection"
