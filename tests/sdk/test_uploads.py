"""Uploads: which way they go, slices, digests, resuming, file objects, progress."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosfs import (
    CosClient,
    DelFileRequest,
    StatFileRequest,
    UploadFileFromBufferRequest,
    UploadFileRequest,
    UploadSliceFileFromBufferRequest,
    UploadSliceFileRequest,
)
from cosfs import sha1 as inner_sha1
from cosfs.server.running import LocalServer
from tests.sdk.places import BUCKET, MIB, client_of, content, get, put, sha1, stat

EIGHT = 8 * MIB


def requests_of(server: LocalServer) -> dict[str, int]:
    counts: dict[str, int] = server.stats()["requests"]["by_op"]
    return {op: count for op, count in counts.items() if count}


def sliced(client: CosClient, path: str, data: Any, **options: Any) -> dict[str, Any]:
    request = UploadSliceFileFromBufferRequest(BUCKET, path, data, **options)
    return client.upload_slice_file_from_buffer(request)


# Which way ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "slices"), [(EIGHT - 1, 0), (EIGHT, 8), (EIGHT + 1, 9)])
def test_eight_mebibytes_and_more_go_in_slices(
    client: CosClient, server: LocalServer, folder: str, tmp_path: Path, size: int, slices: int
) -> None:
    data = content(size, size)
    (tmp_path / "a").write_bytes(data)
    expected = {"upload_slice_data": slices, "upload_slice_init": 1, "upload_slice_finish": 1}
    for name in ("file", "buffer"):
        server.reset_stats()
        if name == "file":
            request = UploadFileRequest(BUCKET, folder + name, tmp_path / "a")
            assert client.upload_file(request)["code"] == 0
        else:
            put(client, folder + name, data)
        assert requests_of(server) == (expected if slices else {"upload": 1})
        found = stat(client, folder + name)
        assert (found["filesize"], found["sha"]) == (size, sha1(data))


@pytest.mark.parametrize("size", [0, 20 * MIB])
def test_at_once_up_to_twenty_mebibytes(
    client: CosClient, server: LocalServer, folder: str, tmp_path: Path, size: int
) -> None:
    (tmp_path / "a").write_bytes(bytes(size))
    request = UploadFileRequest(BUCKET, f"{folder}a", str(tmp_path / "a"))
    assert client.upload_single_file(request)["code"] == 0
    assert requests_of(server) == {"upload": 1}
    assert stat(client, f"{folder}a")["filesize"] == size


def test_insert_only(client: CosClient, folder: str) -> None:
    path = f"{folder}a"
    put(client, path, b"old")
    request = UploadFileFromBufferRequest(BUCKET, path, b"new")
    assert client.upload_file_from_buffer(request)["code"] == -177
    assert get(client, path) == b"old"
    request.set_insert_only(False)
    assert client.upload_file_from_buffer(request)["code"] == 0
    assert get(client, path) == b"new"
    assert sliced(client, path, b"newer")["code"] == -177
    assert sliced(client, path, b"newer", insert_only=0)["code"] == 0
    assert get(client, path) == b"newer"


# Slices ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slice_size", [65536, MIB, 3 * MIB])
@pytest.mark.parametrize("max_con", [0, 1, 4])
def test_slices_of_all_sizes(
    client: CosClient, server: LocalServer, folder: str, slice_size: int, max_con: int
) -> None:
    size = 4 * slice_size + 1
    data = content(size, slice_size)
    assert sliced(client, f"{folder}a", data, slice_size=slice_size, max_con=max_con)["code"] == 0
    assert requests_of(server)["upload_slice_data"] == 5
    assert get(client, f"{folder}a") == data


def test_a_server_that_wants_slices_in_order() -> None:
    with LocalServer(buckets=[BUCKET], serial_upload=True) as server, client_of(server) as client:
        assert sliced(client, "/a", content(8 * MIB, 40), max_con=4)["code"] == 0


def test_failures_of_slices_pass(client: CosClient, server: LocalServer, folder: str) -> None:
    data = content(6 * MIB, 41)
    server.set_faults(
        {"rules": [
            {"op": "upload_slice_data", "skip": 1, "times": 1, "action": "drop_before"},
            {"op": "upload_slice_data", "skip": 2, "times": 1, "action": "drop_after"},
            {"op": "upload_slice_data", "times": 1, "action": "garbage"},
            {"op": "upload_slice_init", "times": 1, "action": "drop_after"},
            {"op": "upload_slice_finish", "times": 1, "action": "status", "status": 500},
        ]}
    )  # fmt: skip
    assert sliced(client, f"{folder}a", data, max_con=3)["code"] == 0
    assert get(client, f"{folder}a") == data


# Digests -----------------------------------------------------------------------------------------


def test_known_content_is_not_sent(client: CosClient, server: LocalServer, folder: str) -> None:
    data = content(9 * MIB, 42)
    assert sliced(client, f"{folder}a", data, enable_sha1=True)["code"] == 0
    server.reset_stats()
    reply = sliced(client, f"{folder}b", data, enable_sha1=True)
    assert set(reply["data"]) == {"access_url", "resource_path", "source_url", "url"}
    assert requests_of(server) == {"upload_slice_init": 1}
    assert server.stats()["bytes_in"] < 10_000
    assert get(client, f"{folder}b") == data


def test_an_interrupted_upload_is_resumed_with_the_slices_that_are_missing(
    client: CosClient, server: LocalServer, folder: str, tmp_path: Path
) -> None:
    data = content(9 * MIB + 7, 43)
    (tmp_path / "a").write_bytes(data)
    server.set_faults(
        {"rules": [{"op": "upload_slice_data", "skip": 6, "action": "status", "status": 400,
                    "code": -5999}]}
    )  # fmt: skip
    request = UploadFileRequest(
        BUCKET, f"{folder}a", tmp_path / "a", verify_sha1=True, max_con=3
    )
    assert client.upload_file(request)["code"] == -5999
    server.clear_faults()
    server.reset_stats()
    done: list[tuple[int, int]] = []
    assert client.upload_file(request, progress=lambda *at: done.append(at))["code"] == 0
    assert requests_of(server) == {
        "upload_slice_init": 1,
        "upload_slice_list": 1,
        "stat": 1,
        "upload_slice_data": 4,
        "upload_slice_finish": 1,
    }
    assert done[0] == (6 * MIB, len(data)) and done[-1] == (len(data), len(data))
    assert get(client, f"{folder}a") == data


@pytest.mark.parametrize("with_sha1", [True, False])
def test_an_unfinished_upload_of_other_content_is_cleared(
    client: CosClient, server: LocalServer, folder: str, with_sha1: bool
) -> None:
    path = f"{folder}a"
    server.set_faults(
        {"rules": [{"op": "upload_slice_data", "skip": 1, "action": "status", "status": 400,
                    "code": -5999}]}
    )  # fmt: skip
    assert sliced(client, path, content(3 * MIB, 44), enable_sha1=True)["code"] == -5999
    server.clear_faults()
    server.reset_stats()
    data = content(3 * MIB, 45)
    assert sliced(client, path, data, enable_sha1=with_sha1)["code"] == 0
    assert requests_of(server)["delete"] == 1
    assert get(client, path) == data


def test_a_resumed_upload_has_the_text_of_the_last_call(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    data = content(3 * MIB, 57)
    server.set_faults(
        {"rules": [{"op": "upload_slice_data", "skip": 1, "action": "status", "status": 400,
                    "code": -5999}]}
    )  # fmt: skip
    options = {"enable_sha1": True, "biz_attr": "old"}
    assert sliced(client, f"{folder}a", data, **options)["code"] == -5999
    server.clear_faults()
    assert sliced(client, f"{folder}a", data, **{**options, "biz_attr": "new"})["code"] == 0
    assert stat(client, f"{folder}a")["biz_attr"] == "new"


@pytest.mark.parametrize("with_sha1", [True, False])
def test_a_file_that_an_unfinished_upload_was_to_replace_stays(
    client: CosClient, server: LocalServer, folder: str, with_sha1: bool
) -> None:
    path = f"{folder}a"
    put(client, path, b"good")
    other = content(3 * MIB, 540 + with_sha1)  # not known to the server
    server.set_faults(
        {"rules": [{"op": "upload_slice_data", "skip": 1, "action": "status", "status": 400,
                    "code": -5999}]}
    )  # fmt: skip
    assert sliced(client, path, other, enable_sha1=True, insert_only=0)["code"] == -5999
    server.clear_faults()
    reply = sliced(client, path, content(3 * MIB, 55), enable_sha1=with_sha1, insert_only=0)
    assert reply["code"] == -4020
    assert get(client, path) == b"good"
    assert sliced(client, path, other, enable_sha1=True, insert_only=0)["code"] == 0
    assert get(client, path) == other


def test_an_upload_without_digests_begins_again(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    data = content(3 * MIB, 46)
    server.set_faults(
        {"rules": [{"op": "upload_slice_data", "skip": 1, "action": "status", "status": 400,
                    "code": -5999}]}
    )  # fmt: skip
    assert sliced(client, f"{folder}a", data)["code"] == -5999
    server.clear_faults()
    server.reset_stats()
    assert sliced(client, f"{folder}a", data)["code"] == 0
    assert requests_of(server)["upload_slice_data"] == 3
    assert get(client, f"{folder}a") == data


def test_an_upload_at_once_says_that_an_unfinished_one_has_the_name(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    path = f"{folder}a"
    server.set_faults(
        {"rules": [{"op": "upload_slice_data", "action": "status", "status": 400,
                    "code": -5999}]}
    )  # fmt: skip
    assert sliced(client, path, content(3 * MIB, 47))["code"] == -5999
    server.clear_faults()
    request = UploadFileFromBufferRequest(BUCKET, path, b"small")
    assert client.upload_file_from_buffer(request)["code"] == -4020
    assert client.del_file(DelFileRequest(BUCKET, path))["code"] == 0
    assert client.upload_file_from_buffer(request)["code"] == 0


def test_without_libcrypto_uploads_go_without_digests(
    client: CosClient, server: LocalServer, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inner_sha1, "available", lambda: False)
    data = content(3 * MIB, 48)
    for path in (f"{folder}a", f"{folder}b"):
        assert sliced(client, path, data, enable_sha1=True)["code"] == 0
    assert requests_of(server)["upload_slice_data"] == 6


# Content -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [5, 9 * MIB])
@pytest.mark.parametrize("kind", ["bytesio", "file", "gzip", "bytearray", "memoryview"])
def test_all_kinds_of_content(
    client: CosClient, folder: str, tmp_path: Path, kind: str, size: int
) -> None:
    data = content(size, 49)
    head = b"before" if kind == "bytesio" else b""
    (tmp_path / "plain").write_bytes(data)
    with gzip.open(tmp_path / "packed", "wb", compresslevel=1) as packed:
        packed.write(data)
    makers: dict[str, Callable[[], Any]] = {
        "bytesio": lambda: io.BytesIO(head + data),
        "file": lambda: open(tmp_path / "plain", "rb"),
        "gzip": lambda: gzip.open(tmp_path / "packed"),
        "bytearray": lambda: bytearray(data),
        "memoryview": lambda: memoryview(data),
    }
    source = makers[kind]()
    if head:
        source.seek(len(head))
    begin = source.tell() if hasattr(source, "tell") else None
    request = UploadFileFromBufferRequest(BUCKET, f"{folder}a", source, max_con=2)
    assert client.upload_file_from_buffer(request)["code"] == 0
    assert get(client, f"{folder}a") == data
    if begin is not None:
        assert source.tell() == begin
        source.close()


def test_a_file_object_may_be_sent_again(client: CosClient, folder: str) -> None:
    with tempfile.TemporaryFile() as stream:
        stream.write(b"hello")
        stream.seek(0)
        request = UploadFileFromBufferRequest(BUCKET, f"{folder}a", stream, insert_only=0)
        for _ in range(2):
            assert client.upload_file_from_buffer(request)["code"] == 0
            assert get(client, f"{folder}a") == b"hello"


@pytest.mark.parametrize("kind", ["at once", "slices"])
def test_a_file_object_may_be_sent_again_after_a_failure(
    client: CosClient, server: LocalServer, folder: str, kind: str
) -> None:
    data = content(MIB + 3, 53)
    stream = io.BytesIO(b"head" + data)
    stream.seek(4)
    if kind == "slices":
        send = lambda: sliced(client, f"{folder}a", stream)  # noqa: E731
    else:
        request = UploadFileFromBufferRequest(BUCKET, f"{folder}a", stream)
        send = lambda: client.upload_file_from_buffer(request)  # noqa: E731
    ops = ("upload", "upload_slice_data")
    fault = {"action": "status", "status": 403, "code": -64}
    server.set_faults({"rules": [{"op": op, **fault} for op in ops]})
    assert send()["code"] == -64
    assert stream.tell() == 4
    server.clear_faults()
    assert send()["code"] == 0
    assert get(client, f"{folder}a") == data


def test_the_failure_of_an_upload_is_told_and_not_that_of_putting_back(
    client: CosClient, folder: str
) -> None:
    class Once(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            self.close()
            raise OSError(5, "first")

    request = UploadFileFromBufferRequest(BUCKET, f"{folder}a", Once(b"hello"))
    reply = client.upload_file_from_buffer(request)
    assert reply["code"] == -1 and "first" in reply["message"]


class Broken(io.BytesIO):
    """Fails, or gives less than it was asked for."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__(bytes(100))
        self.error = error

    def read(self, size: int | None = -1) -> bytes:
        if self.error is not None:
            raise self.error
        return super().read(7)


