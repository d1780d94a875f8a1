"""Owns the waiting changes on the local disk, one row each; must not know what they mean.

A row is there before the caller of a change is answered, and goes once the server has made it. So
the next mount finds what was promised, and maybe a change that was made already.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final
from urllib.parse import quote

from cosfs.errors import ConfigError, CosfsError, FsError, NoSpace, SpoolFailed
from cosfs.store.writeback.operation import Operation

#: Of the records: another one cannot be read.
FORMAT: Final = 1

NAME: Final = "queue.sqlite"


class Journal:
    """The rows of one mount. Thread safety: none; its user has a lock."""

    def __init__(self, folder: Path, *, is_synced: bool) -> None:
        """Open the journal in ``folder``; with ``is_synced`` a row survives a power loss.

        Raises:
            ConfigError: somebody else's, or of another version of cosfs: the message says what to
                do.
        """
        self._file = folder / NAME
        _check(self._file)
        self._is_together = False
        #: Rows of what was made, which could not be dropped.
        self._overdue: set[int] = set()
        with _reading(self._file):
            self._database = self._opened(is_synced=is_synced)

    def _opened(self, *, is_synced: bool) -> sqlite3.Connection:
        database = sqlite3.connect(
            self._file, check_same_thread=False, isolation_level=None, cached_statements=16
        )
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"PRAGMA synchronous = {'FULL' if is_synced else 'NORMAL'}")
            database.execute(
                "CREATE TABLE IF NOT EXISTS operations"
                " (seq INTEGER PRIMARY KEY, record TEXT NOT NULL)"
            )
            database.execute("CREATE TABLE IF NOT EXISTS staged (place BLOB PRIMARY KEY)")
            database.execute(f"PRAGMA user_version = {FORMAT}")
        except sqlite3.Error:
            database.close()
            raise
        return database

    def all(self) -> list[Operation]:
        """Return the operations in their order. Raises ``ConfigError``."""
        with _reading(self._file):
            rows = self._database.execute("SELECT seq, record FROM operations ORDER BY seq")
            return [Operation.of_record(seq, record) for seq, record in rows]

    def put(self, operation: Operation) -> None:
        """Write down an operation, or what has become of it. Raises ``NoSpace``."""
        with self.together() if self._overdue else nullcontext():
            self._change(
                operation.path,
                "INSERT OR REPLACE INTO operations VALUES (?, ?)",
                operation.seq,
                operation.to_record(),
            )

    def made(self, operation: Operation) -> None:
        """Forget an operation that was made; where that fails, with the next change.

        Else the next mount makes it once more, over what was done to its names since.
        """
        try:
            with self.together() if self._overdue else nullcontext():
                self.drop(operation)
        except FsError:
            self._overdue.add(operation.seq)
            raise

    def drop(self, operation: Operation) -> None:
        """Forget an operation."""
        self._change(operation.path, "DELETE FROM operations WHERE seq = ?", operation.seq)

    def staged(self) -> list[str]:
        """Return where content may lie that was never whole. Raises ``ConfigError``."""
        with _reading(self._file):
            places = self._database.execute("SELECT * FROM staged")
            return [os.fsdecode(place) for (place,) in places]

    def stage(self, place: str) -> None:
        """Note that content is being put together at ``place``."""
        self._change(place, "INSERT OR REPLACE INTO staged VALUES (?)", os.fsencode(place))

    def unstage(self, place: str) -> None:
        """Note that nothing is at ``place``, or that something else takes care of it."""
        self._change(place, "DELETE FROM staged WHERE place = ?", os.fsencode(place))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make several changes all or none, together with those around it if there are."""
        if self._is_together:
            yield
            return
        self._change("", "BEGIN")
        self._is_together = True
        try:
            for seq in self._overdue:
                self._change("", "DELETE FROM operations WHERE seq = ?", seq)
            yield
            self._change("", "COMMIT")
            self._overdue.clear()
        except BaseException:
            self._database.rollback()
            raise
        finally:
            self._is_together = False

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _change(self, path: str, statement: str, *values: object) -> None:
        try:
            self._database.execute(statement, values)
        except sqlite3.Error as error:
            is_full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
            kind = NoSpace if is_full else SpoolFailed
            raise kind(path, f"the queue's disk says: {error}") from error


def peek(folder: Path) -> list[Operation]:
    """Return what waits in ``folder``, of a mount that runs or not; nothing is changed.

    Raises:
        CosfsError: it cannot be read.
    """
    file = folder / NAME
    if not file.exists():
        return []
    _check(file)
    try:
        database = sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)
        try:
            rows = database.execute("SELECT seq, record FROM operations ORDER BY seq").fetchall()
        finally:
            database.close()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise CosfsError(f"{file} cannot be read: {error}") from error
    return [Operation.of_record(seq, record) for seq, record in rows]


def _check(file: Path) -> None:
    if not file.exists():
        return
    owner = file.stat().st_uid
    if owner != os.geteuid():
        raise ConfigError(
            f"what waits to be stored in {file.parent} belongs to the user {owner}: let that user"
            " mount this bucket on this mount point once with -o writeback, and unmount it with"
            " cosfs umount"
        )
    with _reading(file):
        database = sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)
        try:
            (found,) = database.execute("PRAGMA user_version").fetchone()
        finally:
            database.close()
    if found not in (0, FORMAT):
        raise ConfigError(
            f"what waits to be stored in {file.parent} was written by another version of cosfs"
            f" (format {found}, this one reads {FORMAT}): mount this bucket on this mount point"
            " with that version and -o writeback, and unmount it with cosfs umount"
        )


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Tell who begins what is wrong with the queue, and what can be done."""
    try:
        yield
    except (sqlite3.Error, LookupError, TypeError, ValueError) as error:
        raise ConfigError(
            f"the queue {file} cannot be read or written: {error}. If its disk is full or"
            " read-only, or another program has it open, put that right and mount again; if it is"
            f" damaged, move {file.parent} elsewhere: the contents that were to be stored are in"
            " its folder content"
        ) from error
