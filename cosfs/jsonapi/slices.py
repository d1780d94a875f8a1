"""Owns uploading large content in slices: digests, parallel workers, resuming; must not know HTTP.

Protocol: reference 3.7 to 3.11.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from cosfs.digests import STEP, digests_of
from cosfs.errors import (
    AlreadyExists,
    NotFound,
    UnfinishedOther,
    UnfinishedUpload,
    UploadSessionLost,
)
from cosfs.jsonapi.bucket import BucketClient
from cosfs.jsonapi.protocol import SLICE_SIZE
from cosfs.jsonapi.replies import FileInfo, SliceList, SlicePart, SliceSession, UploadedFile
from cosfs.jsonapi.team import Team
from cosfs.model import Source

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Digests:
    """The SHA-1 of a content and, where the inner state can be had, of each slice (3.8)."""

    sha: str
    parts: tuple[SlicePart, ...] | None


def digests(source: Source) -> Digests:
    """Return what a slice upload announces of ``source``, for slices of 1 MiB, the only size.

    The element of the last slice is the ordinary digest of the whole, every other one the inner
    state after its end. Content without a byte has no slices.

    Raises:
        SourceFailed: it cannot be read.
    Cost: no request; the content is read once, unless the source knows its digests.
    """
    found = digests_of(source)
    if found.states is None:
        return Digests(found.sha, None)
    offsets = range(0, source.size, STEP)
    # What the state after the last slice is, nobody asks.
    states = (*found.states[: len(offsets) - 1], found.sha)
    return Digests(
        found.sha,
        tuple(
            SlicePart(offset, min(STEP, source.size - offset), state)
            for offset, state in zip(offsets, states)
        ),
    )


def is_unfinished(bucket: BucketClient, key: str) -> bool:
    """Tell whether what has the name is an unfinished upload and no readable file.

    An upload whose slices have all arrived looks complete to stat until it is finished; a file that
    an upload is to replace is listed with the slices of that upload. When such a file has the very
    content of an upload whose slices have all arrived, it is taken for that upload.

    Raises:
        NotFound: nothing has the name.
    Cost: 1 request, 2 for what looks complete.
    """
    info = bucket.stat_file(key)
    if not info.is_complete:
        return True
    listed = bucket.slice_list(key)
    return not isinstance(listed, UploadedFile) and _is_upload(info, listed)


def _is_upload(info: FileInfo, listed: SliceList) -> bool:
    """Tell whether stat told of the upload that was listed, and not of a file behind it."""
    if not info.is_complete:
        return True
    if sum(part.length for part in listed.parts) < listed.filesize:
        return False
    return (listed.filesize, listed.sha) == (info.filesize, info.sha)


class SliceUpload:
    """One upload in slices. ``run`` is called once; the source is not touched after it returned.

    Args:
        bucket, key, source: what goes where. Content without a byte goes by a single upload.
        insert_only: fail when there is a file, instead of replacing it.
        digests: of ``source``; lets known content be skipped, a broken upload be resumed and the
            server verify. ``None`` (or without parts) uploads without.
        slice_size: what to ask for without digests; the server's answer is what is used.
        parallel: workers at most, the calling thread being one of them; one when the server asks
            for slices in order.
        executor: lends the other workers; own threads when ``None``. It may be busy: what it cannot
            do the calling thread does.
        may_delete: when an unfinished upload of other content has the name, delete it and start
            again, instead of raising. One that was to replace a file stays, and ``UnfinishedOther``
            is raised all the same: deleting it would delete that file too, long before its new
            content is there.
        on_progress: called with bytes done and total, by one thread at a time.
    """

    def __init__(
        self,
        bucket: BucketClient,
        key: str,
        source: Source,
        *,
        insert_only: bool,
        biz_attr: str = "",
        digests: Digests | None = None,
        slice_size: int = SLICE_SIZE,
        parallel: int = 8,
        executor: Executor | None = None,
        may_delete: bool = False,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._source = source
        self._size = source.size
        self._insert_only = insert_only
        self._biz_attr = biz_attr
        # A digest without parts is refused by the server (-5965).
        self._digests = digests if digests is not None and digests.parts is not None else None
        self._slice_size = SLICE_SIZE if self._digests is not None else slice_size
        self._parallel = parallel
        self._executor = executor
        self._may_delete = may_delete
        self._on_progress = on_progress
        self._has_other_text = False

    def run(self) -> UploadedFile:
        """Upload; when it returns the file is complete on the server.

        A resumed upload has the text that it was begun with; it gets ours once it is finished.
        A failed slice (after its own retries) fails the upload; what was sent stays on the server
        for a later run with the same digests to resume. Nothing is deleted unless ``may_delete``.

        Raises:
            AlreadyExists: ``insert_only`` and there is a file.
            UnfinishedOther: see ``may_delete``.
            UploadSessionLost: the server forgot the session twice.
            IntegrityError: what arrived is not what was announced.
            SourceFailed: the source cannot be read.
        Cost: slices + 2 requests; 1 when the server knew the content; + 2 to resume, + 1 for
        another text.
        """
        if not self._size:
            sha = hashlib.sha1().hexdigest()
            return self._bucket.upload(
                self._key,
                self._source,
                sha=sha,
                biz_attr=self._biz_attr,
                insert_only=self._insert_only,
            )
        may_delete, may_restart = self._may_delete, True
        while True:
            try:
                done = self._attempt()
                if self._has_other_text:
                    self._bucket.update_file(self._key, biz_attr=self._biz_attr)
                return done
            except UnfinishedOther as error:
                if not may_delete:
                    raise
                may_delete, refusal = False, error
            except UploadSessionLost:
                if not may_restart:
                    raise
                may_restart = False
                _log.info("the upload session of %r is lost: starting again", self._key)
                continue
            self._clear(refusal)

    def _attempt(self) -> UploadedFile:
        sha = self._digests.sha if self._digests else None
        self._has_other_text = False
        held: tuple[SlicePart, ...] = ()
        try:
            begun = self._bucket.slice_init(
                self._key,
                filesize=self._size,
                slice_size=self._slice_size,
                sha=sha,
                uploadparts=self._digests.parts if self._digests else None,
                biz_attr=self._biz_attr,
                insert_only=self._insert_only,
            )
        except UnfinishedOther:
            raise
        except UnfinishedUpload as error:
            begun, held = self._resume(error)
        if isinstance(begun, UploadedFile):
            if self._on_progress is not None:
                self._on_progress(self._size, self._size)
            return begun
        sending = _Sending(
            self._bucket, self._key, self._source, sha, begun, held, self._on_progress
        )
        complete = sending.run(1 if begun.serial else self._parallel, self._executor)
        return complete or self._bucket.slice_finish(self._key, begun.session, self._size, sha)

    def _resume(
        self, refusal: UnfinishedUpload
    ) -> tuple[SliceSession | UploadedFile, tuple[SlicePart, ...]]:
        try:
            listed = self._bucket.slice_list(self._key)
            if not isinstance(listed, UploadedFile) and not self._is_ours(listed):
                raise UnfinishedOther(refusal.what, path=self._key, reply=refusal.reply)
            info = self._bucket.stat_file(self._key)
        except NotFound:
            # It ended between the questions: a new session is what there is to have.
            raise UploadSessionLost("the unfinished upload is gone", path=self._key) from None
        if isinstance(listed, UploadedFile):
            if not self._is_ours(info):
                raise refusal
            self._has_other_text = info.biz_attr != self._biz_attr
            if self._has_other_text and self._insert_only:
                raise AlreadyExists(refusal.what, path=self._key, reply=refusal.reply)
            return listed, ()
        is_file = not _is_upload(info, listed)
        if is_file and self._insert_only:
            # The session may be one that replaces files.
            raise AlreadyExists(refusal.what, path=self._key, reply=refusal.reply)
        # The text of an upload cannot be seen behind a file that it is to replace.
        self._has_other_text = is_file or info.biz_attr != self._biz_attr
        _log.info("resuming the upload of %r: %d slices are there", self._key, len(listed.parts))
        return SliceSession(listed.session, listed.slice_size, listed.serial), listed.parts

    def _is_ours(self, other: SliceList | FileInfo) -> bool:
        known = self._digests
        return known is not None and (other.sha, other.filesize) == (known.sha, self._size)

    def _clear(self, refusal: UnfinishedOther) -> None:
        """Delete the unfinished upload that has the name; never a file."""
        try:
            if not is_unfinished(self._bucket, self._key):
                raise refusal
            _log.info("deleting an unfinished upload of other content: %r", self._key)
            self._bucket.delete_file(self._key)
        except NotFound:
            _log.info("the unfinished upload of %r is gone already", self._key)


class _Sending:
    """The slices of one session, shared by its workers; the lock guards all that changes."""

    def __init__(
        self,
        bucket: BucketClient,
        key: str,
        source: Source,
        sha: str | None,
        session: SliceSession,
        held: tuple[SlicePart, ...],
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._source = source
        self._sha = sha
        self._session = session.session
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._team = Team(self._work)
        self._complete: UploadedFile | None = None
        size = source.size
        slices = [
            (offset, min(session.slice_size, size - offset))
            for offset in range(0, size, session.slice_size)
        ]
        there = {(part.offset, part.length) for part in held}
        self._todo = deque(part for part in slices if part not in there)
        self._done = size - sum(length for _, length in self._todo)

    def run(self, workers: int, executor: Executor | None) -> UploadedFile | None:
        """Send all slices with at most ``workers`` hands, raise the first failure.

        ``UploadedFile`` when the server said with a slice that the file is complete.
        """
        self._report(0)
        helpers = min(workers, len(self._todo)) - 1
        if executor is None:
            self._team.run(helpers, "cosfs-slice")
        else:
            self._team.run_with(executor, helpers)
        return self._complete

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._team.has_failed or not self._todo:
                    return
                offset, length = self._todo.popleft()
            complete = self._bucket.slice_data(
                self._key, self._session, offset, self._source, length, self._sha
            )
            if complete is not None:
                self._complete = complete
            self._report(length)

    def _report(self, length: int) -> None:
        with self._lock:
            self._done += length
            if self._on_progress is not None:
                self._on_progress(self._done, self._source.size)
