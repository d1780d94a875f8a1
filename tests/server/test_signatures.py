"""Signatures: the reference's vectors, and every row of its section 2.5."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from cosfs.server.codes import Refusal
from cosfs.server.running import LocalServer
from cosfs.server.signatures import parse_signature
from tests.server.wire import Wire, build_sign, encode_path, sign_plain

NOW = 1512345678
CHINESE = "/测试 目录/我的 文件 (1).txt"
ODD = "/a+b=c&d~e!@#$%^'(),;[]{}.txt"

# kind, path, plain text, sign
VECTORS = {
    "V1": (
        "once",
        "/sample_file.txt",
        "a=1250000000&k=AKIDEXAMPLEexampleEXAMPLEexample0123&e=0&t=1512345678&r=123456789"
        "&f=/1250000000/mybucket/sample_file.txt&b=mybucket",
        "p0O3Ij+lOfbBBMqZi8/4kmfe7rRhPTEyNTAwMDAwMDAmaz1BS0lERVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBs"
        "ZTAxMjMmZT0wJnQ9MTUxMjM0NTY3OCZyPTEyMzQ1Njc4OSZmPS8xMjUwMDAwMDAwL215YnVja2V0L3NhbXBsZV9m"
        "aWxlLnR4dCZiPW15YnVja2V0",
    ),
    "V2": (
        "more",
        "/sample_folder/",
        "a=1250000000&k=AKIDEXAMPLEexampleEXAMPLEexample0123&e=1512345978&t=1512345678&r=123456789"
        "&f=/1250000000/mybucket/sample_folder/&b=mybucket",
        "tvljuImqZp2Wqm1J1k+PZ5P+IeFhPTEyNTAwMDAwMDAmaz1BS0lERVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBs"
        "ZTAxMjMmZT0xNTEyMzQ1OTc4JnQ9MTUxMjM0NTY3OCZyPTEyMzQ1Njc4OSZmPS8xMjUwMDAwMDAwL215YnVja2V0"
        "L3NhbXBsZV9mb2xkZXIvJmI9bXlidWNrZXQ=",
    ),
    "V3": (
        "more",
        "/pic/1.jpg",
        "a=1250000000&k=AKIDEXAMPLEexampleEXAMPLEexample0123&e=1512346278&t=1512345678&r=123456789"
        "&f=/1250000000/mybucket/pic/1.jpg&b=mybucket",
        "/O19rDmEITlOoVNTxDpiaq2nNSthPTEyNTAwMDAwMDAmaz1BS0lERVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBs"
        "ZTAxMjMmZT0xNTEyMzQ2Mjc4JnQ9MTUxMjM0NTY3OCZyPTEyMzQ1Njc4OSZmPS8xMjUwMDAwMDAwL215YnVja2V0"
        "L3BpYy8xLmpwZyZiPW15YnVja2V0",
    ),
    "V4": (
        "download",
        "/pic/1.jpg",
        "a=1250000000&k=AKIDEXAMPLEexampleEXAMPLEexample0123&e=1512346278&t=1512345678&r=123456789"
        "&f=/pic/1.jpg&b=mybucket",
        "OZluUVgcUhnnZsMKllIxL0XkVa9hPTEyNTAwMDAwMDAmaz1BS0lERVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBs"
        "ZTAxMjMmZT0xNTEyMzQ2Mjc4JnQ9MTUxMjM0NTY3OCZyPTEyMzQ1Njc4OSZmPS9waWMvMS5qcGcmYj1teWJ1Y2tl"
        "dA==",
    ),
    "V5": (
        "more",
        CHINESE,
        "a=1250000000&k=AKIDEXAMPLEexampleEXAMPLEexample0123&e=1512345978&t=1512345678&r=123456789"
        "&f=/1250000000/mybucket/%E6%B5%8B%E8%AF%95%20%E7%9B%AE%E5%BD%95/%E6%88%91%E7%9A%84%20"
        "%E6%96%87%E4%BB%B6%20%281%29.txt&b=mybucket",
        "F7Ah2QWGz+ODxAa1/Dt/3RjUAIdhPTEyNTAwMDAwMDAmaz1BS0lERVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBs"
        "ZTAxMjMmZT0xNTEyMzQ1OTc4JnQ9MTUxMjM0NTY3OCZyPTEyMzQ1Njc4OSZmPS8xMjUwMDAwMDAwL215YnVja2V0"
        "LyVFNiVCNSU4QiVFOCVBRiU5NSUyMCVFNyU5QiVBRSVFNSVCRCU5NS8lRTYlODglOTElRTclOUElODQlMjAlRTYl"
        "OTYlODclRTQlQkIlQjYlMjAlMjgxJTI5LnR4dCZiPW15YnVja2V0",
    ),
    "V6": (
        "download",
        CHINESE,
        "a=1250000000&k=AKIDEXAMPLEexampleEXAMPLEexample0123&e=1512345978&t=1512345678&r=123456789"
        "&f=/%E6%B5%8B%E8%AF%95%20%E7%9B%AE%E5%BD%95/%E6%88%91%E7%9A%84%20%E6%96%87%E4%BB%B6%20"
        "%281%29.txt&b=mybucket",
        "a3qhhtdzODLjrX0FeGGBsWEpGNBhPTEyNTAwMDAwMDAmaz1BS0lERVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBs"
        "ZTAxMjMmZT0xNTEyMzQ1OTc4JnQ9MTUxMjM0NTY3OCZyPTEyMzQ1Njc4OSZmPS8lRTYlQjUlOEIlRTglQUYlOTUl"
        "MjAlRTclOUIlQUUlRTUlQkQlOTUvJUU2JTg4JTkxJUU3JTlBJTg0JTIwJUU2JTk2JTg3JUU0JUJCJUI2JTIwJTI4"
        "MSUyOS50eHQmYj1teWJ1Y2tldA==",
    ),
    "V7": (
        "once",
        "/测试 目录/",
        "a=1250000000&k=AKIDEXAMPLEexampleEXAMPLEexample0123&e=0&t=1512345678&r=123456789"
        "&f=/1250000000/mybucket/%E6%B5%8B%E8%AF%95%20%E7%9B%AE%E5%BD%95/&b=mybucket",
        "gYt0CpFP+2NJJtQuhS7eZBg3keRhPTEyNTAwMDAwMDAmaz1BS0lERVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBs"
        "ZTAxMjMmZT0wJnQ9MTUxMjM0NTY3OCZyPTEyMzQ1Njc4OSZmPS8xMjUwMDAwMDAwL215YnVja2V0LyVFNiVCNSU4"
        "QiVFOCVBRiU5NSUyMCVFNyU5QiVBRSVFNSVCRCU5NS8mYj1teWJ1Y2tldA==",
    ),
    "V8": (
        "list",
        "/sample_folder/te st",
        "a=1250000000&k=AKIDEXAMPLEexampleEXAMPLEexample0123&e=1512345978&t=1512345678&r=123456789"
        "&f=/1250000000/mybucket/sample_folder/te%20st&b=mybucket",
        "gZ7kyc4YWoV6Tj7gwFJqYwF4HxlhPTEyNTAwMDAwMDAmaz1BS0lERVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBs"
        "ZTAxMjMmZT0xNTEyMzQ1OTc4JnQ9MTUxMjM0NTY3OCZyPTEyMzQ1Njc4OSZmPS8xMjUwMDAwMDAwL215YnVja2V0"
        "L3NhbXBsZV9mb2xkZXIvdGUlMjBzdCZiPW15YnVja2V0",
    ),
    "V9": (
        "once",
        ODD,
        "a=1250000000&k=AKIDEXAMPLEexampleEXAMPLEexample0123&e=0&t=1512345678&r=123456789"
        "&f=/1250000000/mybucket/a%2Bb%3Dc%26d~e%21%40%23%24%25%5E%27%28%29%2C%3B%5B%5D%7B%7D.txt"
        "&b=mybucket",
        "g0wytGdaerHHbTyxFBxFyG8Idl9hPTEyNTAwMDAwMDAmaz1BS0lERVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBs"
        "ZTAxMjMmZT0wJnQ9MTUxMjM0NTY3OCZyPTEyMzQ1Njc4OSZmPS8xMjUwMDAwMDAwL215YnVja2V0L2ElMkJiJTNE"
        "YyUyNmR+ZSUyMSU0MCUyMyUyNCUyNSU1RSUyNyUyOCUyOSUyQyUzQiU1QiU1RCU3QiU3RC50eHQmYj1teWJ1Y2tl"
        "dA==",
    ),
    "V10": (
        "more",
        "/any",
        "a=1250000000&b=mybucket&k=AKIDEXAMPLEexampleEXAMPLEexample0123&e=1512345978&t=1512345678"
        "&r=123456789&f=",
        "iSup+89WeUzF1cOo9+QWzhVWHsZhPTEyNTAwMDAwMDAmYj1teWJ1Y2tldCZrPUFLSURFWEFNUExFZXhhbXBsZUVY"
        "QU1QTEVleGFtcGxlMDEyMyZlPTE1MTIzNDU5NzgmdD0xNTEyMzQ1Njc4JnI9MTIzNDU2Nzg5JmY9",
    ),
    "V11": (
        "more",
        "/any",
        "a=1250000000&k=AKIDEXAMPLEexampleEXAMPLEexample0123&e=1512345978&t=1512345678&r=123456789"
        "&f=&b=mybucket",
        "FweYkGIqpTvKwGFspNIo5yoXNEphPTEyNTAwMDAwMDAmaz1BS0lERVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBs"
        "ZTAxMjMmZT0xNTEyMzQ1OTc4JnQ9MTUxMjM0NTY3OCZyPTEyMzQ1Njc4OSZmPSZiPW15YnVja2V0",
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_helper_of_these_tests_signs_as_the_vectors(name: str) -> None:
    _, _, plain, sign = VECTORS[name]
    assert sign_plain(b"KeyExampleKeyExampleKeyExample01", plain.encode()) == sign


@pytest.mark.parametrize("name", VECTORS)
def test_vector_opens_its_own_path_and_no_other(name: str, start: Callable[..., Wire]) -> None:
    kind, path, plain, sign = VECTORS[name]
    wire = start(clock=lambda: NOW + 1)
    other = "/another" if plain.endswith("f=") or "&f=&" in plain else path[:2] + "zzz"
    if kind == "once":
        # Spent on a missing file: what counts is that the signature passed.
        answer = wire.post_json(path, sign=sign, op="delete")
        assert (answer.status, answer.code) == (404, -197)
        assert wire.post_json("/another", sign=sign, op="delete").code == -63
    elif kind == "download":
        assert wire.download(path, sign=sign).code == -46628
        assert wire.download("/another", sign=sign).code == -46618
    elif kind == "list":
        assert wire.get(path, sign=sign, op="list", num=10).data["infos"] == []
        assert wire.get("/another", sign=sign, op="list", num=10).code == -63
    else:
        assert wire.get(path, sign=sign, op="stat").code == -197
        expected = -197 if other == "/another" else -63
        assert wire.get(other, sign=sign, op="stat").code == expected


def test_download_address_as_the_python_sdk_spells_it(start: Callable[..., Wire]) -> None:
    """The raw base64 of V4, with its `+`, `/` and `=`, pasted into the query."""
    wire = start(clock=lambda: NOW)
    sign = VECTORS["V4"][3]
    host = {"Host": "mybucket-1250000000.cossh.myqcloud.com"}
    assert wire.request("GET", f"/pic/1.jpg?sign={sign}", host).code == -46628
    sign = VECTORS["V2"][3]
    assert "+" in sign
    answer = wire.request("GET", wire.url_path("/sample_folder/") + f"?sign={sign}&op=stat")
    assert answer.code == -197
    answer = wire.request("GET", wire.url_path("/sample_folder/") + f"?op=stat&sign={quote(sign)}")
    assert answer.code == -197


# Section 2.5, row by row. Each takes a wire and gives the answer to a wrong signature.

ROWS: dict[str, tuple[int, int, Callable[[Wire], str]]] = {
    "1 missing": (-81, 403, lambda wire: ""),
    "2 not base64": (-5998, 403, lambda wire: "this is not base64!"),
    "2 too short": (-5998, 403, lambda wire: "YWJj"),
    "2 a field is missing": (-5998, 403, lambda wire: wire.sign("/a", r=None)),
    "2 a field is not a number": (-5998, 403, lambda wire: wire.sign("/a", t="yesterday")),
    "2 empty expiry": (-74, 403, lambda wire: wire.sign("/a", expires="")),
    "3 another appid": (-70, 403, lambda wire: wire.sign("/a", a="1259999999")),
    "4 unknown secret id": (-47, 403, lambda wire: wire.sign("/a", k="AKIDnobody")),
    "5 wrong key": (-97, 403, lambda wire: wire.sign("/a", secret_key="wrong")),
    "7 another bucket": (-61, 403, lambda wire: wire.sign("/a", b="other")),
    "8 expired": (-96, 403, lambda wire: wire.sign("/a", expires=int(time.time()) - 1)),
    "9 once without f": (-76, 403, lambda wire: wire.sign(once=True)),
    "10 once for another file": (-63, 403, lambda wire: wire.sign("/b", once=True)),
    "10 once for a prefix": (-63, 403, lambda wire: wire.sign("/", once=True)),
    "12 multi for another path": (-63, 403, lambda wire: wire.sign("/b")),
    "12 multi for a longer path": (-63, 403, lambda wire: wire.sign("/ab")),
}


@pytest.mark.parametrize("row", ROWS)
def test_row_of_the_signature_table(row: str, wire: Wire) -> None:
    code, status, make = ROWS[row]
    answer = wire.get("/a", sign=make(wire), op="stat")
    assert (answer.code, answer.status) == (code, status)


def test_row_6_unknown_bucket(server: LocalServer) -> None:
    wire = Wire(server, bucket="nobucket")
    answer = wire.stat("/a")
    wire.close()
    assert (answer.code, answer.status) == (-133, 404)


def test_rows_are_checked_in_their_order(server: LocalServer) -> None:
    """Everything is wrong; mending one thing after the other walks down the table."""
    wire = Wire(server, bucket="nobucket")
    wrong: dict[str, object] = {
        "a": "1", "k": "x", "secret_key": "x", "b": "x", "expires": 1, "file_id": "/x"
    }
    seen = []
    for mended in ("", "a", "k", "secret_key", "bucket", "b", "expires", "file_id"):
        wrong.pop(mended, None)
        if mended == "bucket":
            wire.bucket = "mybucket"
        sign = build_sign(server, **wrong)  # type: ignore[arg-type]
        seen.append(wire.get("/a", sign=sign, op="stat").code)
    wire.close()
    assert seen == [-70, -47, -97, -133, -61, -96, -63, -197]


def test_row_11_once_is_spent_by_its_first_use(wire: Wire, folder: str) -> None:
    wire.put(folder + "a")
    sign = wire.sign(folder + "a", once=True)
    assert wire.post_json(folder + "a", sign=sign, op="update", biz_attr="x").code == 0
    answer = wire.post_json(folder + "a", sign=sign, op="update", biz_attr="y")
    assert (answer.code, answer.status) == (-77, 403)
    assert wire.stat(folder + "a").data["biz_attr"] == "x"


def test_once_is_spent_by_a_failed_operation_and_not_by_a_refused_signature(
    wire: Wire, folder: str
) -> None:
    sign = wire.sign(folder + "a", once=True)
    assert wire.post_json(folder + "b", sign=sign, op="delete").code == -63
    assert wire.post_json(folder + "a", sign=sign, op="delete").code == -197
    assert wire.post_json(folder + "a", sign=sign, op="delete").code == -77


def test_another_spelling_of_a_spent_signature_is_spent_too(wire: Wire, folder: str) -> None:
    sign = wire.sign(folder + "a", once=True)
    assert wire.post_json(folder + "a", sign=sign, op="delete").code == -197
    assert wire.post_json(folder + "a", sign=sign.replace("+", " "), op="delete").code == -77


@pytest.mark.parametrize("op", ["update", "delete"])
@pytest.mark.parametrize("name", ["a", "sub/"])
def test_row_13_multi_where_once_is_needed(op: str, name: str, wire: Wire, folder: str) -> None:
    path = folder + name
    answer = wire.post_json(path, sign=wire.sign(path), op=op)
    assert (answer.code, answer.status) == (-75, 403)


@pytest.mark.parametrize("op", ["move", "copy"])
def test_move_and_copy_take_both_kinds(op: str, wire: Wire, folder: str) -> None:
    for number, once in enumerate((True, False)):
        source = f"{folder}{op}{number}"
        wire.put(source)
        answer = wire.post_json(source, once=once, op=op, dest_fileid=source + ".new")
        assert answer.code == 0


def test_once_where_multi_would_do(wire: Wire, folder: str) -> None:
    wire.put(folder + "a", b"x")
    sign = wire.sign(folder + "a", once=True)
    assert wire.get(folder + "a", sign=sign, op="stat").code == 0
    assert wire.get(folder + "a", sign=sign, op="stat").code == -77


def test_prefix_of_a_multi_signature_is_compared_as_text(wire: Wire, folder: str) -> None:
    wire.put(folder + "pictures/1")
    sign = wire.sign(folder + "pic")
    assert wire.get(folder + "pictures/1", sign=sign, op="stat").code == 0
    assert wire.get(folder + "pi", sign=sign, op="stat").code == -63


def test_list_is_signed_with_its_prefix(wire: Wire, folder: str) -> None:
    wire.put(folder + "abc")
    assert wire.names(folder + "ab") == ["abc"]
    sign = wire.sign(folder + "x")
    assert wire.get(folder + "ab", sign=sign, op="list", num=1).code == -63


@pytest.mark.parametrize(
    "file_id",
    [
        quote("/1250000000/mybucket{path}", safe="{}"),  # Java quotes the whole text
        "/1250000000/mybucket{path}",  # nothing quoted
        "//1250000000/mybucket//{path}",  # doubled slashes
    ],
)
def test_spellings_of_f(file_id: str, wire: Wire, folder: str) -> None:
    path = folder + "a b+c"
    wire.put(path)
    sign = build_sign(wire.address, file_id=file_id.format(path=path), expires=0)
    assert wire.post_json(path, sign=sign, op="update").code == 0


def test_f_that_is_quoted_twice(wire: Wire, folder: str) -> None:
    """PHP signs move and copy with a path that is encoded already."""
    path = folder + "测 试%41"
    wire.put(path)
    file_id = quote(f"/1250000000/mybucket{encode_path(path)}", safe="/")
    sign = build_sign(wire.address, file_id=file_id, expires=0, order="abketrf")
    answer = wire.post_form(path, sign=sign, op="copy", dest_fileid=folder + "b")
    assert answer.code == 0


def test_header_comes_before_the_query(wire: Wire) -> None:
    target = wire.url_path("/a") + f"?op=stat&sign={quote(wire.sign('/a'))}"
    assert wire.request("GET", target).code == -197
    assert wire.request("GET", target, {"Authorization": "nonsense"}).code == -5998


def test_long_random_numbers_are_accepted(wire: Wire) -> None:
    assert wire.get("/a", sign=wire.sign("/a", r="1234567890123456789"), op="stat").code == -197


def test_valid_signature_of_an_appid_that_is_not_served(wire: Wire) -> None:
    sign = wire.sign("/a", a="1259999999", file_id="/1259999999/mybucket/a")
    target = "/files/v2/1259999999/mybucket/a?op=stat"
    answer = wire.request("GET", target, {"Authorization": sign})
    assert (answer.code, answer.status) == (-62, 403)


def test_signature_is_looked_at_before_the_body(wire: Wire) -> None:
    headers = {"Authorization": "", "Content-Type": "application/json"}
    answer = wire.request("POST", wire.url_path("/a"), headers, b"{broken")
    assert answer.code == -81


def test_expiry_is_the_last_good_second(start: Callable[..., Wire]) -> None:
    now = [1000.0]
    wire = start(clock=lambda: now[0])
    sign = wire.sign("/a", expires=1010)
    now[0] = 1010.0
    assert wire.get("/a", sign=sign, op="stat").code == -197
    now[0] = 1010.5
    assert wire.get("/a", sign=sign, op="stat").code == -96


def test_spent_signatures_are_remembered_across_a_restart(
    start: Callable[..., Wire], tmp_path: Path
) -> None:
    wire = start(tmp_path)
    sign = wire.sign("/a", once=True)
    assert wire.post_json("/a", sign=sign, op="delete").code == -197
    wire.restart()
    assert wire.post_json("/a", sign=sign, op="delete").code == -77


def test_no_secret_in_what_is_printed_of_a_signature() -> None:
    with pytest.raises(Refusal) as caught:
        parse_signature("c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0")
    assert "secret" not in str(caught.value)
