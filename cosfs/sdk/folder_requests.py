"""Owns the requests about folders; must not know how they are sent."""

from __future__ import annotations

from collections.abc import Iterator

from cosfs.sdk import checks
from cosfs.sdk.base_request import BizAttr, FolderRequest


class CreateFolderRequest(FolderRequest, BizAttr):
    """Make a folder."""

    def __init__(self, bucket_name: str, cos_path: str, biz_attr: str = "") -> None:
        """``biz_attr`` is a free text that is kept with the folder."""
        super().__init__(bucket_name, cos_path)
        self._biz_attr = biz_attr

    def _problems(self) -> Iterator[str | None]:
        yield checks.text("biz_attr", self._biz_attr)
        yield from super()._problems()
        yield checks.not_root(self._cos_path)


class UpdateFolderRequest(FolderRequest, BizAttr):
    """Set the free text of a folder."""

    def __init__(self, bucket_name: str, cos_path: str, biz_attr: str = "") -> None:
        """``biz_attr`` takes the place of the text that was there."""
        super().__init__(bucket_name, cos_path)
        self._biz_attr = biz_attr

    def _problems(self) -> Iterator[str | None]:
        yield from super()._problems()
        yield checks.not_root(self._cos_path)
        yield checks.text("biz_attr", self._biz_attr)


class StatFolderRequest(FolderRequest):
    """Ask what is known about a folder; the root, ``/``, can be asked about too."""


class DelFolderRequest(FolderRequest):
    """Delete a folder."""

    def _problems(self) -> Iterator[str | None]:
        yield from super()._problems()
        yield checks.not_root(self._cos_path)


class ListFolderRequest(FolderRequest):
    """Ask for a page of a folder's names."""

    def __init__(
        self,
        bucket_name: str,
        cos_path: str,
        num: int = 199,
        prefix: str = "",
        context: str = "",
        delimiter: str = "",
    ) -> None:
        """Remember what to list.

        Args:
            num: names at most; 199 is what every server gives.
            prefix: only names that begin with it; holds no slash.
            context: of the page before, empty for the first page.
            delimiter: sent when it is not empty; ``/`` is what the server takes anyway.
        """
        super().__init__(bucket_name, cos_path)
        self._num = num
        self._prefix = prefix
        self._context = context
        self._delimiter = delimiter

    def set_num(self, num: int) -> None:
        self._num = num

    def get_num(self) -> int:
        return self._num

    def set_prefix(self, prefix: str) -> None:
        self._prefix = prefix

    def get_prefix(self) -> str:
        return self._prefix

    def set_context(self, context: str) -> None:
        self._context = context

    def get_context(self) -> str:
        return self._context

    def set_delimiter(self, delimiter: str) -> None:
        self._delimiter = delimiter

    def get_delimiter(self) -> str:
        return self._delimiter

    def _problems(self) -> Iterator[str | None]:
        yield from super()._problems()
        yield checks.integer("num", self._num)
        yield checks.text("prefix", self._prefix)
        yield checks.text("delimeter", self._delimiter)
        yield checks.text("context", self._context)
        yield checks.prefix(self._prefix)
