"""Owns finding out by stat whether a change was made whose answer was lost; must not repeat it.

Reference 4.7 and 6.5. Every method returns the result of the change if it was made, ``None`` if it
was not, and raises when nobody can say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from cosfs.errors import AlreadyExists, BadRequest, NotFound, StoreError, Unavailable
from cosfs.jsonapi import codes, parsing, protocol
from cosfs.jsonapi.api import Api, Doubt
from cosfs.jsonapi.replies import FileInfo, FolderInfo, Reply, UploadedFile

T = TypeVar("T")

#: Seconds that a time of the server may lie before our first attempt and still be of it: both
#: sides of the comparison are whole seconds.
_SLACK_S = 2.0


class Look:
    """Looks at the names of one bucket. Cost: 1 request each time, 2 for move and copy."""

    def __init__(self, api: Api, bucket: str) -> None:
        self._api = api
        self._bucket = bucket

    def folder_made(self, key: str, biz_attr: str, doubt: Doubt) -> FolderInfo | None:
        """It was made if it is there, is new and carries our text."""
        found = self._folder(key)
        if found is None:
            return None
        info, now = found
        return info if info.biz_attr == biz_attr and _is_new(now, doubt, info.ctime) else None

    def file_gone(self, key: str, doubt: Doubt) -> bool | None:
        """Gone is gone, whoever did it."""
        if isinstance(doubt.failure, NotFound):
            return True
        return True if self._file(key) is None else None

    def folder_gone(self, key: str, doubt: Doubt) -> bool | None:
        """Gone is gone, whoever did it."""
        if isinstance(doubt.failure, NotFound):
            return True
        return True if self._folder(key) is None else None

    def moved(self, key: str, dest_key: str, doubt: Doubt) -> bool | None:
        """It was moved if the old name is gone and the new one is there and new.

        Raises:
            Unavailable: the new one is older. It may always have been there, and the old name never
                have been, or be gone by somebody else's hand.
        """
        if not isinstance(doubt.failure, NotFound) and self._file(key) is not None:
            return None
        found = self._file(dest_key)
        if found is None:
            return None
        info, now = found
        if not _is_new(now, doubt, info.ctime, info.mtime):
            raise Unavailable("move: the file of the new name may be another one", path=dest_key)
        return True

    def why_not_moved(self, dest_key: str, overwrite: bool, refusal: BadRequest) -> StoreError:
        """Return what a refusal means that old servers also give to a taken name (3.14)."""
        move_failed = refusal.reply is not None and refusal.reply.code == codes.BAD_NAME_OR_MOVE
        if overwrite or not move_failed or self._file(dest_key) is None:
            return refusal
        return AlreadyExists("move: the name is taken", path=dest_key, reply=refusal.reply)

    def copied(self, key: str, dest_key: str, overwrite: bool, doubt: Doubt) -> bool | None:
        """It was copied if both are alike, and the new name is new unless it might be old."""
        old, new = self._file(key), self._file(dest_key)
        if old is None or new is None:
            return None
        source, (copy, now) = old[0], new
        if (source.sha, source.filesize) != (copy.sha, copy.filesize):
            return None
        return True if overwrite or _is_new(now, doubt, copy.ctime, copy.mtime) else None

    def file_updated(
        self,
        key: str,
        biz_attr: str | None,
        authority: str | None,
        custom_headers: Mapping[str, str] | None,
        forbid: int | None,
    ) -> bool | None:
        """It was updated if every value is the one that was sent."""
        found = self._file(key)
        if found is None:
            return None
        info = found[0]
        is_updated = (
            (biz_attr is None or info.biz_attr == biz_attr)
            and (not authority or info.authority == authority)
            and (custom_headers is None or _lower(info.custom_headers) == _lower(custom_headers))
            and (forbid is None or info.forbid == forbid)
        )
        return True if is_updated else None

    def folder_updated(self, key: str, biz_attr: str) -> bool | None:
        """It was updated if the text is the one that was sent."""
        found = self._folder(key)
        return True if found is not None and found[0].biz_attr == biz_attr else None

    def uploaded(
        self, key: str, sha: str, size: int, biz_attr: str, insert_only: bool, doubt: Doubt
    ) -> UploadedFile | None:
        """It was uploaded if content and text are ours; a file not to be replaced must be new."""
        found = self._file(key)
        if found is None:
            return None
        info, now = found
        if not info.is_complete or (info.sha, info.filesize) != (sha.lower(), size):
            return None
        if info.biz_attr != biz_attr or (insert_only and not _is_new(now, doubt, info.ctime)):
            return None
        return _uploaded(info)

    def finished(self, key: str, sha: str | None, size: int, doubt: Doubt) -> UploadedFile | None:
        """It was finished if the content is ours; without a digest the file must be new."""
        found = self._file(key)
        if found is None:
            return None
        info, now = found
        if not info.is_complete or info.filesize != size:
            return None
        is_new = _is_new(now, doubt, info.ctime, info.mtime)
        if sha is None or isinstance(doubt.failure, AlreadyExists):
            is_ours = is_new
        else:
            is_ours = True
        return _uploaded(info) if is_ours and sha in (None, info.sha) else None

    def _file(self, key: str) -> tuple[FileInfo, float] | None:
        return self._stat(key, protocol.file_path(key), parsing.parse_file)

    def _folder(self, key: str) -> tuple[FolderInfo, float] | None:
        return self._stat(key, protocol.folder_path(key), parsing.parse_folder)

    def _stat(
        self, key: str, path: str, parse: Callable[[Reply], T]
    ) -> tuple[T, float] | None:
        """Return what has the name together with the server's time, ``None`` if nothing has."""
        request = protocol.stat(self._bucket, key, path)
        try:
            return self._api.look(
                request, lambda reply: (parse(reply), self._api.server_time(reply.headers))
            )
        except NotFound:
            return None


def _is_new(server_now: float, doubt: Doubt, *stamps: int) -> bool:
    return max(stamps) >= server_now - doubt.effort.age - _SLACK_S


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _uploaded(info: FileInfo) -> UploadedFile:
    return UploadedFile(info.access_url, info.source_url, url="", resource_path="")
