"""The suite ``memory``: the largest resident memory of a mount's process, a new mount for each."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator, Sequence

from . import content, files
from .place import Mount, Place
from .rows import Row
from .sizes import KIB, MIB

#: The mount's own bound for content, what the process may have beside it, and for each name.
_CONTENT_MIB = 256
_BESIDE_MIB = 120
_BYTES_A_NAME = 200

_READERS = 16
_READ_SIZE = 128 * KIB
_SEED = 1


def measure(place: Place) -> Iterator[Row]:
    """Measure what was streamed, read at random from many files, and visited."""
    yield _written(place)
    yield _streamed(place)
    yield _many_open(place)
    yield _visited(place)


def _written(place: Place) -> Row:
    sizes = place.sizes
    with place.mounted() as mount:
        for _ in range(sizes.streams):
            files.write(mount.path / "written", sizes.streamed)
            os.unlink(mount.path / "written")
        return _row(mount, f"{_size(sizes.streams * sizes.streamed)} written")


def _streamed(place: Place) -> Row:
    sizes = place.sizes
    with place.connection() as connection:
        connection.put_slices("/stream0", content.slices(sizes.streamed), sizes.streamed)
        # The same bytes under other names: the kernel's pages are those of a name, and what a
        # mount keeps of the one is long gone when the other begins.
        for number in range(1, sizes.streams):
            connection.copy("/stream0", f"/stream{number}")
        with place.mounted() as mount:
            for number in range(sizes.streams):
                files.read(mount.path / f"stream{number}")
            row = _row(mount, f"{_size(sizes.streams * sizes.streamed)} read")
        for number in range(sizes.streams):
            connection.delete(f"/stream{number}")
    return row


def _many_open(place: Place) -> Row:
    sizes = place.sizes
    with place.connection() as connection:
        for number in range(sizes.open_files):
            connection.put(f"/open/{number}", content.small(sizes.open_size))
    with place.mounted() as mount:
        folder = mount.path / "open"
        descriptors = [os.open(folder / name, os.O_RDONLY) for name in os.listdir(folder)]
        try:
            _read_at_random(descriptors, sizes.open_size, sizes.open_reads)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return _row(
            mount,
            f"{len(descriptors)} files of {_size(sizes.open_size)} open and read at random",
            note=f"{sizes.open_reads} reads of 128 KiB, seed {_SEED}",
        )


def _read_at_random(descriptors: Sequence[int], size: int, reads: int) -> None:
    def work(first: int) -> None:
        rng = random.Random(_SEED + first)
        for _ in range(first, reads, _READERS):
            os.pread(rng.choice(descriptors), _READ_SIZE, rng.randrange(size - _READ_SIZE))

    threads = [threading.Thread(target=work, args=(first,)) for first in range(_READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _visited(place: Place) -> Row:
    number = place.sizes.visited
    paths = [f"/visited/{index // 1000:03}/{index:06}.dat" for index in range(number)]
    place.fill(paths, content.small(100))
    with place.mounted() as mount:
        found = int(mount.sh("find visited -type f -size -2 | wc -l"))
        if found != number:
            raise RuntimeError(f"{found} names were found of {number}")
        return _row(mount, f"{number:,} names visited", names=number)


def _row(mount: Mount, what: str, *, names: int = 0, note: str = "") -> Row:
    bound = _CONTENT_MIB + _BESIDE_MIB + names * _BYTES_A_NAME / MIB
    return Row(what, mount.peak_memory() / MIB, "MiB", bound, "at most", note)


def _size(size: int) -> str:
    return f"{size // MIB:,} MiB"
