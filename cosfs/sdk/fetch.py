"""Owns bringing an object into a local file, by one stream or parallel ranges, and checking it.

Must not know requests or dicts.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections import deque
from dataclasses import dataclass

from cosfs.errors import IntegrityError, ObjectChanged, TruncatedBody
from cosfs.jsonapi.client import JsonApi
from cosfs.jsonapi.replies import Downloaded
from cosfs.jsonapi.streams import ObjectStream
from cosfs.jsonapi.team import Team
from cosfs.jsonapi.wire import READ_SIZE
from cosfs.sdk.localfile import LocalFile
from cosfs.sdk.progress import Callback, Progress

_log = logging.getLogger(__name__)

#: Bytes of one range of a parallel download: what each worker holds in memory.
PART_SIZE = 4 * 1024 * 1024
#: Smaller files come in one stream, whatever is asked.
_PARALLEL_FROM = 2 * PART_SIZE

_SHA = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to fetch: bytes ``first`` to ``last`` inclusive, or what a ``Range`` header says."""

    bucket: str
    key: str
    first: int
    last: int | None
    headers: tuple[tuple[str, str], ...]
    is_partial: bool
    parallel: int


class Fetch:
    """One download into ``file``. ``run`` is called once.

    The size is that which the server announces. The digest of a whole file is held against the one
    that the server tells. When they differ the file is fetched again; the same bytes once more are
    taken for what the server has if it cannot have checked its digest (an upload in slices), with
    a warning.
    """

    def __init__(
        self, api: JsonApi, wanted: Wanted, file: LocalFile, callback: Callback | None
    ) -> None:
        self._api = api
        self._wanted = wanted
        self._file = file
        self._callback = callback

    def run(self) -> None:
        """Fetch.

        Raises:
            StoreError: it cannot be had.
            IntegrityError: it is not what the server says it is.
            OSError: the local file cannot be written.
        Cost: 1 request; in parallel 1 and one for each 4 MiB. Twice that when the digest differs.
        """
        found, expected = self._fetch()
        if expected in ("", found):
            return
        if not self._file.is_replaced:
            raise self._differs()
        _log.info("%r does not have its digest: it is fetched again", self._wanted.key)
        self._file.clear()
        again, expected = self._fetch()
        if expected in ("", again):
            return
        info = self._api.bucket(self._wanted.bucket).stat_file(self._wanted.key)
        if again != found or info.slicesize == 0:
            raise self._differs()
        _log.warning(
            "%r on the server does not have the digest that is told of it: %s, not %s",
            self._wanted.key,
            again,
            expected,
        )

    def _differs(self) -> IntegrityError:
        key = self._wanted.key
        return IntegrityError("download: the content does not have its digest", path=key)

    def _fetch(self) -> tuple[str, str]:
        """Return the digest of what came, and the one it should have or ""."""
        wanted = self._wanted
        # Parts are asked for without headers, which may decide what is sent.
        is_plain = not wanted.is_partial and not wanted.headers
        if wanted.parallel > 1 and is_plain and self._file.is_replaced:
            info = self._api.bucket(wanted.bucket).stat_file(wanted.key)
            if info.is_complete and info.filesize >= _PARALLEL_FROM:
                progress = Progress(self._callback, info.filesize)
                return _Parts(self._api, wanted, self._file, progress, info.filesize).run()
        return self._stream()

    def _stream(self) -> tuple[str, str]:
        wanted = self._wanted
        stream = ObjectStream(
            self._api,
            wanted.bucket,
            wanted.key,
            first=wanted.first,
            last=wanted.last,
            headers=wanted.headers,
        )
        try:
            progress = Progress(self._callback, stream.size or 0)
            digest = hashlib.sha1()
            view = memoryview(bytearray(READ_SIZE))
            total = 0
            while count := stream.readinto(view):
                digest.update(view[:count])
                self._file.write(view[:count])
                total += count
                progress.add(count)
        finally:
            stream.close()
        if stream.size not in (None, total):
            raise TruncatedBody("download: the body broke off", path=wanted.key)
        return digest.hexdigest(), "" if wanted.is_partial else _sha_of(stream.body.etag)


def _sha_of(etag: str) -> str:
    """Return the digest that an ETag is, or ""."""
    sha = etag.lower()
    return sha if _SHA.fullmatch(sha) else ""


class _Parts:
    """The ranges of one file, shared by workers; the lock guards all that changes."""

    def __init__(
        self, api: JsonApi, wanted: Wanted, file: LocalFile, progress: Progress, size: int
    ) -> None:
        self._bucket = api.bucket(wanted.bucket)
        self._key = wanted.key
        self._workers = wanted.parallel
        self._file = file
        self._progress = progress
        self._size = size
        self._lock = threading.Lock()
        self._todo = deque(range(0, size, PART_SIZE))
        self._first: Downloaded | None = None
        self._team = Team(self._work)

    def run(self) -> tuple[str, str]:
        self._team.run(min(self._workers, len(self._todo)) - 1, "cosfs-range")
        return self._digest(), _sha_of(self._first.etag if self._first else "")

    def _work(self) -> None:
        buffer = memoryview(bytearray(PART_SIZE))
        while (offset := self._next()) is not None:
            view = buffer[: min(PART_SIZE, self._size - offset)]
            self._check(self._bucket.download(self._key, offset, view))
            self._file.write_at(view, offset)
            self._progress.add(len(view))

    def _next(self) -> int | None:
        with self._lock:
            return self._todo.popleft() if self._todo and not self._team.has_failed else None

    def _check(self, part: Downloaded) -> None:
        with self._lock:
            first = self._first = self._first or part
        versions = {(each.total_size, each.etag, each.last_modified) for each in (first, part)}
        if len(versions) > 1 or part.total_size != self._size:
            raise ObjectChanged("the object changed while it was read", path=self._key)

    def _digest(self) -> str:
        digest = hashlib.sha1()
        view = memoryview(bytearray(READ_SIZE))
        done = 0
        while count := self._file.read_into(view, done):
            digest.update(view[:count])
            done += count
        if done != self._size:
            raise TruncatedBody("download: the local file is not whole", path=self._key)
        return digest.hexdigest()
