"""Owns the attribute changes that were answered and are not sent yet; must not know stores.

A program that gets 0 from ``chmod``, ``chown`` or ``utimens`` may rely on it, though the change is
sent a moment later, joined with others of the same name. So it lies in a database in the mount's
state folder before the call returns: a killed mount loses none, the next one sends it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from cosfs import paths
from cosfs.model import Attributes

_SCHEMA = "CREATE TABLE IF NOT EXISTS attributes (path BLOB PRIMARY KEY, changes TEXT NOT NULL)"


@dataclass(frozen=True, slots=True)
class Pending:
    """The joined changes of one name, and when the first of them was made (monotonic seconds)."""

    attributes: Attributes
    since: float


class AttributeJournal:
    """Attribute changes by path, in memory and on disk.

    What is written survives a killed process at once. It survives a power cut a little later, as
    nothing here waits for the disk.

    Thread safety: any method from any thread.
    """

    def __init__(self, file: Path) -> None:
        """Open the journal and take up what a mount before this one left in it.

        Raises:
            sqlite3.Error: the file cannot be used.
        """
        self._lock = threading.Lock()
        self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(_SCHEMA)
        rows = self._database.execute("SELECT path, changes FROM attributes")
        self._pending = {
            os.fsdecode(path): Pending(Attributes(**json.loads(changes)), 0.0)
            for path, changes in rows
        }

    def get(self, path: str) -> Pending | None:
        """Return what is not sent of ``path``."""
        return self._pending.get(path)

    def all(self) -> dict[str, Pending]:
        """Return everything that is not sent."""
        with self._lock:
            return dict(self._pending)

    def note(self, path: str, attributes: Attributes, now: float) -> None:
        """Join a change to those of ``path``; on disk when this returns."""
        with self._lock:
            old = self._pending.get(path)
            if old is None:
                self._put(path, Pending(attributes, now))
            else:
                self._put(path, Pending(old.attributes.merged(attributes), old.since))

    def sent(self, path: str, what: Pending) -> None:
        """Forget ``what`` was sent, unless more came to it meanwhile."""
        with self._lock:
            if self._pending.get(path) is what:
                self._drop(path)

    def drop(self, path: str) -> None:
        """Forget the changes of a name that is gone."""
        if path in self._pending:
            with self._lock:
                self._drop(path)

    def rename(self, old: str, new: str) -> None:
        """Let the changes of ``old`` and of all names below it follow a rename."""
        if not self._pending:
            return
        with self._lock:
            self._drop(new)
            for path in [p for p in self._pending if p == old or paths.is_inside(p, old)]:
                pending = self._pending[path]
                self._drop(path)
                self._put(paths.moved(path, old, new), pending)

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._database.close()

    def _put(self, path: str, pending: Pending) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO attributes VALUES (?, ?)",
            (os.fsencode(path), json.dumps(asdict(pending.attributes))),
        )
        self._pending[path] = pending

    def _drop(self, path: str) -> None:
        if self._pending.pop(path, None) is not None:
            self._database.execute("DELETE FROM attributes WHERE path = ?", (os.fsencode(path),))
