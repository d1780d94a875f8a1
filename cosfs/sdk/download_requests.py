"""Owns the requests for content; must not know how they are sent or where the bytes go."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from cosfs.sdk import checks
from cosfs.sdk.base_request import FileRequest


class _DownloadRequest(FileRequest):
    _range_start: int | None
    _range_end: int | None
    _custom_headers: Mapping[str, str] | None

    def get_range_start(self) -> int | None:
        return self._range_start

    def get_range_end(self) -> int | None:
        return self._range_end

    def get_custom_headers(self) -> dict[str, str]:
        return dict(self._custom_headers or {})

    @property
    def is_partial(self) -> bool:
        """Whether some range is asked for."""
        return self._has_bounds() or self._has_range_header()

    def _has_bounds(self) -> bool:
        return self._range_start is not None or self._range_end is not None

    def _has_range_header(self) -> bool:
        return any(name.lower() == "range" for name in self._custom_headers or ())

    def _problems(self) -> Iterator[str | None]:
        yield from super()._problems()
        yield checks.byte_range(self._range_start, self._range_end)
        yield checks.headers(self._custom_headers)
        if self._has_bounds() and self._has_range_header():
            yield "range is given twice: in headers and by range_start or range_end"


class DownloadObjectRequest(_DownloadRequest):
    """Ask for the content of a file as a stream."""

    def __init__(
        self,
        bucket_name: str,
        cos_path: str,
        range_start: int | None = None,
        range_end: int | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Remember what to fetch.

        Args:
            range_start, range_end: first and last byte, both inclusive; ``None`` is the beginning
                and the end of the file.
            headers: go along with the request. A ``Range`` among them is left to the server and
                excludes ``range_start`` and ``range_end``.
        """
        super().__init__(bucket_name, cos_path)
        self._range_start = range_start
        self._range_end = range_end
        self._custom_headers = headers


class DownloadFileRequest(_DownloadRequest):
    """Ask for the content of a file as a local file."""

    def __init__(
        self,
        bucket_name: str,
        cos_path: str,
        local_filename: str | os.PathLike[str],
        range_start: int | None = None,
        range_end: int | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        max_con: int = 1,
    ) -> None:
        """Remember what to fetch, and where to.

        Args:
            local_filename: is replaced when the download is complete.
            range_start, range_end, headers: as for ``DownloadObjectRequest``.
            max_con: ranges of a large file that are fetched at the same time; at most 32 are. With
                ``headers`` it comes in one stream.
        """
        super().__init__(bucket_name, cos_path)
        self.set_local_filename(local_filename)
        self._range_start = range_start
        self._range_end = range_end
        self._custom_headers = headers
        self._max_con = max_con

    def set_local_filename(self, local_filename: str | os.PathLike[str]) -> None:
        if isinstance(local_filename, os.PathLike):
            local_filename = os.fspath(local_filename)
        self._local_filename = local_filename

    def get_local_filename(self) -> str:
        return self._local_filename

    def set_max_con(self, max_con: int) -> None:
        self._max_con = max_con

    def get_max_con(self) -> int:
        return self._max_con

    def _problems(self) -> Iterator[str | None]:
        yield from super()._problems()
        yield checks.local_text("local_filename", self._local_filename)
        yield checks.local_name("local_filename", self._local_filename)
        yield checks.integer("max_con", self._max_con)
