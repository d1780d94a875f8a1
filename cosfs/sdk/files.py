"""Owns the methods about files that move no content through here; must not know HTTP."""

from __future__ import annotations

from cosfs.jsonapi import protocol
from cosfs.jsonapi.api import Doubt
from cosfs.jsonapi.client import JsonApi
from cosfs.jsonapi.settle import Look
from cosfs.sdk import replies
from cosfs.sdk.client_base import ClientBase, key_of
from cosfs.sdk.file_requests import (
    CopyFileRequest,
    DelFileRequest,
    MoveFileRequest,
    StatFileRequest,
    UpdateFileRequest,
)
from cosfs.sdk.replies import ReplyDict


class FileMethods(ClientBase):
    """Files: what is kept with them, and their names."""

    def stat_file(self, request: StatFileRequest) -> ReplyDict:
        """Ask what is known about a file.

        Returns:
            ``data``: ``filesize`` and ``filelen`` (bytes; ``filelen`` is less while an upload is
            not finished), ``sha``, ``ctime`` and ``mtime`` (Unix seconds), ``biz_attr``,
            ``authority``, ``forbid``, ``slicesize``, ``custom_headers``, ``access_url``,
            ``source_url``. -197: there is no such file.
        Cost: 1 request. Protocol: reference 3.12.
        """
        return self._answer(StatFileRequest, request, _stat)

    def update_file(self, request: UpdateFileRequest) -> ReplyDict:
        """Change what is kept with a file.

        Headers are one block on the server: those that are not in ``request`` are deleted, if
        there is any in it.

        Returns:
            No ``data``. -197: there is no such file. -1: nothing is set.
        Cost: 1 request. Protocol: reference 3.13.
        """
        return self._answer(UpdateFileRequest, request, _update)

    def del_file(self, request: DelFileRequest) -> ReplyDict:
        """Delete a file, or the unfinished upload that has its name.

        Returns:
            No ``data``. -197: there is no such file.
        Cost: 1 request. Protocol: reference 3.5.
        """
        return self._answer(DelFileRequest, request, _delete)

    def move_file(self, request: MoveFileRequest) -> ReplyDict:
        """Give a file another name.

        Returns:
            No ``data``. -197: there is no such file. -177: the new name is taken.
        Cost: 1 request. Protocol: reference 3.14.
        """
        return self._answer(MoveFileRequest, request, _move)

    def copy_file(self, request: CopyFileRequest) -> ReplyDict:
        """Copy a file inside the bucket; no content moves through here.

        Returns:
            As ``move_file``.
        Cost: 1 request. Protocol: reference 3.14.
        """
        return self._answer(CopyFileRequest, request, _copy)


def _stat(api: JsonApi, request: StatFileRequest) -> ReplyDict:
    key = key_of(request)
    question = protocol.stat(request.get_bucket_name(), key, protocol.file_path(key))
    return api.run(question, replies.as_received)


def _update(api: JsonApi, request: UpdateFileRequest) -> ReplyDict:
    bucket, key = request.get_bucket_name(), key_of(request)
    biz_attr, authority = request.get_biz_attr(), request.get_authority()
    headers = request.get_custom_headers() or None

    def look(doubt: Doubt) -> ReplyDict | None:
        is_done = Look(api, bucket).file_updated(key, biz_attr, authority, headers, None)
        return replies.settled() if is_done else None

    question = protocol.update(
        bucket,
        key,
        protocol.file_path(key),
        biz_attr=biz_attr,
        authority=authority,
        custom_headers=headers,
    )
    return api.run(question, replies.as_received, look)


def _delete(api: JsonApi, request: DelFileRequest) -> ReplyDict:
    bucket, key = request.get_bucket_name(), key_of(request)

    def look(doubt: Doubt) -> ReplyDict | None:
        return replies.settled() if Look(api, bucket).file_gone(key, doubt) else None

    question = protocol.delete(bucket, key, protocol.file_path(key))
    return api.run(question, replies.as_received, look)


def _move(api: JsonApi, request: MoveFileRequest) -> ReplyDict:
    bucket, key, dest_key = request.get_bucket_name(), key_of(request), _dest_key(request)

    def look(doubt: Doubt) -> ReplyDict | None:
        return replies.settled() if Look(api, bucket).moved(key, dest_key, doubt) else None

    question = protocol.move_or_copy(
        "move",
        bucket,
        key,
        dest_key,
        overwrite=bool(request.overwrite),
        spelling=request.dest_path,
    )
    return api.run(question, replies.as_received, look)


def _copy(api: JsonApi, request: CopyFileRequest) -> ReplyDict:
    bucket, key, dest_key = request.get_bucket_name(), key_of(request), _dest_key(request)
    overwrite = bool(request.overwrite)

    def look(doubt: Doubt) -> ReplyDict | None:
        is_done = Look(api, bucket).copied(key, dest_key, overwrite, doubt)
        return replies.settled() if is_done else None

    question = protocol.move_or_copy(
        "copy", bucket, key, dest_key, overwrite=overwrite, spelling=request.dest_path
    )
    return api.run(question, replies.as_received, look)


def _dest_key(request: MoveFileRequest | CopyFileRequest) -> str:
    return request.resolve_dest_path()[1:]
