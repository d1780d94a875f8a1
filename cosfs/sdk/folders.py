"""Owns the methods about folders; must not know HTTP."""

from __future__ import annotations

from collections.abc import Iterator

from cosfs.errors import MalformedReply, StoreError
from cosfs.jsonapi import parsing, protocol
from cosfs.jsonapi.api import Doubt
from cosfs.jsonapi.client import JsonApi
from cosfs.jsonapi.replies import Listing, Reply
from cosfs.jsonapi.settle import Look
from cosfs.sdk import replies
from cosfs.sdk.client_base import ClientBase, key_of, require
from cosfs.sdk.folder_requests import (
    CreateFolderRequest,
    DelFolderRequest,
    ListFolderRequest,
    StatFolderRequest,
    UpdateFolderRequest,
)
from cosfs.sdk.replies import BadParameter, CosReplyError, ReplyDict


class FolderMethods(ClientBase):
    """Folders: a folder is made by name, or is there because something lies in it."""

    def create_folder(self, request: CreateFolderRequest) -> ReplyDict:
        """Make a folder; its parents need not exist.

        Returns:
            ``data``: ``ctime`` (Unix seconds). -178: it exists.
        Cost: 1 request. Protocol: reference 3.1.
        """
        return self._answer(CreateFolderRequest, request, _create)

    def stat_folder(self, request: StatFolderRequest) -> ReplyDict:
        """Ask what is known about a folder that was made.

        Returns:
            ``data``: ``biz_attr``, ``ctime``, ``mtime`` (Unix seconds). -197: it was not made,
            though something may lie in it.
        Cost: 1 request. Protocol: reference 3.2.
        """
        return self._answer(StatFolderRequest, request, _stat)

    def update_folder(self, request: UpdateFolderRequest) -> ReplyDict:
        """Set the free text of a folder.

        Returns:
            No ``data``. -197: it was not made.
        Cost: 1 request. Protocol: reference 3.3.
        """
        return self._answer(UpdateFolderRequest, request, _update)

    def del_folder(self, request: DelFolderRequest) -> ReplyDict:
        """Delete a folder. Some servers do so although something lies in it, which stays.

        Returns:
            No ``data``. -173: something lies in it. -197: it was not made.
        Cost: 1 request. Protocol: reference 3.5.
        """
        return self._answer(DelFolderRequest, request, _delete)

    def list_folder(self, request: ListFolderRequest) -> ReplyDict:
        """Return one page of the names in a folder.

        Returns:
            ``data``: ``infos`` (a list, may be empty: dicts with ``name``, a folder's ends in
            ``/``; a file's have ``filesize``, ``sha``, ``mtime`` and so on), ``listover`` (True:
            this was the last page), ``context`` (for the next page). A folder that does not exist
            lists as empty.
        Cost: 1 request. Protocol: reference 3.4.
        """
        return self._answer(ListFolderRequest, request, _list)

    def iter_folder(
        self, request: ListFolderRequest, *, recursive: bool = False
    ) -> Iterator[ReplyDict]:
        """Yield the entries of all pages, as ``infos`` of ``list_folder`` has them.

        Args:
            request: ``num`` is the page size, ``context`` where to begin.
            recursive: everything below the folder: names then hold slashes, and folders are
                yielded only where they were made. ``delimiter`` of the request is not looked at.
        Raises:
            TypeError: ``request`` is no ``ListFolderRequest``.
            CosReplyError: a page cannot be had; ``reply`` is what ``list_folder`` would answer.
        Cost: 1 request a page, when it is needed. Protocol: reference 3.4 (an empty delimiter).
        """
        require(ListFolderRequest, request)
        try:
            api = self._api_for(request)
        except BadParameter as error:
            raise CosReplyError(replies.bad_parameter(str(error))) from error
        return _pages(api, request, recursive)


def _create(api: JsonApi, request: CreateFolderRequest) -> ReplyDict:
    bucket, key, biz_attr = request.get_bucket_name(), key_of(request), request.get_biz_attr()

    def look(doubt: Doubt) -> ReplyDict | None:
        info = Look(api, bucket).folder_made(key, biz_attr, doubt)
        return None if info is None else replies.settled({"ctime": info.ctime})

    return api.run(protocol.create_folder(bucket, key, biz_attr), replies.as_received, look)


def _stat(api: JsonApi, request: StatFolderRequest) -> ReplyDict:
    key = key_of(request)
    question = protocol.stat(request.get_bucket_name(), key, protocol.folder_path(key))
    return api.run(question, replies.as_received)


def _update(api: JsonApi, request: UpdateFolderRequest) -> ReplyDict:
    bucket, key, biz_attr = request.get_bucket_name(), key_of(request), request.get_biz_attr()

    def look(doubt: Doubt) -> ReplyDict | None:
        return replies.settled() if Look(api, bucket).folder_updated(key, biz_attr) else None

    question = protocol.update(bucket, key, protocol.folder_path(key), biz_attr=biz_attr)
    return api.run(question, replies.as_received, look)


def _delete(api: JsonApi, request: DelFolderRequest) -> ReplyDict:
    bucket, key = request.get_bucket_name(), key_of(request)

    def look(doubt: Doubt) -> ReplyDict | None:
        return replies.settled() if Look(api, bucket).folder_gone(key, doubt) else None

    question = protocol.delete(bucket, key, protocol.folder_path(key))
    return api.run(question, replies.as_received, look)


def _list(api: JsonApi, request: ListFolderRequest) -> ReplyDict:
    question = _page_question(request, request.get_context(), request.get_delimiter() or None)
    return api.run(question, replies.as_received)


def _page_question(
    request: ListFolderRequest, context: str, delimiter: str | None
) -> protocol.ApiRequest:
    return protocol.list_folder(
        request.get_bucket_name(),
        key_of(request),
        prefix=request.get_prefix(),
        context=context,
        num=int(request.get_num()),
        delimiter=delimiter,
    )


def _pages(api: JsonApi, request: ListFolderRequest, recursive: bool) -> Iterator[ReplyDict]:
    delimiter = "" if recursive else request.get_delimiter() or None
    context = request.get_context()

    def parse(reply: Reply) -> tuple[Listing, list[ReplyDict]]:
        listing = parsing.parse_listing(reply)
        if not listing.listover and listing.context == context:
            raise MalformedReply("the page leads back to itself")
        infos = reply.data["infos"]
        assert isinstance(infos, list)  # or else parse_listing had raised
        return listing, infos

    while True:
        try:
            listing, infos = api.run(_page_question(request, context, delimiter), parse)
        except StoreError as error:
            raise CosReplyError(replies.failed(error)) from error
        yield from infos
        if listing.listover:
            return
        context = listing.context
