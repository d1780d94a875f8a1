"""Owns finding the programs that use a mount; must not know what is done about them.

Everything is read from ``/proc``, where the kernel spells paths by itself: nothing here looks at a
name in the mount, which might have to wait for the network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")

#: What the kernel appends to the name of a file that has lost it.
_DELETED: Final = " (deleted)"


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that keeps a mount busy: the name of its program, and one example of how."""

    pid: int
    program: str
    how: str

    def __str__(self) -> str:
        return f"{self.program} ({self.pid}) {self.how}"


def holders(mountpoint: str) -> list[Holder]:
    """Return the processes that use the resolved ``mountpoint``, as far as this user may look.

    That is those of this user, for root all. One that comes or goes meanwhile may be missing.
    """
    found = []
    for folder in sorted(_PROC.glob("[0-9]*"), key=lambda folder: int(folder.name)):
        how = next(_uses(folder, mountpoint), None)
        if how is not None:
            found.append(Holder(int(folder.name), _program(folder), how))
    return found


def _uses(process: Path, mountpoint: str) -> Iterator[str]:
    for link, how in (("cwd", "stands in"), ("root", "has as its root"), ("exe", "runs")):
        path = _target(process / link)
        if _is_in(path, mountpoint):
            yield f"{how} {path}"
    for descriptor in _listed(process / "fd"):
        path = _target(process / "fd" / descriptor)
        if _is_in(path, mountpoint):
            yield f"has open {path}"
    for path in _mapped(process):
        if _is_in(path, mountpoint):
            yield f"has mapped {path}"


def _is_in(path: str, mountpoint: str) -> bool:
    return path == mountpoint or path.startswith(mountpoint.rstrip("/") + "/")


def _target(link: Path) -> str:
    try:
        return os.readlink(link).removesuffix(_DELETED)
    except OSError:
        # It has ended, or is another user's.
        return ""


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _mapped(process: Path) -> Iterator[str]:
    try:
        text = os.fsdecode((process / "maps").read_bytes())
    except OSError:
        return
    for line in text.splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6:
            yield fields[5].removesuffix(_DELETED)


def _program(process: Path) -> str:
    try:
        return os.fsdecode((process / "comm").read_bytes()).strip()
    except OSError:
        return "?"
