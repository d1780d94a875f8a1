"""Owns getting content and its metadata onto the server; must not know paths and entries.

Content up to 20 MiB goes in one request. Larger content goes in slices to a name of its own below
``.cosfs-work/staging/`` and is then moved over the name that is meant, as an unfinished slice
upload would occupy it. The free text (``biz_attr``) travels with the content, headers and authority
need one update: of the staged object before the move, of a small one after its upload.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

from cosfs.digests import digests_of
from cosfs.errors import CosfsError, NotFound, StoreError, UnfinishedUpload
from cosfs.jsonapi import slices
from cosfs.jsonapi.bucket import BucketClient
from cosfs.jsonapi.protocol import UPLOAD_LIMIT
from cosfs.model import Source
from cosfs.store.names import WORK_FOLDER
from cosfs.store.properties import INHERITED, Spelling

_log = logging.getLogger(__name__)

STAGING = f"{WORK_FOLDER}/staging/"


class Uploader:
    """Stores files of one bucket below the key ``root``. Thread-safe."""

    def __init__(self, bucket: BucketClient, root: str, *, parallel: int) -> None:
        self._bucket = bucket
        self._root = root
        self._parallel = parallel

    def put(
        self,
        key: str,
        source: Source,
        spelling: Spelling,
        *,
        create_only: bool,
        staging: Callable[[str], None],
    ) -> str:
        """Store ``source`` under ``key`` and return its digest; see ``Store.write_file``."""
        if source.size > UPLOAD_LIMIT:
            staged = f"{STAGING}{secrets.token_hex(16)}"
            staging(f"/{staged}")
            return self._put_large(key, self._root + staged, source, spelling, create_only)
        sha = digests_of(source).sha

        def upload() -> None:
            self._bucket.upload(
                key, source, sha=sha, biz_attr=spelling.biz_attr, insert_only=create_only
            )

        self.clearing(key, upload)
        try:
            self._put_headers(key, spelling)
        except StoreError as error:
            # Of the same class, as what failed decides what can be done about it.
            raise type(error)(
                f"the content is stored, its headers and authority are not: {error.what}",
                path=key,
                reply=error.reply,
            ) from error
        return sha

    def clearing(self, key: str, store: Callable[[], None]) -> None:
        """Run ``store``; if an unfinished upload has the name ``key``, remove that and run again.

        Nobody can read an unfinished upload, and it hinders all writers until it is deleted
        (reference 6). One that is to replace a readable file stays: deleting it would delete both.
        """
        try:
            store()
            return
        except UnfinishedUpload:
            if not self._remove_unfinished(key):
                raise
        store()

    def _remove_unfinished(self, key: str) -> bool:
        try:
            if not slices.is_unfinished(self._bucket, key):
                return False
            _log.warning("%r was occupied by an unfinished upload, which is removed", key)
            self._bucket.delete_file(key)
        except NotFound:
            pass  # finished or removed by its owner meanwhile
        return True

    def _put_large(
        self, key: str, staged: str, source: Source, spelling: Spelling, create_only: bool
    ) -> str:
        digests = slices.digests(source)
        try:
            slices.SliceUpload(
                self._bucket,
                staged,
                source,
                insert_only=True,
                biz_attr=spelling.biz_attr,
                digests=digests,
                parallel=self._parallel,
            ).run()
            self._put_headers(staged, spelling)
            self.clearing(
                key, lambda: self._bucket.move_file(staged, key, overwrite=not create_only)
            )
        except BaseException:
            self._discard(staged)
            raise
        return digests.sha

    def _put_headers(self, key: str, spelling: Spelling) -> None:
        if spelling.headers or spelling.authority != INHERITED:
            # Both always: what an overwritten object had must go where the server keeps it.
            self._bucket.update_file(
                key, custom_headers=spelling.headers, authority=spelling.authority
            )

    def _discard(self, staged: str) -> None:
        try:
            self._bucket.delete_file(staged)
        except NotFound:
            pass
        except CosfsError as error:
            _log.warning("%r is left over on the server: %s", staged, error)
