"""Owns downloading a range into a caller's buffer, resumed where it broke; must not know caches."""

from __future__ import annotations

from collections.abc import Callable

from cosfs import interrupts
from cosfs.errors import (
    MalformedReply,
    ObjectChanged,
    RangeNotSatisfiable,
    ReplyInfo,
    TruncatedBody,
)
from cosfs.jsonapi import codes, parsing, protocol
from cosfs.jsonapi.api import Api, Refused
from cosfs.jsonapi.protocol import ApiRequest
from cosfs.jsonapi.replies import Downloaded
from cosfs.jsonapi.retry import Effort
from cosfs.jsonapi.wire import READ_SIZE, HttpStream, read_body

#: Longest body of a refusal that is read.
_ERROR_LIMIT = 64 * 1024
#: Bytes after which a broken body counts as a fresh start and not as one more failure.
_ADVANCE = 64 * 1024


class RangeDownload:
    """One range of one object. Used by one thread, once."""

    def __init__(self, api: Api, bucket: str, key: str, offset: int, into: memoryview) -> None:
        self._api = api
        self._bucket = bucket
        self._key = key
        self._offset = offset
        self._into = into.cast("B")
        self._done = 0
        self._since_advance = 0
        self._first: Downloaded | None = None

    def run(self) -> Downloaded:
        """Fill the buffer; see ``BucketClient.download``."""
        return self._api.repeat(self._request(), self._attempt)

    def _request(self) -> ApiRequest:
        return protocol.download(
            self._bucket,
            self._key,
            offset=self._offset + self._done,
            length=len(self._into) - self._done,
        )

    def _attempt(self, effort: Effort) -> Downloaded:
        stream = self._api.open(self._request(), effort)
        try:
            raise_refusal(stream, self._key)
            downloaded, begin = parsing.parse_downloaded(stream.status, stream.headers)
            self._check(downloaded, begin, stream.status)
            skip(stream, self._offset + self._done - begin, self._key, effort.progress)
            self._fill(stream, effort)
            return self._first or downloaded
        finally:
            stream.close()

    def _check(self, downloaded: Downloaded, begin: int, status: int) -> None:
        if status == 200 and not downloaded.etag:
            # No object comes without one (3.15): it is a page of something on the way.
            raise MalformedReply("no object but some page", path=self._key, reply=ReplyInfo(status))
        first = self._first = self._first or downloaded
        now = (downloaded.total_size, downloaded.etag, downloaded.last_modified)
        if now != (first.total_size, first.etag, first.last_modified):
            raise ObjectChanged("the object changed while it was read", path=self._key)
        if downloaded.total_size < self._offset + len(self._into):
            raise RangeNotSatisfiable(
                f"the object ends at {downloaded.total_size}, before the end of the asked range",
                path=self._key,
            )
        wanted = self._offset + self._done
        if begin > wanted or (status == 206 and begin != wanted):
            raise MalformedReply(
                "the server sent another range", path=self._key, reply=ReplyInfo(status)
            )

    def _fill(self, stream: HttpStream, effort: Effort) -> None:
        total = len(self._into)
        while self._done < total:
            interrupts.check(self._key)
            end = min(self._done + READ_SIZE, total)
            got = stream.readinto(self._into[self._done : end])
            if not got:
                raise TruncatedBody("the body broke off", path=self._key)
            self._done += got
            self._since_advance += got
            if self._since_advance >= _ADVANCE:
                self._since_advance = 0
                effort.restart()
            else:
                effort.progress()


def skip(
    stream: HttpStream, count: int, key: str, on_read: Callable[[], None] | None = None
) -> None:
    """Read over what a server sends that ignores ``Range``. Raises ``TruncatedBody``."""
    scratch = memoryview(bytearray(min(count, READ_SIZE)))
    while count:
        got = stream.readinto(scratch[: min(count, len(scratch))])
        if not got:
            raise TruncatedBody("download: the body broke off", path=key)
        count -= got
        if on_read is not None:
            on_read()


def read_headers(api: Api, bucket: str, key: str) -> Downloaded:
    """Ask for the headers alone; see ``BucketClient.head``."""
    request = protocol.head(bucket, key)

    def attempt(effort: Effort) -> Downloaded:
        stream = api.open(request, effort)
        try:
            raise_refusal(stream, key)
            return parsing.parse_downloaded(200, stream.headers)[0]
        finally:
            stream.close()

    return api.repeat(request, attempt)


def raise_refusal(stream: HttpStream, key: str) -> None:
    """Raise what a reply of the download host means when it carries no content."""
    if stream.status in (200, 206):
        return
    body = read_body(stream, _ERROR_LIMIT)
    info = parsing.parse_download_error(stream.status, stream.headers, body)
    raise Refused(codes.download_error_for(info, key, "download"), stream.headers)
