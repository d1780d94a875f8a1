"""Owns the everyday work that requests and time are counted for, and what each costs at least.

The workloads are run in order, each on what those before it have left.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass

from .place import Mount, Place, wait_until
from .sizes import Sizes

FILE_BYTES = 3000
#: A file younger than this many seconds is renamed without storing its time.
_FRESH_S = 2


@dataclass(frozen=True, slots=True)
class Workload:
    """A script in the mount's root.

    ``least`` requests are needed at all, of which ``trips`` must wait for one another.
    """

    what: str
    script: str
    least: int
    trips: int
    #: What comes before it and is not counted.
    before: str = ""
    remount: bool = False
    #: A folder whose files must not be fresh.
    aged: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a workload took: the seconds are those of the program alone."""

    work: Workload
    by_op: Mapping[str, int]
    seconds: float

    @property
    def requests(self) -> int:
        """How many in all."""
        return sum(self.by_op.values())

    @property
    def operations(self) -> str:
        """How many of each, as a text."""
        return ", ".join(f"{number} {op}" for op, number in self.by_op.items() if number)


def workloads(sizes: Sizes) -> list[Workload]:
    """Return all of them."""
    n, folders = sizes.tree_files, sizes.tree_folders + 1
    names = n + folders
    read = "find copy -type f -exec cat {} + > /dev/null"
    return [
        Workload("cp -r", "cp -r ../source copy", names, names, before="ls"),
        Workload("ls -lR, warm", "ls -lR copy", 0, 0),
        # A page of each folder; the top is found by a stat and a listing side by side.
        Workload("ls -lR, remounted", "ls -lR copy", folders + 2, folders + 1, remount=True),
        Workload("read all files", read, n, n, before="ls"),
        Workload("read them again", read, 0, 0),
        Workload("rm -r", "rm -r copy", names, names),
        # Beside each name the mark of each folder and, sent later, its time; and the root's mark,
        # as the top has a time.
        Workload("cp -rp", "cp -rp ../source kept", names + 2 * folders + 1, names + folders),
        # The attributes of each name beside the pages, those of one folder in one round trip.
        Workload(
            "ls -lR of it, remounted",
            "ls -lR kept",
            folders + 2 + names,
            2 * folders + 1,
            remount=True,
        ),
        # The content under a temporary name, its attributes, its real name.
        Workload("rsync -a", "rsync -a ../source/ synced", 3 * names, 3 * n + 2 * folders, "ls"),
        Workload("rsync -a again", "rsync -a ../source/ synced", 0, 0),
        Workload("tar xp", "tar xpf ../source.tar", names + 2 * folders, names + folders),
        Workload(
            "append a line, 20 times reopened",
            "echo 0 > log; for i in $(seq 20); do echo $i >> log; done",
            21,
            21,
        ),
        Workload(
            "rename 10 fresh files",
            "cd d; for i in $(seq 10); do mv a$i b$i; done",
            10,
            10,
            before="mkdir d; for i in $(seq 10); do echo $i > d/a$i; done",
        ),
        # A time each, which may be stored after the program's end, and the mark of their folder.
        Workload(
            "rename 10 old files",
            "cd d; for i in $(seq 10); do mv b$i c$i; done",
            21,
            10,
            aged="d",
        ),
        # A listing, the marker and the mark, all moves and times at once, the old marker.
        Workload(
            "rename a folder of 20 old files",
            "mv e f",
            44,
            4,
            before="mkdir e; for i in $(seq 20); do echo $i > e/$i; done",
            aged="e",
        ),
        Workload(
            "stat of a missing name, 20 times",
            "for i in $(seq 20); do ! stat missing 2> /dev/null; done",
            2,
            1,
            remount=True,
        ),
        Workload("install -m 755", "install -m 755 ../tool tool", 2, 2, before="ls"),
    ]


def run_all(place: Place, slow: bool) -> Iterator[Cost]:
    """Run every workload, over the network of ``place`` if it is to be ``slow``."""
    _make_source(place)
    with ExitStack() as stack:
        mount = stack.enter_context(place.mounted())
        for work in workloads(place.sizes):
            if work.remount:
                stack.close()
                mount = stack.enter_context(place.mounted())
            if work.before:
                mount.sh(work.before)
            if work.aged:
                _wait_until_old(mount, work.aged)
            mount.settle()
            network: AbstractContextManager[None] = place.faults() if slow else nullcontext()
            with network:
                yield _run(place, mount, work)


def _run(place: Place, mount: Mount, work: Workload) -> Cost:
    place.reset_stats()
    seconds = mount.seconds(work.script)
    mount.settle()
    return Cost(work, place.stats()["requests"]["by_op"], seconds)


def _make_source(place: Place) -> None:
    """Make the tree that is copied: old files, so that their times must be stored."""
    sizes = place.sizes
    for number in range(sizes.tree_files):
        folder = place.folder / "source" / f"d{number % sizes.tree_folders}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"f{number}").write_bytes(os.urandom(FILE_BYTES))
    (place.folder / "tool").write_bytes(os.urandom(FILE_BYTES))
    place.sh(
        "find source -exec touch -d '2024-01-01 00:00:00.123456789 UTC' {} +;"
        " tar cf source.tar source"
    )


def _wait_until_old(mount: Mount, folder: str) -> None:
    newest = max(entry.stat().st_mtime for entry in os.scandir(mount.path / folder))
    wait_until(lambda: time.time() > newest + _FRESH_S + 0.1)
