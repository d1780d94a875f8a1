"""The bugs of the official SDK, each mended; the numbers are those of reference 5.7."""

from __future__ import annotations

import base64
import gzip
import json
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

import cosfs
from cosfs import (
    Auth,
    CosClient,
    CosConfig,
    CosReplyError,
    CreateFolderRequest,
    CredInfo,
    DownloadFileRequest,
    DownloadObjectRequest,
    MoveFileRequest,
    StatFileRequest,
    StatFolderRequest,
    UpdateFileRequest,
    UploadFileFromBufferRequest,
    UploadFileRequest,
    UploadSliceFileFromBufferRequest,
    UploadSliceFileRequest,
)
from cosfs.server.running import LocalServer
from tests.sdk.places import BUCKET, MIB, client_of, content, get, put, sha1, stat
from tests.unit.jsonapi_fakes import SocketServer, answers, capture, http_reply, read_request
from tests.unit.jsonapi_tls import CERTIFICATE, KEY

Captured = list[tuple[str, dict[str, str], bytes]]


def raw_client(port: int, **config: Any) -> CosClient:
    """A client of a plain socket server."""
    client = CosClient(1250000000, "id", "key")
    host = f"127.0.0.1:{port}"
    client.set_config(CosConfig(5, hostname=host, download_hostname=host, **config))
    return client


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(2, 4, b"cde"), (2, None, b"cdefgh"), (None, 2, b"abc"), (0, 0, b"a"), (7, 99, b"h")],
)
def test_bug_1_ranges_of_downloads_work(
    client: CosClient, folder: str, tmp_path: Path, start: Any, end: Any, expected: bytes
) -> None:
    path = f"{folder}a"
    put(client, path, b"abcdefgh")
    with client.download_object(DownloadObjectRequest(BUCKET, path, start, end)) as body:
        assert (body.status, body.size, body.read()) == (206, len(expected), expected)
    target = tmp_path / "a"
    reply = client.download_file(DownloadFileRequest(BUCKET, path, str(target), start, end))
    assert reply["code"] == 0 and target.read_bytes() == expected


def test_bug_1_a_server_that_ignores_ranges_is_read_past(tmp_path: Path) -> None:
    with SocketServer(answers(http_reply(b"abcdefgh"))) as server:
        request = DownloadFileRequest(BUCKET, "/a", str(tmp_path / "a"), 2, 4)
        assert raw_client(server.port).download_file(request)["code"] == 0
    assert (tmp_path / "a").read_bytes() == b"cde"


def test_bug_2_downloads_are_checked(tmp_path: Path) -> None:
    good = DownloadFileRequest(BUCKET, "/a", str(tmp_path / "a"))
    assert good.check_params_valid() is True
    (tmp_path / "a").write_bytes(b"is replaced, so it may be there")
    assert good.check_params_valid() is True
    assert DownloadObjectRequest(BUCKET, "/a").check_params_valid() is True
    client = CosClient(1250000000, "id", "key")
    bad = DownloadFileRequest(BUCKET, "a", str(tmp_path / "a"))
    assert client.download_file(bad) == {"code": -1, "message": "cos path must start with /"}
    with pytest.raises(IOError, match="cos path must start with /") as caught:
        client.download_object(DownloadObjectRequest(BUCKET, "a"))
    assert isinstance(caught.value, CosReplyError) and caught.value.reply["code"] == -1


def test_bug_3_the_signature_of_a_download_is_quoted() -> None:
    seen: Captured = []
    with capture(http_reply(b""), seen) as server:
        client = raw_client(server.port)
        for _ in range(20):
            client.download_object(DownloadObjectRequest(BUCKET, "/a")).close()
        client.close()
    assert not any(set("+/=") & set(line.split("sign=")[1].split(" ")[0]) for line, _, _ in seen)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "certificate.pem"
    path.write_text(CERTIFICATE + KEY)
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_bug_3_downloads_are_encrypted_when_api_calls_are(
    tls: ssl.SSLContext, certificate: Path
) -> None:
    with SocketServer(answers(http_reply(b"hello")), tls) as server:
        client = raw_client(server.port, enable_https=True, ca_file=str(certificate))
        assert client.download_object(DownloadObjectRequest(BUCKET, "/a")).read() == b"hello"
        client.close()


