"""Owns what was answered or begun and is not finished, on the local disk; must not know stores.

A killed mount must not lose what a program was told is done, nor leave half of what it began. So
such work stands in a database in the mount's state folder before it is answered or begun, and the
next mount finishes it.

===============  ==============================================================================
table            holds, by path
===============  ==============================================================================
``attributes``   changes by ``chmod``, ``chown``, ``utimens`` that are not sent yet
``overwrites``   what has to stand beside an object whose content is being replaced
``orphans``      objects in the work folder that live as long as a descriptor
``renames``      renames of folders under way: old path to new
===============  ==============================================================================
"""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from cosfs import paths
from cosfs.model import Attributes, Metadata

_TABLES: Final = ("attributes", "overwrites", "orphans", "renames")


class Journal:
    """The database. What is written survives a killed process at once, and a power cut a little
    later, as nothing here waits for the disk.

    Thread safety: any method from any thread.
    """

    def __init__(self, file: Path) -> None:
        """Open the journal, which a mount before this one may have left.

        Raises:
            sqlite3.Error: the file cannot be used.
        """
        self.file = file
        self._lock = threading.Lock()
        self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        for table in _TABLES:
            self._database.execute(
                f"CREATE TABLE IF NOT EXISTS {table} (path BLOB PRIMARY KEY, record TEXT NOT NULL)"
            )

    def put(self, table: str, path: str, record: dict[str, Any]) -> None:
        """Write a record, replacing the one of this path; on disk when this returns."""
        statement = f"INSERT OR REPLACE INTO {table} VALUES (?, ?)"
        with self._lock:
            self._database.execute(statement, (os.fsencode(path), json.dumps(record)))

    def drop(self, table: str, path: str) -> None:
        """Remove a record, if there is one."""
        with self._lock:
            self._database.execute(f"DELETE FROM {table} WHERE path = ?", (os.fsencode(path),))

    def all(self, table: str) -> dict[str, dict[str, Any]]:
        """Return every record of a table by its path."""
        with self._lock:
            rows = self._database.execute(f"SELECT path, record FROM {table}").fetchall()
        return {os.fsdecode(path): json.loads(record) for path, record in rows}

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._database.close()


def peek(file: Path, table: str) -> dict[str, dict[str, Any]]:
    """Return the records of a table in the journal of another process, which may be running.

    Raises ``sqlite3.Error`` where it cannot be read; where there is none, it holds nothing.
    """
    if not file.exists():
        return {}
    database = sqlite3.connect(f"file:{quote(os.fsencode(file))}?mode=ro", uri=True)
    try:
        known = database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        rows = database.execute(f"SELECT path, record FROM {table}").fetchall() if known else []
    finally:
        database.close()
    return {os.fsdecode(path): json.loads(record) for path, record in rows}


def overwrite_record(size: int, metadata: Metadata) -> dict[str, Any]:
    """Return what the journal holds while content of ``size`` bytes is being replaced."""
    return {
        "size": size,
        "properties": {
            name: base64.b64encode(value).decode("ascii")
            for name, value in metadata.properties.items()
        },
        "attributes": asdict(metadata.attributes),
    }


def overwrite_of(record: dict[str, Any]) -> tuple[int, Metadata]:
    """Return the size and the metadata that ``overwrite_record`` wrote down."""
    properties = {name: base64.b64decode(text) for name, text in record["properties"].items()}
    attributes = Attributes(**record["attributes"])
    return record["size"], Metadata(MappingProxyType(properties), attributes=attributes)


@dataclass(frozen=True, slots=True)
class Pending:
    """The joined changes of one name, and when the first of them was made (monotonic seconds)."""

    attributes: Attributes
    since: float


class AttributeJournal:
    """Attribute changes by path, in memory and in the journal.

    Thread safety: any method from any thread.
    """

    def __init__(self, journal: Journal) -> None:
        """Take up what a mount before this one left."""
        self._lock = threading.Lock()
        self._journal = journal
        self._pending = {
            path: Pending(Attributes(**record), 0.0)
            for path, record in journal.all("attributes").items()
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

    def _put(self, path: str, pending: Pending) -> None:
        self._journal.put("attributes", path, asdict(pending.attributes))
        self._pending[path] = pending

    def _drop(self, path: str) -> None:
        if self._pending.pop(path, None) is not None:
            self._journal.drop("attributes", path)
