"""The SQLite file under the index.

Owns the connection, the schema, transactions and checkpoints; must not know what the rows mean.

WAL with synchronous=NORMAL: a killed process loses nothing that was committed; a power cut may lose
the last commits, never the consistency of the file. Checkpoints, the only steps that wait for the
disk, run in a worker thread.

Threading: everything but `checkpoint` belongs to one thread (the server's event loop).
"""

import errno
import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS buckets (
    name TEXT PRIMARY KEY, authority TEXT NOT NULL, ctime INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT NOT NULL, key BLOB NOT NULL, ctime INTEGER NOT NULL, mtime INTEGER NOT NULL,
    biz_attr TEXT NOT NULL, content TEXT, size INTEGER NOT NULL, sha TEXT NOT NULL,
    slice_size INTEGER NOT NULL, authority TEXT NOT NULL, forbid INTEGER NOT NULL,
    headers TEXT NOT NULL, PRIMARY KEY (bucket, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS objects_by_content ON objects (content) WHERE content IS NOT NULL;
CREATE TABLE IF NOT EXISTS contents (
    name TEXT PRIMARY KEY, size INTEGER NOT NULL, sha TEXT NOT NULL, states TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS contents_by_sha ON contents (sha);
CREATE TABLE IF NOT EXISTS uploads (
    bucket TEXT NOT NULL, key BLOB NOT NULL, session TEXT NOT NULL UNIQUE,
    file_size INTEGER NOT NULL, slice_size INTEGER NOT NULL, sha TEXT NOT NULL,
    parts TEXT NOT NULL, biz_attr TEXT NOT NULL, insert_only INTEGER NOT NULL,
    ctime INTEGER NOT NULL, received INTEGER NOT NULL, PRIMARY KEY (bucket, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS slices (
    session TEXT NOT NULL, start INTEGER NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (session, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent (number INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB UNIQUE);
"""

# Pages of 4 KiB in the log before a checkpoint is worth its wait.
_LOG_PAGES = 1000
# A log this long is cut short at once, even if that stalls the server for a moment.
_LOG_PAGES_AT_MOST = 32_000
_CHANGES_PER_LOOK = 200

#: What the disk did, by SQLite's code.
_DISK_ERRORS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_CANTOPEN: errno.EIO,
    sqlite3.SQLITE_READONLY: errno.EROFS,
}


class Database:
    """One open index file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = _connect(path)
        self._changes = 0
        self._checkpoint_lock = threading.Lock()
        self._in_transaction = False
        self._connection.executescript(_SCHEMA)
        self._check_version()

    def _check_version(self) -> None:
        self.execute("INSERT OR IGNORE INTO meta VALUES ('schema', ?)", (str(SCHEMA_VERSION),))
        found = self.fetch_one("SELECT value FROM meta WHERE name = 'schema'")
        if found is None or found[0] != str(SCHEMA_VERSION):
            raise ValueError(f"{self._path} was made by another version of the server")

    def close(self) -> None:
        """Close the file; the log is folded into it."""
        with self._checkpoint_lock:
            self._connection.close()

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run one changing statement and return the number of rows it changed."""
        self._changes += 1
        return self._run(statement, values).rowcount

    def fetch_one(self, statement: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Return the first row, or None."""
        row: tuple[Any, ...] | None = self._run(statement, values).fetchone()
        return row

    def fetch_all(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return every row."""
        return self._run(statement, values).fetchall()

    def _run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Raise ``OSError`` where the disk is full or fails, as of any other file of the folder."""
        try:
            return self._connection.execute(statement, values)
        except sqlite3.OperationalError as error:
            number = _DISK_ERRORS.get(error.sqlite_errorcode & 0xFF)
            if number is None:
                raise
            raise OSError(number, f"the index says: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all changes of a block happen, or none. May be nested: the outermost decides."""
        if self._in_transaction:
            yield
            return
        self._run("BEGIN IMMEDIATE")
        self._in_transaction = True
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            # Where the disk is full, SQLite may have done so by itself.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        finally:
            self._in_transaction = False

    def wants_checkpoint(self) -> bool:
        """Tell whether enough has changed since the last answer True to call `checkpoint`."""
        if self._changes < _CHANGES_PER_LOOK:
            return False
        self._changes = 0
        return True

    def checkpoint(self) -> None:
        """Fold the log into the file when it has grown. Blocks on the disk: call it in a thread."""
        if not self._checkpoint_lock.acquire(blocking=False):
            return
        try:
            connection = _connect(self._path)
            try:
                if self._path.with_name(self._path.name + "-wal").stat().st_size < _LOG_PAGES << 12:
                    return
                _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if pages > _LOG_PAGES_AT_MOST:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.close()
        except (sqlite3.Error, OSError):
            logger.warning("checkpoint of %s failed", self._path, exc_info=True)
        finally:
            self._checkpoint_lock.release()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("PRAGMA busy_timeout=10000")
    return connection
