"""Owns the requests that bring content; must not know how it is sent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from cosfs.sdk import checks
from cosfs.sdk.base_request import BizAttr, FileRequest, kept


class _UploadRequest(FileRequest, BizAttr):
    def __init__(
        self,
        bucket_name: str,
        cos_path: str,
        biz_attr: str,
        insert_only: int,
        verify_sha1: bool,
        max_con: int,
    ) -> None:
        super().__init__(bucket_name, cos_path)
        self._biz_attr = biz_attr
        self._insert_only = insert_only
        self._verify_sha1 = verify_sha1
        self._max_con = max_con

    def set_insert_only(self, insert_only: int) -> None:
        """Set 1 to fail when there is a file, 0 to replace it."""
        self._insert_only = insert_only

    def get_insert_only(self) -> int:
        return self._insert_only

    def set_verify_sha1(self, verify_sha1: bool) -> None:
        """Set whether an upload in slices goes with digests."""
        self._verify_sha1 = verify_sha1

    def get_verify_sha1(self) -> bool:
        return self._verify_sha1

    def set_max_con(self, max_con: int) -> None:
        """Set how many slices go at the same time; at most 32 do."""
        self._max_con = max_con

    def get_max_con(self) -> int:
        return self._max_con

    def _problems(self) -> Iterator[str | None]:
        yield from super()._problems()
        yield checks.text("biz_attr", self._biz_attr)
        yield from self._content_problems()
        yield checks.integer("insert_only", self._insert_only)
        yield checks.insert_only(self._insert_only)
        yield checks.integer("max_con", self._max_con)

    def _content_problems(self) -> Iterator[str | None]:
        raise NotImplementedError


class UploadFileRequest(_UploadRequest):
    """Store a local file; below 8 MiB at once, otherwise in slices of 1 MiB."""

    def __init__(
        self,
        bucket_name: str,
        cos_path: str,
        local_path: str | os.PathLike[str],
        biz_attr: str = "",
        insert_only: int = 1,
        verify_sha1: bool = False,
        *,
        max_con: int = 1,
    ) -> None:
        """Remember what goes where.

        Args:
            cos_path: the file's path in the bucket.
            local_path: the file's path here.
            biz_attr: a free text that is kept with the file.
            insert_only: 1 to fail when there is a file, 0 to replace it.
            verify_sha1: send digests with slices: known content is not sent, a broken upload is
                resumed, the server verifies.
            max_con: slices that go at the same time; at most 32 do.
        Raises:
            AttributeError: bucket or a path is no kind of text.
        """
        super().__init__(bucket_name, cos_path, biz_attr, insert_only, verify_sha1, max_con)
        self.set_local_path(local_path)

    def set_local_path(self, local_path: str | os.PathLike[str]) -> None:
        if isinstance(local_path, os.PathLike):
            local_path = os.fspath(local_path)
        self._local_path = kept(local_path)

    def get_local_path(self) -> str:
        return self._local_path

    def _content_problems(self) -> Iterator[str | None]:
        yield checks.local_text("local_path", self._local_path)
        yield checks.local_file(self._local_path)


class UploadFileFromBufferRequest(_UploadRequest):
    """Store bytes; below 8 MiB at once, otherwise in slices of 1 MiB."""

    def __init__(
        self,
        bucket_name: str,
        cos_path: str,
        data: Any,
        biz_attr: str = "",
        insert_only: int = 1,
        verify_sha1: bool = False,
        *,
        max_con: int = 1,
    ) -> None:
        """Remember what goes where; see ``UploadFileRequest``.

        Args:
            data: the content: bytes or what looks like them, or a binary file object that can
                seek, which is read from where it stands to its end and put back there.
        """
        super().__init__(bucket_name, cos_path, biz_attr, insert_only, verify_sha1, max_con)
        self._data = data

    def set_data(self, data: Any) -> None:
        self._data = data

    def get_data(self) -> Any:
        return self._data

    def _content_problems(self) -> Iterator[str | None]:
        yield checks.content("data", self._data)


class _SliceOptions(_UploadRequest):
    _slice_size: int
    _enable_sha1: bool

    @property
    def enable_sha1(self) -> bool:
        """Whether digests are sent; see ``verify_sha1`` of ``UploadFileRequest``."""
        return self._enable_sha1

    @enable_sha1.setter
    def enable_sha1(self, val: bool) -> None:
        if val not in (True, False):
            raise ValueError("enable_sha1 should be True/False")
        self._enable_sha1 = val

    def set_slice_size(self, slice_size: int) -> None:
        """Set the bytes of a slice, 64 KiB to 3 MiB; with digests 1 MiB."""
        self._slice_size = slice_size

    def get_slice_size(self) -> int:
        return self._slice_size

    def _problems(self) -> Iterator[str | None]:
        yield from super()._problems()
        yield checks.integer("slice_size", self._slice_size)
        yield checks.slice_size(self._slice_size, with_sha1=bool(self._enable_sha1))


class UploadSliceFileRequest(_SliceOptions, UploadFileRequest):
    """Store a local file in slices."""

    def __init__(
        self,
        bucket_name: str,
        cos_path: str,
        local_path: str | os.PathLike[str],
        slice_size: int = 1024 * 1024,
        biz_attr: str = "",
        enable_sha1: bool = False,
        max_con: int = 1,
        insert_only: int = 1,
    ) -> None:
        """Remember what goes where; see ``UploadFileRequest``.

        Args:
            slice_size: bytes of a slice, 64 KiB to 3 MiB; with digests 1 MiB. The server may choose
                another one.
            enable_sha1: send digests; see ``verify_sha1`` of ``UploadFileRequest``.
        """
        UploadFileRequest.__init__(
            self, bucket_name, cos_path, local_path, biz_attr, insert_only, max_con=max_con
        )
        self._slice_size = slice_size
        self._enable_sha1 = enable_sha1


class UploadSliceFileFromBufferRequest(_SliceOptions, UploadFileFromBufferRequest):
    """Store bytes in slices."""

    def __init__(
        self,
        bucket_name: str,
        cos_path: str,
        data: Any,
        slice_size: int = 1024 * 1024,
        biz_attr: str = "",
        enable_sha1: bool = False,
        max_con: int = 1,
        insert_only: int = 1,
    ) -> None:
        """Remember what goes where; see ``UploadSliceFileRequest``."""
        UploadFileFromBufferRequest.__init__(
            self, bucket_name, cos_path, data, biz_attr, insert_only, max_con=max_con
        )
        self._slice_size = slice_size
        self._enable_sha1 = enable_sha1
