"""What each operation sends: the wire samples of reference 5.6, hosts, signatures, refused keys."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosfs.config import Account, Endpoints
from cosfs.errors import BadRequest, StoreError
from cosfs.jsonapi.bucket import BucketClient
from cosfs.jsonapi.replies import SlicePart
from cosfs.jsonapi.wire import HttpRequest
from cosfs.model import BytesSource
from tests.unit.jsonapi_fakes import (
    ACCOUNT,
    BUCKET,
    CREDENTIALS,
    FILE,
    UPLOADED,
    FakeStream,
    FakeTransport,
    content,
    form_fields,
    make_api,
    ok,
)

API = "https://sh.file.myqcloud.com/files/v2/1250000000/mybucket"
FOLDER = {"biz_attr": "", "ctime": 1, "mtime": 2}
LAST_PAGE = {"context": "", "listover": True, "infos": []}
SESSION = {"session": "s", "slice_size": 1048576}

Ask = Callable[[BucketClient], object]


def sent(
    ask: Ask, reply: FakeStream | None = None, account: Account = ACCOUNT
) -> tuple[HttpRequest, bytes]:
    transport = FakeTransport(reply or ok())
    ask(make_api(transport, account=account).bucket(BUCKET))
    return transport.requests[0], transport.bodies[0]


def signed(signature: str) -> dict[str, str]:
    """The fields of a signature."""
    plain = base64.b64decode(signature)[20:].decode()
    return dict(pair.split("=", 1) for pair in plain.split("&"))


JSON_SAMPLES: list[tuple[str, Ask, str, dict[str, object], str]] = [
    ("create", lambda b: b.create_folder("测试 目录/", "备注"),
     "/%E6%B5%8B%E8%AF%95%20%E7%9B%AE%E5%BD%95/", {"biz_attr": "备注", "op": "create"}, "more"),
    ("update folder", lambda b: b.update_folder("d/", "备注"),
     "/d/", {"biz_attr": "备注", "op": "update"}, "once"),
    ("update file",
     lambda b: b.update_file(
         "a.txt",
         biz_attr="备注",
         authority="eWRPrivate",
         custom_headers={"Content-Type": "text/x", "x-cos-meta-a": "1"},
     ),
     "/a.txt",
     {"biz_attr": "备注", "custom_headers": {"Content-Type": "text/x", "x-cos-meta-a": "1"},
      "authority": "eWRPrivate", "op": "update"}, "once"),
    ("forbid", lambda b: b.update_file("a.txt", forbid=1), "/a.txt",
     {"op": "update", "forbid": 1}, "once"),
    ("clear headers", lambda b: b.update_file("a.txt", custom_headers={}), "/a.txt",
     {"op": "update", "custom_headers": {}}, "once"),
    ("delete file", lambda b: b.delete_file("a.txt"), "/a.txt", {"op": "delete"}, "once"),
    ("delete folder", lambda b: b.delete_folder("d/"), "/d/", {"op": "delete"}, "once"),
]


@pytest.mark.parametrize(
    ("ask", "path", "body", "kind"), [s[1:] for s in JSON_SAMPLES], ids=[s[0] for s in JSON_SAMPLES]
)
def test_json_request(ask: Ask, path: str, body: dict[str, object], kind: str) -> None:
    request, raw = sent(ask)
    assert (request.method, request.url) == ("POST", API + path)
    assert json.loads(raw) == body
    assert raw.isascii()
    assert request.headers["Content-Type"] == "application/json"
    fields = signed(request.headers["Authorization"])
    assert fields["f"] == "/1250000000/mybucket" + path
    assert (fields["e"] == "0") is (kind == "once")


QUERY_SAMPLES: list[tuple[str, Ask, FakeStream, str, str, str]] = [
    ("stat", lambda b: b.stat_file("a b+c~.txt"), ok(FILE), "GET", "/a%20b%2Bc~.txt", "op=stat"),
    ("stat root", lambda b: b.stat_folder(""), ok(FOLDER), "GET", "/", "op=stat"),
    ("list",
     lambda b: b.list_folder("测试 目录/", prefix="a b", context="测试/x+y", num=199),
     ok(LAST_PAGE), "GET", "/%E6%B5%8B%E8%AF%95%20%E7%9B%AE%E5%BD%95/a%20b",
     "op=list&num=199&context=%E6%B5%8B%E8%AF%95%2Fx%2By"),
    ("list with a delimiter", lambda b: b.list_folder("", num=199, delimiter="/"),
     ok(LAST_PAGE), "GET", "/", "op=list&num=199&context=&delimiter=%2F"),
    ("list all below", lambda b: b.list_folder("", delimiter=""),
     ok(LAST_PAGE), "GET", "/", "op=list&num=1000&context=&delimiter="),
    ("move", lambda b: b.move_file("a.txt", "测试 目录/b c.txt", overwrite=True),
     ok(), "POST", "/a.txt",
     "op=move&dest_fileid=%2F%E6%B5%8B%E8%AF%95+%E7%9B%AE%E5%BD%95%2Fb+c.txt&to_over_write=1"),
    ("copy", lambda b: b.copy_file("a.txt", "b", overwrite=False),
     ok(), "POST", "/a.txt", "op=copy&dest_fileid=%2Fb&to_over_write=0"),
]


@pytest.mark.parametrize(
    ("ask", "reply", "method", "path", "query"),
    [sample[1:] for sample in QUERY_SAMPLES],
    ids=[sample[0] for sample in QUERY_SAMPLES],
)
def test_query_request(
    ask: Ask, reply: FakeStream, method: str, path: str, query: str
) -> None:
    request, body = sent(ask, reply)
    assert (request.method, request.url, body) == (method, f"{API}{path}?{query}", b"")
    fields = signed(request.headers["Authorization"])
    assert fields["f"] == "/1250000000/mybucket" + path
    assert (fields["e"] == "0") is (request.op in ("move", "copy"))


PARTS = [SlicePart(0, 1048576, "aa"), SlicePart(1048576, 5, "bb")]
FORM_SAMPLES: list[tuple[str, Ask, FakeStream, dict[str, bytes]]] = [
    ("upload",
     lambda b: b.upload("a", BytesSource(b"hi\r\n--"), sha="cafe", biz_attr="备注", insert_only=True),
     ok(UPLOADED),
     {"op": b"upload", "sha": b"cafe", "biz_attr": "备注".encode(), "insertOnly": b"1",
      "filecontent": b"hi\r\n--"}),
    ("upload nothing",
     lambda b: b.upload("a", BytesSource(b""), sha="cafe", insert_only=False), ok(UPLOADED),
     {"op": b"upload", "sha": b"cafe", "biz_attr": b"", "insertOnly": b"0", "filecontent": b""}),
    ("init",
     lambda b: b.slice_init("a", filesize=9, slice_size=524288, biz_attr="x", insert_only=False),
     ok(SESSION),
     {"op": b"upload_slice_init", "filesize": b"9", "slice_size": b"524288", "biz_attr": b"x",
      "insertOnly": b"0"}),
    ("init with digests",
     lambda b: b.slice_init(
         "a", filesize=1048581, slice_size=1048576, sha="cc", uploadparts=PARTS, insert_only=True
     ),
     ok(SESSION),
     {"op": b"upload_slice_init", "filesize": b"1048581", "slice_size": b"1048576",
      "biz_attr": b"", "insertOnly": b"1", "sha": b"cc",
      "uploadparts": b'[{"offset": 0, "datalen": 1048576, "datasha": "aa"},'
                     b' {"offset": 1048576, "datalen": 5, "datasha": "bb"}]'}),
    ("data",
     lambda b: b.slice_data("a", "s+/=", 3, BytesSource(b"0123456789"), 4, "cc"),
     ok({"session": "s"}),
     {"op": b"upload_slice_data", "session": b"s+/=", "offset": b"3", "sha": b"cc",
      "filecontent": b"3456"}),
    ("finish", lambda b: b.slice_finish("a", "s", 9), ok(UPLOADED),
     {"op": b"upload_slice_finish", "session": b"s", "filesize": b"9"}),
    ("finish with digest", lambda b: b.slice_finish("a", "s", 9, "cc"), ok(UPLOADED),
     {"op": b"upload_slice_finish", "session": b"s", "filesize": b"9", "sha": b"cc"}),
    ("slices", lambda b: b.slice_list("a"), ok(UPLOADED), {"op": b"upload_slice_list"}),
]


@pytest.mark.parametrize(
    ("ask", "reply", "fields"), [s[1:] for s in FORM_SAMPLES], ids=[s[0] for s in FORM_SAMPLES]
)
def test_form_request(ask: Ask, reply: FakeStream, fields: dict[str, bytes]) -> None:
    request, body = sent(ask, reply)
    assert (request.method, request.url) == ("POST", f"{API}/a")
    assert form_fields(body) == fields
    kind, _, boundary = request.headers["Content-Type"].partition("; boundary=")
    assert kind == "multipart/form-data"
    assert body.startswith(b"--" + boundary.encode())
    assert '"' not in boundary
    assert signed(request.headers["Authorization"])["e"] != "0"
    assert len(request.body or b"") == len(body)


def downloaded(account: Account) -> HttpRequest:
    return sent(
        lambda b: b.download("a b/+.txt", 2, memoryview(bytearray(3))), content(b"abc", 2), account
    )[0]


def test_download_goes_to_the_virtual_host() -> None:
    request = downloaded(ACCOUNT)
    url = urlsplit(request.url)
    assert f"{url.scheme}://{url.netloc}" == "https://mybucket-1250000000.cossh.myqcloud.com"
    assert url.path == "/a%20b/%2B.txt"
    assert request.headers["Range"] == "bytes=2-4"
    assert "Authorization" not in request.headers
    assert "Host" not in request.headers
    name, _, quoted = url.query.partition("=")
    # quoted, as '+' and '/' of base64 mean something else in a query (1.4)
    assert name == "sign" and not set("+/=") & set(quoted)
    fields = signed(unquote(quoted))
    assert fields["f"] == "/a%20b/%2B.txt"
    assert fields["e"] != "0"


def test_download_has_the_scheme_of_the_api() -> None:
    endpoints = Endpoints.of_region("gz", api="http://gz.file.myqcloud.com")
    request = downloaded(Account(CREDENTIALS, endpoints))
    assert request.url.startswith("http://mybucket-1250000000.cosgz.myqcloud.com/")


def test_an_explicit_download_endpoint_gets_the_virtual_host_as_host() -> None:
    endpoints = Endpoints.of_region("sh", download="http://127.0.0.1:8500")
    request = downloaded(Account(CREDENTIALS, endpoints))
    assert request.url.startswith("http://127.0.0.1:8500/a%20b/%2B.txt?sign=")
    assert request.headers["Host"] == "mybucket-1250000000.cossh.myqcloud.com"


def test_head() -> None:
    request, _ = sent(
        lambda b: b.head("a"), FakeStream(200, b"", {"content-length": "7", "etag": '"x"'})
    )
    assert request.method == "HEAD"
    assert "Range" not in request.headers


BAD_FILES = ["", "a/", "/a", "a//b", ".", "..", "a/./b", "a/../b", "../a", "a\udc80"]
BAD_FOLDERS = ["a", "/", "a//", "./", "../", "a/../", "//", "\udc80/"]


@pytest.mark.parametrize("key", BAD_FILES)
def test_a_key_that_cannot_be_sent_is_refused(key: str) -> None:
    bucket = make_api(FakeTransport()).bucket(BUCKET)
    source = BytesSource(b"")
    for ask in (
        lambda: bucket.stat_file(key),
        lambda: bucket.update_file(key, biz_attr=""),
        lambda: bucket.delete_file(key),
        lambda: bucket.move_file(key, "x", overwrite=True),
        lambda: bucket.move_file("x", key, overwrite=True),
        lambda: bucket.copy_file("x", key, overwrite=True),
        lambda: bucket.upload(key, source, sha="", insert_only=True),
        lambda: bucket.slice_list(key),
        lambda: bucket.download(key, 0, memoryview(bytearray(1))),
        lambda: bucket.head(key),
    ):
        with pytest.raises(BadRequest):
            ask()


@pytest.mark.parametrize("key", BAD_FOLDERS)
def test_a_folder_that_cannot_be_sent_is_refused(key: str) -> None:
    bucket = make_api(FakeTransport()).bucket(BUCKET)
    for ask in (
        lambda: bucket.stat_folder(key),
        lambda: bucket.create_folder(key),
        lambda: bucket.delete_folder(key),
        lambda: bucket.update_folder(key, ""),
        lambda: bucket.list_folder(key),
    ):
        with pytest.raises(BadRequest):
            ask()


@pytest.mark.parametrize(
    "ask",
    [
        lambda b: b.create_folder("d/", "\udc80"),
        lambda b: b.update_file("a", biz_attr="\udc80"),
        lambda b: b.update_file("a", authority="\udc80"),
        lambda b: b.update_file("a", custom_headers={"Content-Type": "\udc80"}),
        lambda b: b.upload("a", BytesSource(b""), sha="", biz_attr="\udc80", insert_only=True),
        lambda b: b.list_folder("", prefix="\udc80"),
        lambda b: b.list_folder("", prefix="a/b"),
        lambda b: b.list_folder("", context="\udc80"),
        lambda b: b.list_folder("", delimiter="\udc80"),
    ],
)
def test_a_value_that_cannot_be_sent_is_refused(ask: Ask) -> None:
    with pytest.raises(BadRequest):
        ask(make_api(FakeTransport()).bucket(BUCKET))


@given(st.text())
def test_any_key_is_sent_as_it_is_or_refused(key: str) -> None:
    transport = FakeTransport(ok(FILE))
    try:
        make_api(transport).bucket(BUCKET).stat_file(key)
    except StoreError:
        assert not transport.requests
    else:
        url = urlsplit(transport.requests[0].url)
        assert unquote(url.path) == f"/files/v2/1250000000/mybucket/{key}"
        assert parse_qsl(url.query) == [("op", "stat")]


def test_every_attempt_and_nonce_is_its_own() -> None:
    transport = FakeTransport(ok(), ok())
    bucket = make_api(transport).bucket(BUCKET)
    bucket.delete_file("a")
    bucket.delete_file("a")
    first, second = (request.headers["Authorization"] for request in transport.requests)
    assert signed(first)["r"] != signed(second)["r"]


def test_what_is_shown_of_a_request_has_no_signature() -> None:
    for request in (downloaded(ACCOUNT), sent(lambda b: b.delete_file("a"))[0]):
        shown = repr(request)
        assert "sign" not in shown.replace("signing", "") and "Authorization" not in shown
