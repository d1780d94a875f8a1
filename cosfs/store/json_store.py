"""Owns the store on the COS JSON API: file system words in, server words out; must not know HTTP.

How names and metadata are spelt on this protocol is said in ``names`` and ``spelling``, what
becomes of replies in ``json_entries``, how content gets there in ``json_upload``, what a folder is
in ``json_folders``. Lost answers are settled by the client (``jsonapi.bucket``), so a change that
raises was not made, unless the error is ``Unavailable`` or says what was done.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace

from cosfs import paths
from cosfs.clock import Clock, SystemClock
from cosfs.config import DataOptions
from cosfs.errors import (
    AttributesTooLarge,
    BucketNotFound,
    NotFound,
    ObjectChanged,
    RangeNotSatisfiable,
    UnfinishedUpload,
)
from cosfs.jsonapi.bucket import BucketClient
from cosfs.model import Base, Entry, Kind, ListPage, Metadata, Scope, Source, Version
from cosfs.store import content, properties, spelling
from cosfs.store.base import ignore
from cosfs.store.json_entries import Showcase, VersionMarks, file_entry, spelling_of
from cosfs.store.json_folders import Folders
from cosfs.store.json_upload import Uploader
from cosfs.store.names import PORTABLE, KeySpace, NameRules
from cosfs.store.properties import Spelling

_NOTHING = Metadata()


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
        self._folders = Folders(bucket, self._keys, self._clock)
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

    def check_folder(self, path: str) -> None:
        self._keys.mark(path)

    def stat_file(self, path: str) -> Entry:
        return file_entry(self._bucket.stat_file(self._keys.file(path)), path)

    def stat_folder(self, path: str) -> Entry:
        return self._folders.stat(path)

    def stat_mark(self, folder: str) -> Metadata:
        return self._folders.stat_mark(folder)

    def mark_folder(
        self, folder: str, holding: Metadata = _NOTHING, *, base: Base | None = None
    ) -> bool:
        return self._folders.mark(folder, holding)

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
        self,
        path: str,
        source: Source,
        *,
        metadata: Metadata,
        create_only: bool = False,
        nonce: str = "",
        staging: Callable[[str], None] = ignore,
        base: Base | None = None,
    ) -> Entry:
        key = self._keys.file(path)
        if create_only and not nonce:
            # After a lost answer it tells whose file is there.
            nonce = secrets.token_hex(16)
        wanted = self._sized(path, key, spelling.spell(path, metadata, nonce=nonce))
        digest = self._uploader.put(key, source, wanted, create_only=create_only, staging=staging)
        now_ns = self._now_ns()
        # Of attributes alone nothing changes.
        held = spelling.read(wanted) if metadata.properties else replace(metadata, facts=None)
        return Entry(Kind.FILE, source.size, now_ns, now_ns, digest=digest, metadata=held)

    def move_file(
        self, old: str, new: str, *, overwrite: bool, base: Base | None = None
    ) -> None:
        old_key, new_key = self._keys.file(old), self._keys.file(new)
        self._uploader.clearing(
            new_key, lambda: self._bucket.move_file(old_key, new_key, overwrite=overwrite)
        )

    def delete_file(self, path: str, *, base: Base | None = None) -> None:
        self._bucket.delete_file(self._keys.file(path))

    def make_folder(
        self, path: str, *, biz_attr: bytes = b"", base: Base | None = None
    ) -> Entry:
        return self._folders.make(path, biz_attr)

    def delete_folder(
        self, path: str, *, marked: bool, holding: Metadata = _NOTHING
    ) -> None:
        self._folders.delete(path, holding if marked else None)

    def set_metadata(self, path: str, entry: Entry, metadata: Metadata) -> None:
        if entry.is_folder:
            self._folders.set(path, entry, metadata)
        else:
            self._set_file(path, entry, metadata)

    def check_property(self, path: str, name: str, value: bytes) -> None:
        properties.check(path, name, value)

    def settle(self, path: str, scope: Scope = Scope.NAME) -> None:
        """Nothing is left: every change is made before its call returns."""

    def takes_at_once(self, size: int) -> bool:
        return False

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

    def _set_file(self, path: str, entry: Entry, metadata: Metadata) -> None:
        wanted = spelling.spell(path, metadata)
        known = None
        text = authority = headers = True
        if entry.metadata is not None:
            known = spelling.spell(path, entry.metadata)
            text = wanted.biz_attr != known.biz_attr
            authority = wanted.authority != known.authority
            headers = wanted.headers != known.headers
            # What is known as an envelope may stand in headers, if another tool wrote it: the
            # headers must not outlive the envelope, nor go without one in their place.
            is_envelope = spelling.has_envelope(wanted)
            headers = headers or (spelling.has_envelope(known) and not is_envelope)
            text = text or (headers and is_envelope)
        properties.check_size(path, wanted, known)
        if text or authority or headers:
            # Headers are one block on the server: all are sent when one changes (reference 3.13).
            self._bucket.update_file(
                self._keys.file(path),
                biz_attr=wanted.biz_attr if text else None,
                authority=wanted.authority if authority else None,
                custom_headers=wanted.headers if headers else None,
            )
