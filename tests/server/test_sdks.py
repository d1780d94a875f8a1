"""Requests as the vendor's own SDKs spell them, byte by byte where that matters."""

from __future__ import annotations

import json
import socket
from urllib.parse import quote, urlencode

import pytest

from tests.server.wire import MIB, Wire, build_form, build_sign, encode_path, pattern, sha1

# Python 2: samples of section 5.6, multipart of file parts only, unquoted signature.


def test_python_folder_calls(wire: Wire, folder: str) -> None:
    path = folder + "测试 目录/"
    sign = wire.sign(path)
    headers = {
        "Authorization": sign,
        "Content-Type": "application/json",
        "User-Agent": "cos-python-sdk-v4",
        "Accept-Encoding": "gzip, deflate",
        "Accept": "*/*",
        "Connection": "keep-alive",
    }
    body = rb'{"biz_attr": "\u5907\u6ce8", "op": "create"}'
    assert wire.request("POST", wire.url_path(path), headers, body).data["ctime"]
    assert wire.stat(path).data["biz_attr"] == "备注"
    target = wire.url_path(path + "a b") + "?num=199&context=&op=list"
    answer = wire.request("GET", target, {"Authorization": wire.sign(path + "a b")})
    assert answer.data == {"context": "", "listover": True, "infos": []}
    target = wire.url_path(path) + "?delimiter=%2F&num=199&context=&op=list"
    assert wire.request("GET", target, {"Authorization": sign}).code == 0


def test_python_upload(wire: Wire, folder: str) -> None:
    """Every part has a file name; the order is that of a Python 2 dictionary."""
    path = folder + "a b+c~.txt"
    fields = {
        "insertOnly": "1",
        "biz_attr": "备注",
        "filecontent": b"hello",
        "op": "upload",
        "sha": sha1(b"hello"),
    }
    body, content_type = build_form(fields, boundary="127.0.0.1.0.4242.1512345678.123.1")
    headers = {"Authorization": wire.sign(path), "Content-Type": content_type}
    assert wire.request("POST", wire.url_path(path), headers, body).code == 0
    assert wire.stat(path).data["biz_attr"] == "备注"


def test_python_upload_of_an_empty_file(wire: Wire, folder: str) -> None:
    assert wire.post_form(folder + "_SUCCESS", op="upload", filecontent=b"").code == 0
    assert wire.stat(folder + "_SUCCESS").data["filesize"] == 0


def test_python_move_has_its_parameters_in_the_query(wire: Wire, folder: str) -> None:
    wire.put(folder + "a.txt", b"x")
    query = f"to_over_write=1&dest_fileid={quote(folder, safe='')}b+c.txt&op=move"
    headers = {"Authorization": wire.sign(folder + "a.txt", once=True), "Content-Length": "0"}
    target = f"{wire.url_path(folder + 'a.txt')}?{query}"
    assert wire.request("POST", target, headers).code == 0
    assert wire.download(folder + "b c.txt").body == b"x"


def test_python_slices(wire: Wire, folder: str) -> None:
    path = folder + "a"
    content = pattern(2 * MIB + 5)
    fields = {"op": "upload_slice_init", "filesize": str(len(content)), "slice_size": str(MIB)}
    session = wire.post_form(path, **fields, biz_attr="", insertOnly="1").data["session"]
    for offset in range(0, len(content), MIB):
        answer = wire.post_form(
            path,
            op="upload_slice_data",
            session=session,
            offset=str(offset),
            filecontent=content[offset : offset + MIB],
            sha=sha1(content),
        )
        assert answer.data["session"] == session and answer.data["offset"] == offset
    fields = {"op": "upload_slice_finish", "session": session, "filesize": str(len(content))}
    assert wire.post_form(path, **fields).data["source_url"]
    assert wire.download(path).body == content


def test_python_update(wire: Wire, folder: str) -> None:
    wire.put(folder + "a.txt")
    body = (
        rb'{"biz_attr": "\u5907\u6ce8", "custom_headers": {"Content-Type": "text/x",'
        rb' "x-cos-meta-a": "1"}, "authority": "eWRPrivate", "op": "update"}'
    )
    sign = wire.sign(folder + "a.txt", once=True)
    headers = {"Authorization": sign, "Content-Type": "application/json"}
    assert wire.request("POST", wire.url_path(folder + "a.txt"), headers, body).code == 0
    data = wire.stat(folder + "a.txt").data
    assert data["custom_headers"] == {"Content-Type": "text/x", "x-cos-meta-a": "1"}
    assert (data["biz_attr"], data["authority"]) == ("备注", "eWRPrivate")


def test_python_download_pastes_the_signature_unquoted(wire: Wire, folder: str) -> None:
    wire.put(folder + "a.txt", b"hello")
    host = {"Host": "mybucket-1250000000.cossh.myqcloud.com", "Range": "bytes=0-1"}
    seen = set()
    for _ in range(20):
        sign = wire.sign(file_id=encode_path(folder + "a.txt"))
        seen |= set(sign) & set("+/=")
        answer = wire.request("GET", f"{encode_path(folder)}a.txt?sign={sign}", host)
        assert (answer.status, answer.body) == (206, b"he")
    assert "+" in seen


# PHP: order of the fields, f empty or encoded twice, Expect, multipart for everything.


def test_php_upload_with_expect(wire: Wire, folder: str) -> None:
    """The body is held back until the server says that it wants it."""
    content = pattern(MIB)
    body, content_type = build_form(
        {"op": "upload", "sha": sha1(content), "biz_attr": "", "filecontent": content},
        with_filename=False,
    )
    sign = build_sign(wire.address, order="abketrf")
    head = (
        f"POST {wire.url_path(folder + 'a')} HTTP/1.1\r\nHost: {wire.netloc}\r\n"
        f"Authorization:{sign}\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n"
        f"Content-Type: {content_type}\r\n\r\n"
    )
    host, port = wire.netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert wire.download(folder + "a").body == content


