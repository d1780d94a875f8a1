"""Rows of files, folder markers, buckets and contents.

Owns the SQL of these tables and the frozen values that rows become; must not know operations,
codes or content files.

Threading: belongs to the thread of its database.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from cosfs.server.database import Database

INHERITED = "eInvalid"
PRIVATE = "eWRPrivate"
PUBLIC_READ = "eWPrivateRPublic"
AUTHORITIES = (INHERITED, PRIVATE, PUBLIC_READ)

_COLUMNS = "key, ctime, mtime, biz_attr, content, size, sha, slice_size, authority, forbid, headers"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A file, or a folder marker (its key ends in `/`, its content is None).

    `received` differs from `size` only for an unfinished slice upload.
    """

    key: bytes
    ctime: int
    mtime: int
    biz_attr: str = ""
    content: str | None = None
    size: int = 0
    sha: str = ""
    slice_size: int = 0
    authority: str = INHERITED
    forbid: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    received: int = -1

    @property
    def is_folder(self) -> bool:
        """Whether this is the marker of a folder."""
        return self.key.endswith(b"/")

    @property
    def is_unfinished(self) -> bool:
        """Whether this stands for a slice upload that is not finished."""
        return self.received >= 0


def _to_object(row: tuple[object, ...]) -> StoredObject:
    *plain, headers = row
    return StoredObject(*plain, json.loads(headers) if headers else {})  # type: ignore


class Objects:
    """The tables of objects, buckets and contents."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # Buckets.

    def bucket_authorities(self) -> dict[str, str]:
        """Return every bucket with its authority."""
        return dict(self._db.fetch_all("SELECT name, authority FROM buckets"))

    def bucket_ctime(self, bucket: str) -> int:
        """Return when a bucket was made, in Unix seconds."""
        row = self._db.fetch_one("SELECT ctime FROM buckets WHERE name = ?", (bucket,))
        return row[0] if row else 0

    def put_bucket(self, bucket: str, authority: str, now: int) -> None:
        """Make a bucket, or change the authority of one."""
        self._db.execute(
            "INSERT INTO buckets VALUES (?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET authority = excluded.authority",
            (bucket, authority, now),
        )

    # Objects.

    def get(self, bucket: str, key: bytes) -> StoredObject | None:
        """Return a file or a folder marker, or None."""
        row = self._db.fetch_one(
            f"SELECT {_COLUMNS} FROM objects WHERE bucket = ? AND key = ?", (bucket, key)
        )
        return _to_object(row) if row else None

    def put(self, bucket: str, entry: StoredObject) -> None:
        """Store a row, replacing one of the same key."""
        self._db.execute(
            f"INSERT OR REPLACE INTO objects (bucket, {_COLUMNS})"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                bucket,
                entry.key,
                entry.ctime,
                entry.mtime,
                entry.biz_attr,
                entry.content,
                entry.size,
                entry.sha,
                entry.slice_size,
                entry.authority,
                entry.forbid,
                json.dumps(dict(entry.headers)) if entry.headers else "",
            ),
        )

    def delete(self, bucket: str, key: bytes) -> None:
        """Remove a row, if there is one."""
        self._db.execute("DELETE FROM objects WHERE bucket = ? AND key = ?", (bucket, key))

    def scan(self, bucket: str, start: bytes, end: bytes, limit: int) -> list[StoredObject]:
        """Return up to `limit` objects with `start <= key < end` in bytewise order of keys."""
        rows = self._db.fetch_all(
            f"SELECT {_COLUMNS} FROM objects WHERE bucket = ? AND key >= ? AND key < ?"
            " ORDER BY key LIMIT ?",
            (bucket, start, end, limit),
        )
        return [_to_object(row) for row in rows]

    def newest_mtime(self, bucket: str, start: bytes, end: bytes) -> int:
        """Return the largest mtime with `start <= key < end`, 0 when there is none."""
        row = self._db.fetch_one(
            "SELECT MAX(mtime) FROM objects WHERE bucket = ? AND key >= ? AND key < ?",
            (bucket, start, end),
        )
        return (row[0] if row else 0) or 0

    # Contents.

    def has_content(self, name: str) -> bool:
        """Tell whether some object has this content."""
        row = self._db.fetch_one("SELECT 1 FROM contents WHERE name = ?", (name,))
        return row is not None

    def is_content_used(self, name: str) -> bool:
        """Tell whether an object still refers to a content."""
        row = self._db.fetch_one("SELECT 1 FROM objects WHERE content = ? LIMIT 1", (name,))
        return row is not None

    def put_content(self, name: str, size: int, sha: str, states: list[str] | None) -> None:
        """Remember a content; `states` are the SHA-1 states after each MiB where they are known."""
        self._db.execute(
            "INSERT INTO contents VALUES (?, ?, ?, ?) ON CONFLICT (name)"
            " DO UPDATE SET states = COALESCE(excluded.states, states)",
            (name, size, sha, None if states is None else json.dumps(states)),
        )

    def delete_content(self, name: str) -> None:
        """Forget a content."""
        self._db.execute("DELETE FROM contents WHERE name = ?", (name,))

    def find_content(self, sha: str, size: int) -> tuple[str, list[str] | None] | None:
        """Return name and SHA-1 states of the content with this SHA-1 and size, or None."""
        row = self._db.fetch_one(
            "SELECT name, states FROM contents WHERE sha = ? AND size = ?", (sha, size)
        )
        return (row[0], None if row[1] is None else json.loads(row[1])) if row else None

    def content_names(self) -> set[str]:
        """Return the names of all contents."""
        return {name for (name,) in self._db.fetch_all("SELECT name FROM contents")}

    def unused_content_names(self) -> list[str]:
        """Return the names of contents that no object refers to."""
        rows = self._db.fetch_all(
            "SELECT name FROM contents EXCEPT SELECT content FROM objects WHERE content IS NOT NULL"
        )
        return [name for (name,) in rows]

    # Spent signatures.

    def spend(self, digest: bytes) -> bool:
        """Remember a single-use signature; return whether it was new."""
        return self._db.execute("INSERT OR IGNORE INTO spent (digest) VALUES (?)", (digest,)) > 0

    def trim_spent(self, keep: int) -> None:
        """Forget all spent signatures but the last `keep`."""
        self._db.execute(
            "DELETE FROM spent WHERE number <= (SELECT MAX(number) FROM spent) - ?", (keep,)
        )
