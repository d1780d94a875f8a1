"""Rows of unfinished slice uploads.

Owns the SQL of uploads and their slices; must not know operations, codes or part files.

Threading: belongs to the thread of its database.
"""

import json
from dataclasses import dataclass

from cosfs.server.database import Database
from cosfs.server.objects import StoredObject

_COLUMNS = (
    "key, session, file_size, slice_size, sha, parts, biz_attr, insert_only, ctime, received"
)


@dataclass(frozen=True, slots=True)
class Upload:
    """An unfinished slice upload; there is at most one for a key.

    `sha` and `declared_parts` are empty when the client did not declare them.
    """

    key: bytes
    session: str
    file_size: int
    slice_size: int
    sha: str
    # A JSON text: every slice has its upload looked for, and only the last needs this.
    declared_parts: str
    biz_attr: str
    insert_only: bool
    ctime: int
    received: int = 0

    @property
    def parts(self) -> list[str] | None:
        """The `datasha` of each slice; None when they were not declared."""
        return json.loads(self.declared_parts) if self.declared_parts else None

    def to_object(self) -> StoredObject:
        """Show the upload the way stat and listings do: declared size, less received."""
        return StoredObject(
            key=self.key,
            ctime=self.ctime,
            mtime=self.ctime,
            biz_attr=self.biz_attr,
            size=self.file_size,
            sha=self.sha,
            slice_size=self.slice_size,
            received=self.received,
        )


def _to_upload(row: tuple[object, ...]) -> Upload:
    key, session, file_size, slice_size, sha, parts, biz_attr, insert_only, ctime, received = row
    return Upload(
        key,  # type: ignore
        session,  # type: ignore
        file_size,  # type: ignore
        slice_size,  # type: ignore
        sha,  # type: ignore
        parts,  # type: ignore
        biz_attr,  # type: ignore
        bool(insert_only),
        ctime,  # type: ignore
        received,  # type: ignore
    )


class Uploads:
    """The tables of uploads and slices."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def get(self, bucket: str, key: bytes) -> Upload | None:
        """Return the unfinished upload of a key, or None."""
        row = self._db.fetch_one(
            f"SELECT {_COLUMNS} FROM uploads WHERE bucket = ? AND key = ?", (bucket, key)
        )
        return _to_upload(row) if row else None

    def put(self, bucket: str, upload: Upload) -> None:
        """Store a new upload; one of the same key must have been deleted before."""
        self._db.execute(
            f"INSERT INTO uploads (bucket, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                bucket,
                upload.key,
                upload.session,
                upload.file_size,
                upload.slice_size,
                upload.sha,
                upload.declared_parts,
                upload.biz_attr,
                int(upload.insert_only),
                upload.ctime,
                upload.received,
            ),
        )

    def delete(self, session: str) -> None:
        """Remove an upload and its slices."""
        with self._db.transaction():
            self._db.execute("DELETE FROM uploads WHERE session = ?", (session,))
            self._db.execute("DELETE FROM slices WHERE session = ?", (session,))

    def add_slice(self, session: str, start: int, size: int) -> None:
        """Remember that a slice is stored; doing so twice is the same as once."""
        with self._db.transaction():
            values = (session, start, size)
            if self._db.execute("INSERT OR IGNORE INTO slices VALUES (?, ?, ?)", values):
                self._db.execute(
                    "UPDATE uploads SET received = received + ? WHERE session = ?", (size, session)
                )

    def slices(self, session: str) -> list[tuple[int, int]]:
        """Return start and size of every slice that is stored, in order."""
        rows = self._db.fetch_all(
            "SELECT start, size FROM slices WHERE session = ? ORDER BY start", (session,)
        )
        return [(start, size) for start, size in rows]

    def scan(self, bucket: str, start: bytes, end: bytes) -> list[Upload]:
        """Return the uploads with `start <= key < end` in bytewise order of keys."""
        rows = self._db.fetch_all(
            f"SELECT {_COLUMNS} FROM uploads"
            " WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key",
            (bucket, start, end),
        )
        return [_to_upload(row) for row in rows]

    def sessions(self) -> set[str]:
        """Return the session of every upload."""
        return {session for (session,) in self._db.fetch_all("SELECT session FROM uploads")}

    def expired(self, before: int) -> list[str]:
        """Return the sessions of uploads that were begun before a time."""
        rows = self._db.fetch_all("SELECT session FROM uploads WHERE ctime < ?", (before,))
        return [session for (session,) in rows]
