"""Owns the methods that fetch content; must not know HTTP or how ranges are fetched."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping

from cosfs.errors import StoreError
from cosfs.jsonapi.streams import ObjectStream
from cosfs.jsonapi.wire import READ_SIZE
from cosfs.sdk import replies
from cosfs.sdk.client_base import ClientBase, key_of, parallel_of, require
from cosfs.sdk.download_requests import DownloadFileRequest, DownloadObjectRequest
from cosfs.sdk.fetch import Fetch, Wanted
from cosfs.sdk.localfile import LocalFile
from cosfs.sdk.progress import Callback, CallbackFailed
from cosfs.sdk.replies import BadParameter, CosReplyError, ReplyDict


class ObjectBody(io.BufferedReader):
    """The content of a file as it comes: read it, iterate over it, close it.

    Bytes are those that are stored: nothing is decoded. A body that breaks off is asked for again
    from there. ``status`` and ``headers`` (lower-case names) are those of the server's reply,
    ``size`` is how many bytes there are to read, ``None`` if the server did not say.

    Raises:
        CosReplyError: (an ``OSError``) while reading: the rest cannot be had.
    """

    def __init__(self, stream: ObjectStream) -> None:
        super().__init__(_RawBody(stream), READ_SIZE)
        self.status: int = stream.status
        self.headers: Mapping[str, str] = stream.headers
        self.size: int | None = stream.size

    def stream(self, amt: int = READ_SIZE) -> Iterator[bytes]:
        """Yield the content in pieces of ``amt`` bytes, the last one shorter."""
        while piece := self.read(amt):
            yield piece


class _RawBody(io.RawIOBase):
    def __init__(self, stream: ObjectStream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            return self._stream.readinto(memoryview(buffer).cast("B"))
        except StoreError as error:
            raise _download_error(error) from error

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


class DownloadMethods(ClientBase):
    """Downloads. Content is streamed: memory does not grow with it."""

    def download_file(
        self, request: DownloadFileRequest, *, progress: Callback | None = None
    ) -> ReplyDict:
        """Fetch a file, or a range of it, into a local file.

        The local file is replaced when all is there, of the announced size and, for a whole file,
        of the digest that the server tells; until then, and after a failure, it is what it was.
        Stored bytes are not decoded, whatever ``Content-Encoding`` says.

        Args:
            progress: called with bytes done and bytes in all (0: unknown), by one thread at a
                time; what it raises ends the download and is raised.
        Returns:
            ``code`` 0, or 1 with the reason in ``message``, which begins with the HTTP status
            where that is it; -1 for a bad parameter. No ``data``.
        Cost: 1 request; with ``max_con`` above 1 and 8 MiB or more, 1 and one for each 4 MiB.
        Protocol: reference 3.15.
        """
        require(DownloadFileRequest, request)
        try:
            api = self._api_for(request)
            wanted = _wanted(request, parallel_of(request.get_max_con()))
            with LocalFile(request.get_local_filename()) as file:
                Fetch(api, wanted, file, progress).run()
                file.commit()
        except BadParameter as error:
            return replies.bad_parameter(str(error))
        except (StoreError, OSError) as error:
            return replies.download_failed(error)
        except CallbackFailed as error:
            raise error.cause
        return {"code": 0, "message": "download successfully"}

    def download_object(self, request: DownloadObjectRequest) -> ObjectBody:
        """Return the content of a file, or a range of it, as a stream to be read and closed.

        Raises:
            CosReplyError: (an ``OSError``) there is no content to be had; ``reply`` says why.
        Cost: 1 request. Protocol: reference 3.15.
        """
        require(DownloadObjectRequest, request)
        try:
            api = self._api_for(request)
        except BadParameter as error:
            raise CosReplyError(replies.bad_parameter(str(error))) from error
        wanted = _wanted(request, 1)
        try:
            stream = ObjectStream(
                api,
                wanted.bucket,
                wanted.key,
                first=wanted.first,
                last=wanted.last,
                headers=wanted.headers,
            )
        except StoreError as error:
            raise _download_error(error) from error
        return ObjectBody(stream)


def _wanted(request: DownloadFileRequest | DownloadObjectRequest, parallel: int) -> Wanted:
    return Wanted(
        bucket=request.get_bucket_name(),
        key=key_of(request),
        first=request.get_range_start() or 0,
        last=request.get_range_end(),
        headers=tuple(request.get_custom_headers().items()),
        is_partial=request.is_partial,
        parallel=parallel,
    )


def _download_error(error: StoreError) -> CosReplyError:
    reply = replies.download_failed(error)
    return CosReplyError(reply, replies.describe_download(error))
