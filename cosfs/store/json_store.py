"""Owns the store on the COS JSON API: file system words in, server words out; must not know HTTP.

How names and properties are spelt on this protocol is said in ``names`` and ``properties``, what
becomes of replies in ``json_entries``, how content gets there in ``json_upload``. Lost answers are
settled by the client (``jsonapi.bucket``), so a change that raises was not made, unless the error
is ``Unavailable`` or says what was done.
"""

from __future__ import annotations

from types import MappingProxyType

from cosfs import paths
from cosfs.clock import Clock, SystemClock
from cosfs.config import DataOptions
from cosfs.errors import (
    AlreadyExists,
    AttributesTooLarge,
    BucketNotFound,
    NotFound,
    NotSupported,
    ObjectChanged,
    RangeNotSatisfiable,
    UnfinishedUpload,
)
from cosfs.jsonapi.bucket import BucketClient
from cosfs.model import Entry, Kind, ListPage, Metadata, Source, Version
from cosfs.store import content, properties
from cosfs.store.json_entries import (
    Showcase,
    VersionMarks,
    file_entry,
    folder_entry,
    folder_metadata,
    spelling_of,
)
from cosfs.store.json_upload import Uploader
from cosfs.store.names import PORTABLE, KeySpace, NameRules
from cosfs.store.properties import INHERITED, Spelling