def test_bug_4_gzip_content_is_not_mistaken(
    client: CosClient, folder: str, tmp_path: Path
) -> None:
    packed = gzip.compress(b"hello" * 1000)
    path, target = f"{folder}a.gz", tmp_path / "a.gz"
    put(client, path, packed)
    request = UpdateFileRequest(BUCKET, path)
    request.set_content_encoding("gzip")
    assert client.update_file(request)["code"] == 0
    assert client.download_file(DownloadFileRequest(BUCKET, path, str(target)))["code"] == 0
    assert target.read_bytes() == packed
    with client.download_object(DownloadObjectRequest(BUCKET, path)) as body:
        assert body.headers["content-encoding"] == "gzip"
        assert body.read() == packed


def test_bug_4_a_chunked_download_is_taken(tmp_path: Path) -> None:
    reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    sizes: list[tuple[int, int]] = []
    with SocketServer(answers(reply)) as server:
        request = DownloadFileRequest(BUCKET, "/a", str(tmp_path / "a"))
        client = raw_client(server.port)
        answer = client.download_file(request, progress=lambda *seen: sizes.append(seen))
        client.close()
    assert answer["code"] == 0 and (tmp_path / "a").read_bytes() == b"abcde"
    assert sizes[-1] == (5, 0)


def test_bug_4_a_chunked_download_that_breaks_off_is_not_taken(tmp_path: Path) -> None:
    reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    (tmp_path / "a").write_bytes(b"good")
    with SocketServer(answers(reply)) as server:
        request = DownloadFileRequest(BUCKET, "/a", str(tmp_path / "a"))
        client = raw_client(server.port)
        assert client.download_file(request)["code"] == 1
        client.close()
    assert (tmp_path / "a").read_bytes() == b"good"


def test_bug_5_moves_are_checked() -> None:
    client = CosClient(1250000000, "id", "key")
    for source, dest, tips in [
        ("a", "/b", "cos path must start with /"),
        ("/a/", "/b", "for file operation, cos_path must not end with /"),
        ("/a", "/b/", "for file operation, dest_path must not end with /"),
        ("/a", "/b?", "dest path contain illegal letter ?"),
        ("/a", None, "dest_path is None!"),
    ]:
        request = MoveFileRequest(BUCKET, source, dest)  # type: ignore[arg-type]
        assert client.move_file(request) == {"code": -1, "message": tips}


def test_bug_6_headers_that_are_not_ascii_work(client: CosClient, folder: str) -> None:
    path = f"{folder}a"
    put(client, path, b"1")
    request = UpdateFileRequest(BUCKET, path)
    request.set_content_disposition("附件.txt")
    request.set_x_cos_meta("x-cos-meta-a", "值")
    assert request.get_custom_headers() == {
        "Content-Disposition": "附件.txt",
        "x-cos-meta-a": "值",
    }
    assert client.update_file(request)["code"] == 0
    assert stat(client, path)["custom_headers"]["Content-Disposition"] == "附件.txt"


def test_bug_7_an_update_of_nothing_is_not_sent(client: CosClient, server: LocalServer) -> None:
    reply = client.update_file(UpdateFileRequest(BUCKET, "/a"))
    assert reply == {"code": -1, "message": "no any attribute to be updated!"}
    assert server.stats()["requests"]["total"] == 0


def test_bug_8_the_message_about_the_root_is_whole() -> None:
    client = CosClient(1250000000, "id", "key")
    assert client.create_folder(CreateFolderRequest(BUCKET, "/"))["message"] == (
        "bucket operation is not supported by sdk,"
        " please use cos console: https://console.qcloud.com/cos"
    )


def test_bug_9_an_empty_path_is_a_bad_parameter() -> None:
    client = CosClient(1250000000, "id", "key")
    expected = {"code": -1, "message": "cos path must start with /"}
    assert client.stat_file(StatFileRequest(BUCKET, "")) == expected
    assert client.stat_folder(StatFolderRequest(BUCKET, "")) == expected


