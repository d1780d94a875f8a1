"""Owns the folder in which a mount keeps what must outlive it; must not know what is mounted how.

``$XDG_STATE_HOME/cosfs``, else ``~/.local/state/cosfs``, for root ``/var/lib/cosfs``; 0700. In it
one folder per mount point and source::

    lock          flock of the running mount process: held means alive
    info.json     pid, mountpoint, bucket, prefix, started
    spool/        content that is being written, and content that could not be stored: that has
                  a record ID.json beside its ID.data, and the next mount takes it up
    writeback/    with -o writeback: what waits to be stored, and its content; the next mount goes
                  on with it
    journal.sqlite  attribute changes that are not sent yet; the next mount sends them
    left-…/       what a process that died was still writing, without a record: nobody was
                  promised that it is stored; goes only when a person drops it
    control       socket of the running process
    report.json   after the end: the pid, and what could not be stored
    cosfs.log     the log, unless log_file says otherwise

Thread safety: none; it is used before the mount serves and after.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import pwd
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from cosfs.clock import Clock
from cosfs.errors import ConfigError
from cosfs.vfs.types import NotStored

T = TypeVar("T")

#: Bytes kept for the report of an end on a full disk.
_REPORT_ROOM = 4000

_ROOTS_HOME = Path("/var/lib/cosfs")


class StillRunning(ConfigError):
    """Another process holds this mount's folder."""


@dataclass(frozen=True, slots=True)
class Info:
    """Which process mounted what where; ``started`` in Unix seconds."""

    pid: int
    mountpoint: str
    bucket: str
    prefix: str
    started: float

    @property
    def source(self) -> str:
        return f"{self.bucket}:/{self.prefix}"


@dataclass(frozen=True, slots=True)
class Report:
    """How the mount process ``pid`` ended."""

    pid: int
    not_stored: tuple[NotStored, ...]


def default_root(environ: Mapping[str, str], uid: int, home: Path) -> Path:
    """Return where this user's mounts keep their folders."""
    given = environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(given):  # a relative one is to be ignored, says the XDG specification
        return Path(given) / "cosfs"
    return _ROOTS_HOME if uid == 0 else home / ".local" / "state" / "cosfs"


def root_of_user(uid: int) -> Path | None:
    """Return where another user's mounts keep theirs, as far as that can be known from outside."""
    try:
        return default_root({}, uid, Path(pwd.getpwuid(uid).pw_dir))
    except KeyError:
        return None


