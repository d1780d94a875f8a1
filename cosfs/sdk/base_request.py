"""Owns what all requests have: bucket, path, and being checked; must not know what they ask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from cosfs.sdk import checks

T = TypeVar("T")


def kept(value: T) -> T:
    """Return a text as it is.

    The official SDK strips it here, which changes names; what has no ``strip`` fails as there.

    Raises:
        AttributeError: ``value`` is no kind of text.
    """
    if not hasattr(value, "strip"):
        raise AttributeError(f"{type(value).__name__!r} object has no attribute 'strip'")
    return value


class BaseRequest:
    """A question about one file or folder of one bucket."""

    def __init__(self, bucket_name: str, cos_path: str) -> None:
        """Remember what is asked about.

        Args:
            bucket_name: without the appid.
            cos_path: from the root of the bucket on; ends in ``/`` for a folder and only then.
        Raises:
            AttributeError: one of them is no kind of text.
        """
        self._bucket_name = kept(bucket_name)
        self._cos_path = kept(cos_path)
        self._err_tips: str | None = None

    def set_bucket_name(self, bucket_name: str = "") -> None:
        self._bucket_name = kept(bucket_name)

    def get_bucket_name(self) -> str:
        return self._bucket_name

    def set_cos_path(self, cos_path: str = "") -> None:
        self._cos_path = kept(cos_path)

    def get_cos_path(self) -> str:
        return self._cos_path

    def get_err_tips(self) -> str | None:
        """Return what the last ``check_params_valid`` found wrong, ``None`` if nothing."""
        return self._err_tips

    def check_params_valid(self) -> bool:
        """Tell whether the request can be sent; ``get_err_tips`` says why not."""
        problem = checks.text("bucket", self._bucket_name)
        problem = problem or checks.text("cos_path", self._cos_path)
        problem = problem or next(filter(None, self._problems()), None)
        self._err_tips = problem or checks.bucket(self._bucket_name)
        return self._err_tips is None

    def _problems(self) -> Iterator[str | None]:
        """Yield the outcomes of further checks; the first that is not ``None`` ends them."""
        yield None


class FileRequest(BaseRequest):
    """A question about a file."""

    def _problems(self) -> Iterator[str | None]:
        yield checks.cos_path(self._cos_path, is_file=True)


class FolderRequest(BaseRequest):
    """A question about a folder."""

    def _problems(self) -> Iterator[str | None]:
        yield checks.cos_path(self._cos_path, is_file=False)


class BizAttr:
    """A request that carries a free text."""

    _biz_attr: str

    def set_biz_attr(self, biz_attr: str) -> None:
        self._biz_attr = biz_attr

    def get_biz_attr(self) -> str:
        return self._biz_attr
