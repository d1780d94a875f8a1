"""Every code the server can answer with is provoked, and none is left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cosfs.server import codes
from cosfs.server.codes import Code
from cosfs.server.running import LocalServer
from tests.server.wire import MIB, Answer, Wire, build_form, pattern, sha1

Provoke = Callable[[Wire, str], Answer]
Start = Callable[..., Wire]

ALL_CODES = {
    value.number: value
    for name, value in vars(codes).items()
    # Signatures have a table of their own; -5996 has another status on a download address.
    if isinstance(value, Code) and not name.startswith("SIGN_") and name != "DOWNLOAD_BAD_METHOD"
}


def _post(wire: Wire, path: str, body: bytes, content_type: str) -> Answer:
    headers = {"Authorization": wire.sign(path), "Content-Type": content_type}
    return wire.request("POST", wire.url_path(path), headers, body)


def _existing(wire: Wire, folder: str) -> str:
    wire.put(folder + "file", b"content")
    return folder + "file"


def _begin(wire: Wire, path: str, size: int, **fields: object) -> str:
    session: str = wire.slice_init(path, size, **fields).data["session"]
    return session


def _begin_with_sha(wire: Wire, path: str, sha: str) -> Answer:
    part = {"offset": 0, "datalen": 5, "datasha": sha}
    return wire.slice_init(path, 5, sha=sha, uploadparts=json.dumps([part]))


def _unfinished(wire: Wire, folder: str) -> str:
    _begin(wire, folder + "half", 5)
    return folder + "half"


def _forbidden(wire: Wire, folder: str, forbid: int) -> str:
    path = _existing(wire, folder)
    assert wire.update(path, forbid=forbid).code == 0
    return path


def _same_sha_again(wire: Wire, folder: str) -> Answer:
    sha = sha1(folder.encode())
    assert _begin_with_sha(wire, folder + "a", sha).code == 0
    return _begin_with_sha(wire, folder + "a", sha)


def _other_sha_again(wire: Wire, folder: str) -> Answer:
    assert _begin_with_sha(wire, folder + "a", sha1(folder.encode())).code == 0
    return _begin_with_sha(wire, folder + "a", sha1(b"other"))


def _slice(wire: Wire, folder: str, offset: int, size: int) -> Answer:
    session = _begin(wire, folder + "a", 2 * 65536 + 10, slice_size=65536)
    return wire.slice_data(folder + "a", session, offset, bytes(size))


def _finish(wire: Wire, folder: str, content: bytes, **fields: object) -> Answer:
    session = _begin(wire, folder + "a", 5)
    assert wire.slice_data(folder + "a", session, 0, content).code == 0
    return wire.slice_finish(folder + "a", session, 5, **fields)


def _finish_without_sha(wire: Wire, folder: str) -> Answer:
    content = folder.encode().ljust(5)[:5]
    session = _begin_with_sha(wire, folder + "a", sha1(content)).data["session"]
    assert wire.slice_data(folder + "a", session, 0, content).code == 0
    return wire.slice_finish(folder + "a", session, 5)


def _too_many_fields(wire: Wire, folder: str) -> Answer:
    return _post(wire, folder + "a", b"[" + b" " * (16 * MIB) + b"]", "application/json")


PROVOCATIONS: dict[int, Provoke] = {
    # The request itself.
    -5980: lambda wire, folder: wire.post_json(folder + "a", biz_attr="x"),
    -5972: lambda wire, folder: wire.post_json(folder + "a", op="explode"),
    -5975: lambda wire, folder: _post(wire, folder + "a", b'{"op": ', "application/json"),
    -5996: lambda wire, folder: wire.get(folder + "a", op="delete"),
    -5993: lambda wire, folder: _post(wire, folder + "a", b"x", "multipart/form-data; boundary=b"),
    -5994: lambda wire, folder: wire.request("GET", "/favicon.ico"),
    -5999: lambda wire, folder: wire.update(_existing(wire, folder), authority="eEverybody"),
    -5995: _too_many_fields,
    # Paths.
    -147: lambda wire, folder: wire.request("GET", wire.url_path("/") + "%ff?op=stat"),
    -160: lambda wire, folder: wire.upload(folder, b""),
    -161: lambda wire, folder: wire.create(folder + "a"),
    -180: lambda wire, folder: wire.create("/"),
    -199: lambda wire, folder: wire.upload("/" + "x" * 851, b""),
    # Folders and listings.
    -178: lambda wire, folder: (wire.create(folder), wire.create(folder))[1],
    -157: lambda wire, folder: wire.list(folder, 0),
    -165: lambda wire, folder: wire.list(folder, 1001),
    -170: lambda wire, folder: wire.list(folder, "many"),
    # Files.
    -197: lambda wire, folder: wire.stat(folder + "missing"),
    -177: lambda wire, folder: wire.upload(_existing(wire, folder), b"other"),
    -4018: lambda wire, folder: wire.upload(_existing(wire, folder), b"content"),
    -5973: lambda wire, folder: wire.move(_existing(wire, folder), "/1250000000/other/x"),
    -289: lambda wire, folder: wire.delete(_forbidden(wire, folder, 2)),
    # Uploads.
    -5990: lambda wire, folder: wire.post_form(folder + "a", op="upload"),
    -285: lambda wire, folder: wire.upload(folder + "a", bytes(20 * MIB + 1)),
    -168: lambda wire, folder: wire.upload(folder + "a", b"", sha="123"),
    -4016: lambda wire, folder: wire.upload(folder + "a", b"a", sha=sha1(b"b")),
    -4019: _same_sha_again,
    -4020: _other_sha_again,
    -5971: lambda wire, folder: wire.post_form(
        folder + "a", op="upload_slice_init", slice_size=MIB
    ),
    -5979: lambda wire, folder: wire.slice_init(folder + "a", 5, uploadparts="[]"),
    -284: lambda wire, folder: wire.slice_init(folder + "a", 5, 65535),
    -5965: lambda wire, folder: wire.slice_init(folder + "a", 5, sha=sha1(b"x"), uploadparts="{"),
    -286: lambda wire, folder: wire.slice_data(_unfinished(wire, folder), "nonsense", 0, b"12345"),
    -4005: lambda wire, folder: _slice(wire, folder, 1, 65536),
    -5991: lambda wire, folder: _slice(wire, folder, 2 * 65536, 11),
    -283: lambda wire, folder: _slice(wire, folder, 65536, 65535),
    -175: lambda wire, folder: wire.slice_finish(
        folder + "a", _begin(wire, folder + "a", 5), 5
    ),
    -29094: _finish_without_sha,
    # Downloads.
    -46628: lambda wire, folder: wire.download(folder + "missing"),
    -46618: lambda wire, folder: wire.download(folder + "missing", sign=""),
    -46619: lambda wire, folder: wire.download("/a", sign=wire.sign(expires=1)),
    -46614: lambda wire, folder: wire.download(_unfinished(wire, folder)),
    -46152: lambda wire, folder: wire.request("GET", "/nobucket-1250000000/a"),
    -46154: lambda wire, folder: wire.request("GET", "/mybucket-1259999999/a"),
    -29033: lambda wire, folder: wire.download(_existing(wire, folder), Range="bytes=100-"),
}

# Provoked by tests of their own, because they take another server.
ELSEWHERE = {-133, -71, -173, -181, -9999}


@pytest.mark.parametrize("number", PROVOCATIONS)
def test_code_is_provoked(number: int, wire: Wire, folder: str) -> None:
    answer = PROVOCATIONS[number](wire, folder)
    expected = ALL_CODES[number]
    assert (answer.code, answer.status) == (number, expected.status)
    value = answer.json
    if "code" in value:
        assert value["message"] and value["request_id"] and "data" not in value
    else:
        assert value == {"errorcode": number, "errormsg": "refused", "retcode": number}
        assert answer.headers["X-ErrNo"] == str(number)
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


def test_no_code_is_left_out() -> None:
    assert set(PROVOCATIONS) | ELSEWHERE == set(ALL_CODES)


def test_too_many_requests(start: Start) -> None:
    wire = start(requests_per_second=5)
    answers = [wire.stat("/a") for _ in range(10)]
    assert answers[0].code == -197
    limited = [answer for answer in answers if answer.code == -71]
    assert limited and {answer.status for answer in limited} == {503}


def test_content_that_is_lost_is_a_storage_error(
    start: Start, expect_log: Callable[[str], None], tmp_path: Path
) -> None:
    expect_log("content cannot be read")
    wire = start(tmp_path)
    wire.put("/a", pattern(100_000))
    for path in (tmp_path / "objects").glob("*/*"):
        path.unlink()
    answer = wire.download("/a")
    assert (answer.code, answer.status) == (-181, 500)


def test_an_unexpected_error_is_an_envelope_without_traceback(
    start: Start, expect_log: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    expect_log("failed")
    wire = start()
    assert isinstance(wire.address, LocalServer)

    def explode(*arguments: object) -> None:
        raise RuntimeError("the inside of the server")

    monkeypatch.setattr("cosfs.server.state.State.find", explode)
    answer = wire.stat("/a")
    assert (answer.code, answer.status) == (-9999, 500)
    assert b"inside" not in answer.body and b"Traceback" not in answer.body


# Cases that share a code with one above.

MORE: list[tuple[str, int, Provoke]] = [
    ("num is missing", -170, lambda wire, folder: wire.get(folder, op="list")),
    ("num is negative", -157, lambda wire, folder: wire.list(folder, -1)),
    ("context is not ours", -5999, lambda wire, folder: wire.list(folder, 5, "!!!")),
    ("context of a folder elsewhere", -5999, lambda wire, folder: wire.list(folder, 5, "enp6")),
    ("missing folder", -197, lambda wire, folder: wire.stat(folder)),
    ("virtual folder", -197, lambda wire, folder: wire.stat(_existing(wire, folder)[:-4])),
    ("delete a virtual folder", -197, lambda w, folder: w.delete(_existing(w, folder)[:-4])),
    ("delete a missing folder", -197, lambda wire, folder: wire.delete(folder)),
    ("update a missing folder", -197, lambda wire, folder: wire.update(folder, biz_attr="x")),
    ("delete the root", -180, lambda wire, folder: wire.delete("/")),
    ("update the root", -180, lambda wire, folder: wire.update("/", biz_attr="x")),
    ("delete a missing file", -197, lambda wire, folder: wire.delete(folder + "a")),
    ("update a missing file", -197, lambda wire, folder: wire.update(folder + "a")),
    ("move a missing file", -197, lambda wire, folder: wire.move(folder + "a", "b")),
    ("copy a missing file", -197, lambda wire, folder: wire.copy(folder + "a", "b")),
    ("slice list of nothing", -197, lambda wire, folder: wire.slice_list(folder + "a")),
    ("move a folder", -160, lambda wire, folder: wire.move(folder, "/b")),
    ("move to a folder", -160, lambda wire, folder: wire.move(_existing(wire, folder), "/b/")),
    ("move to nothing", -5999, lambda wire, folder: wire.move(_existing(wire, folder), "")),
    (
        "move without a target",
        -5999,
        lambda wire, folder: wire.post_json(_existing(wire, folder), once=True, op="move"),
    ),
    ("move far too far", -199, lambda w, folder: w.move(_existing(w, folder), "/" + "x" * 851)),
    ("move to itself", -177, lambda w, folder: w.move(_existing(w, folder), folder + "file")),
    ("move onto half a file", -177, lambda w, f: w.move(_existing(w, f), _unfinished(w, f))),
    (
        "move over half a file",
        -4020,
        lambda wire, folder: wire.move(_existing(wire, folder), _unfinished(wire, folder), 1),
    ),
    ("upload onto half a file", -4020, lambda w, folder: w.upload(_unfinished(w, folder), b"x")),
    ("download of a folder", -46628, lambda w, f: (w.create(f), w.download(f))[1]),
    ("download of a banned file", -46618, lambda w, f: w.download(_forbidden(w, f, 1))),
    (
        "overwriting a banned file",
        -289,
        lambda wire, folder: wire.upload(_forbidden(wire, folder, 2), b"x", insertOnly=0),
    ),
    ("insertOnly is maybe", -5999, lambda w, f: w.upload(f + "a", b"", insertOnly="maybe")),
    ("biz_attr too long", -5999, lambda w, f: w.upload(f + "a", b"", biz_attr="x" * 1025)),
    ("control character", -180, lambda wire, folder: wire.stat(folder + "\x19")),
    ("negative size", -5999, lambda wire, folder: wire.slice_init(folder + "a", -1)),
    ("slice size missing", -284, lambda w, f: w.post_form(
        f + "a", op="upload_slice_init", filesize=5)),
    ("slice size too large", -284, lambda w, f: w.slice_init(f + "a", 5, 3 * MIB + 1)),
    ("sha with other slice size", -284, lambda w, f: w.slice_init(
        f + "a", 5, MIB // 2, sha=sha1(b""), uploadparts="[]")),
    ("sha without parts", -5965, lambda w, f: w.slice_init(f + "a", 5, sha=sha1(b""))),
    ("offset beyond the end", -4005, lambda w, f: _slice(w, f, 3 * 65536, 1)),
    ("negative offset", -4005, lambda w, f: _slice(w, f, -65536, 65536)),
    ("wrong sha at the end", -4016, lambda w, f: _finish(w, f, b"12345", sha=sha1(b"x"))),
    ("wrong size at the end", -175, lambda w, f: w.slice_finish(
        f + "a", _begin(w, f + "a", 5), 6)),
    ("finish without session", -286, lambda w, f: w.post_form(
        f + "a", op="upload_slice_finish", filesize=5)),
    ("custom header of another name", -5999, lambda w, f: w.update(
        _existing(w, f), custom_headers={"Set-Cookie": "x"})),
    ("custom header with a line end", -5999, lambda w, f: w.update(
        _existing(w, f), custom_headers={"x-cos-meta-a": "x\r\nSet-Cookie: y"})),
    ("custom header without a name", -5999, lambda w, f: w.update(
        _existing(w, f), custom_headers={"x-cos-meta-": "x"})),
    ("custom headers too long", -5999, lambda w, f: w.update(
        _existing(w, f), custom_headers={f"x-cos-meta-{n}": "x" * 1500 for n in range(3)})),
    ("one custom header too long", -5999, lambda w, f: w.update(
        _existing(w, f), custom_headers={"x-cos-meta-a": "x" * 2048})),
    ("custom headers are a list", -5999, lambda w, f: w.update(
        _existing(w, f), custom_headers=["x"])),
    ("custom headers are broken text", -5999, lambda w, f: w.update(
        _existing(w, f), custom_headers="{")),
    ("forbid is 4", -5999, lambda w, f: w.update(_existing(w, f), forbid=4)),
    ("a folder with an authority", -5999, lambda w, f: (
        w.create(f), w.update(f, authority="eWRPrivate"))[1]),
    ("text that is half a character", -5999, lambda w, f: w.update(
        _existing(w, f), biz_attr="\ud800")),
    ("JSON that is no object", -5975, lambda w, f: _post(w, f, b"[1]", "application/json")),
    ("JSON that is far too deep", -5975, lambda w, f: _post(
        w, f, b"[" * 100_000, "application/json")),
    ("neither form nor JSON", -5993, lambda w, f: _post(w, f, b"op=create", "text/plain")),
    ("form without boundary", -5993, lambda w, f: _post(w, f, b"--x", "multipart/form-data")),
    ("form that ends early", -5993, lambda w, f: _post(
        w, f, build_form({"op": "create"})[0][:-10], "multipart/form-data; boundary=c0ffee")),
    ("PUT", -5996, lambda w, f: w.request(
        "PUT", w.url_path(f + "a?op=stat").replace("%3F", "?").replace("%3D", "="),
        {"Authorization": w.sign()})),
    ("stat by POST", -5996, lambda w, f: w.post_json(f + "a", op="stat")),
    ("no op at all", -5980, lambda w, f: w.get(f + "a")),
    ("path style of no bucket name", -5994, lambda w, f: w.request("GET", "/NoBucket/a")),
    ("unknown API version", -5994, lambda w, f: w.request("GET", "/files/v1/1/b/c")),
]


@pytest.mark.parametrize("case", MORE, ids=[name for name, _, _ in MORE])
def test_more_refusals(case: tuple[str, int, Provoke], wire: Wire, folder: str) -> None:
    _, number, provoke = case
    assert provoke(wire, folder).code == number


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_on_a_download_address(method: str, wire: Wire) -> None:
    assert wire.download("/a", method=method).status == 405


def test_a_body_that_cannot_be_decoded_is_answered(wire: Wire, folder: str) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    signed = {**headers, "Authorization": wire.sign()}
    answer = wire.request("POST", wire.url_path(folder), signed, b'{"op": "create"}')
    assert (answer.status, answer.code) == (400, -5993)
    assert answer.headers["Connection"] == "close"
    assert wire.request("POST", wire.url_path(folder), headers, b"x" * MIB).code == -81
    assert wire.create(folder).code == 0


def test_a_refused_request_leaves_the_connection_usable(wire: Wire, folder: str) -> None:
    wire.stat(folder + "a")
    connection = wire._connection
    sign = wire.sign("/elsewhere")
    assert wire.upload(folder + "a", bytes(3 * MIB)).code == 0
    assert wire.post_form(folder + "b", sign=sign, op="upload", filecontent=b"x" * MIB).code == -63
    assert wire.stat(folder + "b").code == -197
    assert wire._connection is connection
