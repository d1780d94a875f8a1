"""How replies are read: samples of the reference, and what is no such reply."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosfs.errors import MalformedReply, ReplyInfo
from cosfs.jsonapi import parsing
from cosfs.jsonapi.replies import (
    FileInfo,
    FolderInfo,
    ListedEntry,
    Reply,
    SliceList,
    SlicePart,
    SliceSession,
    UploadedFile,
)
from tests.unit.jsonapi_fakes import FILE, UPLOADED


def reply(data: Any) -> Reply:
    body = json.dumps({"code": 0, "message": "SUCCESS", "data": data}).encode()
    found, info = parsing.parse_envelope(200, {}, body)
    assert found is not None, info
    return found


def test_file() -> None:
    assert parsing.parse_file(reply(FILE)) == FileInfo(
        biz_attr="",
        ctime=1700000000,
        mtime=1700000000,
        filesize=5,
        filelen=5,
        sha="aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",
        slicesize=0,
        authority="eInvalid",
        forbid=0,
        custom_headers={},
        access_url="http://mybucket-1250000000.file.myqcloud.com/d/a.txt",
        source_url="http://mybucket-1250000000.cossh.myqcloud.com/d/a.txt",
    )


def test_file_with_the_spelling_of_other_years() -> None:
    data = {
        "ctime": "1512345678", "mtime": "1512345679", "filesize": "7", "filelen": "3",
        "sha": "AAF4", "custom_headers": '{"x-cos-meta-n": 5}', "authority": None, "forbid": "1",
    }  # fmt: skip
    info = parsing.parse_file(reply(data))
    assert (info.ctime, info.mtime, info.filesize, info.filelen) == (1512345678, 1512345679, 7, 3)
    assert (info.sha, info.authority, info.forbid) == ("aaf4", "eInvalid", 1)
    assert info.custom_headers == {"x-cos-meta-n": "5"}
    assert not info.is_complete


@pytest.mark.parametrize("empty", [None, {}, [], ""])
def test_no_custom_headers(empty: object) -> None:
    assert parsing.parse_file(reply({**FILE, "custom_headers": empty})).custom_headers == {}


@pytest.mark.parametrize(
    "change",
    [
        {"filesize": None}, {"ctime": None}, {"mtime": None}, {"filesize": "many"},
        {"filesize": True}, {"filesize": -1}, {"filesize": 1.5}, {"filesize": []},
        {"filesize": "9" * 30}, {"ctime": "yesterday"}, {"sha": 5}, {"biz_attr": {}},
        {"custom_headers": [1]}, {"custom_headers": {"a": []}}, {"custom_headers": "{"},
        {"custom_headers": 5}, {"authority": 1}, {"forbid": "x"}, {"access_url": []},
    ],
)  # fmt: skip
def test_no_such_file_reply(change: dict[str, object]) -> None:
    with pytest.raises(MalformedReply):
        parsing.parse_file(reply({**FILE, **change}))


@pytest.mark.parametrize("times", [(1512345678, 1512345679), ("1512345678", "1512345679")])
def test_folder(times: tuple[object, object]) -> None:
    data = {"biz_attr": "备注", "ctime": times[0], "mtime": times[1]}
    assert parsing.parse_folder(reply(data)) == FolderInfo("备注", 1512345678, 1512345679)


def test_folder_without_times_is_refused() -> None:
    with pytest.raises(MalformedReply):
        parsing.parse_folder(reply({"biz_attr": ""}))


PAGE: dict[str, Any] = {
    "context": "YS50eHQ=",
    "listover": True,
    "infos": [
        {"name": "sub/", "ctime": 1512340000, "mtime": 1512340000},
        {
            "name": "a.txt", "ctime": 1512345678, "mtime": 1512345678, "filesize": 5, "filelen": 5,
            "sha": "aaf4", "authority": "eWRPrivate", "access_url": "http://x/a",
            "source_url": "http://y/a",
        },
    ],
}  # fmt: skip


def test_page() -> None:
    listing = parsing.parse_listing(reply(PAGE))
    assert listing.listover and listing.context == "YS50eHQ="
    assert listing.entries == (
        ListedEntry("sub", True, 1512340000, 1512340000, 0, 0, "", "", "", ""),
        ListedEntry(
            "a.txt", False, 1512345678, 1512345678, 5, 5, "aaf4", "eWRPrivate", "http://x/a",
            "http://y/a",
        ),
    )  # fmt: skip


def test_an_entry_without_a_size_or_address_is_a_folder() -> None:
    page = {**PAGE, "infos": [{"name": "odd"}, {"name": "virtual/"}]}
    listing = parsing.parse_listing(reply(page))
    assert [(entry.name, entry.is_folder, entry.mtime) for entry in listing.entries] == [
        ("odd", True, 0),
        ("virtual", True, 0),
    ]


@pytest.mark.parametrize(("value", "expected"), [(True, True), (1, True), ("1", True), (0, None)])
def test_listover(value: object, expected: bool | None) -> None:
    page = {**PAGE, "listover": value, "context": "" if expected else "c"}
    assert parsing.parse_listing(reply(page)).listover is bool(expected)


@pytest.mark.parametrize(
    "change",
    [
        {"infos": None}, {"infos": {}}, {"infos": [5]}, {"infos": [{}]}, {"infos": [{"name": 1}]},
        {"listover": None}, {"listover": "no"}, {"listover": 2}, {"context": 5},
        {"listover": False, "context": ""}, {"infos": [{"name": "a", "access_url": "x"}]},
    ],
)  # fmt: skip
def test_no_such_page(change: dict[str, object]) -> None:
    with pytest.raises(MalformedReply):
        parsing.parse_listing(reply({**PAGE, **change}))


def test_uploaded() -> None:
    expected = UploadedFile(
        UPLOADED["access_url"], UPLOADED["source_url"], UPLOADED["url"], UPLOADED["resource_path"]
    )
    assert parsing.parse_uploaded(reply(UPLOADED)) == expected
    assert parsing.parse_slice_init(reply(UPLOADED)) == expected
    assert parsing.parse_slice_list(reply(UPLOADED)) == expected


def test_session() -> None:
    data = {"session": "s+AA==", "slice_size": "1048576"}
    assert parsing.parse_slice_init(reply(data)) == SliceSession("s+AA==", 1048576, False)
    serial = parsing.parse_slice_init(reply({**data, "serial_upload": 1}))
    assert serial == SliceSession("s+AA==", 1048576, True)


SLICES = {
    "session": "s", "slice_size": 1048576, "filesize": 3000000, "sha": "CAFE_x",
    "listparts": [{"offset": 0, "datalen": 1048576}],
}  # fmt: skip


@pytest.mark.parametrize("parts", [SLICES["listparts"], json.dumps(SLICES["listparts"])])
def test_slices(parts: object) -> None:
    found = parsing.parse_slice_list(reply({**SLICES, "listparts": parts}))
    assert found == SliceList("s", 1048576, 3000000, "cafe", (SlicePart(0, 1048576),))


@pytest.mark.parametrize("parts", [None, [], ""])
def test_no_slices_yet(parts: object) -> None:
    data = {key: value for key, value in SLICES.items() if key != "listparts"}
    if parts is not None:
        data["listparts"] = parts
    found = parsing.parse_slice_list(reply(data))
    assert isinstance(found, SliceList) and found.parts == ()


@pytest.mark.parametrize(
    ("parse", "data"),
    [
        (parsing.parse_uploaded, {}),
        (parsing.parse_uploaded, {"access_url": 5}),
        (parsing.parse_slice_init, {}),
        (parsing.parse_slice_init, {"session": "s"}),
        (parsing.parse_slice_init, {"session": "s", "slice_size": 0}),
        (parsing.parse_slice_init, {"session": "s", "slice_size": 10**12}),
        (parsing.parse_slice_init, {"session": 5, "slice_size": 1}),
        (parsing.parse_slice_list, {"session": "s", "slice_size": 1}),
        (parsing.parse_slice_list, {**SLICES, "listparts": "["}),
        (parsing.parse_slice_list, {**SLICES, "listparts": 5}),
        (parsing.parse_slice_list, {**SLICES, "listparts": [5]}),
        (parsing.parse_slice_list, {**SLICES, "listparts": [{"offset": 0}]}),
    ],
)
def test_no_such_reply(parse: Callable[[Reply], object], data: object) -> None:
    with pytest.raises(MalformedReply):
        parse(reply(data))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"null", b'"x"', b'{"code": 0', b"{}", b'{"code": null}', b"\xff\xfe",
     b'{"code": "x"}', b'{"code": true}', b'{"code": 0, "m": "\xff"}', b"[" * 100_000],
)  # fmt: skip
def test_a_body_that_is_no_envelope(body: bytes) -> None:
    assert parsing.parse_envelope(200, {}, body) == (None, ReplyInfo(200))


def test_refusal() -> None:
    body = b'{"code": -197, "message": "ERROR_CMD_FILE_NOTEXIST", "request_id": "NWEy"}'
    found, info = parsing.parse_envelope(404, {}, body)
    assert found is None
    assert info == ReplyInfo(404, -197, "ERROR_CMD_FILE_NOTEXIST", "NWEy")


def test_success_in_a_failed_reply_is_none() -> None:
    found, info = parsing.parse_envelope(500, {}, b'{"code": 0}')
    assert found is None and info.code == 0


def test_a_text_of_the_server_is_bounded_and_quotes_no_signature() -> None:
    signature = "p0O3Ij+lOfbBBMqZi8/4" * 6
    body = json.dumps({"code": -97, "message": f"bad sign {signature}= of {'x ' * 500}"}).encode()
    info = parsing.parse_envelope(403, {}, body)[1]
    assert info.message.startswith("bad sign ... of x x")
    assert len(info.message) == 200


def test_any_data_is_an_object() -> None:
    assert parsing.parse_envelope(200, {}, b'{"code": 0, "data": []}')[0].data == {}  # type: ignore


@pytest.mark.parametrize(
    ("headers", "status", "expected"),
    [
        ({"content-range": "bytes 2-5/10", "etag": '"abc"'}, 206, (10, "abc", 2)),
        ({"content-length": "10", "etag": 'W/"abc"'}, 200, (10, "abc", 0)),
        ({"content-length": "0"}, 200, (0, "", 0)),
    ],
)
def test_download_headers(
    headers: dict[str, str], status: int, expected: tuple[int, str, int]
) -> None:
    found, begin = parsing.parse_downloaded(status, headers)
    assert (found.total_size, found.etag, begin) == expected


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 206), ({"content-range": "bytes 2-5/*"}, 206), ({"content-range": "bytes */10"}, 206),
        ({}, 200), ({"content-length": "x"}, 200), ({"content-length": "²"}, 200),
    ],
)  # fmt: skip
def test_download_without_a_size(headers: dict[str, str], status: int) -> None:
    with pytest.raises(MalformedReply):
        parsing.parse_downloaded(status, headers)


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b'{"errorcode": -46628, "errormsg": "no", "retcode": -46628}', {}, -46628),
        (b'{"code": -96, "message": "ERROR"}', {}, -96),
        (b"", {"x-errno": "-46619"}, -46619),
        (b"<html>", {}, None),
        (b'{"errorcode": 0}', {"x-errno": "-5"}, -5),
    ],
)
def test_download_refusal(body: bytes, headers: dict[str, str], code: int | None) -> None:
    assert parsing.parse_download_error(403, headers, body).code == code


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: JSON
            for name in (*FILE, *UPLOADED, "session", "slice_size", "listparts", "infos", "context",
                         "listover", "name")
        },
    )
)  # fmt: skip
@settings(max_examples=settings().max_examples // 3)
def test_any_data_is_read_or_refused(data: dict[str, object]) -> None:
    found = Reply(200, {}, "", "", data, {})
    for parse in (
        parsing.parse_file, parsing.parse_folder, parsing.parse_listing, parsing.parse_uploaded,
        parsing.parse_slice_init, parsing.parse_slice_list,
    ):  # fmt: skip
        try:
            parse(found)
        except MalformedReply:
            continue
