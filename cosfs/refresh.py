"""Owns ``cosfs refresh``: letting a mount look anew at a name or tree, whatever its TTL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cosfs import ask, mounts
from cosfs.clock import Clock
from cosfs.exits import ExitCode, Failure
from cosfs.status import nobody_answers


def run(path: str, *, environ: Mapping[str, str], home: Path, clock: Clock) -> ExitCode:
    """Drop what the mount that holds ``path`` has cached of it and of everything below it.

    ``path`` need not exist. When this returns, every program sees what the bucket holds: what the
    kernel keeps on top for up to a second cannot be taken from it, so that is waited for.

    Raises:
        Failure: ``path`` is in no mount that answers.
    """
    mountpoint, inside = locate(path)
    for state, _ in ask.find(mountpoint, environ, home):
        try:
            answer = ask.ask(state.folder, "refresh", path=inside)
        except ask.NotRunning:
            continue
        clock.sleep(answer["kernel_ttl_s"])
        return ExitCode.OK
    raise Failure(ExitCode.USAGE, nobody_answers(mountpoint))


def locate(path: str) -> tuple[str, str]:
    """Return the mount point that holds ``path``, and what ``path`` is in that mount.

    Raises:
        Failure: it is in no mount.
    """
    absolute = _resolved(path)
    mount = mounts.holding(absolute)
    if mount is None:
        absolute = os.path.realpath(path)
        mount = mounts.holding(absolute)
    if mount is None:
        raise Failure(ExitCode.USAGE, f"{absolute} is not in a mount of cosfs")
    inside = "/" + os.path.relpath(absolute, mount.mountpoint)
    return mount.mountpoint, "/" if inside == "/." else inside


def _resolved(path: str) -> str:
    """Return the absolute path; symbolic links are followed but for the last name."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name) if name else folder