def test_bug_10_nothing_is_stripped_from_names(
    client: CosClient, folder: str, tmp_path: Path
) -> None:
    local = tmp_path / " local "
    local.write_bytes(b"blanks")
    path = f"{folder} a "
    request = UploadFileRequest(BUCKET, path, str(local))
    assert (request.get_cos_path(), request.get_local_path()) == (path, str(local))
    assert client.upload_file(request)["code"] == 0
    assert get(client, path) == b"blanks"
    assert client.stat_file(StatFileRequest(BUCKET, path.strip()))["code"] == -197


def test_bug_10_long_appids_are_taken() -> None:
    assert CredInfo(10**15, "id", "key").check_params_valid()


def test_bug_11_buffers_go_with_digests(client: CosClient, folder: str) -> None:
    data = content(9 * MIB + 1, 11)
    request = UploadSliceFileFromBufferRequest(BUCKET, f"{folder}a", data, enable_sha1=True)
    assert client.upload_slice_file_from_buffer(request)["code"] == 0
    data = content(9 * MIB + 1, 12)
    other = UploadFileFromBufferRequest(BUCKET, f"{folder}b", data, verify_sha1=True)
    assert client.upload_file_from_buffer(other)["code"] == 0
    assert stat(client, f"{folder}b")["sha"] == sha1(data)


@pytest.mark.parametrize("enable_sha1", [False, True])
def test_bug_12_empty_files_go_in_slices_too(
    client: CosClient, folder: str, tmp_path: Path, enable_sha1: bool
) -> None:
    path = f"{folder}{enable_sha1}"
    (tmp_path / "empty").touch()
    request = UploadSliceFileRequest(
        BUCKET, path, str(tmp_path / "empty"), enable_sha1=enable_sha1
    )
    assert client.upload_slice_file(request)["code"] == 0
    assert stat(client, path)["filesize"] == 0


