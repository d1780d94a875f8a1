"""Owns reading a download front to back, reopened where it broke; must not know where it goes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from cosfs.errors import (
    MalformedReply,
    ObjectChanged,
    RangeNotSatisfiable,
    ReplyInfo,
    StoreError,
    TruncatedBody,
)
from cosfs.jsonapi import parsing, protocol
from cosfs.jsonapi.api import Api
from cosfs.jsonapi.ranges import raise_refusal, skip
from cosfs.jsonapi.replies import ObjectBody
from cosfs.jsonapi.retry import Effort, is_passing
from cosfs.jsonapi.wire import HttpStream

_log = logging.getLogger(__name__)

#: Breaks in a row, without an advance between them, after which the body is given up.
_BREAKS_MAX = 3
#: Bytes that are an advance.
_ADVANCE = 64 * 1024


class ObjectStream:
    """The bytes of a file from ``first`` to ``last`` inclusive (its end if ``None``).

    ``headers`` are sent along; a ``Range`` among them decides instead of ``first`` and ``last``,
    and then the body is whatever the server makes of it. A server that ignores our own range is
    read past. Nothing is decoded: the bytes are those that are stored.

    ``status`` and ``headers`` are those of the first reply. ``size`` is how many bytes there are to
    read, ``None`` when only the end will tell. ``body.total`` is the length of the whole object.

    A body that breaks off is asked for again from there, as long as it is the same version.
    Used by one thread, closed by whoever made it.

    Raises:
        NotFound, RangeNotSatisfiable, AccessDenied: what the server says instead of a body.
    Cost: 1 request, 1 more for each break. Protocol: reference 3.15.
    """

    def __init__(
        self,
        api: Api,
        bucket: str,
        key: str,
        *,
        first: int = 0,
        last: int | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._api = api
        self._bucket = bucket
        self._key = key
        self._first = first
        self._last = last
        self._headers = tuple(headers)
        self._has_own_range = any(name.lower() == "range" for name, _ in headers)
        self._done = 0
        self._breaks = 0
        self._since_break = 0
        self._stream, self.body = self._open(first, last)
        self.status = self._stream.status
        self.headers: Mapping[str, str] = self._stream.headers
        try:
            self.size = self._size()
            self._align(self._stream, self.body, self._begin())
        except StoreError:
            self.close()
            raise

    def readinto(self, view: memoryview) -> int:
        """Read the next bytes into ``view``; return how many, 0 at the end.

        Raises:
            Unavailable, TruncatedBody: it broke and could not be had again.
            ObjectChanged: meanwhile there is another version.
        """
        if self.size is not None:
            view = view[: self.size - self._done]
        if not len(view):
            self.close()
            return 0
        while True:
            try:
                count = self._stream.readinto(view)
                if not count and self.size is not None:
                    raise TruncatedBody("download: the body broke off", path=self._key)
            except StoreError as error:
                self._reopen(error)
                continue
            self._done += count
            self._since_break += count
            return count

    def close(self) -> None:
        """Give the connection back; may be called twice."""
        self._stream.close()

    def _open(
        self, first: int, last: int | None, *, resumes: bool = False
    ) -> tuple[HttpStream, ObjectBody]:
        headers = self._headers
        if resumes:
            headers = tuple(item for item in headers if item[0].lower() != "range")
        request = protocol.download_from(
            self._bucket, self._key, first=first, last=last, headers=headers
        )

        def attempt(effort: Effort) -> tuple[HttpStream, ObjectBody]:
            stream = self._api.open(request, effort)
            try:
                raise_refusal(stream, self._key)
                return stream, parsing.parse_object_body(stream.status, stream.headers)
            except BaseException:
                stream.close()
                raise

        return self._api.repeat(request, attempt)

    def _begin(self) -> int:
        """Return the offset in the object of the first byte to read."""
        return self.body.begin or 0 if self._has_own_range else self._first

    def _size(self) -> int | None:
        body = self.body
        if self._has_own_range or (self._first, self._last) == (0, None):
            return body.size
        if body.begin is None or body.size is None or body.total is None:
            raise self._wrong_range()
        if self._first and self._first >= body.total:
            raise RangeNotSatisfiable(
                f"the object ends at {body.total}, before the asked range", path=self._key
            )
        end = body.begin + body.size
        if self._last is not None:
            end = min(end, self._last + 1)
        return max(0, end - self._first)

    def _reopen(self, failure: StoreError) -> None:
        self._stream.close()
        if self._since_break >= _ADVANCE:
            self._breaks = 0
        self._breaks += 1
        self._since_break = 0
        if (
            self._breaks > _BREAKS_MAX
            or not is_passing(failure)
            or self.size is None
            or self.body.begin is None
        ):
            raise failure
        start = self._begin() + self._done
        _log.info("download of %r broke at byte %d, which is asked for again", self._key, start)
        stream, body = self._open(start, self._begin() + self.size - 1, resumes=True)
        try:
            if body.version != self.body.version:
                raise ObjectChanged("the object changed while it was read", path=self._key)
            self._align(stream, body, start)
        except BaseException:
            stream.close()
            raise
        self._stream = stream

    def _align(self, stream: HttpStream, body: ObjectBody, start: int) -> None:
        """Come to ``start`` in what the server sends."""
        if body.begin is None:
            return
        if body.begin > start or (stream.status == 206 and body.begin != start):
            raise self._wrong_range()
        skip(stream, start - body.begin, self._key)

    def _wrong_range(self) -> MalformedReply:
        return MalformedReply(
            "download: the server sent another range", path=self._key, reply=ReplyInfo(206)
        )
