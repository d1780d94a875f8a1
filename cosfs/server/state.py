"""The state of a server: index and content files together.

Owns every change as one step that is either done or not, in the order that survives a kill: content
file first, index row next, old files last. Must not know HTTP, signatures or codes.

Threading: belongs to one thread (the event loop); every method is a handful of system calls. Slow
work (hashing, removing large files, checkpoints) is handed to the pool.
"""

import fcntl
import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from cosfs.server.content import Content, ContentFiles
from cosfs.server.database import Database
from cosfs.server.objects import Objects, StoredObject
from cosfs.server.uploads import Upload, Uploads

logger = logging.getLogger(__name__)

# Single-use signatures that are remembered. No source gives a window.
_SPENT_KEPT = 200_000
_SPENT_TRIM_EVERY = 10_000

# Told about a change before it happens: bucket, key, what is there.
ChangeWatcher = Callable[[str, bytes, StoredObject | None], None]


class DataFolderInUse(Exception):
    """Another server has the data folder open."""


class State:
    """Buckets, objects, contents and unfinished uploads in one data folder."""

    def __init__(self, root: Path, pool: Executor) -> None:
        """Open the data folder, make it when it is missing, and remove leftovers.

        Raises:
            DataFolderInUse: another process has it open.
        """
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _lock_folder(root)
        self._pool = pool
        self._db = Database(root / "index.sqlite3")
        self.files = ContentFiles(root)
        self.objects = Objects(self._db)
        self.uploads = Uploads(self._db)
        self._watchers: list[ChangeWatcher] = []
        self._spent = 0
        self._buckets = self.objects.bucket_authorities()
        self._scrub()

    def close(self) -> None:
        """Close the index and let another process have the folder."""
        self._db.close()
        os.close(self._lock)

    def watch(self, watcher: ChangeWatcher) -> None:
        """Have a function called before each change of an object."""
        self._watchers.append(watcher)

    # Buckets.

    def buckets(self) -> dict[str, str]:
        """Return every bucket with its authority."""
        return self._buckets

    def add_bucket(self, bucket: str, authority: str, now: int) -> None:
        """Make a bucket; an existing one gets the authority."""
        self.objects.put_bucket(bucket, authority, now)
        self._buckets = self.objects.bucket_authorities()

    # Signatures.

    def spend(self, digest: bytes) -> bool:
        """Remember a single-use signature; return whether it was new."""
        self._spent += 1
        if self._spent % _SPENT_TRIM_EVERY == 0:
            self.objects.trim_spent(_SPENT_KEPT)
        is_new = self.objects.spend(digest)
        self._after_change()
        return is_new

    # Looking.

    def find(self, bucket: str, key: bytes) -> StoredObject | None:
        """Return what is visible at a key: an object, else an unfinished upload, else None."""
        found = self.objects.get(bucket, key)
        if found is None:
            upload = self.uploads.get(bucket, key)
            found = upload.to_object() if upload else None
        return found

    def has_below(self, bucket: str, prefix: bytes) -> bool:
        """Tell whether anything but the marker itself lies below a folder's key."""
        start, end = prefix + b"\0", key_after(prefix)
        # A key may begin with NUL after the prefix: `start` is the first possible one.
        return bool(
            self.objects.scan(bucket, start, end, 1) or self.uploads.scan(bucket, start, end)
        )

    # Changing objects.

    def put_file(self, bucket: str, entry: StoredObject, content: Content) -> None:
        """Store a file with new content; what was at its key is gone."""
        if not self.objects.has_content(content.sha256):
            self.files.adopt(content)
        entry = replace(entry, content=content.sha256, size=content.size, sha=content.sha1)
        self._change(bucket, entry.key)
        with self._db.transaction():
            self.objects.put_content(content.sha256, content.size, content.sha1, content.states)
            unused = self._replace(bucket, entry)
        self._drop_contents(unused)

    def put_known(self, bucket: str, entry: StoredObject) -> None:
        """Store a file whose content is known already (`entry.content`)."""
        self._change(bucket, entry.key)
        with self._db.transaction():
            unused = self._replace(bucket, entry)
        self._drop_contents(unused)

    def put_instantly(
        self, bucket: str, entry: StoredObject, content: Content
    ) -> None:
        """Store a file whose content another file has; an unfinished upload of the key ends."""
        upload = self.uploads.get(bucket, entry.key)
        entry = replace(entry, content=content.sha256, size=content.size, sha=content.sha1)
        self._change(bucket, entry.key)
        with self._db.transaction():
            if upload is not None:
                self.uploads.delete(upload.session)
            self.objects.put_content(content.sha256, content.size, content.sha1, content.states)
            unused = self._replace(bucket, entry)
        if upload is not None:
            self._retire([self.files.part_path(part_name(upload.session))])
        self._drop_contents(unused)

    def put_marker(self, bucket: str, entry: StoredObject) -> None:
        """Store a folder marker."""
        self._change(bucket, entry.key)
        self.objects.put(bucket, entry)
        self._after_change()

    def update(self, bucket: str, entry: StoredObject) -> None:
        """Store changed attributes of a file or folder."""
        self.put_marker(bucket, entry)

    def move(self, bucket: str, source: bytes, target: StoredObject) -> None:
        """Make a file appear at another key and vanish from its own, in one step."""
        self._change(bucket, source)
        self._change(bucket, target.key)
        with self._db.transaction():
            unused = self._replace(bucket, target)
            self.objects.delete(bucket, source)
        self._drop_contents(unused)

    def delete(self, bucket: str, key: bytes) -> None:
        """Remove a file or marker, and an unfinished upload of the key."""
        self._change(bucket, key)
        upload = self.uploads.get(bucket, key)
        old = self.objects.get(bucket, key)
        with self._db.transaction():
            self.objects.delete(bucket, key)
            if upload is not None:
                self.uploads.delete(upload.session)
            unused = self._forget_if_unused(old)
        if upload is not None:
            self._retire([self.files.part_path(part_name(upload.session))])
        self._drop_contents(unused)

    def _replace(self, bucket: str, entry: StoredObject) -> list[str]:
        old = self.objects.get(bucket, entry.key)
        self.objects.put(bucket, entry)
        return self._forget_if_unused(old)

    def _forget_if_unused(self, old: StoredObject | None) -> list[str]:
        if old is None or old.content is None or self.objects.is_content_used(old.content):
            return []
        self.objects.delete_content(old.content)
        return [old.content]

    # Unfinished uploads.

    def begin_upload(self, bucket: str, upload: Upload) -> None:
        """Begin a slice upload; an unfinished one of the same key is dropped."""
        old = self.uploads.get(bucket, upload.key)
        self._change(bucket, upload.key)
        with self._db.transaction():
            if old is not None:
                self.uploads.delete(old.session)
            self.uploads.put(bucket, upload)
        if old is not None:
            self._retire([self.files.part_path(part_name(old.session))])
        self._after_change()

    def add_slice(self, session: str, start: int, size: int) -> None:
        """Remember a slice that was written to the part file."""
        self.uploads.add_slice(session, start, size)
        self._after_change()

    def finish_upload(
        self, bucket: str, upload: Upload, entry: StoredObject, content: Content
    ) -> None:
        """Turn a complete part file into the content of a file."""
        part = part_name(upload.session)
        if not self.objects.has_content(content.sha256):
            self.files.adopt_part(part, content.sha256)
        entry = replace(entry, content=content.sha256, size=content.size, sha=content.sha1)
        self._change(bucket, entry.key)
        with self._db.transaction():
            self.uploads.delete(upload.session)
            self.objects.put_content(content.sha256, content.size, content.sha1, content.states)
            unused = self._replace(bucket, entry)
        self._retire([self.files.part_path(part)])
        self._drop_contents(unused)

    def expire_uploads(self, before: int) -> list[str]:
        """Forget unfinished uploads that were begun before a time; return their sessions."""
        sessions = self.uploads.expired(before)
        for session in sessions:
            self.uploads.delete(session)
            self._retire([self.files.part_path(part_name(session))])
        return sessions

    # Housekeeping.

    def _change(self, bucket: str, key: bytes) -> None:
        for watcher in self._watchers:
            watcher(bucket, key, self.find(bucket, key))

    def _after_change(self) -> None:
        if self._db.wants_checkpoint():
            self._pool.submit(self._db.checkpoint)

    def _drop_contents(self, names: Iterable[str]) -> None:
        self._retire([self.files.path(name) for name in names])
        self._after_change()

    def _retire(self, paths: Iterable[str]) -> None:
        for path in paths:
            hidden = self.files.retire(path)
            if hidden is not None:
                self._pool.submit(os.unlink, hidden)

    def _scrub(self) -> None:
        """Remove what a killed process left behind, and report content that is missing."""
        leftovers = self.files.clear_tmp()
        for name in self.objects.unused_content_names():
            self.objects.delete_content(name)
        known = self.objects.content_names()
        present = set()
        for name in self.files.iter_contents():
            present.add(name)
            if name not in known:
                os.unlink(self.files.path(name))
                leftovers += 1
        parts = {part_name(session) for session in self.uploads.sessions()}
        for name in list(self.files.iter_parts()):
            if name not in parts:
                os.unlink(self.files.part_path(name))
                leftovers += 1
        if leftovers:
            logger.info("removed %d leftover files", leftovers)
        for name in sorted(known - present):
            logger.error("content %s is in the index, its file is missing", name)
            # Its files cannot be read, but the same content may be uploaded again.
            self.objects.delete_content(name)


def part_name(session: str) -> str:
    """Return the name of an upload's part file: the session may hold characters no name can."""
    return session.partition("+")[0]


def key_after(prefix: bytes) -> bytes:
    """Return the smallest key that is larger than every key with a prefix (b"" has none)."""
    trimmed = prefix.rstrip(b"\xff")
    if not trimmed:
        return b"\xff"  # No UTF-8 text begins with this byte.
    return trimmed[:-1] + bytes([trimmed[-1] + 1])


def _lock_folder(root: Path) -> int:
    fd = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise DataFolderInUse(str(root)) from None
    return fd
