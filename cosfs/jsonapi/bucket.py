"""Owns the typed methods, one per server operation; must not know folders as a file system does.

Keys are the server's, without the leading slash: a file ``a/b.txt``, a folder ``a/b/``, the root
the empty text. A key that cannot be sent as it is raises ``BadRequest`` and costs nothing.

**Lost answers.** A change whose answer was lost (``Unavailable``, a server failure, a garbled
reply) is sent again; when that is refused, or time runs out, the name is looked at with stat. So a
method that changes something returns only when the change was made, raises ``Unavailable`` when
nobody could find out, and anything else when it was not made. A refusal of the first attempt is
never looked at: it is what the server says. "New" below means: by the server's clock not older than
the first attempt, within two seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cosfs.errors import BadRequest, MalformedReply
from cosfs.jsonapi import codes, parsing, protocol
from cosfs.jsonapi.api import Api
from cosfs.jsonapi.protocol import PAGE_MAX, PAGE_SAFE
from cosfs.jsonapi.ranges import RangeDownload, read_headers
from cosfs.jsonapi.replies import (
    Downloaded,
    FileInfo,
    FolderInfo,
    Listing,
    Reply,
    SliceList,
    SlicePart,
    SliceSession,
    UploadedFile,
)
from cosfs.jsonapi.settle import Look
from cosfs.model import Source


class BucketClient:
    """The operations on one bucket. Thread-safe; costs nothing to make.

    Every method raises ``StoreError`` and below: ``BadCredentials``, ``BucketNotFound``,
    ``AccessDenied``, ``RateLimited``, ``ServerFault``, ``Unavailable``, ``MalformedReply`` and
    ``UnknownReply`` from any of them; what is particular is listed. Costs are those without
    failures.
    """

    def __init__(self, api: Api, name: str) -> None:
        self._api = api
        self._look = Look(api, name)
        self.name = name

    def stat_folder(self, key: str) -> FolderInfo:
        """Return what the server knows of a folder's marker; the root has one always.

        Raises:
            NotFound: no marker; an implied folder has none.
        Cost: 1 request. Protocol: reference 3.2.
        """
        request = protocol.stat(self.name, key, protocol.folder_path(key))
        return self._api.run(request, parsing.parse_folder)

    def create_folder(self, key: str, biz_attr: str = "") -> None:
        """Make a folder's marker.

        After a lost answer a folder that is new and has our ``biz_attr`` counts as made by us.

        Raises:
            AlreadyExists: there is a marker.
        Cost: 1 request. Protocol: reference 3.1.
        """
        self._api.run(
            protocol.create_folder(self.name, key, biz_attr),
            _done,
            lambda doubt: self._look.folder_made(key, biz_attr, doubt) is not None or None,
        )

    def update_folder(self, key: str, biz_attr: str) -> None:
        """Set a folder's text. A repetition changes nothing more.

        Raises:
            NotFound: no marker.
        Cost: 1 request. Protocol: reference 3.3.
        """
        self._api.run(
            protocol.update(self.name, key, protocol.folder_path(key), biz_attr=biz_attr),
            _done,
            lambda doubt: self._look.folder_updated(key, biz_attr),
        )

    def delete_folder(self, key: str) -> None:
        """Delete a folder's marker; some servers do so although something lies below it.

        After a lost answer a marker that is gone counts as deleted by us.

        Raises:
            NotFound: no marker.
            FolderNotEmpty: this server checks.
        Cost: 1 request. Protocol: reference 3.5.
        """
        self._api.run(
            protocol.delete(self.name, key, protocol.folder_path(key)),
            _done,
            lambda doubt: self._look.folder_gone(key, doubt),
        )

    def list_folder(
        self,
        key: str,
        *,
        prefix: str = "",
        context: str = "",
        num: int = PAGE_MAX,
        delimiter: str | None = None,
    ) -> Listing:
        """Return one page of at most ``num`` names of a folder.

        ``prefix`` keeps names that begin with it. ``context`` is that of the page before. No
        ``delimiter`` lists one level, an empty one everything below. A folder that does not exist
        lists as empty. Once the server refuses pages of 1000, at most 199 are asked for.

        Raises:
            MalformedReply: also a page that leads back to itself.
        Cost: 1 request (2 the one time that the server refuses the page size).
        Protocol: reference 3.4.
        """
        asked = min(num, self._api.page_limit)
        try:
            return self._list(key, prefix, context, asked, delimiter)
        except BadRequest as error:
            too_large = error.reply is not None and error.reply.code == codes.PAGE_TOO_LARGE
            if not too_large or asked <= PAGE_SAFE:
                raise
        self._api.shrink_pages()
        return self._list(key, prefix, context, PAGE_SAFE, delimiter)

    def _list(
        self, key: str, prefix: str, context: str, num: int, delimiter: str | None
    ) -> Listing:
        request = protocol.list_folder(
            self.name, key, prefix=prefix, context=context, num=num, delimiter=delimiter
        )
        listing = self._api.run(request, parsing.parse_listing)
        if not listing.listover and listing.context == context:
            raise MalformedReply("list: the page leads back to itself", path=key)
        return listing

    def stat_file(self, key: str) -> FileInfo:
        """Return what the server knows of a file, an unfinished one included.

        Raises:
            NotFound: no such file (a folder of this name does not count).
        Cost: 1 request. Protocol: reference 3.12.
        """
        request = protocol.stat(self.name, key, protocol.file_path(key))
        return self._api.run(request, parsing.parse_file)

    def update_file(
        self,
        key: str,
        *,
        biz_attr: str | None = None,
        authority: str | None = None,
        custom_headers: Mapping[str, str] | None = None,
        forbid: int | None = None,
    ) -> None:
        """Set what is not ``None``; ``custom_headers`` replace all that the file had.

        A repetition changes nothing more.

        Raises:
            NotFound: no such file.
            BadRequest: the server takes no such value.
        Cost: 1 request. Protocol: reference 3.13.
        """
        request = protocol.update(
            self.name,
            key,
            protocol.file_path(key),
            biz_attr=biz_attr,
            authority=authority,
            custom_headers=custom_headers,
            forbid=forbid,
        )
        self._api.run(
            request,
            _done,
            lambda doubt: self._look.file_updated(key, biz_attr, authority, custom_headers, forbid),
        )

    def delete_file(self, key: str) -> None:
        """Delete a file, or the unfinished upload that has its name.

        After a lost answer a file that is gone counts as deleted by us.

        Raises:
            NotFound: no such file.
        Cost: 1 request. Protocol: reference 3.5.
        """
        self._api.run(
            protocol.delete(self.name, key, protocol.file_path(key)),
            _done,
            lambda doubt: self._look.file_gone(key, doubt),
        )

    def move_file(self, key: str, dest_key: str, *, overwrite: bool) -> None:
        """Rename a file; content, text, authority and headers go with it.

        After a lost answer it counts as moved when the old name is gone and the new one is new;
        when the new one is older nobody can tell.

        Raises:
            NotFound: no file ``key``.
            AlreadyExists: there is a file ``dest_key`` and ``overwrite`` is not set.
        Cost: 1 request. Protocol: reference 3.14.
        """
        request = protocol.move_or_copy("move", self.name, key, dest_key, overwrite=overwrite)
        try:
            self._api.run(request, _done, lambda doubt: self._look.moved(key, dest_key, doubt))
        except BadRequest as error:
            refusal = error
        else:
            return
        raise self._look.why_not_moved(dest_key, overwrite, refusal)

    def copy_file(self, key: str, dest_key: str, *, overwrite: bool) -> None:
        """Copy a file inside the bucket.

        After a lost answer it counts as copied when both names have the same content and, without
        ``overwrite``, the new one is new.

        Raises:
            NotFound, AlreadyExists: as ``move_file``.
        Cost: 1 request. Protocol: reference 3.14.
        """
        request = protocol.move_or_copy("copy", self.name, key, dest_key, overwrite=overwrite)
        self._api.run(
            request, _done, lambda doubt: self._look.copied(key, dest_key, overwrite, doubt)
        )

    def upload(
        self, key: str, source: Source, *, sha: str, biz_attr: str = "", insert_only: bool
    ) -> UploadedFile:
        """Store a file of at most 20 MiB with one request; atomic.

        ``sha`` is the SHA-1 of the content, which the server checks. The content is streamed.
        Unless ``insert_only`` an existing file is replaced. After a lost answer the file counts as
        uploaded when size, sha and ``biz_attr`` are ours and, with ``insert_only``, it is new; the
        result then has only ``access_url`` and ``source_url``.

        Raises:
            AlreadyExists: ``insert_only`` and there is a file; ``SameContentExists`` when its
                content is this one.
            UnfinishedUpload, UnfinishedOther: an unfinished slice upload has the name.
            IntegrityError: what arrived does not have this ``sha``.
            TooLarge: more than the server takes at once.
            SourceFailed: ``source`` cannot be read, or is not as long as it says.
        Cost: 1 request. Protocol: reference 3.6.
        """
        request = protocol.upload(
            self.name, key, source, sha=sha, biz_attr=biz_attr, insert_only=insert_only
        )
        size = source.size
        return self._api.run(
            request,
            parsing.parse_uploaded,
            lambda doubt: self._look.uploaded(key, sha, size, biz_attr, insert_only, doubt),
        )

    def slice_init(
        self,
        key: str,
        *,
        filesize: int,
        slice_size: int,
        sha: str | None = None,
        uploadparts: Sequence[SlicePart] | None = None,
        biz_attr: str = "",
        insert_only: bool,
    ) -> SliceSession | UploadedFile:
        """Begin a slice upload; ``UploadedFile`` when the server knew the content already.

        ``sha`` and ``uploadparts`` (see ``slices.digests``) go together and need slices of 1 MiB.
        Without them an unfinished upload of the name is started over. The slice size of the result
        must be used. After a lost answer the repetition with ``sha`` may raise
        ``UnfinishedUpload``: the session of the first attempt, which ``slice_list`` gives.

        Raises:
            AlreadyExists: as ``upload``.
            UnfinishedUpload: one of the same content can be resumed.
            UnfinishedOther: one of other content must be deleted first.
            BadRequest, IntegrityError: sizes or digests the server does not take.
        Cost: 1 request. Protocol: reference 3.7.
        """
        request = protocol.slice_init(
            self.name,
            key,
            filesize=filesize,
            slice_size=slice_size,
            sha=sha,
            uploadparts=uploadparts,
            biz_attr=biz_attr,
            insert_only=insert_only,
        )
        if sha is None:
            return self._api.run(request, parsing.parse_slice_init)
        return self._api.run(
            request,
            parsing.parse_slice_init,
            lambda doubt: self._look.uploaded(key, sha, filesize, biz_attr, insert_only, doubt),
        )

    def slice_data(
        self,
        key: str,
        session: str,
        offset: int,
        source: Source,
        length: int,
        sha: str | None = None,
    ) -> UploadedFile | None:
        """Send the slice of ``length`` bytes at ``offset`` of ``source``, streamed.

        A slice that is there is written over, so a repetition is harmless. ``UploadedFile`` when
        the server says that the file is complete with it.

        Raises:
            UploadSessionLost: the server does not know the session.
        Cost: 1 request. Protocol: reference 3.9.
        """
        request = protocol.slice_data(self.name, key, session, offset, source, length, sha)
        try:
            return self._api.run(request, parsing.parse_slice_data)
        except BadRequest as error:
            # Said to a repetition by servers that do not write over (4.4).
            if error.reply is None or error.reply.code != codes.SAME_OFFSET:
                raise
            return None

    def slice_finish(
        self, key: str, session: str, filesize: int, sha: str | None = None
    ) -> UploadedFile:
        """End a slice upload: only now the file is there.

        ``sha`` is mandatory when the beginning had it. After a lost answer the upload counts as
        finished when the file has this size and digest, or without ``sha``: this size and is new;
        the result then has only ``access_url`` and ``source_url``.

        Raises:
            UploadSessionLost: the server does not know the session.
            AlreadyExists: it was to be inserted only, and meanwhile there is a file.
            IntegrityError: size or digest differ from what arrived.
        Cost: 1 request. Protocol: reference 3.10.
        """
        return self._api.run(
            protocol.slice_finish(self.name, key, session, filesize, sha),
            parsing.parse_uploaded,
            lambda doubt: self._look.finished(key, sha, filesize, doubt),
        )

    def slice_list(self, key: str) -> SliceList | UploadedFile:
        """Return the slices of an unfinished upload; ``UploadedFile`` when the file is complete.

        Raises:
            NotFound: no upload was begun.
        Cost: 1 request. Protocol: reference 3.11.
        """
        return self._api.run(protocol.slice_list(self.name, key), parsing.parse_slice_list)

    def download(self, key: str, offset: int, into: memoryview) -> Downloaded:
        """Fill ``into`` completely with the bytes from ``offset``, or raise.

        Bytes go from the socket into the buffer. A body that breaks off is resumed where it broke;
        what the buffer holds after an exception is undefined. A server that ignores ``Range`` and
        sends the whole file is read up to what was asked. An empty ``into`` asks for the headers.

        Raises:
            NotFound: no such file.
            RangeNotSatisfiable: the file ends before the asked range does.
            ObjectChanged: it was replaced between two parts.
            TruncatedBody: the body broke off again and again without progress.
        Cost: 1 request. Protocol: reference 3.15.
        """
        if not len(into):
            return self.head(key)
        return RangeDownload(self._api, self.name, key, offset, into).run()

    def head(self, key: str) -> Downloaded:
        """Return what a download of ``key`` would say, without its body.

        Raises:
            NotFound: no such file.
        Cost: 1 request. Protocol: reference 3.15 (not used by the official SDKs).
        """
        return read_headers(self._api, self.name, key)


def _done(reply: Reply) -> bool:
    return True
