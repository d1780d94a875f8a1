"""Downloads: hosts and paths, ranges, headers, who may read."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import pytest

from tests.server.wire import Wire, build_sign, encode_path, pattern, sha1

Start = Callable[..., Wire]
SIZE = 200_000


@pytest.fixture(scope="module")
def content() -> bytes:
    return pattern(SIZE)


@pytest.fixture
def path(wire: Wire, folder: str, content: bytes) -> str:
    wire.put(folder + "a b.txt", content)
    return folder + "a b.txt"


def test_headers(wire: Wire, path: str, content: bytes) -> None:
    answer = wire.download(path)
    assert answer.status == 200 and answer.body == content
    headers = answer.headers
    assert headers["Content-Length"] == str(SIZE)
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["ETag"] == f'"{sha1(content)}"'
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Date"].endswith(" GMT")
    mtime = wire.stat(path).data["mtime"]
    assert parsedate_to_datetime(headers["Last-Modified"]).timestamp() == mtime
    assert "Content-Encoding" not in headers and "Transfer-Encoding" not in headers


def test_custom_headers_come_back(wire: Wire, path: str) -> None:
    custom = {
        "Cache-Control": "max-age=5",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Disposition": 'attachment; filename="x"',
        "Content-Language": "zh",
        "Content-Encoding": "gzip",
        "x-cos-meta-key": "value",
        "x-cos-meta-chinese": "备注",
    }
    wire.update(path, custom_headers=custom)
    headers = wire.download(path).headers
    custom["x-cos-meta-chinese"] = "备注".encode().decode("latin-1")
    for name, value in custom.items():
        assert headers[name] == value


def test_head_is_a_get_without_body(wire: Wire, path: str) -> None:
    get, head = wire.download(path), wire.download(path, method="HEAD")
    assert head.status == 200 and head.body == b""
    different = ("Date", "x-cos-request-id")
    assert {**head.headers, **dict.fromkeys(different)} == {
        **get.headers, **dict.fromkeys(different)
    }
    missing = wire.download("/missing", method="HEAD")
    assert (missing.status, missing.body) == (404, b"")
    assert missing.headers["X-ErrNo"] == "-46628"


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-1", 0, 2),
        ("bytes=0-0", 0, 1),
        ("bytes=5-", 5, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        ("bytes=100-150000", 100, 150_001),
        (f"bytes=5-{SIZE * 2}", 5, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes=-{SIZE * 2}", 0, SIZE),
    ],
)
def test_range(
    header: str, start: int, end: int, wire: Wire, path: str, content: bytes
) -> None:
    answer = wire.download(path, Range=header)
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(end - start)
    assert answer.body == content[start:end]
    assert wire.download(path, method="HEAD", Range=header).headers["Content-Range"]


@pytest.mark.parametrize("header", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 1}", "bytes=-0"])
def test_unsatisfiable_range(header: str, wire: Wire, path: str) -> None:
    answer = wire.download(path, Range=header)
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")


@pytest.mark.parametrize("header", ["bytes=5-2", "bytes=0-1,5-6", "bytes=-", "lines=1-2", "5-6"])
def test_ignored_range(header: str, wire: Wire, path: str) -> None:
    answer = wire.download(path, Range=header)
    assert (answer.status, len(answer.body)) == (200, SIZE)


def test_range_of_an_empty_file(wire: Wire, folder: str) -> None:
    wire.put(folder + "empty")
    assert wire.download(folder + "empty", Range="bytes=0-").status == 416
    assert wire.download(folder + "empty").body == b""


@pytest.mark.parametrize(
    "host",
    [
        "mybucket-1250000000.cossh.myqcloud.com",
        "mybucket-1250000000.file.myqcloud.com",
        "MyBucket-1250000000.anything:8500",
    ],
)
def test_virtual_hosts(host: str, wire: Wire, path: str, content: bytes) -> None:
    target = encode_path(path)
    answer = wire.request("GET", target, {"Host": host, "Authorization": wire.sign()})
    assert answer.body == content


def test_path_style(wire: Wire, path: str, content: bytes) -> None:
    target = f"/mybucket-1250000000{encode_path(path)}"
    sign = wire.sign(file_id=encode_path(path))
    assert wire.request("GET", target, {"Authorization": sign}).body == content
    assert wire.request("GET", f"{target}?sign={quote(sign, safe='')}").body == content
    assert wire.request("GET", target).status == 403


def test_api_paths_are_keys_on_a_virtual_host(wire: Wire) -> None:
    wire.put("/files/v2/x", b"1")
    wire.put("/_server/stats", b"2")
    assert wire.download("/files/v2/x").body == b"1"
    assert wire.download("/_server/stats").body == b"2"


@pytest.mark.parametrize("name", ["bare", "prefixed", "empty"])
@pytest.mark.parametrize("once", [False, True])
def test_forms_of_f(name: str, once: bool, wire: Wire, path: str) -> None:
    file_id = {
        "bare": encode_path(path),
        "prefixed": f"/1250000000/mybucket{encode_path(path)}",
        "empty": "",
    }[name]
    sign = wire.sign(file_id=file_id, once=once)
    first, second = wire.download(path, sign=sign), wire.download(path, sign=sign)
    if not once:
        assert (first.status, second.status) == (200, 200)
    elif file_id:
        assert (first.status, second.status) == (200, 403)
    else:
        assert first.status == 403


def test_refusals_are_403_whatever_is_wrong(wire: Wire, path: str) -> None:
    for sign in (
        "",
        "nonsense",
        wire.sign(secret_key="x"),
        wire.sign(file_id="/other"),
        wire.sign(expires=1),
        wire.sign(b="other"),
        build_sign(wire.address, a="1259999999"),
    ):
        assert wire.download(path, sign=sign).status == 403


def test_a_private_bucket_does_not_tell_what_is_missing(wire: Wire, path: str) -> None:
    assert wire.download("/missing", sign="").status == 403


def test_public_bucket(wire: Wire, folder: str) -> None:
    public = Wire(wire.address, bucket="public")
    public.put(folder + "a", b"x")
    assert public.download(folder + "a", sign="").body == b"x"
    assert public.download(folder + "a", sign="nonsense").body == b"x"
    assert public.download(folder + "b", sign="").status == 404
    public.update(folder + "a", authority="eWRPrivate")
    assert public.download(folder + "a", sign="").status == 403
    assert public.stat(folder + "a").code == 0
    assert public.get(folder + "a", sign="", op="stat").code == -81
    public.close()


def test_public_file_in_a_private_bucket(wire: Wire, path: str, content: bytes) -> None:
    wire.update(path, authority="eWPrivateRPublic")
    assert wire.download(path, sign="").body == content
    wire.update(path, authority="eInvalid")
    assert wire.download(path, sign="").status == 403


def test_a_download_under_way_survives_deletion(wire: Wire, folder: str) -> None:
    """The reader has the old content, whole, though the file is replaced while it reads."""
    big = pattern(8 << 20)
    path = folder + "big"
    wire.put(path, big)
    connection = http.client.HTTPConnection(wire.netloc, timeout=30)
    target = f"/mybucket-1250000000{path}"
    connection.request("GET", target, headers={"Authorization": wire.sign()})
    response = connection.getresponse()
    first = response.read(1000)
    wire.put(path, b"new")
    wire.delete(path)
    assert first + response.read() == big
    connection.close()


def test_a_client_that_goes_away_harms_nobody(wire: Wire, folder: str) -> None:
    path = folder + "big"
    wire.put(path, pattern(16 << 20))
    for _ in range(5):
        connection = http.client.HTTPConnection(wire.netloc, timeout=30)
        target = f"/mybucket-1250000000{path}"
        connection.request("GET", target, headers={"Authorization": wire.sign()})
        connection.getresponse().read(10)
        connection.close()
    assert wire.stat(path).code == 0
