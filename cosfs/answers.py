"""Owns what a running mount answers to ``cosfs status``, ``pending`` and ``refresh``.

Each answer is put together here from what the layers know of themselves, as values of JSON. Must
not know sockets.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cosfs.clock import Clock
from cosfs.control import Commands
from cosfs.errors import ConfigError, ReadOnlyMount
from cosfs.jsonapi.replies import OpCount
from cosfs.mountopts import MountOptions, describe
from cosfs.statedir import Info
from cosfs.store.writeback import leftover
from cosfs.store.writeback.store import WriteBackStore
from cosfs.version import __version__
from cosfs.vfs.filesystem import FileSystem
from cosfs.vfs.types import Unstored

#: Gives what was sent and received so far, by operation.
Counters = Callable[[], Mapping[str, OpCount]]


@dataclass(frozen=True, slots=True)
class Answers:
    """See the module's text. Thread safety: that of the file system."""

    fs: FileSystem
    info: Info
    options: MountOptions
    counters: Counters
    clock: Clock
    #: When the mount began, in monotonic seconds.
    began: float
    #: What makes changes later, if anything does.
    behind: WriteBackStore | None = None

    def commands(self) -> Commands:
        """Return what may be asked."""
        return {
            "status": self.status,
            "pending": self.pending,
            "retry": self.retry,
            "drop": self.drop,
            "refresh": self.refresh,
            "flush": self.flush,
            "warm": self.warm,
            "warmed": self.warmed,
            "cool": self.cool,
        }

    def status(self) -> dict[str, Any]:
        """Return what the mount is, has done and holds: see docs/mount.md for the keys."""
        counts = self.counters()
        total = OpCount(
            sum(count.requests for count in counts.values()),
            sum(count.bytes_sent for count in counts.values()),
            sum(count.bytes_received for count in counts.values()),
        )
        return {
            "version": __version__,
            "bucket": self.info.bucket,
            "prefix": self.info.prefix,
            "mountpoint": self.info.mountpoint,
            "pid": self.info.pid,
            "started": self.info.started,
            "uptime_s": round(self.clock.monotonic() - self.began, 3),
            "requests": {
                **asdict(total),
                "by_op": {op: asdict(count) for op, count in sorted(counts.items())},
            },
            **asdict(self.fs.usage()),
            "writeback": None
            if self.behind is None
            else asdict(self.behind.backlog.usage()),
            "process": process_usage(),
            "options": describe(self.options),
        }

    def pending(self) -> list[dict[str, Any]]:
        """Return what is not stored."""
        return _as_json(self._all())

    def retry(self, names: Sequence[str], force: bool) -> dict[str, Any]:
        """Store what is pending, all or what is called by ``names``."""
        if self.options.view.read_only:
            raise ReadOnlyMount("/", "mounted with -o ro")
        behind, others = self._split(_names(names))
        stored = []
        if self.behind is not None and (behind or not names):
            made = leftover.retry(self.behind, behind, force=bool(force))
            stored += [_unstored(one) for one in made]
        if others or not names:
            stored += self.fs.leftovers.retry(others, force=bool(force)).stored
        return {"stored": _as_json(stored), "left": _as_json(self._all())}

    def drop(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Forget what is called by ``names``; return what that was."""
        if not _names(names):
            raise ConfigError("say what to drop")
        behind, others = self._split(names)
        dropped = []
        if self.behind is not None and behind:
            dropped += [_unstored(one) for one in leftover.drop(self.behind, behind)]
            for one in dropped:
                # What the server has under that name is true from now on.
                self.fs.refresh(one.path)
        if others:
            dropped += self.fs.leftovers.drop(others)
        return _as_json(dropped)

    def flush(self, path: str) -> None:
        """Return when everything at ``path`` and below that was closed is stored."""
        self.fs.settle(_checked(path))

    def warm(self, path: str) -> int:
        """Begin to fetch everything at ``path`` and below; return the number to ask with."""
        return self.fs.warmer.begin(_checked(path))

    def warmed(self, number: int) -> dict[str, Any]:
        """Return how far that has come, within a second."""
        return asdict(self.fs.warmer.progress(number))

    def cool(self, number: int) -> None:
        """Give it up."""
        self.fs.warmer.cancel(number)

    def _all(self) -> list[Unstored]:
        refused = [] if self.behind is None else leftover.left_over(self.behind)
        return [*map(_unstored, refused), *self.fs.leftovers.all()]

    def _split(self, names: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return which names call something that waits behind, and which others."""
        refused = [] if self.behind is None else leftover.left_over(self.behind)
        behind = [name for name in names if any(one.is_called(name) for one in refused)]
        return behind, [name for name in names if name not in behind]

    def refresh(self, path: str) -> dict[str, Any]:
        """Drop what is cached of ``path`` and below; say how long the kernel may still keep it."""
        self.fs.refresh(_checked(path))
        return {"kernel_ttl_s": self.fs.kernel_ttl_s}


def _names(names: Sequence[str]) -> Sequence[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError("names are a list of texts")
    return names


def _checked(path: str) -> str:
    """Return a path that came over the socket. Raises ``ConfigError`` if it is none."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise ConfigError("a path begins with a slash, which is the mount's root")
    return path


def _unstored(one: leftover.LeftOver) -> Unstored:
    return Unstored(one.kind, one.path, one.reason, one.since, size=one.size, file=one.file)


def _as_json(several: Sequence[Unstored]) -> list[dict[str, Any]]:
    return [asdict(one) for one in several]


def process_usage() -> dict[str, int]:
    """Return what this process takes: threads, resident memory, open descriptors."""
    fields = {}
    text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    for line in text.splitlines():
        name, _, value = line.partition(":")
        fields[name] = value.split()
    return {
        "threads": int(fields["Threads"][0]),
        "rss_bytes": int(fields["VmRSS"][0]) * 1024,
        "descriptors": len(os.listdir("/proc/self/fd")),
    }
