"""Every operation's request, as a plain socket server sees it, is that of reference 5.6.

The order of fields, time, random number and host names are left out of the comparison.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest

from cosfs import (
    CopyFileRequest,
    CosClient,
    CosConfig,
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
from tests.sdk.places import BUCKET, MIB, content, sha1
from tests.unit.jsonapi_fakes import UPLOADED, SocketServer, form_fields, http_reply, read_request

APPID, SECRET_ID = 1250000000, "AKIDEXAMPLEexampleEXAMPLEexample0123"
SECRET_KEY = "KeyExampleKeyExampleKeyExample01"
BASE = f"/files/v2/{APPID}/{BUCKET}"
FOLDER = "/测试 目录/"
FOLDER_URL = "/%E6%B5%8B%E8%AF%95%20%E7%9B%AE%E5%BD%95/"

SESSION = "c0ffee00-1111+AAECAw=="
REPLIES: dict[str, Any] = {
    "upload": UPLOADED,
    "upload_slice_init": {"session": SESSION, "slice_size": MIB, "serial_upload": 0},
    "upload_slice_data": {"session": SESSION, "offset": 0},
    "upload_slice_finish": UPLOADED,
}


class Seen:
    """One request: first line, headers, and the fields of query and body."""

    def __init__(self, line: str, headers: dict[str, str], body: bytes) -> None:
        self.method, target, version = line.split(" ")
        assert version == "HTTP/1.1"
        self.path, _, query = target.partition("?")
        self.raw_query = query
        self.query = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
        self.headers = headers
        self.body = body
        self.form: dict[str, bytes] = {}
        if headers.get("content-type", "").startswith("multipart/"):
            boundary = body.split(b"\r\n", 1)[0][2:].decode()
            assert headers["content-type"] == f"multipart/form-data; boundary={boundary}"
            self.form = form_fields(body)

    @property
    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body.decode("ascii"))

    @property
    def op(self) -> str:
        if self.body:
            return self.form["op"].decode() if self.form else str(self.json["op"])
        return self.query.get("op", "download")

    def signature(self) -> dict[str, str]:
        """Return the fields of the signature, which must be good."""
        text = self.headers.get("authorization") or self.query["sign"]
        raw = base64.b64decode(text, validate=True)
        assert raw[:20] == hmac.new(SECRET_KEY.encode(), raw[20:], hashlib.sha1).digest()
        pairs = [pair.split("=", 1) for pair in raw[20:].decode().split("&")]
        assert [name for name, _ in pairs] == list("aketrfb")
        fields = dict(pairs)
        assert (fields["a"], fields["k"], fields["b"]) == (str(APPID), SECRET_ID, BUCKET)
        assert 0 <= int(fields["r"]) <= 999999999
        return fields

    def assert_signed(self, kind: str, path: str | None = None) -> None:
        """Check the kind of signature (reference 2.4) and that it is bound to the path."""
        fields = self.signature()
        life = int(fields["e"]) - int(fields["t"])
        assert (fields["e"] == "0") if kind == "once" else (life == 300)
        assert fields["f"] == (self.path if path is None else path)


class Capture:
    """A client and what it has sent."""

    def __init__(self, client: CosClient, seen: list[Seen]) -> None:
        self.client = client
        self.seen = seen

    def only(self) -> Seen:
        assert len(self.seen) == 1
        return self.seen[0]


@pytest.fixture
def wire() -> Iterator[Capture]:
    seen: list[Seen] = []

    def handle(connection: Any) -> None:
        while (request := read_request(connection)) is not None:
            seen.append(Seen(*request))
            op = seen[-1].op
            if op == "download":
                connection.sendall(http_reply(b"he"))
                continue
            body = {"code": 0, "message": "SUCCESS", "data": REPLIES.get(op, {})}
            connection.sendall(http_reply(json.dumps(body).encode()))

    with SocketServer(handle) as server, CosClient(APPID, SECRET_ID, SECRET_KEY) as client:
        host = f"127.0.0.1:{server.port}"
        client.set_config(CosConfig(hostname=host, download_hostname=host))
        yield Capture(client, seen)
        for request in seen:
            is_download = request.op == "download"
            assert request.headers["user-agent"] == "cos-python-sdk-v4"
            expected = f"{BUCKET}-{APPID}.{host}" if is_download else host
            assert request.headers["host"] == expected
            if request.method == "GET":
                assert not {"content-length", "content-type"} & set(request.headers)


def test_create_folder(wire: Capture) -> None:
    assert wire.client.create_folder(CreateFolderRequest(BUCKET, FOLDER, "备注"))["code"] == 0
    request = wire.only()
    assert (request.method, request.path, request.query) == ("POST", BASE + FOLDER_URL, {})
    assert request.json == {"biz_attr": "备注", "op": "create"}
    assert rb'"\u5907\u6ce8"' in request.body
    request.assert_signed("more", f"/{APPID}/{BUCKET}{FOLDER_URL}")


def test_create_folder_always_sends_biz_attr(wire: Capture) -> None:
    wire.client.create_folder(CreateFolderRequest(BUCKET, "/d/"))
    assert wire.only().json == {"biz_attr": "", "op": "create"}


def test_stat_file(wire: Capture) -> None:
    assert wire.client.stat_file(StatFileRequest(BUCKET, "/a b+c~.txt"))["code"] == 0
    request = wire.only()
    assert (request.method, request.path) == ("GET", f"{BASE}/a%20b%2Bc~.txt")
    assert request.query == {"op": "stat"}
    request.assert_signed("more", f"/{APPID}/{BUCKET}/a%20b%2Bc~.txt")


def test_stat_folder(wire: Capture) -> None:
    wire.client.stat_folder(StatFolderRequest(BUCKET, "/"))
    request = wire.only()
    assert (request.method, request.path, request.query) == ("GET", f"{BASE}/", {"op": "stat"})
    request.assert_signed("more", f"/{APPID}/{BUCKET}/")


def test_list_folder(wire: Capture) -> None:
    wire.client.list_folder(ListFolderRequest(BUCKET, FOLDER, prefix="a b", context="测试/x+y"))
    request = wire.only()
    assert (request.method, request.path) == ("GET", f"{BASE}{FOLDER_URL}a%20b")
    assert set(request.raw_query.split("&")) == {
        "num=199",
        "context=%E6%B5%8B%E8%AF%95%2Fx%2By",
        "op=list",
    }
    request.assert_signed("more", f"/{APPID}/{BUCKET}{FOLDER_URL}a%20b")


def test_list_folder_with_a_delimiter(wire: Capture) -> None:
    wire.client.list_folder(ListFolderRequest(BUCKET, "/", delimiter="/"))
    request = wire.only()
    assert request.path == f"{BASE}/"
    assert set(request.raw_query.split("&")) == {"delimiter=%2F", "num=199", "context=", "op=list"}


@pytest.mark.parametrize(("kind", "op"), [(MoveFileRequest, "move"), (CopyFileRequest, "copy")])
def test_move_and_copy(wire: Capture, kind: Any, op: str) -> None:
    method = getattr(wire.client, f"{op}_file")
    assert method(kind(BUCKET, "/a.txt", f"{FOLDER}b c.txt", True))["code"] == 0
    request = wire.only()
    assert (request.method, request.path) == ("POST", f"{BASE}/a.txt")
    assert set(request.raw_query.split("&")) == {
        "to_over_write=1",
        "dest_fileid=%2F%E6%B5%8B%E8%AF%95+%E7%9B%AE%E5%BD%95%2Fb+c.txt",
        f"op={op}",
    }
    assert (request.body, request.headers["content-length"]) == (b"", "0")
    request.assert_signed("once", f"/{APPID}/{BUCKET}/a.txt")


def test_move_to_a_relative_path_sends_it_as_it_is(wire: Capture) -> None:
    wire.client.move_file(MoveFileRequest(BUCKET, "/d/a.txt", "b.txt"))
    query = {"op": "move", "dest_fileid": "b.txt", "to_over_write": "0"}
    assert wire.only().query == query


def test_update_file(wire: Capture) -> None:
    request = UpdateFileRequest(BUCKET, "/a.txt")
    request.set_biz_attr("备注")
    request.set_authority("eWRPrivate")
    request.set_content_type("text/x")
    request.set_x_cos_meta("x-cos-meta-a", "1")
    assert wire.client.update_file(request)["code"] == 0
    sent = wire.only()
    assert (sent.method, sent.path, sent.query) == ("POST", f"{BASE}/a.txt", {})
    assert sent.json == {
        "biz_attr": "备注",
        "custom_headers": {"Content-Type": "text/x", "x-cos-meta-a": "1"},
        "authority": "eWRPrivate",
        "op": "update",
    }
    sent.assert_signed("once", f"/{APPID}/{BUCKET}/a.txt")


def test_update_folder(wire: Capture) -> None:
    wire.client.update_folder(UpdateFolderRequest(BUCKET, "/d/", "备注"))
    request = wire.only()
    assert (request.method, request.path) == ("POST", f"{BASE}/d/")
    assert request.json == {"biz_attr": "备注", "op": "update"}
    request.assert_signed("once", f"/{APPID}/{BUCKET}/d/")


def test_delete(wire: Capture) -> None:
    wire.client.del_file(DelFileRequest(BUCKET, "/a.txt"))
    wire.client.del_folder(DelFolderRequest(BUCKET, "/d/"))
    for request, path in zip(wire.seen, ["/a.txt", "/d/"], strict=True):
        assert (request.method, request.path) == ("POST", BASE + path)
        assert request.json == {"op": "delete"}
        request.assert_signed("once", f"/{APPID}/{BUCKET}{path}")


@pytest.mark.parametrize("from_buffer", [False, True])
def test_upload(wire: Capture, from_buffer: bool, tmp_path: Path) -> None:
    data = b"hello\r\n--x--\r\n"
    if from_buffer:
        reply = wire.client.upload_file_from_buffer(
            UploadFileFromBufferRequest(BUCKET, "/a.txt", data, "备注", 0)
        )
    else:
        (tmp_path / "a").write_bytes(data)
        reply = wire.client.upload_file(
            UploadFileRequest(BUCKET, "/a.txt", str(tmp_path / "a"), "备注", 0)
        )
    assert reply == {"code": 0, "message": "SUCCESS", "data": UPLOADED}
    request = wire.only()
    assert (request.method, request.path, request.query) == ("POST", f"{BASE}/a.txt", {})
    assert request.form == {
        "op": b"upload",
        "filecontent": data,
        "sha": sha1(data).encode(),
        "biz_attr": "备注".encode(),
        "insertOnly": b"0",
    }
    request.assert_signed("more", f"/{APPID}/{BUCKET}/a.txt")


@pytest.mark.parametrize("from_buffer", [False, True])
@pytest.mark.parametrize("with_sha1", [False, True])
def test_slices(wire: Capture, with_sha1: bool, from_buffer: bool, tmp_path: Path) -> None:
    data = content(MIB + 5)
    if from_buffer:
        reply = wire.client.upload_slice_file_from_buffer(
            UploadSliceFileFromBufferRequest(BUCKET, "/b", data, MIB, "备注", with_sha1)
        )
    else:
        (tmp_path / "b").write_bytes(data)
        reply = wire.client.upload_slice_file(
            UploadSliceFileRequest(BUCKET, "/b", str(tmp_path / "b"), MIB, "备注", with_sha1)
        )
    assert reply["data"] == UPLOADED
    begin, first, second, end = wire.seen
    sha = {"sha": sha1(data).encode()} if with_sha1 else {}
    parts = json.loads(begin.form.pop("uploadparts", b"null"))
    assert begin.form == {
        "op": b"upload_slice_init",
        "filesize": b"1048581",
        "slice_size": b"1048576",
        "biz_attr": "备注".encode(),
        "insertOnly": b"1",
        **sha,
    }
    if with_sha1:
        assert [(part["offset"], part["datalen"]) for part in parts] == [(0, MIB), (MIB, 5)]
        assert parts[1]["datasha"] == sha1(data) and set(parts[0]) == set(parts[1])
    else:
        assert parts is None
    for request, offset, piece in [(first, b"0", data[:MIB]), (second, b"1048576", data[MIB:])]:
        assert request.form == {
            "op": b"upload_slice_data",
            "session": SESSION.encode(),
            "offset": offset,
            "filecontent": piece,
            **sha,
        }
    assert end.form == {
        "op": b"upload_slice_finish",
        "session": SESSION.encode(),
        "filesize": b"1048581",
        **sha,
    }
    for request in wire.seen:
        assert (request.method, request.path, request.query) == ("POST", f"{BASE}/b", {})
        request.assert_signed("more", f"/{APPID}/{BUCKET}/b")


@pytest.mark.parametrize("to_file", [False, True])
def test_download(wire: Capture, to_file: bool, tmp_path: Path) -> None:
    path, url = "/测 a+b.txt", "/%E6%B5%8B%20a%2Bb.txt"
    if to_file:
        target = str(tmp_path / "a")
        request = DownloadFileRequest(BUCKET, path, target, headers={"Range": "bytes=0-1"})
        assert wire.client.download_file(request)["code"] == 0
    else:
        request_object = DownloadObjectRequest(BUCKET, path, headers={"Range": "bytes=0-1"})
        assert wire.client.download_object(request_object).read() == b"he"
    sent = wire.only()
    assert (sent.method, sent.path, sent.headers["range"]) == ("GET", url, "bytes=0-1")
    assert list(sent.query) == ["sign"]
    assert "authorization" not in sent.headers
    # Quoted, unlike in the sample: `+` would be read as a space.
    assert not set("+/=") & set(sent.raw_query.removeprefix("sign="))
    assert unquote(sent.raw_query.removeprefix("sign=")) == sent.query["sign"]
    sent.assert_signed("more", url)


def test_the_life_of_signatures_is_a_setting(wire: Capture) -> None:
    wire.client.get_config().set_sign_expired(77)
    wire.client.stat_file(StatFileRequest(BUCKET, "/a"))
    wire.client.download_object(DownloadObjectRequest(BUCKET, "/a")).close()
    for request in wire.seen:
        fields = request.signature()
        assert int(fields["e"]) - int(fields["t"]) == 77