@pytest.mark.parametrize("error", [OSError(5, "broken"), RuntimeError("odd"), None])
def test_content_that_cannot_be_read(
    client: CosClient, folder: str, error: Exception | None
) -> None:
    request = UploadFileFromBufferRequest(BUCKET, f"{folder}a", Broken(error))
    reply = client.upload_file_from_buffer(request)
    # One that reads short is read on; one that fails fails the call.
    assert reply["code"] == (0 if error is None else -1)
    assert sliced(client, f"{folder}b", Broken(error))["code"] == (-1 if error else 0)


def test_content_that_ends_early(client: CosClient, folder: str) -> None:
    class Liar(io.BytesIO):
        def seek(self, offset: int, whence: int = 0) -> int:
            return super().seek(offset, whence) + (7 if whence == os.SEEK_END else 0)

    request = UploadFileFromBufferRequest(BUCKET, f"{folder}a", Liar(b"hello"))
    reply = client.upload_file_from_buffer(request)
    assert reply["code"] == -1 and "shorter" in reply["message"]
    assert client.stat_file(StatFileRequest(BUCKET, f"{folder}a"))["code"] == -197


def test_a_file_that_goes_away(
    client: CosClient, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cosfs.sdk import checks

    monkeypatch.setattr(checks, "local_file", lambda path: None)
    reply = client.upload_file(UploadFileRequest(BUCKET, f"{folder}a", tmp_path / "none"))
    assert reply["code"] == -1 and "cannot be read" in reply["message"]


# Progress ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 5, 3 * MIB, 9 * MIB + 1])
@pytest.mark.parametrize("max_con", [1, 3])
def test_progress(client: CosClient, folder: str, size: int, max_con: int) -> None:
    seen: list[tuple[int, int]] = []
    request = UploadFileFromBufferRequest(
        BUCKET, f"{folder}a", content(size, 50), max_con=max_con
    )
    reply = client.upload_file_from_buffer(request, progress=lambda *at: seen.append(at))
    assert reply["code"] == 0
    assert seen == sorted(seen) and {total for _, total in seen} <= {size}
    assert not size or seen[-1] == (size, size)


@pytest.mark.parametrize("size", [3 * MIB, 9 * MIB])
@pytest.mark.parametrize("error", [OSError("disk"), KeyError("x"), ValueError("x")])
def test_what_a_progress_function_raises_ends_the_upload(
    client: CosClient, folder: str, size: int, error: Exception
) -> None:
    def stop(done: int, total: int) -> None:
        if done:
            raise error

    request = UploadFileFromBufferRequest(BUCKET, f"{folder}a", content(size, 51), max_con=2)
    with pytest.raises(type(error)) as caught:
        client.upload_file_from_buffer(request, progress=stop)
    assert caught.value is error
    reply = client.stat_file(StatFileRequest(BUCKET, f"{folder}a"))
    assert reply["code"] == -197 or reply["data"]["filelen"] < size


def test_slices_of_a_file_report_progress_too(
    client: CosClient, folder: str, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(content(3 * MIB, 52))
    seen: list[tuple[int, int]] = []
    request = UploadSliceFileRequest(BUCKET, f"{folder}a", str(tmp_path / "a"))
    reply = client.upload_slice_file(request, progress=lambda *at: seen.append(at))
    assert reply["code"] == 0
    assert seen == [(0, 3 * MIB), (MIB, 3 * MIB), (2 * MIB, 3 * MIB), (3 * MIB, 3 * MIB)]
