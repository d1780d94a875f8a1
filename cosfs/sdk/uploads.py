"""Owns the methods that bring content; must not know HTTP or how slices are sent."""

from __future__ import annotations

from typing import TypeVar

from cosfs.jsonapi import protocol
from cosfs.jsonapi.api import Doubt
from cosfs.jsonapi.auth import quote_path
from cosfs.jsonapi.client import JsonApi
from cosfs.jsonapi.protocol import SLICE_SIZE, UPLOAD_LIMIT
from cosfs.jsonapi.replies import UploadedFile
from cosfs.jsonapi.settle import Look
from cosfs.jsonapi.slices import SliceUpload, digests
from cosfs.model import Source
from cosfs.sdk import replies
from cosfs.sdk.client_base import ClientBase, key_of, parallel_of
from cosfs.sdk.progress import Callback, Progress, WatchedSource
from cosfs.sdk.replies import BadParameter, ReplyDict
from cosfs.sdk.settings import API_PATH
from cosfs.sdk.sources import open_data, open_file
from cosfs.sdk.upload_requests import (
    UploadFileFromBufferRequest,
    UploadFileRequest,
    UploadSliceFileFromBufferRequest,
    UploadSliceFileRequest,
)

#: Content of this size and above goes in slices (reference 5.5).
SLICED_FROM = 8 * 1024 * 1024

FileOrBuffer = TypeVar("FileOrBuffer", UploadFileRequest, UploadFileFromBufferRequest)


