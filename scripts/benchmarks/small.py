"""The suite ``small``: many files of 4 KiB in, out and removed, on loopback."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence

from . import content
from .place import Mount, Place
from .rows import Row
from .sizes import KIB

_IN_A_FOLDER = 100
_SIZE = 4 * KIB


def measure(place: Place) -> Iterator[Row]:
    """Measure files a second, beside one connection that does the same."""
    number = place.sizes.small_files
    source = place.folder / "small"
    names = [f"{index // _IN_A_FOLDER}/{index}" for index in range(number)]
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content.small(_SIZE))
    put, get, delete = _base(place, names)
    with place.mounted() as mount:
        mount.sh("ls")
        yield _row(place, mount, f"cp -r of {number:,} files", "cp -r ../small small", number, put)
    with place.mounted() as mount:
        what = "cp -r of them to the local disk, cold"
        yield _row(place, mount, what, "cp -r small ../back", number, get)
        place.sh("diff -r small back")
        yield _row(place, mount, "rm -r of them", "rm -r small", number, delete)
    shutil.rmtree(source)
    shutil.rmtree(place.folder / "back")


def _row(place: Place, mount: Mount, what: str, script: str, number: int, base: float) -> Row:
    place.reset_stats()
    seconds = mount.seconds(script)
    mount.settle()
    note = f"{place.requests()} requests; the ideal is one connection"
    return Row(what, number / seconds, "files/s", base, "ideal", note)


def _base(place: Place, names: Sequence[str]) -> list[float]:
    pieces = {f"/base/{name}": content.small(_SIZE) for name in names}
    with place.connection() as connection:
        acts: tuple[Callable[[str], object], ...] = (
            lambda path: connection.put(path, pieces[path]),
            connection.get,
            connection.delete,
        )
        rates = []
        for act in acts:
            began = time.monotonic()
            for path in pieces:
                act(path)
            rates.append(len(pieces) / (time.monotonic() - began))
    return rates
