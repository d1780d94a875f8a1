"""The suite ``writeback``: many small files over a slow network, with changes made later."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass

from . import content
from .place import Place
from .rows import Row
from .sizes import KIB

_FOLDERS = 10
_SIZE = 4 * KIB
#: Goals for a thousand files, in seconds.
_COPY_S, _STORED_S = 2.0, 4.0


@dataclass(frozen=True, slots=True)
class _Cost:
    """``seconds`` until the program has ended, ``stored_s`` until the unmount has returned too."""

    seconds: float
    stored_s: float
    requests: int


def measure(place: Place) -> Iterator[Row]:
    """Measure what programs wait for, and what is requested until all is stored."""
    sizes = place.sizes
    network = f"{sizes.latency_ms} ms a request, {sizes.bytes_per_second // 10**6} MB/s"
    number, folders = sizes.copied, min(_FOLDERS, sizes.copied)
    _make_files(place, number, folders)
    cost = _run(place, "cp -r ../later copy", "writeback")
    what, share = f"cp -r of {number:,} files", number / 1000
    yield Row(what, cost.seconds, "s", _COPY_S * share, "at most", network)
    until = f"{what}, until it is unmounted"
    yield Row(until, cost.stored_s, "s", _STORED_S * share, "at most", network)
    yield Row(f"{what}, stored", cost.requests, "requests", number + folders + 11, "at most")
    number, folders = sizes.tree_files, sizes.tree_folders
    _make_files(place, number, folders)
    cost = _run(place, "rsync -a ../later/ synced", "writeback")
    what = f"rsync -a of {number} files in {folders} folders"
    # Beside each file, and the mark and time of each folder, its marker.
    least = number + 3 * (folders + 1)
    yield Row(what, cost.requests, "requests", least, "at most", f"{cost.seconds:.2f} s")
    shutil.rmtree(place.folder / "later")
    yield from _clones(place, network)


def _clones(place: Place, network: str) -> Iterator[Row]:
    commits = place.sizes.commits
    place.sh(
        "git init -q -b main repository; cd repository;"
        f" for i in $(seq {commits}); do echo $i > f$i; git add f$i;"
        " git -c user.name=x -c user.email=x commit -q -m $i; done"
    )
    what = f"git clone of {commits} commits"
    for options, how in (("", "without writeback"), ("writeback", "with writeback")):
        cost = _run(place, "git clone -q --no-local ../repository clone", options)
        yield Row(f"{what} {how}", cost.seconds, "s", note=network)
        yield Row(f"{what} {how}, stored", cost.requests, "requests", note=f"{cost.stored_s:.2f} s")
        with place.mounted(options) as mount:
            mount.sh("rm -r clone")
    shutil.rmtree(place.folder / "repository")


def _run(place: Place, script: str, options: str) -> _Cost:
    """Run a script in the root of a new mount, over the network of ``place``."""
    with place.faults():
        with place.mounted(options) as mount:
            mount.sh("ls")
            place.reset_stats()
            began = time.monotonic()
            seconds = mount.seconds(script)
        return _Cost(seconds, time.monotonic() - began, place.requests())


def _make_files(place: Place, number: int, folders: int) -> None:
    source = place.folder / "later"
    shutil.rmtree(source, ignore_errors=True)
    for index in range(number):
        folder = source / f"d{index % folders}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{index}").write_bytes(content.small(_SIZE))
