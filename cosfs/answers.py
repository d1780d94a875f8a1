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

    def commands(self) -> Commands:
        """Return what may be asked."""
        return {
            "status": self.status,
            "pending": self.pending,
            "retry": self.retry,
            "drop": self.drop,
            "refresh": self.refresh,
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
            "process": process_usage(),
            "options": describe(self.options),
        }

    def pending(self) -> list[dict[str, Any]]:
        """Return what is not stored."""
        return _as_json(self.fs.leftovers.all())

    def retry(self, names: Sequence[str], force: bool) -> dict[str, Any]:
        """Store what is pending, all or what is called by ``names``."""
        if self.options.view.read_only:
            raise ReadOnlyMount("/", "mounted with -o ro")
        stored, left = self.fs.leftovers.retry(_names(names), force=bool(force))
        return {"stored": _as_json(stored), "left": _as_json(left)}

    def drop(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Forget what is called by ``names``; return what that was."""
        if not _names(names):
            raise ConfigError("say what to drop")
        return _as_json(self.fs.leftovers.drop(names))

    def refresh(self, path: str) -> dict[str, Any]:
        """Drop what is cached of ``path`` and below; say how long the kernel may still keep it."""
        if not isinstance(path, str) or not path.startswith("/"):
            raise ConfigError("a path begins with a slash, which is the mount's root")
        self.fs.refresh(path)
        return {"kernel_ttl_s": self.fs.kernel_ttl_s}


def _names(names: Sequence[str]) -> Sequence[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError("names are a list of texts")
    return names


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