class UploadMethods(ClientBase):
    """Uploads. Content is streamed: memory does not grow with it.

    ``progress`` is called with bytes done and bytes in all, by one thread at a time; fewer bytes
    than before mean that something is sent again. What it raises ends the upload and is raised.

    ``data`` of all of them: ``access_url``, ``resource_path``, ``source_url``, ``url``. Common
    codes: -177 there is a file (``insert_only``), -4018 with the same content; -1 also when the
    content cannot be read.
    """

    def upload_file(
        self, request: UploadFileRequest, *, progress: Callback | None = None
    ) -> ReplyDict:
        """Store a local file: below 8 MiB at once, otherwise in slices of 1 MiB.

        Cost: 1 request, or those of ``upload_slice_file``. Protocol: reference 3.6, 5.5.
        """

        def ask(api: JsonApi, request: UploadFileRequest) -> ReplyDict:
            with open_file(request.get_local_path()) as source:
                return self._by_size(api, request, source, progress)

        return self._answer(UploadFileRequest, request, ask)

    def upload_single_file(
        self, request: UploadFileRequest, *, progress: Callback | None = None
    ) -> ReplyDict:
        """Store a local file of at most 20 MiB at once; -1 when it is larger.

        Cost: 1 request. Protocol: reference 3.6.
        """

        def ask(api: JsonApi, request: UploadFileRequest) -> ReplyDict:
            with open_file(request.get_local_path()) as source:
                return self._at_once(api, request, source, progress)

        return self._answer(UploadFileRequest, request, ask)

    def upload_slice_file(
        self, request: UploadSliceFileRequest, *, progress: Callback | None = None
    ) -> ReplyDict:
        """Store a local file in slices.

        With ``enable_sha1`` content that the server knows is not sent, an upload that was broken
        off is resumed. Without it an upload begins at its beginning. An unfinished upload of other
        content that has the name is deleted first; one that was to replace a file is not, as that
        file would go with it: the answer is -4020. A file without a byte goes at once.

        Cost: slices + 2 requests; 1 for known content; + 2 to resume, + 1 if it was begun with
        another ``biz_attr``; + 2 to 4 to clear the name.
        Protocol: reference 3.7 to 3.11.
        """

        def ask(api: JsonApi, request: UploadSliceFileRequest) -> ReplyDict:
            with open_file(request.get_local_path()) as source:
                return self._asked_slices(api, request, source, progress)

        return self._answer(UploadSliceFileRequest, request, ask)

    def upload_file_from_buffer(
        self, request: UploadFileFromBufferRequest, *, progress: Callback | None = None
    ) -> ReplyDict:
        """Store bytes or a file object; see ``upload_file``."""

        def ask(api: JsonApi, request: UploadFileFromBufferRequest) -> ReplyDict:
            with open_data(request.get_data()) as source:
                return self._by_size(api, request, source, progress)

        return self._answer(UploadFileFromBufferRequest, request, ask)

    def upload_single_file_from_buffer(
        self, request: UploadFileFromBufferRequest, *, progress: Callback | None = None
    ) -> ReplyDict:
        """Store bytes or a file object at once; see ``upload_single_file``."""

        def ask(api: JsonApi, request: UploadFileFromBufferRequest) -> ReplyDict:
            with open_data(request.get_data()) as source:
                return self._at_once(api, request, source, progress)

        return self._answer(UploadFileFromBufferRequest, request, ask)

    def upload_slice_file_from_buffer(
        self, request: UploadSliceFileFromBufferRequest, *, progress: Callback | None = None
    ) -> ReplyDict:
        """Store bytes or a file object in slices; see ``upload_slice_file``."""

        def ask(api: JsonApi, request: UploadSliceFileFromBufferRequest) -> ReplyDict:
            with open_data(request.get_data()) as source:
                return self._asked_slices(api, request, source, progress)

        return self._answer(UploadSliceFileFromBufferRequest, request, ask)

    def _by_size(
        self, api: JsonApi, request: FileOrBuffer, source: Source, progress: Callback | None
    ) -> ReplyDict:
        if source.size < SLICED_FROM:
            return self._at_once(api, request, source, progress)
        with_sha1 = bool(request.get_verify_sha1())
        return self._in_slices(api, request, source, SLICE_SIZE, with_sha1, progress)

    def _asked_slices(
        self,
        api: JsonApi,
        request: UploadSliceFileRequest | UploadSliceFileFromBufferRequest,
        source: Source,
        progress: Callback | None,
    ) -> ReplyDict:
        with_sha1 = bool(request.enable_sha1)
        return self._in_slices(
            api, request, source, request.get_slice_size(), with_sha1, progress
        )

    def _at_once(
        self,
        api: JsonApi,
        request: UploadFileRequest | UploadFileFromBufferRequest,
        source: Source,
        progress: Callback | None,
    ) -> ReplyDict:
        if source.size > UPLOAD_LIMIT:
            raise BadParameter("file is too big, please use upload_file interface")
        bucket, key = request.get_bucket_name(), key_of(request)
        biz_attr, insert_only = request.get_biz_attr(), bool(request.get_insert_only())
        sha = digests(source).sha
        watch = Progress(progress, source.size)

        def look(doubt: Doubt) -> ReplyDict | None:
            file = Look(api, bucket).uploaded(
                key, sha, source.size, biz_attr, insert_only, doubt
            )
            return None if file is None else _uploaded(file, request, api)

        question = protocol.upload(
            bucket,
            key,
            WatchedSource(source, watch),
            sha=sha,
            biz_attr=biz_attr,
            insert_only=insert_only,
        )
        answer = api.run(question, replies.as_received, look)
        watch.set(source.size)
        return answer

    def _in_slices(
        self,
        api: JsonApi,
        request: UploadFileRequest | UploadFileFromBufferRequest,
        source: Source,
        slice_size: int,
        with_sha1: bool,
        progress: Callback | None,
    ) -> ReplyDict:
        file = SliceUpload(
            api.bucket(request.get_bucket_name()),
            key_of(request),
            source,
            insert_only=bool(request.get_insert_only()),
            biz_attr=request.get_biz_attr(),
            digests=digests(source) if with_sha1 and source.size else None,
            slice_size=slice_size,
            parallel=parallel_of(request.get_max_con()),
            may_delete=True,
            on_progress=Progress(progress, source.size).tell,
        ).run()
        return _uploaded(file, request, api)


def _uploaded(
    file: UploadedFile,
    request: UploadFileRequest | UploadFileFromBufferRequest,
    api: JsonApi,
) -> ReplyDict:
    # Not the client's account: it may be another one by now.
    account = api.account
    place = f"/{account.credentials.appid}/{request.get_bucket_name()}"
    path = request.get_cos_path()
    url = f"{account.endpoints.api}{API_PATH}{place}{quote_path(path)}"
    return replies.uploaded(file, url, place + path)
