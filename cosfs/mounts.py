"""Owns the kernel's table of mounts and the mount points; must not know what a mount shows.

Nothing here looks at names *in* a mount of ours, as that may have to wait for the network.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cosfs.errors import ConfigError, CosfsError, FuseUnavailable

TYPE = "fuse.cosfs"

_TABLE = Path("/proc/self/mountinfo")
_DEVICE = Path("/dev/fuse")


class UnmountRefused(CosfsError):
    """The kernel or fusermount would not unmount; the message holds their words."""


class MountBusy(UnmountRefused):
    """Some program still uses the mount."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """One line of the mount table: ``source`` as ``df`` shows it, ``owner`` a user id."""

    mountpoint: str
    type: str
    source: str
    owner: int | None


def resolve(mountpoint: str) -> str:
    """Return the absolute path without symbolic links, even where a dead mount lies."""
    return os.path.realpath(mountpoint)


def parse_table(text: str) -> list[Mounted]:
    """Read ``/proc/self/mountinfo`` (proc(5)): what was mounted last comes last."""
    mounts = []
    for line in text.splitlines():
        head, _, tail = line.partition(" - ")
        fields, (kind, source, options) = head.split(" "), tail.split(" ", 2)
        owner = re.search(r"\buser_id=(\d+)", options)
        mounts.append(
            Mounted(
                _unescaped(fields[4]),
                kind,
                _unescaped(source),
                int(owner[1]) if owner else None,
            )
        )
    return mounts


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def mounted_at(mountpoint: str) -> Mounted | None:
    """Return what is visible at the resolved ``mountpoint``: the topmost mount there."""
    text = os.fsdecode(_TABLE.read_bytes())
    found = [mount for mount in parse_table(text) if mount.mountpoint == mountpoint]
    return found[-1] if found else None


def holding(path: str) -> Mounted | None:
    """Return our mount that the absolute ``path`` lies in; ``None`` where it lies in another."""
    text = os.fsdecode(_TABLE.read_bytes())
    above = [
        mount
        for mount in parse_table(text)
        if os.path.commonpath((path, mount.mountpoint)) == mount.mountpoint
    ]
    # The deepest, and of those on one point what was mounted last: max finds the first of equals.
    deepest = max(reversed(above), key=lambda mount: len(mount.mountpoint))
    return deepest if deepest.type == TYPE else None


def is_dead(mountpoint: str) -> bool:
    """Tell whether the process behind a FUSE mount is gone."""
    try:
        # Not stat, which the kernel may answer from what it remembers.
        os.statvfs(mountpoint)
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def check_mountpoint(mountpoint: str, *, nonempty: bool) -> None:
    """Raise ``ConfigError`` unless a bucket can be mounted on the resolved ``mountpoint``."""
    mount = mounted_at(mountpoint)
    if mount is not None and mount.type == TYPE:
        if is_dead(mountpoint):
            raise ConfigError(
                f"a dead mount of {mount.source} is left on {mountpoint}:"
                f" remove it with cosfs umount {mountpoint} (or fusermount -u {mountpoint})"
            )
        raise ConfigError(
            f"{mount.source} is already mounted on {mountpoint}:"
            f" unmount it first with cosfs umount {mountpoint}"
        )
    try:
        with os.scandir(mountpoint) as entries:
            is_empty = next(entries, None) is None
    except FileNotFoundError:
        raise ConfigError(
            f"the mount point {mountpoint} does not exist: make it with mkdir -p {mountpoint}"
        ) from None
    except NotADirectoryError:
        raise ConfigError(
            f"the mount point {mountpoint} is not a directory: give an empty directory"
        ) from None
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            raise ConfigError(
                f"a dead FUSE mount is left on {mountpoint}:"
                f" remove it with fusermount -u {mountpoint}"
            ) from None
        raise ConfigError(
            f"the mount point {mountpoint} cannot be used: {error.strerror}"
        ) from error
    if not is_empty and not nonempty:
        raise ConfigError(
            f"the mount point {mountpoint} is not empty, and a mount would hide what is in it:"
            " give an empty directory, or add -o nonempty"
        )


def check_fuse() -> None:
    """Raise ``FuseUnavailable`` where no mount can come about, before anything else is tried."""
    if not _DEVICE.exists():
        raise FuseUnavailable(
            f"{_DEVICE} is missing: load the kernel module with modprobe fuse; in a container,"
            " start that with --device /dev/fuse --cap-add SYS_ADMIN"
        )
    if os.geteuid() != 0 and _fusermount() is None:
        raise FuseUnavailable("fusermount is missing: install the package fuse3")


def _fusermount() -> str | None:
    return shutil.which("fusermount") or shutil.which("fusermount3")


def unmount(mountpoint: str, environ: Mapping[str, str], *, lazily: bool = False) -> None:
    """Unmount what is at the resolved ``mountpoint``; ``lazily`` even if it is in use.

    ``environ`` is for the program that does it.

    Raises:
        MountBusy: a program has a file open there, or its current directory.
        UnmountRefused: anything else.
    """
    if os.geteuid() == 0:
        command = ["umount", *(["-l"] if lazily else []), "--", mountpoint]
    else:
        tool = _fusermount()
        if tool is None:
            raise UnmountRefused("fusermount is missing: install the package fuse3")
        command = [tool, "-u", *(["-z"] if lazily else []), "--", mountpoint]
    environment = {**environ, "LC_ALL": "C"}
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", env=environment, check=False
    )
    if done.returncode == 0:
        return
    words = " ".join(done.stderr.split()) or f"{command[0]} ended with {done.returncode}"
    raise (MountBusy if "busy" in words.lower() else UnmountRefused)(words)
