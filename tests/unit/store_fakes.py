"""A bucket in memory for tests of the store on the JSON API."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cosfs.errors import (
    AlreadyExists,
    NotFound,
    RangeNotSatisfiable,
    StoreError,
    UnfinishedOther,
)
from cosfs.jsonapi.replies import (
    Downloaded,
    FileInfo,
    FolderInfo,
    ListedEntry,
    Listing,
    SliceSession,
    UploadedFile,
)
from cosfs.model import BytesSource, Source, Version

MIB = 1024 * 1024
LARGE = BytesSource(bytes(range(256)) * (81920 + 16))  # a little over 20 MiB
INFO = FileInfo("", 50, 60, 0, 0, "", 0, "eInvalid", 0, {}, "http://cdn/f", "http://origin/f")
UPLOADED = UploadedFile("http://cdn/f", "http://origin/f", "", "")


class FakeBucket:
    """A bucket that keeps files in a dict, writes down what it is asked, and fails on order."""

    name = "mybucket"

    def __init__(self) -> None:
        self.files: dict[str, FileInfo] = {}
        self.data: dict[str, bytes] = {}
        self.folders: dict[str, str] = {}
        self.calls: list[tuple[str, str]] = []
        self.sent: list[dict[str, Any]] = []
        self.fail: dict[str, Callable[[str], StoreError | None]] = {}
        self.etag: Callable[[str], str] = self._sha
        self.listing = Listing((), "", True)

    def _begin(self, method: str, key: str) -> None:
        self.calls.append((method, key))
        error = self.fail[method](key) if method in self.fail else None
        if error is not None:
            raise error

    def _sha(self, key: str) -> str:
        return self.files[key].sha

    def _look(self, key: str) -> FileInfo:
        if key not in self.files:
            raise NotFound("missing", path=key)
        return self.files[key]

    def put(self, key: str, data: bytes, **changes: Any) -> Version:
        sha = hashlib.sha1(data).hexdigest()
        self.files[key] = replace(
            INFO, **{"filesize": len(data), "filelen": len(data), "sha": sha, **changes}
        )
        self.data[key] = data
        return Version(sha, len(data))

    def stat_file(self, key: str) -> FileInfo:
        self._begin("stat_file", key)
        return self._look(key)

    def slice_list(self, key: str) -> UploadedFile:
        """Say that nothing is being uploaded to a name that has a file."""
        self._begin("slice_list", key)
        self._look(key)
        return UPLOADED

    def stat_folder(self, key: str) -> FolderInfo:
        self._begin("stat_folder", key)
        if key and key not in self.folders:
            raise NotFound("missing", path=key)
        return FolderInfo(self.folders.get(key, ""), 50, 60)

    def create_folder(self, key: str, biz_attr: str = "") -> None:
        self._begin("create_folder", key)
        if key in self.folders:
            raise AlreadyExists("there", path=key)
        self.folders[key] = biz_attr

    def update_folder(self, key: str, biz_attr: str) -> None:
        self._begin("update_folder", key)
        if key not in self.folders:
            raise NotFound("missing", path=key)
        self.folders[key] = biz_attr

    def delete_folder(self, key: str) -> None:
        self._begin("delete_folder", key)
        if key not in self.folders:
            raise NotFound("missing", path=key)
        del self.folders[key]

    def list_folder(self, key: str, **named: Any) -> Listing:
        self._begin("list_folder", key)
        self.sent.append(named)
        return self.listing

    def upload(
        self, key: str, source: Source, *, sha: str, biz_attr: str, insert_only: bool
    ) -> UploadedFile:
        self._begin("upload", key)
        data = source.read_at(0, source.size)
        assert hashlib.sha1(data).hexdigest() == sha
        if key in self.files and not self.files[key].is_complete:
            raise UnfinishedOther("occupied", path=key)
        self.put(key, data, biz_attr=biz_attr)
        return UPLOADED

    def update_file(self, key: str, **named: Any) -> None:
        self._begin("update_file", key)
        self.sent.append(named)
        self.files[key] = replace(
            self._look(key), **{name: value for name, value in named.items() if value is not None}
        )

    def delete_file(self, key: str) -> None:
        self._begin("delete_file", key)
        self._look(key)
        del self.files[key], self.data[key]

    def move_file(self, key: str, dest_key: str, *, overwrite: bool) -> None:
        self._begin("move_file", dest_key)
        self._look(key)
        if dest_key in self.files and not self.files[dest_key].is_complete:
            raise UnfinishedOther("occupied", path=dest_key)
        if dest_key in self.files and not overwrite:
            raise AlreadyExists("there", path=dest_key)
        self.files[dest_key] = self.files.pop(key)
        self.data[dest_key] = self.data.pop(key)

    def slice_init(self, key: str, *, filesize: int, biz_attr: str = "", **_: Any) -> SliceSession:
        self._begin("slice_init", key)
        self.put(key, bytes(filesize), biz_attr=biz_attr, filelen=0)
        return SliceSession("session", MIB, False)

    def slice_data(
        self, key: str, session: str, offset: int, source: Source, length: int, *_: Any, **__: Any
    ) -> None:
        self._begin("slice_data", key)
        data = self.data[key]
        piece = source.read_at(offset, length)
        self.data[key] = data[:offset] + piece + data[offset + length :]

    def slice_finish(self, key: str, session: str, filesize: int, *_: Any, **__: Any) -> Any:
        self._begin("slice_finish", key)
        self.put(key, self.data[key], biz_attr=self.files[key].biz_attr)
        return UPLOADED

    def download(self, key: str, offset: int, into: memoryview) -> Downloaded:
        self._begin("download", key)
        info = self._look(key)
        if offset + len(into) > info.filesize:
            raise RangeNotSatisfiable("beyond", path=key)
        into[:] = self.data[key][offset : offset + len(into)]
        return Downloaded(info.filesize, self.etag(key), "")

    def methods(self) -> list[str]:
        names = [method for method, _key in self.calls]
        self.calls.clear()
        return names


def listed(name: str, **changes: Any) -> ListedEntry:
    entry = ListedEntry(name, False, 50, 60, 3, 3, "a" * 40, "eInvalid", "", "")
    return replace(entry, **changes)


def always(error: StoreError) -> Callable[[str], StoreError | None]:
    return lambda key: error
