"""Owns the requests about files that move no content; must not know how they are sent."""

from __future__ import annotations

from collections.abc import Iterator

from cosfs.sdk import checks
from cosfs.sdk.base_request import FileRequest


class StatFileRequest(FileRequest):
    """Ask what is known about a file."""


class DelFileRequest(FileRequest):
    """Delete a file, or the unfinished upload that has its name."""


class UpdateFileRequest(FileRequest):
    """Change what is kept with a file; what is not set stays.

    The headers are one block: setting any of them deletes those of the file that are not set here.
    ``None`` takes a setting back.
    """

    def __init__(self, bucket_name: str, cos_path: str) -> None:
        super().__init__(bucket_name, cos_path)
        self._biz_attr: str | None = None
        self._authority: str | None = None
        self._headers: dict[str, str | None] = {}
        self._x_cos_meta: dict[str, str] = {}

    def set_biz_attr(self, biz_attr: str | None) -> None:
        self._biz_attr = biz_attr

    def get_biz_attr(self) -> str | None:
        return self._biz_attr

    def set_authority(self, authority: str | None) -> None:
        """Set who may read and write.

        ``eInvalid`` (as the bucket says), ``eWRPrivate`` (nobody without a signature) or
        ``eWPrivateRPublic`` (everybody may read).
        """
        self._authority = authority

    def get_authority(self) -> str | None:
        return self._authority

    def set_cache_control(self, cache_control: str | None) -> None:
        self._headers["Cache-Control"] = cache_control

    def set_content_type(self, content_type: str | None) -> None:
        self._headers["Content-Type"] = content_type

    def set_content_disposition(self, content_disposition: str | None) -> None:
        self._headers["Content-Disposition"] = content_disposition

    def set_content_language(self, content_language: str | None) -> None:
        self._headers["Content-Language"] = content_language

    def set_content_encoding(self, content_encoding: str | None) -> None:
        self._headers["Content-Encoding"] = content_encoding

    def set_x_cos_meta(self, key: str, value: str) -> None:
        """Set a header of one's own; ``key`` begins with ``x-cos-meta-``."""
        self._x_cos_meta[key] = value

    def get_custom_headers(self) -> dict[str, str]:
        """Return the headers that are set, as texts whatever they hold."""
        headers = {name: value for name, value in self._headers.items() if value is not None}
        return {**headers, **self._x_cos_meta}

    def _problems(self) -> Iterator[str | None]:
        yield from super()._problems()
        if self._biz_attr is not None:
            yield checks.text("biz_attr", self._biz_attr)
        if self._authority is not None:
            yield checks.text("authority", self._authority)
            yield checks.authority(self._authority)
        for name, value in self._headers.items():
            if value is not None:
                yield checks.text(name.lower().replace("-", "_"), value)
        for key, value in self._x_cos_meta.items():
            yield checks.x_cos_meta(key, value)
        if self._biz_attr is None and self._authority is None and not self.get_custom_headers():
            yield "no any attribute to be updated!"


class _TransferRequest(FileRequest):

    def __init__(
        self, bucket_name: str, cos_path: str, dest_path: str, overwrite: bool = False
    ) -> None:
        """Remember what goes where.

        Args:
            dest_path: the new path in the same bucket; without a leading slash it is relative to
                the folder of ``cos_path``.
            overwrite: replace a file that has the new name, instead of failing.
        Raises:
            ValueError: ``overwrite`` is no bool.
        """
        super().__init__(bucket_name, cos_path)
        self._dest_path = dest_path
        if not isinstance(overwrite, bool):
            raise ValueError("overwrite must be an instance of Boolean")
        self._overwrite = int(overwrite)

    @property
    def dest_path(self) -> str:
        return self._dest_path

    @property
    def overwrite(self) -> int:
        """0 or 1."""
        return self._overwrite

    def resolve_dest_path(self) -> str:
        """Return the new path from the root of the bucket on."""
        if self._dest_path.startswith("/"):
            return self._dest_path
        return f"{self._cos_path.rpartition('/')[0]}/{self._dest_path}"

    def _problems(self) -> Iterator[str | None]:
        yield from super()._problems()
        yield checks.text("dest_path", self._dest_path)
        yield checks.cos_path(self.resolve_dest_path(), is_file=True, label="dest_path")


class MoveFileRequest(_TransferRequest):
    """Give a file another name; text, authority and headers go with it."""


class CopyFileRequest(_TransferRequest):
    """Give a file's content, text, authority and headers to another name too."""
