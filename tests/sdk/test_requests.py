"""Getters, setters, and the checks with their messages (reference 5.2, 5.4)."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

import cosfs
from cosfs import (
    CosClient,
    CreateFolderRequest,
    DelFileRequest,
    DelFolderRequest,
    DownloadFileRequest,
    DownloadObjectRequest,
    ListFolderRequest,
    MoveFileRequest,
    StatFileRequest,
    StatFolderRequest,
    UpdateFileRequest,
    UpdateFolderRequest,
    UploadFileFromBufferRequest,
    UploadFileRequest,
    UploadSliceFileFromBufferRequest,
    UploadSliceFileRequest,
)
from tests.sdk.places import BUCKET, MIB
from tests.sdk.test_public_names import METHODS

#: Asks nobody: a request that passes would fail with -3.
CLIENT = CosClient(1250000000, "id", "key")
CLIENT.set_config(cosfs.CosConfig(5, hostname="127.0.0.1:1", download_hostname="127.0.0.1:1"))


def answer(request: Any) -> dict[str, Any]:
    """Send a request with the first method that takes it."""
    method = next(name for name, kind in METHODS.items() if type(request).__name__ == kind)
    try:
        reply = getattr(CLIENT, method)(request)
    except cosfs.CosReplyError as error:
        reply = error.reply
    assert isinstance(reply, dict)
    return reply


def refused(request: Any) -> str:
    """Return why a request is refused; nothing may be sent."""
    assert not request.check_params_valid()
    tips = request.get_err_tips()
    assert answer(request) == {"code": -1, "message": tips}
    return str(tips)


FILE_REQUESTS: list[Any] = [
    lambda path: StatFileRequest(BUCKET, path),
    lambda path: DelFileRequest(BUCKET, path),
    lambda path: UpdateFileRequest(BUCKET, path),
    lambda path: UploadFileRequest(BUCKET, path, __file__),
    lambda path: UploadSliceFileRequest(BUCKET, path, __file__),
    lambda path: UploadFileFromBufferRequest(BUCKET, path, b""),
    lambda path: UploadSliceFileFromBufferRequest(BUCKET, path, b""),
    lambda path: DownloadFileRequest(BUCKET, path, "/dev/null"),
    lambda path: DownloadObjectRequest(BUCKET, path),
    lambda path: MoveFileRequest(BUCKET, path, "/b"),
    lambda path: MoveFileRequest(BUCKET, "/b", path),
    lambda path: cosfs.CopyFileRequest(BUCKET, path, "/b"),
]
FOLDER_REQUESTS: list[Any] = [
    lambda path: CreateFolderRequest(BUCKET, path),
    lambda path: UpdateFolderRequest(BUCKET, path),
    lambda path: StatFolderRequest(BUCKET, path),
    lambda path: DelFolderRequest(BUCKET, path),
    lambda path: ListFolderRequest(BUCKET, path),
]
BAD_PARTS = [
    *[(letter, f"contain illegal letter {letter}") for letter in '?*:|\\<>"'],
    ("a//b", "contain illegal letter / /"),
    ("a/ \t/b", "contain illegal letter / /"),
    ("a/../b", "contain a part . or .., which is no name"),
    ("a/./b", "contain a part . or .., which is no name"),
    ("\x19", r"contain illegal letter '\x19'"),
    ("é" * 426, "is longer than 850 bytes"),
]


@pytest.mark.parametrize("make", FILE_REQUESTS)
@pytest.mark.parametrize(("part", "words"), BAD_PARTS)
def test_paths_of_files_that_are_refused(make: Any, part: str, words: str) -> None:
    assert refused(make(f"/{part}")).endswith(words)


@pytest.mark.parametrize("make", FOLDER_REQUESTS)
@pytest.mark.parametrize(("part", "words"), BAD_PARTS)
def test_paths_of_folders_that_are_refused(make: Any, part: str, words: str) -> None:
    assert refused(make(f"/{part}/")) == f"cos path {words}"


@pytest.mark.parametrize("make", FILE_REQUESTS)
def test_a_file_has_no_slash_at_its_end(make: Any) -> None:
    assert refused(make("/a/")) in (
        "for file operation, cos_path must not end with /",
        "for file operation, dest_path must not end with /",
    )


@pytest.mark.parametrize("make", FOLDER_REQUESTS)
def test_a_folder_has_a_slash_at_its_end(make: Any) -> None:
    assert refused(make("/a")) == "for folder operation, cos_path must end with /"


@pytest.mark.parametrize("make", FOLDER_REQUESTS[:2] + FOLDER_REQUESTS[3:4])
def test_the_root_is_not_changed(make: Any) -> None:
    assert refused(make("/")).startswith("bucket operation is not supported by sdk,")


def test_the_root_can_be_asked_about() -> None:
    assert StatFolderRequest(BUCKET, "/").check_params_valid()
    assert ListFolderRequest(BUCKET, "/").check_params_valid()


@pytest.mark.parametrize("make", FILE_REQUESTS[:1] + FOLDER_REQUESTS)
def test_a_path_begins_with_a_slash(make: Any) -> None:
    for path in ("", "a", " /a"):
        assert refused(make(path)) == "cos path must start with /"


@pytest.mark.parametrize("make", FILE_REQUESTS)
def test_what_is_no_text_for_a_constructor(make: Any) -> None:
    """The official ones call ``strip``; a destination is a plain member there."""
    for path in (None, 5):
        request = None
        try:
            request = make(path)
        except AttributeError as error:
            assert "strip" in str(error)
        else:
            assert refused(request) in ("dest_path is None!", "dest_path is not unicode!")
    with pytest.raises(AttributeError, match="strip"):
        StatFileRequest(None, "/a")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bucket", "path", "tips"),
    [
        (b"mybucket", "/a", "bucket is not unicode!"),
        (BUCKET, b"/a", "cos_path is not unicode!"),
        ("\udc80", "/a", "bucket is not UTF-8!"),
        (BUCKET, "/\udc80", "cos_path is not UTF-8!"),
    ],
)
def test_other_kinds_of_text(bucket: Any, path: Any, tips: str) -> None:
    assert refused(StatFileRequest(bucket, path)) == tips


@pytest.mark.parametrize("bucket", ["", "My", "a/b", "a.b", " mybucket", "a" * 41, "a\r\nb", "é"])
def test_names_that_no_bucket_has(bucket: str) -> None:
    assert refused(StatFileRequest(bucket, "/a")).startswith("bucket is not valid: ")


def test_common_getters_and_setters() -> None:
    request = StatFileRequest("a", "/b")
    assert (request.get_bucket_name(), request.get_cos_path()) == ("a", "/b")
    request.set_bucket_name("c")
    request.set_cos_path("/d")
    assert (request.get_bucket_name(), request.get_cos_path()) == ("c", "/d")
    assert request.check_params_valid() and request.get_err_tips() is None
    request.set_bucket_name()
    request.set_cos_path()
    assert (request.get_bucket_name(), request.get_cos_path()) == ("", "")
    with pytest.raises(AttributeError):
        request.set_cos_path(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        lambda text: CreateFolderRequest(BUCKET, "/a/", text),
        lambda text: UpdateFolderRequest(BUCKET, "/a/", text),
        lambda text: UploadFileRequest(BUCKET, "/a", __file__, text),
        lambda text: UploadSliceFileRequest(BUCKET, "/a", __file__, MIB, text),
        lambda text: UploadFileFromBufferRequest(BUCKET, "/a", b"", text),
        lambda text: UploadSliceFileFromBufferRequest(BUCKET, "/a", b"", MIB, text),
    ],
)
def test_biz_attr(make: Any) -> None:
    request = make("备注")
    assert request.get_biz_attr() == "备注" and request.check_params_valid()
    for value, tips in [(None, "None"), (b"", "not unicode"), ("\ud800", "not UTF-8")]:
        request.set_biz_attr(value)
        assert refused(request) == f"biz_attr is {tips}!"


def test_list_folder_request() -> None:
    request = ListFolderRequest(BUCKET, "/a/", 10, "p", "c", "/")
    assert (request.get_num(), request.get_prefix()) == (10, "p")
    assert (request.get_context(), request.get_delimiter()) == ("c", "/")
    request.set_num("10")  # type: ignore[arg-type]
    assert refused(request) == "num is not int!"
    request.set_num(10)
    request.set_prefix(None)  # type: ignore[arg-type]
    assert refused(request) == "prefix is None!"
    request.set_prefix("a/b")
    assert refused(request) == "prefix must not contain /"
    request.set_prefix("")
    request.set_delimiter(b"")  # type: ignore[arg-type]
    assert refused(request) == "delimeter is not unicode!"
    request.set_delimiter("")
    request.set_context(5)  # type: ignore[arg-type]
    assert refused(request) == "context is not unicode!"


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "local.txt"
    path.write_bytes(b"hello")
    return path


@pytest.mark.parametrize("kind", [UploadFileRequest, UploadSliceFileRequest])
def test_local_files(kind: Any, local: Path, tmp_path: Path) -> None:
    request = kind(BUCKET, "/a", str(local))
    assert request.get_local_path() == str(local) and request.check_params_valid()
    for path in (str(tmp_path / "none"), "", "a\0b", "\ud800"):
        request.set_local_path(path)
        assert refused(request) == f"local_file {path} not exist!"
    request.set_local_path(str(tmp_path))
    assert refused(request) == f"local_file {tmp_path} is not regular file!"
    request.set_local_path(b"/a")
    assert refused(request) == "local_path is not unicode!"
    request.set_local_path(local)
    assert request.get_local_path() == str(local)
    with pytest.raises(AttributeError):
        request.set_local_path(None)


def test_a_local_file_that_cannot_be_read(local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    tips = refused(UploadFileRequest(BUCKET, "/a", str(local)))
    assert tips == f"local_file {local} is not readable!"


def test_data(tmp_path: Path) -> None:
    request = UploadFileFromBufferRequest(BUCKET, "/a", b"x")
    for good in (b"", bytearray(b"x"), memoryview(b"x"), io.BytesIO(b"x")):
        request.set_data(good)
        assert request.get_data() is good and request.check_params_valid()
    closed = io.BytesIO()
    closed.close()
    read_end, write_end = os.pipe()
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        for bad, tips in [
            (None, "data is None!"),
            ("text", "data is not bytes!"),
            (5, "data is not bytes!"),
            (io.StringIO("x"), "data is not bytes!"),
            (memoryview(b"abcd")[::2], "data is not bytes!"),
            (closed, "data cannot seek: read it into memory first!"),
            (pipe, "data cannot seek: read it into memory first!"),
        ]:
            request.set_data(bad)
            assert refused(request) == tips


@pytest.mark.parametrize(
    "make",
    [
        lambda **kw: UploadFileRequest(BUCKET, "/a", __file__, **kw),
        lambda **kw: UploadSliceFileRequest(BUCKET, "/a", __file__, **kw),
        lambda **kw: UploadFileFromBufferRequest(BUCKET, "/a", b"", **kw),
        lambda **kw: UploadSliceFileFromBufferRequest(BUCKET, "/a", b"", **kw),
    ],
)
def test_upload_options(make: Any) -> None:
    request = make(insert_only=0, max_con=3)
    assert (request.get_insert_only(), request.get_max_con()) == (0, 3)
    assert request.get_verify_sha1() is False
    request.set_verify_sha1(True)
    assert request.get_verify_sha1() is True
    for value, tips in [
        (None, "insert_only is None!"),
        ("1", "insert_only is not int!"),
        (2, "insert_only only support 0 and 1"),
    ]:
        request.set_insert_only(value)
        assert refused(request) == tips
    request.set_insert_only(1)
    request.set_max_con("2")
    assert refused(request) == "max_con is not int!"


@pytest.mark.parametrize(
    "request_of",
    [
        lambda: UploadSliceFileRequest(BUCKET, "/a", __file__),
        lambda: UploadSliceFileFromBufferRequest(BUCKET, "/a", b""),
    ],
)
def test_slice_options(request_of: Any) -> None:
    request = request_of()
    assert request.get_slice_size() == MIB and request.enable_sha1 is False
    range_tips = "slice_size is invalid, only accept [65536, 3145728]"
    for size, tips in [
        (65535, range_tips),
        (3145729, range_tips),
        (0, range_tips),
        ("1", "slice_size is not int!"),
        (None, "slice_size is None!"),
    ]:
        request.set_slice_size(size)
        assert refused(request) == tips
    for size in (65536, 3145728):
        request.set_slice_size(size)
        assert request.check_params_valid()
    request.enable_sha1 = True
    assert refused(request) == "slice_size is invalid, slice must be 1MB with enable_sha1"
    request.set_slice_size(MIB)
    assert request.check_params_valid()
    with pytest.raises(ValueError, match="enable_sha1 should be True/False"):
        request.enable_sha1 = "yes"


def test_update_file_request() -> None:
    request = UpdateFileRequest(BUCKET, "/a")
    assert (request.get_biz_attr(), request.get_authority()) == (None, None)
    request.set_biz_attr("备注")
    request.set_authority("eWRPrivate")
    request.set_cache_control("no-cache")
    request.set_content_type("text/x")
    request.set_content_disposition("a.txt")
    request.set_content_language("en")
    request.set_content_encoding("gzip")
    request.set_x_cos_meta("x-cos-meta-a", "1")
    assert (request.get_biz_attr(), request.get_authority()) == ("备注", "eWRPrivate")
    assert request.get_custom_headers() == {
        "Cache-Control": "no-cache",
        "Content-Type": "text/x",
        "Content-Disposition": "a.txt",
        "Content-Language": "en",
        "Content-Encoding": "gzip",
        "x-cos-meta-a": "1",
    }
    assert request.check_params_valid()
    request.set_content_type(None)
    assert "Content-Type" not in request.get_custom_headers()


@pytest.mark.parametrize("authority", ["", "eInvalid", "eWRPrivate", "eWPrivateRPublic"])
def test_authorities(authority: str) -> None:
    request = UpdateFileRequest(BUCKET, "/a")
    request.set_authority(authority)
    assert request.check_params_valid()


@pytest.mark.parametrize(
    ("setter", "arguments", "tips"),
    [
        ("set_biz_attr", (5,), "biz_attr is not unicode!"),
        ("set_authority", (5,), "authority is not unicode!"),
        (
            "set_authority",
            ("private",),
            "file authority valid value is: eInvalid, eWRPrivate, eWPrivateRPublic",
        ),
        ("set_cache_control", (b"",), "cache_control is not unicode!"),
        ("set_content_type", (5,), "content_type is not unicode!"),
        ("set_content_disposition", (5,), "content_disposition is not unicode!"),
        ("set_content_language", (5,), "content_language is not unicode!"),
        ("set_content_encoding", ("\ud800",), "content_encoding is not UTF-8!"),
        ("set_x_cos_meta", (None, "1"), "x-cos-meta-key is None!"),
        ("set_x_cos_meta", ("x-cos-meta-a", None), "x-cos-meta-value is None!"),
        ("set_x_cos_meta", ("x-cos-meta-a", 1), "x-cos-meta-value is not unicode!"),
        ("set_x_cos_meta", ("a", "1"), "x-cos-meta key must start with x-cos-meta-"),
        ("set_x_cos_meta", ("x-cos-meta-", "1"), "x-cos-meta key must not just be x-cos-meta-"),
        ("set_x_cos_meta", ("x-cos-meta-a", ""), "x-cos-meta value must not be empty"),
    ],
)
def test_what_an_update_refuses(setter: str, arguments: Any, tips: str) -> None:
    request = UpdateFileRequest(BUCKET, "/a")
    getattr(request, setter)(*arguments)
    assert refused(request) == tips


def test_move_file_request() -> None:
    request = MoveFileRequest(BUCKET, "/a/b", "/c", True)
    assert (request.dest_path, request.overwrite) == ("/c", 1)
    assert MoveFileRequest(BUCKET, "/a/b", "/c").overwrite == 0
    with pytest.raises(ValueError, match="overwrite must be an instance of Boolean"):
        MoveFileRequest(BUCKET, "/a/b", "/c", 1)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        request.overwrite = 0  # type: ignore[misc]
    assert MoveFileRequest(BUCKET, "/a/b", "c/d").resolve_dest_path() == "/a/c/d"
    assert MoveFileRequest(BUCKET, "/b", "c").resolve_dest_path() == "/c"
    assert refused(MoveFileRequest(BUCKET, "/a/b", "")).startswith("for file operation, dest_path")
    assert refused(MoveFileRequest(BUCKET, "/a", "../c")).endswith("which is no name")


@pytest.mark.parametrize(
    "make",
    [
        lambda *args, **kw: DownloadObjectRequest(BUCKET, "/a", *args, **kw),
        lambda *args, **kw: DownloadFileRequest(BUCKET, "/a", "/dev/null", *args, **kw),
    ],
)
def test_download_options(make: Any) -> None:
    request = make(1, 5, headers={"X-A": "b"})
    assert (request.get_range_start(), request.get_range_end()) == (1, 5)
    assert request.get_custom_headers() == {"X-A": "b"} and request.check_params_valid()
    bad_range = "range is invalid, only accept 0 <= range_start <= range_end"
    for arguments, headers, tips in [
        (("1",), None, "range_start is not int!"),
        ((1, 2.5), None, "range_end is not int!"),
        ((-1,), None, bad_range),
        ((5, 4), None, bad_range),
        ((None, -1), None, bad_range),
        ((), ["a"], "headers is not dict!"),
        ((), {"a": 1}, "headers is not unicode!"),
        ((), {"a": "b\r\nc"}, "headers cannot hold 'a' with this value"),
        ((), {"a": "中"}, "headers cannot hold 'a' with this value"),
        ((), {"a b": "c"}, "headers cannot hold 'a b' with this value"),
        ((), {"Host": "c"}, "headers must not contain Host"),
        (
            (1,),
            {"range": "bytes=0-1"},
            "range is given twice: in headers and by range_start or range_end",
        ),
    ]:
        assert refused(make(*arguments, headers=headers)) == tips


def test_download_file_request() -> None:
    request = DownloadFileRequest(BUCKET, "/a", Path("/tmp/x"), max_con=3)
    assert (request.get_local_filename(), request.get_max_con()) == ("/tmp/x", 3)
    for name, tips in [
        (None, "local_filename is None!"),
        (b"x", "local_filename is not unicode!"),
        ("", "local_filename is no name of a file!"),
        ("a\0b", "local_filename is no name of a file!"),
        ("\ud800", "local_filename is no name of a file!"),
    ]:
        request.set_local_filename(name)  # type: ignore[arg-type]
        assert refused(request) == tips
    request.set_local_filename("x")
    request.set_max_con("3")  # type: ignore[arg-type]
    assert refused(request) == "max_con is not int!"
