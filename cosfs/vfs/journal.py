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
``staged``       where content of a large file lies in the work folder until it is whole
``renames``      renames under way, of folders and of files with unsent attributes: old path to
                 new
===============  ==============================================================================
"""

from __future__ import annotations

import base64
import json
import logging
import os
import sqlite3
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from cosfs import paths
from cosfs.errors import FsError, NoSpace, SpoolFailed
from cosfs.model import Attributes, Metadata, Version

log = logging.getLogger(__name__)

#: Pages of 4 KiB that the log of changes has at least.
_RESERVED_PAGES: Final = 16

_TABLES: Final = ("attributes", "overwrites", "orphans", "staged", "renames")


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
        #: Records that could not be dropped yet.
        self._undropped: set[tuple[str, bytes]] = set()
        self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        for table in _TABLES:
            self._database.execute(
                f"CREATE TABLE IF NOT EXISTS {table} (path BLOB PRIMARY KEY, record TEXT NOT NULL)"
            )

        self._reserve()

    def _reserve(self) -> None:
        """Let the log of changes take room now, which it then uses again and again.

        So a disk that is full later does not stop work that is begun from being finished.
        """
        for number in range(_RESERVED_PAGES):
            self._database.execute(f"PRAGMA user_version = {number}")
        self._database.execute("PRAGMA wal_checkpoint(RESTART)")

    def put(self, table: str, path: str, record: dict[str, Any]) -> None:
        """Write a record, replacing the one of this path; on disk when this returns.

        Raises ``NoSpace`` where the disk is full, ``SpoolFailed`` where it fails otherwise.
        """
        key = os.fsencode(path)
        statement = f"INSERT OR REPLACE INTO {table} VALUES (?, ?)"
        with self._lock:
            self._drop_again()
            try:
                self._change(statement, key, json.dumps(record))
            except sqlite3.Error as error:
                is_full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
                kind = NoSpace if is_full else SpoolFailed
                raise kind(path, f"the journal says: {error}") from error
            self._undropped.discard((table, key))

    def drop(self, table: str, path: str) -> None:
        """Remove a record, if there is one.

        What has happened is not undone by a disk that fails now: it is tried again later, and a
        record that stays to the end makes the next mount look once more.
        """
        with self._lock:
            self._undropped.add((table, os.fsencode(path)))
            self._drop_again()

    def _drop_again(self) -> None:
        for table, key in list(self._undropped):
            try:
                self._change(f"DELETE FROM {table} WHERE path = ?", key)
            except sqlite3.Error as error:
                log.warning("a record of %s cannot be dropped yet: %s", table, error)
                return
            self._undropped.discard((table, key))

    def _change(self, statement: str, *values: object) -> None:
        try:
            self._database.execute(statement, values)
        except sqlite3.OperationalError:
            # Where the disk is full, the log may have room once it begins anew.
            self._database.execute("PRAGMA wal_checkpoint(RESTART)")
            self._database.execute(statement, values)

    def all(self, table: str) -> dict[str, dict[str, Any]]:
        """Return every record of a table by its path."""
        with self._lock:
            rows = self._database.execute(f"SELECT path, record FROM {table}").fetchall()
        return {os.fsdecode(path): json.loads(record) for path, record in rows}

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._drop_again()
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


def overwrite_record(version: Version, metadata: Metadata) -> dict[str, Any]:
    """Return what the journal holds while content is being replaced by ``version``."""
    return {"size": version.size, "digest": version.digest, **metadata_record(metadata)}


def overwrite_of(record: dict[str, Any]) -> tuple[Version, Metadata]:
    """Return what ``overwrite_record`` wrote down; the digest is "" if it is not known."""
    return Version(record.get("digest", ""), record["size"]), metadata_of(record)


def metadata_record(metadata: Metadata) -> dict[str, Any]:
    """Return what a record holds of metadata."""
    return {
        "properties": {
            name: base64.b64encode(value).decode("ascii")
            for name, value in metadata.properties.items()
        },
        "attributes": asdict(metadata.attributes),
    }


def metadata_of(record: dict[str, Any]) -> Metadata:
    """Return what ``metadata_record`` wrote down."""
    properties = {name: base64.b64decode(text) for name, text in record["properties"].items()}
    attributes = Attributes(**record["attributes"])
    return Metadata(MappingProxyType(properties), attributes=attributes)


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
                pending, target = self._pending[path], paths.moved(path, old, new)
                try:
                    self._put(target, pending)
                except FsError as error:
                    # The name has changed: what cannot be written down is at least sent.
                    log.warning("attributes of %r do not outlive this process: %s", target, error)
                    self._pending[target] = pending
                self._drop(path)

    def _put(self, path: str, pending: Pending) -> None:
        self._journal.put("attributes", path, asdict(pending.attributes))
        self._pending[path] = pending

    def _drop(self, path: str) -> None:
        if self._pending.pop(path, None) is not None:
            self._journal.drop("attributes", path)