class MountState:
    """The folder of one mount."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spool = folder / "spool"
        self.write_back = folder / "writeback"
        self.journal = folder / "journal.sqlite"
        self.log_file = folder / "cosfs.log"
        self._lock: int | None = None

    @classmethod
    def of(cls, root: Path, mountpoint: str, bucket: str, prefix: str) -> MountState:
        """Return the folder for this mount; nothing is made yet."""
        identity = "\0".join((mountpoint, bucket, prefix))
        digest = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:12]
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", os.path.basename(mountpoint))[:40]
        return cls(root / f"{bucket}-{name}-{digest}")

    def acquire(self, clock: Clock, *, patience_s: float) -> None:
        """Make the folder and become its owner until the process ends.

        The process of a mount that was just unmounted may still be storing; it is waited for.

        Raises:
            ConfigError: the folder cannot be made, or is not safe from others.
            StillRunning: another process has it and keeps it.
        """
        try:
            for folder in (self.folder.parent, self.folder):
                _make_private(folder)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            lock = os.open(self.folder / "lock", flags, 0o600)
        except OSError as error:
            raise ConfigError(
                f"the state directory {self.folder} cannot be used: {error.strerror}"
            ) from error
        deadline = clock.monotonic() + patience_s
        while not _try_lock(lock):
            if clock.monotonic() >= deadline:
                os.close(lock)
                info = self.info()
                raise StillRunning(
                    "a mount process"
                    + (f" ({info.pid}) of {info.source} on {info.mountpoint}" if info else "")
                    + f" is still busy in {self.folder}: wait until it has ended"
                )
            clock.sleep(0.05)
        self._lock = lock

    def release(self) -> None:
        """Be its owner no longer. A mount needs not: its lock goes with its process."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def begin(self, info: Info) -> Path | None:
        """Write who runs, empty the report, and make room for the spool.

        Returns:
            Where the content was put that a process before this one was writing; or None.
        """
        left = self._set_aside(info.started)
        self.spool.mkdir(mode=0o700, exist_ok=True)
        # Not a report, but room for one: the disk may be full at the end.
        _write_json(self.folder / "report.json", {"room": " " * _REPORT_ROOM})
        _write_json(self.folder / "info.json", asdict(info))
        return left

    def _set_aside(self, started: float) -> Path | None:
        aside = self.folder / f"left-{started:.0f}"
        for file in _files(self.spool):
            if _is_recorded(file):
                continue
            status = file.stat()
            if status.st_size == 0 or file.suffix != ".data" or status.st_nlink > 1:
                # Made and not used, half of a record, or waiting to be stored.
                file.unlink()
                continue
            aside.mkdir(mode=0o700, exist_ok=True)
            file.rename(aside / file.name)
        return aside if aside.is_dir() else None

    def spooled(self) -> list[Path]:
        """Return the files in the spool that hold content which is not known to be stored."""
        return [file for file in _files(self.spool) if file.suffix == ".data"]

    def unfinished(self) -> list[Path]:
        """Return what processes that died were writing, without any record of it."""
        folders = sorted(self.folder.glob("left-*"))
        found = [file for folder in folders for file in _files(folder)]
        if not self.is_alive():
            spooled = [file for file in self.spooled() if not _is_recorded(file)]
            found += [file for file in spooled if file.stat().st_size]
        return found

    def remove_unfinished(self, file: Path) -> None:
        """Remove one of the ``unfinished``, and its folder with the last of them."""
        file.unlink(missing_ok=True)
        if file.parent != self.spool and not any(file.parent.iterdir()):
            file.parent.rmdir()

    def finish(self, pid: int, not_stored: Sequence[NotStored]) -> None:
        """Write how the process ended. The lock goes with the process itself."""
        report = {"pid": pid, "not_stored": [asdict(item) for item in not_stored]}
        try:
            _write_json(self.folder / "report.json", report)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            _overwrite_json(self.folder / "report.json", report)

    def info(self) -> Info | None:
        """Return who runs here or ran last."""
        return _read_json(self.folder / "info.json", lambda data: Info(**data))

    def report(self) -> Report | None:
        """Return how the process that ran last ended; ``None`` if it died or still runs."""
        return _read_json(
            self.folder / "report.json",
            lambda data: Report(
                data["pid"], tuple(NotStored(**item) for item in data["not_stored"])
            ),
        )

    def is_alive(self) -> bool:
        """Tell whether a process holds the folder."""
        try:
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _try_lock(lock)
        finally:
            os.close(lock)


def find_mounts(root: Path, mountpoint: str) -> Iterator[tuple[MountState, Info]]:
    """Yield the folders below ``root`` whose last mount was on ``mountpoint``, newest first."""
    for state, info in all_mounts(root):
        if info.mountpoint == mountpoint:
            yield state, info


def all_mounts(root: Path) -> Iterator[tuple[MountState, Info]]:
    """Yield every folder below ``root``, by mount point, the newest first."""
    found = []
    try:
        folders = list(root.iterdir())
    except OSError:
        return
    for folder in folders:
        state = MountState(folder)
        info = state.info()
        if info is not None:
            found.append((state, info))
    yield from sorted(found, key=lambda pair: (pair[1].mountpoint, -pair[1].started))


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*") if file.is_file())


def _is_recorded(file: Path) -> bool:
    """Tell whether a spool file belongs to a pair of content and its record."""
    pair = (file.with_suffix(".data"), file.with_suffix(".json"))
    return file in pair and all(one.is_file() for one in pair)


def _make_private(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise ConfigError(
            f"{folder} is not a directory of yours: it will hold your files, so remove it or"
            " set XDG_STATE_HOME to a place that is yours alone"
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        folder.chmod(0o700)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replace ``path`` at once, so that a reader finds the old text or the new one."""
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        json.dump(data, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)


def _overwrite_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write over ``path``, which takes no room that it has not."""
    text = json.dumps(data).encode("ascii")
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(text)
        stream.truncate()
        stream.flush()
        os.fsync(stream.fileno())


def _read_json(path: Path, build: Callable[[Any], T]) -> T | None:
    try:
        return build(json.loads(path.read_text(encoding="ascii")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