def test_expect_is_not_answered_when_the_signature_is_wrong(wire: Wire, folder: str) -> None:
    head = (
        f"POST {wire.url_path(folder + 'a')} HTTP/1.1\r\nHost: {wire.netloc}\r\n"
        "Authorization: nonsense\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    host, port = wire.netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("op", ["move", "copy"])
def test_php_move_and_copy(op: str, wire: Wire, folder: str) -> None:
    path, target = folder + "odd \"*:|\\<>←↑→↓ name", folder + "新 名"
    wire.put(path, b"x")
    file_id = quote(f"/{wire.address.appid}/mybucket{encode_path(path)}", safe="/")
    assert "%25" in file_id
    sign = build_sign(wire.address, file_id=file_id, expires=0, order="abketrf")
    answer = wire.post_form(path, sign=sign, op=op, dest_fileid=target, to_over_write="0")
    assert answer.code == 0
    assert wire.download(target).body == b"x"


def test_php_sends_its_signature_quoted_in_the_query(wire: Wire, folder: str) -> None:
    wire.put(folder + "a", b"x")
    sign = quote(build_sign(wire.address, order="abketrf"), safe="")
    host = {"Host": "mybucket-1250000000.cosgz.myqcloud.com"}
    assert wire.request("GET", f"{folder}a?sign={sign}", host).body == b"x"


# Java: every JSON value is a text.


def test_java_texts_for_numbers_and_objects(wire: Wire, folder: str) -> None:
    wire.put(folder + "a", b"x")
    headers = json.dumps({"Content-Type": "text/x", "x-cos-meta-a": "1"})
    assert wire.update(folder + "a", custom_headers=headers, forbid="0").code == 0
    assert wire.stat(folder + "a").data["custom_headers"]["Content-Type"] == "text/x"
    answer = wire.post_json(
        folder + "a", once=True, op="copy", dest_fileid=folder + "b", to_over_write="1"
    )
    assert answer.code == 0
    assert wire.post_json(folder + "b", op="upload_slice_list").data["url"]


# JS, wx, .NET: multipart everywhere, other spellings, fields nobody knows.


def test_js_multipart_for_json_operations(wire: Wire, folder: str) -> None:
    assert wire.post_form(folder, op="create", biz_attr="x").code == 0
    wire.put(folder + "a", b"x")
    once = wire.sign(folder + "a", once=True)
    headers = json.dumps({"Cache-Control": "no-cache"})
    answer = wire.post_form(folder + "a", sign=once, op="update", custom_headers=headers)
    assert answer.code == 0
    once = wire.sign(folder + "a", once=True)
    assert wire.post_form(folder + "a", sign=once, op="delete").code == 0


def test_js_signs_in_the_query_of_the_api(wire: Wire, folder: str) -> None:
    wire.put(folder + "a", b"x")
    sign = quote(wire.sign(), safe="")
    target = wire.url_path(folder) + f"?op=list&num=5&order=0&pattern=eListBoth&sign={sign}"
    assert len(wire.request("GET", target).data["infos"]) == 1


def test_js_slices(wire: Wire, folder: str) -> None:
    path = folder + "a"
    session = wire.slice_init(path, 5, insertOnly=0).data["session"]
    answer = wire.post_form(
        path, op="upload_slice_data", session=session, offset=0, sliceSize=MIB, fileContent=b"12345"
    )
    assert answer.code == 0
    answer = wire.post_form(path, op="upload_slice_finish", session=session, fileSize=5)
    assert answer.code == 0


def test_quoted_boundary(wire: Wire, folder: str) -> None:
    body, _ = build_form({"op": "create"}, boundary="with space")
    headers = {
        "Authorization": wire.sign(),
        "Content-Type": 'multipart/form-data; charset=utf-8; boundary="with space"',
    }
    assert wire.request("POST", wire.url_path(folder), headers, body).code == 0


def test_urlencoded_body(wire: Wire, folder: str) -> None:
    headers = {
        "Authorization": wire.sign(),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    body = urlencode({"op": "create", "biz_attr": "备 注+"}).encode()
    assert wire.request("POST", wire.url_path(folder), headers, body).code == 0
    assert wire.stat(folder).data["biz_attr"] == "备 注+"


def test_the_body_wins_over_the_query(wire: Wire, folder: str) -> None:
    headers = {"Authorization": wire.sign(), "Content-Type": "application/json"}
    target = wire.url_path(folder) + "?op=explode&biz_attr=query"
    body = b'{"OP": "create", "biz_attr": "body"}'
    assert wire.request("POST", target, headers, body).code == 0
    assert wire.stat(folder).data["biz_attr"] == "body"


def test_chunked_body(wire: Wire, folder: str) -> None:
    body, content_type = build_form({"op": "upload", "filecontent": pattern(300_000)})
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(piece), piece)
        for piece in (body[start : start + 70_000] for start in range(0, len(body), 70_000))
    )
    headers = {
        "Authorization": wire.sign(),
        "Content-Type": content_type,
        "Transfer-Encoding": "chunked",
    }
    answer = wire.request("POST", wire.url_path(folder + "a"), headers, chunks + b"0\r\n\r\n")
    assert answer.code == 0
    assert wire.download(folder + "a").body == pattern(300_000)


@pytest.mark.parametrize("suffix", ["", "/", "//"])
def test_absolute_request_target(suffix: str, wire: Wire) -> None:
    target = f"http://{wire.netloc}{wire.url_path('')}{suffix}?op=stat"
    assert wire.request("GET", target, {"Authorization": wire.sign()}).code == 0
