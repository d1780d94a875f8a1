"""Downloads: files that are never half, parallel ranges, bodies that break, streams."""

from __future__ import annotations

import io
import os
import stat as modes
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cosfs import (
    CosClient,
    CosConfig,
    CosReplyError,
    DownloadFileRequest,
    DownloadObjectRequest,
    ObjectBody,
    UploadSliceFileFromBufferRequest,
)
from cosfs.sdk.fetch import PART_SIZE
from cosfs.server.running import LocalServer
from tests.sdk.places import BUCKET, MIB, content, put, sha1
from tests.unit.jsonapi_fakes import SocketServer, answers, http_reply

BIG = 2 * PART_SIZE + 5


def fetch(client: CosClient, path: str, target: Path, **options: Any) -> dict[str, Any]:
    return client.download_file(DownloadFileRequest(BUCKET, path, str(target), **options))


def only(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Local files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_con", [0, 1, 4])
@pytest.mark.parametrize("size", [0, 1, MIB, BIG])
def test_what_arrives_is_what_is_stored(
    client: CosClient, folder: str, tmp_path: Path, size: int, max_con: int
) -> None:
    data = content(size, 60)
    put(client, f"{folder}a", data)
    target = tmp_path / "a"
    target.write_bytes(b"old, and longer than nothing")
    reply = fetch(client, f"{folder}a", target, max_con=max_con)
    assert reply == {"code": 0, "message": "download successfully"}
    assert target.read_bytes() == data and only(tmp_path) == ["a"]


def test_threads_that_cannot_be_started_are_done_without(
    client: CosClient, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = content(BIG, 67)
    put(client, f"{folder}a", data)
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("cosfs-range"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert fetch(client, f"{folder}a", tmp_path / "a", max_con=4)["code"] == 0
    assert (tmp_path / "a").read_bytes() == data


def test_headers_go_along_with_a_large_file_too(
    client: CosClient, server: LocalServer, folder: str, tmp_path: Path
) -> None:
    data = content(BIG, 68)
    put(client, f"{folder}a", data)
    server.reset_stats()
    headers = {"X-Test": "1"}
    assert fetch(client, f"{folder}a", tmp_path / "a", max_con=4, headers=headers)["code"] == 0
    assert server.stats()["requests"]["by_op"]["download"] == 1
    assert (tmp_path / "a").read_bytes() == data


def test_a_failed_download_leaves_what_was_there(
    client: CosClient, server: LocalServer, folder: str, tmp_path: Path
) -> None:
    put(client, f"{folder}a", content(MIB, 61))
    target = tmp_path / "a"
    target.write_bytes(b"good")
    server.set_faults({"rules": [{"op": "download", "action": "cut_body"}]})
    assert fetch(client, f"{folder}a", target)["code"] == 1
    assert target.read_bytes() == b"good" and only(tmp_path) == ["a"]
    assert fetch(client, f"{folder}none", tmp_path / "b")["code"] == 1
    assert only(tmp_path) == ["a"]


def test_modes(client: CosClient, folder: str, tmp_path: Path) -> None:
    put(client, f"{folder}a", b"1")
    old = os.umask(0o027)
    try:
        assert fetch(client, f"{folder}a", tmp_path / "new")["code"] == 0
    finally:
        os.umask(old)
    assert modes.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    (tmp_path / "old").touch(0o600)
    assert fetch(client, f"{folder}a", tmp_path / "old")["code"] == 0
    assert modes.S_IMODE((tmp_path / "old").stat().st_mode) == 0o600


def test_links_are_followed_and_devices_stay(
    client: CosClient, folder: str, tmp_path: Path
) -> None:
    put(client, f"{folder}a", b"hello")
    (tmp_path / "link").symlink_to("file")
    assert fetch(client, f"{folder}a", tmp_path / "link")["code"] == 0
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_bytes() == b"hello"
    assert fetch(client, f"{folder}a", Path("/dev/null"), max_con=4)["code"] == 0
    assert modes.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_pipe_is_written_to(client: CosClient, folder: str, tmp_path: Path) -> None:
    put(client, f"{folder}a", b"hello")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    assert fetch(client, f"{folder}a", pipe)["code"] == 0
    reader.join()
    assert got == [b"hello"]


@pytest.mark.parametrize("name", ["", "none/a", "a" * 300])
def test_local_names_that_cannot_be_written(
    client: CosClient, folder: str, tmp_path: Path, name: str
) -> None:
    put(client, f"{folder}a", b"1")
    reply = fetch(client, f"{folder}a", tmp_path / name)
    assert reply["code"] == 1 and reply["message"].startswith("download failed, exception: ")
    assert only(tmp_path) == []


def test_a_long_name_has_room_for_the_temporary_one(
    client: CosClient, folder: str, tmp_path: Path
) -> None:
    put(client, f"{folder}a", b"1")
    assert fetch(client, f"{folder}a", tmp_path / ("a" * 255))["code"] == 0


# Checks ------------------------------------------------------------------------------------------


def of_bodies(*bodies: bytes, slicesize: int = 0, etag: str = "") -> SocketServer:
    """A server that answers downloads with ``bodies`` in turn, and stat with a slice size."""
    told = etag or sha1(b"content")
    info = (
        b'{"code":0,"message":"","data":{"ctime":1,"mtime":1,"filesize":7,"filelen":7,'
        b'"sha":"%b","slicesize":%d}}' % (told.encode(), slicesize)
    )
    replies = [http_reply(body, headers=[f'ETag: "{told}"']) for body in bodies]
    return SocketServer(answers(*replies, http_reply(info)))


@pytest.fixture
def client_for() -> Iterator[Callable[[SocketServer], CosClient]]:
    clients: list[CosClient] = []

    def make(server: SocketServer) -> CosClient:
        client = CosClient(1250000000, "id", "key")
        host = f"127.0.0.1:{server.port}"
        client.set_config(CosConfig(5, hostname=host, download_hostname=host))
        clients.append(client)
        return client

    yield make


def test_content_that_was_spoilt_on_the_way_is_fetched_again(
    client_for: Any, tmp_path: Path
) -> None:
    with of_bodies(b"cOntent", b"content") as server, client_for(server) as client:
        assert fetch(client, "/a", tmp_path / "a")["code"] == 0
    assert (tmp_path / "a").read_bytes() == b"content"


@pytest.mark.parametrize(
    ("bodies", "slicesize"), [((b"cOntent", b"cOntent"), 0), ((b"cOntent", b"conTent"), MIB)]
)
def test_content_without_its_digest_is_not_taken(
    client_for: Any, tmp_path: Path, bodies: Any, slicesize: int
) -> None:
    (tmp_path / "a").write_bytes(b"good")
    with of_bodies(*bodies, slicesize=slicesize) as server, client_for(server) as client:
        reply = fetch(client, "/a", tmp_path / "a")
    assert reply["code"] == 1 and "digest" in reply["message"]
    assert (tmp_path / "a").read_bytes() == b"good" and only(tmp_path) == ["a"]


def test_slices_of_others_may_have_another_digest(
    client_for: Any, tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("'a' on the server does not have the digest that is told of it")
    with of_bodies(b"foreign", b"foreign", slicesize=MIB) as server, client_for(server) as client:
        assert fetch(client, "/a", tmp_path / "a")["code"] == 0
    assert (tmp_path / "a").read_bytes() == b"foreign"


def test_an_etag_that_is_no_digest_says_nothing(client_for: Any, tmp_path: Path) -> None:
    with of_bodies(b"content", etag="x-1") as server, client_for(server) as client:
        assert fetch(client, "/a", tmp_path / "a")["code"] == 0


def test_a_body_without_an_end_is_not_taken(client_for: Any, tmp_path: Path) -> None:
    with SocketServer(answers(b"HTTP/1.1 200 OK\r\n\r\nhello")) as server:
        with client_for(server) as client:
            reply = fetch(client, "/a", tmp_path / "a")
    assert reply["code"] == 1 and only(tmp_path) == []


# Breaks ------------------------------------------------------------------------------------------


def test_a_body_that_breaks_goes_on_where_it_broke(
    client: CosClient, server: LocalServer, folder: str, tmp_path: Path
) -> None:
    data = content(2 * MIB, 62)
    put(client, f"{folder}a", data)
    server.set_faults({"rules": [{"op": "download", "times": 2, "action": "cut_body"}]})
    server.reset_stats()
    assert fetch(client, f"{folder}a", tmp_path / "a")["code"] == 0
    assert (tmp_path / "a").read_bytes() == data
    assert server.stats()["requests"]["by_op"]["download"] == 3
    assert server.stats()["bytes_out"] < len(data) + MIB


def test_a_range_that_breaks_goes_on_where_it_broke(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    data = content(2 * MIB, 63)
    put(client, f"{folder}a", data)
    server.set_faults({"rules": [{"op": "download", "times": 1, "action": "cut_body"}]})
    headers = {"Range": f"bytes=-{MIB}"}
    request = DownloadObjectRequest(BUCKET, f"{folder}a", headers=headers)
    with client.download_object(request) as body:
        assert body.read() == data[MIB:]


def test_parts_that_break_go_on(
    client: CosClient, server: LocalServer, folder: str, tmp_path: Path
) -> None:
    data = content(BIG, 64)
    put(client, f"{folder}a", data)
    server.set_faults({"rules": [{"op": "download", "times": 2, "action": "cut_body"}]})
    assert fetch(client, f"{folder}a", tmp_path / "a", max_con=3)["code"] == 0
    assert (tmp_path / "a").read_bytes() == data


def test_a_file_that_changes_while_it_is_read_is_not_mixed(
    client: CosClient, folder: str, tmp_path: Path
) -> None:
    old, new = content(BIG, 65), content(BIG, 66)
    put(client, f"{folder}a", old)
    changed = threading.Event()

    def change(done: int, total: int) -> None:
        if not changed.is_set():
            changed.set()
            request = UploadSliceFileFromBufferRequest(
                BUCKET, f"{folder}a", new, insert_only=0
            )
            assert client.upload_slice_file_from_buffer(request)["code"] == 0

    request = DownloadFileRequest(BUCKET, f"{folder}a", str(tmp_path / "a"), max_con=2)
    reply = client.download_file(request, progress=change)
    assert reply["code"] == 1 and "changed" in reply["message"]
    assert only(tmp_path) == []


# Parallel ranges ---------------------------------------------------------------------------------


def test_large_files_come_in_ranges_when_asked(
    client: CosClient, server: LocalServer, folder: str, tmp_path: Path
) -> None:
    put(client, f"{folder}big", content(BIG, 67))
    put(client, f"{folder}small", content(MIB, 67))
    for name, max_con, expected in [
        ("big", 4, {"stat": 1, "download": 3}),
        ("big", 1, {"stat": 0, "download": 1}),
        ("small", 4, {"stat": 1, "download": 1}),
    ]:
        server.reset_stats()
        assert fetch(client, f"{folder}{name}", tmp_path / "a", max_con=max_con)["code"] == 0
        counts = server.stats()["requests"]["by_op"]
        assert {op: counts[op] for op in expected} == expected


def test_a_range_of_a_large_file_comes_at_once(
    client: CosClient, server: LocalServer, folder: str, tmp_path: Path
) -> None:
    data = content(BIG, 68)
    put(client, f"{folder}a", data)
    server.reset_stats()
    assert fetch(client, f"{folder}a", tmp_path / "a", range_start=5, max_con=4)["code"] == 0
    assert (tmp_path / "a").read_bytes() == data[5:]
    assert server.stats()["requests"]["by_op"]["download"] == 1


# Progress ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_con", [1, 4])
def test_progress(client: CosClient, folder: str, tmp_path: Path, max_con: int) -> None:
    put(client, f"{folder}a", content(BIG, 69))
    seen: list[tuple[int, int]] = []
    request = DownloadFileRequest(BUCKET, f"{folder}a", str(tmp_path / "a"), max_con=max_con)
    reply = client.download_file(request, progress=lambda *at: seen.append(at))
    assert reply["code"] == 0
    assert seen == sorted(seen) and len(seen) > 1 and seen[-1] == (BIG, BIG)


@pytest.mark.parametrize("max_con", [1, 4])
def test_what_a_progress_function_raises_ends_the_download(
    client: CosClient, folder: str, tmp_path: Path, max_con: int
) -> None:
    put(client, f"{folder}a", content(BIG, 70))
    error = OSError("enough")

    def stop(done: int, total: int) -> None:
        raise error

    request = DownloadFileRequest(BUCKET, f"{folder}a", str(tmp_path / "a"), max_con=max_con)
    with pytest.raises(OSError, match="enough") as caught:
        client.download_file(request, progress=stop)
    assert caught.value is error and only(tmp_path) == []


# Streams -----------------------------------------------------------------------------------------


def open_object(client: CosClient, path: str) -> ObjectBody:
    return client.download_object(DownloadObjectRequest(BUCKET, path))


def test_streams_are_read_like_files(client: CosClient, folder: str) -> None:
    put(client, f"{folder}a", b"one\ntwo\nthree")
    with open_object(client, f"{folder}a") as body:
        assert (body.status, body.size, body.headers["content-length"]) == (200, 13, "13")
        assert body.read(2) == b"on" and body.readline() == b"e\n"
        assert list(body) == [b"two\n", b"three"]
        assert body.read() == b""
    with open_object(client, f"{folder}a") as body:
        assert list(body.stream(6)) == [b"one\ntw", b"o\nthre", b"e"]
    with io.TextIOWrapper(open_object(client, f"{folder}a")) as text:
        assert text.readlines() == ["one\n", "two\n", "three"]
    with pytest.raises(ValueError, match="closed"):
        body.read()


def test_the_rest_of_a_stream_that_cannot_be_had(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    put(client, f"{folder}a", content(4 * MIB, 71))
    server.set_faults({"rules": [{"op": "download", "action": "cut_body"}]})
    with open_object(client, f"{folder}a") as body, pytest.raises(IOError, match="broke off"):
        while body.read(65536):
            server.set_faults({"rules": [{"op": "download", "action": "drop_before"}]})


def test_a_stream_that_is_dropped_gives_its_connection_back(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    put(client, f"{folder}a", content(9 * MIB, 72))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        open_object(client, f"{folder}a")
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_what_a_stream_raises_is_an_os_error() -> None:
    error = CosReplyError({"code": -197, "message": "no such file"})
    assert isinstance(error, OSError) and error.errno is None
    assert str(error) == "no such file (code -197)"