class JsonStore:
    """A bucket, or what lies below ``prefix`` in it, as a ``Store`` (``store.base``).

    ``prefix`` is a folder's key as the server spells it. ``bucket`` is not closed by ``close``: it
    belongs to whoever made it.

    Thread safety: any number of threads.
    """

    def __init__(
        self,
        bucket: BucketClient,
        *,
        prefix: str = "",
        names: NameRules = PORTABLE,
        data: DataOptions | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._bucket = bucket
        self._keys = KeySpace(prefix, names)
        self._clock = clock or SystemClock()
        parallel = (data or DataOptions()).parallel
        self._uploader = Uploader(bucket, self._keys.root, parallel=parallel)
        self._showcase = Showcase(names, self._keys.root)
        self._marks = VersionMarks()

    def probe(self) -> None:
        try:
            self._bucket.stat_folder("")
        except BucketNotFound:
            raise
        except NotFound as error:
            # The root of every bucket can be stat'ed.
            raise BucketNotFound(
                "there is no such bucket", path=self._bucket.name, reply=error.reply
            ) from error

    def check_path(self, path: str) -> None:
        if path != paths.ROOT:
            self._keys.file(path)

    def stat_file(self, path: str) -> Entry:
        return file_entry(self._bucket.stat_file(self._keys.file(path)), path)

    def stat_folder(self, path: str) -> Entry:
        try:
            return folder_entry(self._bucket.stat_folder(self._keys.folder(path)))
        except BucketNotFound:
            raise
        except NotFound:
            if path == paths.ROOT:
                return Entry(Kind.FOLDER, implied=True, metadata=folder_metadata())
            raise

    def list_page(self, folder: str, *, prefix: str = "", cursor: str = "") -> ListPage:
        key = self._keys.folder(folder)
        listing = self._bucket.list_folder(
            key, prefix=self._keys.rules.safe_prefix(prefix), context=cursor
        )
        return self._showcase.page(key, listing, prefix)

    def read_range(self, path: str, offset: int, into: memoryview, version: Version) -> None:
        key = self._keys.file(path)
        content.check_range(path, offset, len(into), version)
        if not len(into):
            return
        try:
            found = self._bucket.download(key, offset, into)
        except RangeNotSatisfiable as error:
            raise ObjectChanged("the file is shorter now", path=path) from error
        except UnfinishedUpload as error:
            raise NotFound("only an unfinished upload has this name", path=path) from error
        if found.total_size != version.size:
            raise ObjectChanged("the file has another size now", path=path)
        mark = found.etag or found.last_modified
        if not self._marks.fits(key, version, mark):
            # Some servers send another ETag than the digest: ask once which version that is.
            if self.stat_file(path).version != version:
                raise ObjectChanged("the file is another version now", path=path)
            self._marks.learn(key, version, mark)

    def write_file(
        self, path: str, source: Source, *, metadata: Metadata, create_only: bool = False
    ) -> Entry:
        key = self._keys.file(path)
        spelling = self._sized(path, key, properties.spell(path, metadata.properties))
        digest = self._uploader.put(key, source, spelling, create_only=create_only)
        now_ns = self._now_ns()
        held = Metadata(MappingProxyType(properties.read(spelling)))
        return Entry(Kind.FILE, source.size, now_ns, now_ns, digest=digest, metadata=held)

    def move_file(self, old: str, new: str, *, overwrite: bool) -> None:
        old_key, new_key = self._keys.file(old), self._keys.file(new)
        self._uploader.clearing(
            new_key, lambda: self._bucket.move_file(old_key, new_key, overwrite=overwrite)
        )

    def delete_file(self, path: str) -> None:
        self._bucket.delete_file(self._keys.file(path))

    def make_folder(self, path: str) -> Entry:
        key = self._keys.folder(path)
        if path == paths.ROOT:
            raise AlreadyExists("the root always exists", path=path)
        self._bucket.create_folder(key)
        now_ns = self._now_ns()
        return Entry(Kind.FOLDER, 0, now_ns, now_ns, metadata=folder_metadata())

    def delete_folder(self, path: str) -> None:
        self._bucket.delete_folder(self._keys.folder(path))

    def set_metadata(self, path: str, entry: Entry, metadata: Metadata) -> None:
        wanted = properties.spell(path, metadata.properties)
        known = None
        if entry.metadata is not None:
            known = properties.spell(path, entry.metadata.properties)
        if wanted == known:
            return
        properties.check_size(path, wanted, known)
        if entry.is_folder:
            self._set_folder(path, entry, wanted)
        else:
            self._set_file(path, known, wanted)

    def check_property(self, path: str, name: str, value: bytes) -> None:
        properties.check(path, name, value)

    def close(self) -> None:
        """Nothing to give back: the client belongs to whoever made it."""

    def _now_ns(self) -> int:
        """Return the time that the server is about to say: its seconds, by the clock of here."""
        return int(self._clock.wall()) * 10**9

    def _sized(self, path: str, key: str, wanted: Spelling) -> Spelling:
        """Return ``wanted`` if the server takes as much. Cost: none, 1 request to refuse."""
        try:
            properties.check_size(path, wanted)
        except AttributesTooLarge:
            try:
                held = spelling_of(self._bucket.stat_file(key))
            except NotFound:
                held = None
            properties.check_size(path, wanted, held)
        return wanted

    def _set_file(self, path: str, known: Spelling | None, wanted: Spelling) -> None:
        def differs(field: str) -> bool:
            return known is None or getattr(known, field) != getattr(wanted, field)

        # Headers are one block on the server: all are sent when one changes (reference 3.13).
        self._bucket.update_file(
            self._keys.file(path),
            biz_attr=wanted.biz_attr if differs("biz_attr") else None,
            authority=wanted.authority if differs("authority") else None,
            custom_headers=wanted.headers if differs("headers") else None,
        )

    def _set_folder(self, path: str, entry: Entry, wanted: Spelling) -> None:
        key = self._keys.folder(path)
        if not key:
            raise NotSupported(path, hint="the root of a bucket has no metadata")
        if wanted.headers or wanted.authority != INHERITED:
            raise NotSupported(path, hint="a folder has biz_attr alone")
        if entry.implied:
            try:
                self._bucket.create_folder(key, wanted.biz_attr)
                return
            except AlreadyExists:
                pass  # somebody made it real
        try:
            self._bucket.update_folder(key, wanted.biz_attr)
        except BucketNotFound:
            raise
        except NotFound:
            # It may be implied although its listing did not say so.
            page = self._bucket.list_folder(key, num=2)
            if page.listover and not page.entries:
                raise
            self._bucket.create_folder(key, wanted.biz_attr)
