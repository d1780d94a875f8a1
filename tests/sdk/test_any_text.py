"""Requests built from any text: no method raises, nothing that the reference forbids is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cosfs
from cosfs import CosClient, CosConfig, CosReplyError
from tests.sdk.test_public_names import METHODS
from tests.sdk.test_wire import REPLIES
from tests.unit.jsonapi_fakes import SocketServer, form_fields, http_reply, read_request

BASE = "/files/v2/1250000000/"
BUCKETS = "[a-z0-9][a-z0-9-]{0,39}"
TARGET = re.compile(r"/[A-Za-z0-9_.~%/-]*(\?[A-Za-z0-9_.~%&=+*-]*)?")
HEADERS = {
    "accept-encoding", "authorization", "content-length", "content-type", "host", "range",
    "user-agent", "x-test",
}  # fmt: skip

Captured = tuple[str, dict[str, str], bytes]

#: Any text, lone surrogates included, and texts of the pieces that paths and traps are made of.
PIECES = st.sampled_from(
    ["/", "a", "b.txt", " ", "//", "..", ".", "?", "*", ":", "|", "\\", "<", ">", '"', "%2F", "+",
     "&", "=", "#", "\r\n", "\0", "\x19", "\x7f", "é", "文", "😀", "\ud800", "\u3000", "x" * 300]
)  # fmt: skip
TEXT = st.one_of(st.text(st.characters(codec=None), max_size=30), st.lists(PIECES).map("".join))
PATH = st.one_of(TEXT, TEXT.map("/{}".format), TEXT.map("/{}/".format))
GOOD_PATH = st.sampled_from(["/a", "/a/", "/a/b.txt", "/"])
BUCKET = st.one_of(TEXT, st.just("mybucket"), st.just("mybucket"))
#: Python itself refuses to write the longest of these.
HUGE = st.tuples(st.sampled_from([-1, 1]), st.integers(18, 5000)).map(lambda n: n[0] * 10 ** n[1])
NUMBER = st.one_of(st.integers(-2, 1000), st.integers(), HUGE)
HEADER = st.dictionaries(st.one_of(TEXT, st.just("X-Test"), st.just("Range")), TEXT, max_size=2)
MISSING = "/nothing/is/here"


class Seen:
    """What a server was sent, each request checked against what the reference forbids."""

    def __init__(self) -> None:
        self.requests: list[Captured] = []

    def check(self) -> None:
        for line, headers, body in self.requests:
            method, target, version = line.split(" ")
            assert version == "HTTP/1.1" and method in ("GET", "POST")
            assert TARGET.fullmatch(target), target
            assert set(headers) <= HEADERS, headers
            path, _, query = target.partition("?")
            if path.startswith(BASE):
                bucket, _, key = unquote(path[len(BASE) :], errors="strict").partition("/")
                assert re.fullmatch(BUCKETS, bucket)
            else:
                key = unquote(path[1:], errors="strict")
                assert re.match(f"{BUCKETS}-1250000000\\.127", headers["host"])
            self._check_key(key, is_list="op=list" in query)
            fields = dict(parse_qsl(query, keep_blank_values=True, errors="strict"))
            if "dest_fileid" in fields:
                self._check_key(fields["dest_fileid"].removeprefix("/"), is_list=False)
            if headers.get("content-type") == "application/json":
                json.loads(body.decode("ascii"))
            elif body:
                for name, value in form_fields(body).items():
                    assert name == "filecontent" or value.decode("utf-8") is not None
        self.requests.clear()

    def _check_key(self, key: str, *, is_list: bool) -> None:
        folder, _, name = key.rpartition("/")
        checked = folder if is_list else key  # a prefix may be any text without a slash
        assert not set(checked) & set('?*:|\\<>"\x18\x19\x1a\x1b'), key
        assert "//" not in f"/{checked}" and not re.search(r"/[ \t\r\n\f\v]*/", f"/{checked}")
        segments = checked.removesuffix("/").split("/")
        assert not {".", ".."} & set(segments) and len(checked.encode()) <= 850


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
def client(seen: Seen) -> Iterator[CosClient]:
    def handle(connection: Any) -> None:
        while (request := read_request(connection)) is not None:
            seen.requests.append(request)
            op = form_fields(request[2]).get("op", b"").decode() if request[2][:2] == b"--" else ""
            body = {"code": 0, "data": REPLIES.get(op, {})}
            connection.sendall(http_reply(json.dumps(body).encode()))

    with SocketServer(handle) as server, CosClient(1250000000, "id", "key") as client:
        host = f"127.0.0.1:{server.port}"
        client.set_config(CosConfig(10, hostname=host, download_hostname=host))
        yield client


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "local"
    path.write_bytes(b"hello")
    return path


def build(kind: str, draw: Any, local: Path) -> Any:
    """Build a request of any values, or return ``None`` where its constructor refuses them."""
    make = getattr(cosfs, kind)
    bucket, path = draw(BUCKET), draw(st.one_of(PATH, GOOD_PATH))
    if kind in ("CreateFolderRequest", "UpdateFolderRequest"):
        return make(bucket, path, draw(TEXT))
    if kind == "ListFolderRequest":
        return make(bucket, path, draw(NUMBER), draw(TEXT), draw(TEXT), draw(TEXT))
    if kind in ("MoveFileRequest", "CopyFileRequest"):
        return make(bucket, path, draw(PATH), draw(st.booleans()))
    if kind == "UpdateFileRequest":
        return update(make(bucket, path), draw)
    if kind == "UploadFileRequest":
        source = draw(st.one_of(TEXT, st.just(str(local)), st.just(str(local))))
        return make(bucket, path, source, draw(TEXT), draw(NUMBER), draw(st.booleans()))
    if kind == "UploadFileFromBufferRequest":
        return make(bucket, path, draw(st.binary()), draw(TEXT), draw(st.integers(0, 1)))
    if kind in ("UploadSliceFileRequest", "UploadSliceFileFromBufferRequest"):
        is_file = kind == "UploadSliceFileRequest"
        return make(
            bucket, path, str(local) if is_file else draw(st.binary()),
            draw(st.one_of(st.just(1048576), NUMBER)), draw(TEXT), draw(st.booleans()),
            draw(st.integers(-1, 3)),
        )  # fmt: skip
    if kind == "DownloadObjectRequest":
        ends = st.one_of(st.none(), NUMBER)
        return make(bucket, path, draw(ends), draw(ends), headers=draw(HEADER))
    if kind == "DownloadFileRequest":
        # Never out of a folder that does not exist.
        anywhere = TEXT.map(lambda text: MISSING + text.replace("..", ""))
        target = draw(st.one_of(st.just(str(local.parent / "got")), anywhere))
        return make(bucket, path, target, headers=draw(HEADER))
    return make(bucket, path)


def update(request: Any, draw: Any) -> Any:
    setters = ["biz_attr", "authority", "cache_control", "content_type", "content_disposition"]
    for name in draw(st.lists(st.sampled_from(setters))):
        getattr(request, f"set_{name}")(draw(TEXT))
    for key, value in draw(st.dictionaries(TEXT.map("x-cos-meta-{}".format), TEXT)).items():
        request.set_x_cos_meta(key, value)
    return request


@pytest.mark.parametrize("method", [name for name in METHODS if name != "iter_folder"])
@settings(
    suppress_health_check=[HealthCheck.too_slow], max_examples=settings().max_examples // 3
)
@given(data=st.data())
def test_no_text_makes_a_method_raise(
    client: CosClient, seen: Seen, local: Path, method: str, data: st.DataObject
) -> None:
    seen.requests.clear()
    request = build(METHODS[method], data.draw, local)
    try:
        answer = getattr(client, method)(request)
    except CosReplyError as error:
        assert method == "download_object"
        answer = error.reply
    if method == "download_object" and not isinstance(answer, dict):
        answer.read()
        answer.close()
    else:
        assert isinstance(answer["code"], int)
        assert answer["code"] >= -3 or not seen.requests
    if isinstance(answer, dict) and answer["code"] == -1:
        assert isinstance(answer["message"], str) and answer["message"]
        assert not seen.requests
    seen.check()


@given(
    appid=st.one_of(st.integers(), HUGE, TEXT),
    secret_id=st.one_of(TEXT, st.binary(), st.none()),
    secret_key=TEXT,
    host=st.one_of(TEXT, st.text("[]:0f.", max_size=6)),
    timeout=st.one_of(st.floats(), HUGE, TEXT, st.none()),
    sign_expired=st.one_of(st.integers(), HUGE, TEXT),
    ca_file=st.one_of(st.just(""), TEXT, st.floats(), st.binary()),
)
def test_no_account_or_setting_makes_a_method_raise(
    appid: Any,
    secret_id: Any,
    secret_key: str,
    host: str,
    timeout: Any,
    sign_expired: Any,
    ca_file: Any,
) -> None:
    client = CosClient(appid, secret_id, secret_key)
    # Nobody has these names, so that nothing is asked for long.
    hosts = {"hostname": f"{host}.invalid:1", "download_hostname": f"{host}127.0.0.1:1"}
    client.set_config(
        CosConfig(timeout, sign_expired, ca_file=ca_file, **hosts)  # type: ignore[arg-type]
    )
    if isinstance(timeout, (int, float)) and 0 < timeout:
        client.get_config().set_timeout(0.2)
    elif timeout is None:
        client.get_config().set_timeout(-1)
    answer = client.stat_file(cosfs.StatFileRequest("mybucket", "/a"))
    assert answer["code"] in (-1, -3)
    client.close()
