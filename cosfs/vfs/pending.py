"""Owns content that could not be stored and has no open file any more; must not know stores.

Each lies in the spool folder as ``ID.data``, with ``ID.json`` beside it that says what it is: the
record. So it outlives the mount, and the next one of the same bucket on the same mount point takes
it up. Content without a record was being written when a mount died; nobody was promised anything
about it. Content goes when a person drops it, or when it or newer content was stored under its
name. Content that was refused because somebody else had changed the file stays until it is dropped.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cosfs import paths
from cosfs.errors import CosfsError, StoreError
from cosfs.model import Metadata, Version
from cosfs.vfs.journal import metadata_of, metadata_record
from cosfs.vfs.types import NotStored

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """One content that is not stored.

    ``data`` is the file that holds it, ``size`` its length. ``base`` is the version of the object
    that it was made from, ``None`` for a new file; ``missing`` are the ranges that are still that
    version's and not in ``data``. ``metadata`` stands beside a new file. ``since`` is in Unix
    seconds, ``mtime_ns`` when the content changed last.
    """

    path: str
    data: Path
    size: int
    since: float
    reason: str
    mtime_ns: int
    base: Version | None = None
    missing: tuple[tuple[int, int], ...] = ()
    metadata: Metadata = Metadata()
    #: Somebody else's version is in its place.
    is_conflict: bool = False

    @property
    def record(self) -> Path:
        return self.data.with_suffix(".json")

    @property
    def missing_bytes(self) -> int:
        return sum(end - start for start, end in self.missing)


def read_records(folder: Path) -> list[Kept]:
    """Return the content in a spool folder that has a record, by path, the oldest first.

    A record that cannot be read is as good as none, and is logged.
    """
    found = []
    for file in folder.glob("*.json"):
        try:
            found.append(_kept_of(json.loads(file.read_text(encoding="ascii")), file))
        except FileNotFoundError:
            continue  # stored meanwhile by the mount that runs, or its data is gone
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("the record %s cannot be read: %s", file, error)
    return sorted(found, key=lambda kept: (kept.path, kept.since))


class Pending:
    """The content of one mount that is not stored.

    Thread safety: any method from any thread.
    """

    def __init__(self, folder: Path) -> None:
        """Take up what a mount before this one kept in ``folder``."""
        self._lock = threading.Lock()
        self._kept = {kept.data: kept for kept in read_records(folder)}
        self._paths = {kept.path for kept in self._kept.values()}
        if self._kept:
            log.warning("%d files of a mount before this one are not stored", len(self._kept))

    def keep(self, kept: Kept) -> None:
        """Note that content could not be stored, or could not be stored again."""
        with self._lock:
            is_new = kept.data not in self._kept
            self._kept[kept.data] = kept
            self._paths.add(kept.path)
            self._write(kept)
        if is_new:
            log.error(
                "not stored: %r: %s; its content is kept in %s", kept.path, kept.reason, kept.data
            )

    def update(self, kept: Kept) -> None:
        """Note that content that is kept could not be stored again, and why."""
        if any(kept.data == other.data for other in self.all()):
            self.keep(kept)

    def superseded(self, path: str) -> None:
        """Drop what is kept of ``path``: newer content was stored under that name."""
        if path not in self._paths:
            return
        with self._lock:
            for kept in self._of(path):
                if not kept.is_conflict:
                    log.info("newer content of %r is stored: %s goes", path, kept.data)
                    self._drop(kept)

    def renamed(self, old: str, new: str) -> None:
        """Let what is kept of ``old``, and of all names below it, follow a rename.

        What is kept of ``new`` was replaced by that.
        """
        if not self._paths:
            return
        self.superseded(new)
        with self._lock:
            for kept in list(self._kept.values()):
                if kept.path == old or paths.is_inside(kept.path, old):
                    moved = replace(kept, path=paths.moved(kept.path, old, new))
                    self._kept[kept.data] = moved
                    self._write(moved)
            self._paths = {kept.path for kept in self._kept.values()}

    def drop(self, kept: Kept) -> None:
        """Remove content for good."""
        with self._lock:
            if kept.data in self._kept:
                self._drop(kept)

    def all(self) -> list[Kept]:
        """Return what is not stored, by path, the oldest first."""
        with self._lock:
            return sorted(self._kept.values(), key=lambda kept: (kept.path, kept.since))

    def not_stored(self) -> list[NotStored]:
        """Return what is not stored as the mount's report says it."""
        return [NotStored(kept.path, kept.reason, str(kept.data)) for kept in self.all()]

    def _write(self, kept: Kept) -> None:
        try:
            _write_record(kept)
        except OSError as error:
            log.error("no record of %r can be written: %s", kept.path, error)

    def _of(self, path: str) -> list[Kept]:
        return [kept for kept in self._kept.values() if kept.path == path]

    def _drop(self, kept: Kept) -> None:
        del self._kept[kept.data]
        if not self._of(kept.path):
            self._paths.discard(kept.path)
        remove(kept)


def reason_of(cause: CosfsError | None) -> str:
    """Return why content is not stored, in words that stand beside its path."""
    if cause is None:
        return "not stored yet"
    return cause.reason if isinstance(cause, StoreError) else str(cause)


def remove(kept: Kept) -> None:
    """Remove content and its record: the record last, as it alone says what the content is."""
    kept.data.unlink(missing_ok=True)
    kept.record.unlink(missing_ok=True)


def _write_record(kept: Kept) -> None:
    record = {
        **metadata_record(kept.metadata),
        "size": kept.size,
        "path": kept.path,
        "since": kept.since,
        "reason": kept.reason,
        "mtime_ns": kept.mtime_ns,
        "base": None if kept.base is None else [kept.base.digest, kept.base.size],
        "missing": kept.missing,
        "is_conflict": kept.is_conflict,
    }
    draft = kept.data.with_suffix(".new")
    # ASCII escapes carry names that are not UTF-8 too.
    draft.write_text(json.dumps(record), encoding="ascii")
    draft.replace(kept.record)


def _kept_of(record: dict[str, Any], file: Path) -> Kept:
    data = file.with_suffix(".data")
    base = record["base"]
    os.stat(data)
    return Kept(
        path=str(record["path"]),
        data=data,
        size=int(record["size"]),
        since=float(record["since"]),
        reason=str(record["reason"]),
        mtime_ns=int(record["mtime_ns"]),
        base=None if base is None else Version(str(base[0]), int(base[1])),
        missing=tuple((int(start), int(end)) for start, end in record["missing"]),
        metadata=metadata_of(record),
        is_conflict=bool(record["is_conflict"]),
    )
