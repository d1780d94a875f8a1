"""Nonsense of every kind: the server refuses it, and never fails inside."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cosfs.server.running import LocalServer
from tests.server.wire import Wire, build_form

OPS = [
    "create", "stat", "update", "list", "delete", "upload", "upload_slice_init",
    "upload_slice_data", "upload_slice_finish", "upload_slice_list", "move", "copy", "", "explode",
]
NAMES = [
    "op", "biz_attr", "authority", "forbid", "custom_headers", "num", "context", "delimiter",
    "sha", "insertOnly", "filesize", "slice_size", "uploadparts", "session", "offset",
    "filecontent", "dest_fileid", "to_over_write", "flag", "nobody",
]
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["0", "1", "-1", "5", "65536", "1048576", "9" * 30, "٣", "NaN", "1e9", "null", "[]", "{}"]
    ),
    st.sampled_from(["a" * 40, "da39a3ee5e6b4b0d3255bfef95601890afd80709", "/x", "x/", "/", "x"]),
    st.sampled_from(['[{"offset": 0, "datalen": 5, "datasha": 5}]', '{"x-cos-meta-a": 1}']),
)
VALUES = st.one_of(
    TEXTS,
    st.integers(),
    st.booleans(),
    st.none(),
    st.floats(),
    st.lists(st.one_of(TEXTS, st.dictionaries(st.sampled_from(["offset", "datalen"]), TEXTS))),
    st.dictionaries(st.sampled_from(["Content-Type", "x-cos-meta-a", "x", "offset"]), TEXTS),
)
PATHS = st.one_of(
    st.sampled_from(["/", "/a", "/a/", "/a/b", "/half"]), st.text(max_size=8).map("/".__add__)
)


def _encode(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="/~")


@pytest.fixture(scope="module")
def fuzzed() -> Any:
    with LocalServer() as local:
        wire = Wire(local)
        wire.put("/a/b", b"x")
        wire.slice_init("/half", 5)
        yield wire
        wire.close()


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    op=st.sampled_from(OPS),
    path=PATHS,
    fields=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6),
    encoding=st.sampled_from(["query", "json", "form", "text"]),
    once=st.booleans(),
)
def test_operations_with_any_parameters(
    op: str, path: str, fields: dict[str, Any], encoding: str, once: bool, fuzzed: Wire
) -> None:
    fields = {"op": op, **fields}
    headers = {"Authorization": fuzzed.sign(file_id=f"/1250000000/mybucket{_encode(path)}")}
    if once:
        file_id = f"/1250000000/mybucket{_encode(path)}"
        headers = {"Authorization": fuzzed.sign(file_id=file_id, once=True)}
    target = f"/files/v2/1250000000/mybucket{_encode(path)}"
    body = b""
    if encoding == "query":
        texts = {name: quote_plus(str(value), errors="ignore") for name, value in fields.items()}
        target += "?" + "&".join(f"{name}={text}" for name, text in texts.items())
    elif encoding == "json":
        body, headers["Content-Type"] = json.dumps(fields).encode(), "application/json"
    elif encoding == "form":
        parts = {name: str(value).encode("utf-8", "ignore") for name, value in fields.items()}
        body, headers["Content-Type"] = build_form(parts)
    else:
        body = repr(fields).encode("utf-8", "ignore")
    method = "GET" if op in ("stat", "list") and encoding == "query" else "POST"
    answer = fuzzed.request(method, target, headers, body or None)
    value = answer.json
    assert (answer.status == 200) == (value["code"] == 0)
    assert answer.status < 500, value


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.binary(max_size=20),
    query=st.text(alphabet="abop=&%+stat0listnum\x7f", max_size=30),
    sign=st.text(alphabet="abc+/= %&\xe9", max_size=40),
    span=st.text(alphabet="bytes=0123456789-, ", max_size=30),
    host=st.sampled_from(["", "mybucket-1250000000.x", "x-1.y", "[::1]:80", "a b", "-1.x"]),
)
def test_requests_that_make_no_sense(
    path: bytes, query: str, sign: str, span: str, host: str, fuzzed: Wire
) -> None:
    quoted = "/" + "".join(f"%{byte:02x}" for byte in path)
    headers = {"Authorization": sign, "Range": span, "Host": host}
    for prefix in ("", "/files/v2/1250000000/mybucket", "/mybucket-1250000000"):
        target = f"{prefix}{quoted}?{quote(query, safe='=&%+')}"
        answer = fuzzed.request("GET", target, headers)
        assert 400 <= answer.status < 500
