"""Owns folders on the JSON API: their markers and marks; must not know files.

A marker is an object whose key ends in a slash; it carries a text. A folder's own marker makes it
real, and the mark is a second one inside: ``D/`` and ``D/.cosfs/``. What stands in their texts is
said in ``spelling``.
"""

from __future__ import annotations

import logging

from cosfs import paths
from cosfs.clock import Clock
from cosfs.errors import (
    AlreadyExists,
    BucketNotFound,
    NotFound,
    NotSupported,
    StoreError,
    Unavailable,
)
from cosfs.jsonapi.bucket import BucketClient
from cosfs.jsonapi.replies import FolderInfo
from cosfs.model import Entry, Kind, Metadata
from cosfs.store import spelling
from cosfs.store.names import KeySpace
from cosfs.store.properties import BIZ_ATTR

_log = logging.getLogger(__name__)

_SECOND = 10**9


class Folders:
    """The folders of one bucket as ``Store`` promises them. Thread-safe."""

    def __init__(self, bucket: BucketClient, keys: KeySpace, clock: Clock) -> None:
        self._bucket = bucket
        self._keys = keys
        self._clock = clock

    def stat(self, path: str) -> Entry:
        try:
            return _entry(self._bucket.stat_folder(self._keys.folder(path)))
        except BucketNotFound:
            raise
        except NotFound:
            if path == paths.ROOT:
                return Entry(Kind.FOLDER, implied=True, metadata=spelling.read_folder(""))
            raise

    def make(self, path: str, biz_attr: bytes) -> Entry:
        key = self._keys.folder(path)
        if path == paths.ROOT:
            raise AlreadyExists("the root always exists", path=path)
        self._keys.mark(path)  # too long for a mark is too long
        text = spelling.spell_folder(path, Metadata({BIZ_ATTR: biz_attr})).text
        self._bucket.create_folder(key, text)
        now = int(self._clock.wall())
        return _entry(FolderInfo(text, now, now))

    def delete(self, path: str, mark: Metadata | None) -> None:
        """Remove a folder and its ``mark``, if it has one; see ``Store.delete_folder``."""
        key = self._keys.folder(path)
        if mark is not None:
            self._delete_mark(path)
        try:
            self._bucket.delete_folder(key)
        except (NotFound, Unavailable):
            raise
        except StoreError:
            if mark is not None:
                self._mark_again(path, mark)
            raise

    def stat_mark(self, path: str) -> Metadata:
        return spelling.read_mark(self._bucket.stat_folder(self._keys.mark(path)).biz_attr)

    def mark(self, path: str, holding: Metadata) -> bool:
        key = self._keys.mark(path)
        return self._create(key, spelling.spell_folder(path, holding).mark)

    def set(self, path: str, entry: Entry, metadata: Metadata) -> None:
        """Set what a folder and its mark hold; see ``Store.set_metadata``."""
        key = self._keys.folder(path)
        wanted = spelling.spell_folder(path, metadata, entry.metadata)
        known = None
        if entry.metadata is not None:
            known = spelling.spell_folder(path, entry.metadata, entry.metadata)
            if wanted == known:
                return
        if not key and wanted.text != (known.text if known else ""):
            raise NotSupported(path, hint="the root of a bucket has no biz_attr")
        mark = None
        if known is None or wanted.mark != known.mark:
            mark = self._keys.mark(path)
        if key and (known is None or wanted.text != known.text):
            self._set_text(path, key, wanted.text, implied=entry.implied)
        elif entry.implied and path != paths.ROOT:
            self._create(key, wanted.text)
        if mark is not None:
            self._set_mark(mark, wanted.mark)

    def _delete_mark(self, path: str) -> None:
        try:
            self._bucket.delete_folder(self._keys.mark(path))
        except BucketNotFound:
            raise
        except NotFound:
            pass  # somebody else has taken it away

    def _mark_again(self, path: str, mark: Metadata) -> None:
        """Mark a folder that stays: it has attributes, and names that somebody made may have."""
        try:
            self.mark(path, mark)
        except StoreError as error:
            _log.warning("%r could not be marked again, and lost %s: %s", path, mark, error)

    def _set_text(self, path: str, key: str, text: str, *, implied: bool) -> None:
        if implied:
            self._put(key, text)
        elif not self._update(key, text):
            # It may be implied although its listing did not say so.
            if path != paths.ROOT and not self._has_names(key):
                raise NotFound("the folder is gone", path=path)
            if path != paths.ROOT or text:
                self._put(key, text)

    def _set_mark(self, key: str, text: str) -> None:
        if not self._update(key, text) and text:
            self._put(key, text)

    def _has_names(self, key: str) -> bool:
        page = self._bucket.list_folder(key, num=2)
        return bool(page.entries) or not page.listover

    def _put(self, key: str, text: str) -> None:
        """Make a marker with ``text``, or give it to the one that somebody made."""
        if not self._create(key, text):
            self._bucket.update_folder(key, text)

    def _create(self, key: str, text: str) -> bool:
        """Make a marker; tell whether there was none."""
        try:
            self._bucket.create_folder(key, text)
        except AlreadyExists:
            return False
        return True

    def _update(self, key: str, text: str) -> bool:
        """Set the text of a marker; tell whether there is one."""
        try:
            self._bucket.update_folder(key, text)
        except BucketNotFound:
            raise
        except NotFound:
            return False
        return True


def _entry(info: FolderInfo) -> Entry:
    return Entry(
        Kind.FOLDER,
        0,
        info.mtime * _SECOND,
        info.ctime * _SECOND,
        metadata=spelling.read_folder(info.biz_attr),
    )