def test_bug_13_a_slice_that_fails_fails_the_upload(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    server.set_faults(
        {"rules": [{"op": "upload_slice_data", "skip": 2, "times": 1, "action": "status",
                    "status": 400, "code": -5999}]}
    )  # fmt: skip
    request = UploadSliceFileFromBufferRequest(
        BUCKET, f"{folder}a", content(6 * MIB, 13), max_con=3
    )
    assert client.upload_slice_file_from_buffer(request)["code"] == -5999
    assert server.stats()["requests"]["by_op"]["upload_slice_finish"] == 0


def test_bug_14_a_broken_upload_with_digests_is_resumed(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    server.set_faults(
        {"rules": [{"op": "upload_slice_data", "skip": 4, "action": "status", "status": 400,
                    "code": -5999}]}
    )  # fmt: skip
    data = content(6 * MIB, 14)
    request = UploadSliceFileFromBufferRequest(BUCKET, f"{folder}a", data, enable_sha1=True)
    assert client.upload_slice_file_from_buffer(request)["code"] == -5999
    server.clear_faults()
    server.reset_stats()
    assert client.upload_slice_file_from_buffer(request)["code"] == 0
    assert server.stats()["requests"]["by_op"]["upload_slice_data"] == 2
    assert get(client, f"{folder}a") == data


def test_bug_14_an_unfinished_upload_of_other_content_is_replaced(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    server.set_faults(
        {"rules": [{"op": "upload_slice_finish", "action": "status", "status": 400,
                    "code": -5999}]}
    )  # fmt: skip
    path = f"{folder}a"
    old, new = content(2 * MIB, 15), content(2 * MIB, 16)
    request = UploadSliceFileFromBufferRequest(BUCKET, path, old, enable_sha1=True)
    assert client.upload_slice_file_from_buffer(request)["code"] == -5999
    server.clear_faults()
    request.set_data(new)
    assert client.upload_slice_file_from_buffer(request)["code"] == 0
    assert get(client, path) == new


def test_bug_15_an_answer_to_a_slice_without_data_is_taken() -> None:
    def handle(connection: Any) -> None:
        while (request := read_request(connection)) is not None:
            reply: dict[str, Any] = {"code": 0, "message": "SUCCESS"}
            if b"upload_slice_init" in request[2]:
                reply["data"] = {"session": "s", "slice_size": 65536}
            elif b"upload_slice_finish" in request[2]:
                reply["data"] = {"access_url": "http://a/b"}
            connection.sendall(http_reply(json.dumps(reply).encode()))

    with SocketServer(handle) as server:
        client = raw_client(server.port)
        request = UploadSliceFileFromBufferRequest(BUCKET, "/a", b"x" * 100_000, 65536)
        assert client.upload_slice_file_from_buffer(request) == {
            "code": 0,
            "message": "SUCCESS",
            "data": {"access_url": "http://a/b"},
        }
        client.close()


def test_bug_16_tls_is_verified(tls: ssl.SSLContext) -> None:
    with SocketServer(answers(http_reply(b"secret")), tls) as server:
        client = raw_client(server.port, enable_https=True)
        reply = client.stat_file(StatFileRequest(BUCKET, "/a"))
        assert reply["code"] == -3 and "TLS" in reply["message"]
        with pytest.raises(IOError, match="TLS"):
            client.download_object(DownloadObjectRequest(BUCKET, "/a"))
        client.close()


def test_bug_17_the_life_of_signatures_changes_at_once() -> None:
    seen: Captured = []
    with capture(http_reply(b'{"code": 0}'), seen) as server:
        client = raw_client(server.port)
        for seconds in (300, 77):
            client.get_config().set_sign_expired(seconds)
            client.stat_file(StatFileRequest(BUCKET, "/a"))
        client.close()
    plains = [base64.b64decode(headers["authorization"])[20:].decode() for _, headers, _ in seen]
    fields = [dict(pair.split("=", 1) for pair in plain.split("&")) for plain in plains]
    assert [int(each["e"]) - int(each["t"]) for each in fields] == [300, 77]


def test_bug_18_too_big_is_a_bad_parameter(client: CosClient, server: LocalServer) -> None:
    request = UploadFileFromBufferRequest(BUCKET, "/a", bytes(20 * MIB + 1))
    assert client.upload_single_file_from_buffer(request) == {
        "code": -1,
        "message": "file is too big, please use upload_file interface",
    }
    assert server.stats()["requests"]["total"] == 0
    assert client.upload_file_from_buffer(request)["code"] == 0


def test_bug_18_a_503_with_a_code_is_that_code(client: CosClient, server: LocalServer) -> None:
    server.set_faults({"rules": [{"op": "stat", "action": "status", "status": 503, "code": -196}]})
    reply = client.stat_file(StatFileRequest(BUCKET, "/a"))
    assert reply["code"] == -196 and "request_id" in reply


def test_bug_19_a_past_time_makes_no_signature_for_the_future(server: LocalServer) -> None:
    now = int(time.time())
    auth = Auth(CredInfo(int(server.appid), server.secret_id, server.secret_key))
    plain = base64.b64decode(auth.sign_more(BUCKET, "/a", now - 100))[20:].decode()
    assert f"e={now - 100}&" in plain


def test_bug_20_descriptions_say_what_the_limits_are() -> None:
    text = cosfs.UploadSliceFileRequest.__init__.__doc__ or ""
    assert "slice_size: bytes of a slice, 64 KiB to 3 MiB" in text
    assert "local" not in (cosfs.UploadFileFromBufferRequest.set_data.__doc__ or "")
    assert "bytes or what looks like them" in (UploadFileFromBufferRequest.__init__.__doc__ or "")


def test_bug_21_biz_attr_may_be_chinese(client: CosClient, folder: str) -> None:
    put(client, f"{folder}a", b"1", biz_attr="这是个demo文件")
    assert stat(client, f"{folder}a")["biz_attr"] == "这是个demo文件"
    assert client.create_folder(CreateFolderRequest(BUCKET, folder, "目录"))["code"] == 0
    reply = client.stat_folder(StatFolderRequest(BUCKET, folder))
    assert reply["data"]["biz_attr"] == "目录"


def test_a_client_of_its_own_leaves_no_thread_or_warning(server: LocalServer) -> None:
    with client_of(server) as client:
        assert client.stat_file(StatFileRequest(BUCKET, "/nothing"))["code"] == -197
