"""Signatures: the golden vectors of the reference (2.6)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosfs.jsonapi.auth import quote_path, sign_download, sign_more, sign_once
from tests.unit.jsonapi_fakes import CREDENTIALS, SECRET

NOW, NONCE = 1512345678, 123456789
HEAD = "a=1250000000&k=AKIDEXAMPLEexampleEXAMPLEexample0123"
NON_ASCII = "%E6%B5%8B%E8%AF%95%20%E7%9B%AE%E5%BD%95/"
NON_ASCII_FILE = NON_ASCII + "%E6%88%91%E7%9A%84%20%E6%96%87%E4%BB%B6%20%281%29.txt"
ODD = "/a+b=c&d~e!@#$%^'(),;[]{}.txt"
ODD_QUOTED = "/a%2Bb%3Dc%26d~e%21%40%23%24%25%5E%27%28%29%2C%3B%5B%5D%7B%7D.txt"

#: name, kind, path, expiry, file id, HMAC
VECTORS = [
    ("V1", "once", "/sample_file.txt", 0, "/1250000000/mybucket/sample_file.txt",
     "a743b7223fa539f6c104ca998bcff89267deeeb4"),
    ("V2", "more", "/sample_folder/", NOW + 300, "/1250000000/mybucket/sample_folder/",
     "b6f963b889aa669d96aa6d49d64f8f6793fe21e1"),
    ("V3", "more", "/pic/1.jpg", NOW + 600, "/1250000000/mybucket/pic/1.jpg",
     "fced7dac398421394ea15353c43a626aada7352b"),
    ("V4", "download", "/pic/1.jpg", NOW + 600, "/pic/1.jpg",
     "39996e51581c5219e766c30a9652312f45e455af"),
    ("V5", "more", "/测试 目录/我的 文件 (1).txt", NOW + 300,
     f"/1250000000/mybucket/{NON_ASCII_FILE}", "17b021d90586cfe383c406b5fc3b7fdd18d40087"),
    ("V6", "download", "/测试 目录/我的 文件 (1).txt", NOW + 300, f"/{NON_ASCII_FILE}",
     "6b7aa186d7733832e3ad7d05786181b1612918d0"),
    ("V7", "once", "/测试 目录/", 0, f"/1250000000/mybucket/{NON_ASCII}",
     "818b740a914ffb634926d42e852ede64183791e4"),
    ("V8", "more", "/sample_folder/te st", NOW + 300,
     "/1250000000/mybucket/sample_folder/te%20st", "819ee4c9ce185a857a4e3ee0c0526a6301781f19"),
    ("V9", "once", ODD, 0, f"/1250000000/mybucket{ODD_QUOTED}",
     "834c32b4675a7ab1c76d3cb1141c45c86f08765f"),
    # V10 has the fields in the order of other SDKs; V11 is the same content in ours.
    ("V11", "more", "", NOW + 300, "", "17079890622aa53bcac0616ca4d228e72a17344a"),
]


def sign(kind: str, path: str, expires_at: int) -> str:
    if kind == "once":
        return sign_once(CREDENTIALS, "mybucket", path, now=NOW, nonce=NONCE)
    function = sign_more if kind == "more" else sign_download
    return function(
        CREDENTIALS, "mybucket", path, now=NOW, nonce=NONCE, expires_at=expires_at
    )


@pytest.mark.parametrize(("name", "kind", "path", "expires", "file_id", "mac"), VECTORS)
def test_vector(name: str, kind: str, path: str, expires: int, file_id: str, mac: str) -> None:
    plain = f"{HEAD}&e={expires}&t={NOW}&r={NONCE}&f={file_id}&b=mybucket"
    expected = base64.b64encode(bytes.fromhex(mac) + plain.encode()).decode()
    assert sign(kind, path, expires) == expected


def test_one_vector_letter_by_letter() -> None:
    assert sign("download", "/pic/1.jpg", 1512346278) == (
        "OZluUVgcUhnnZsMKllIxL0XkVa9hPTEyNTAwMDAwMDAmaz1BS0lERVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBs"
        "ZTAxMjMmZT0xNTEyMzQ2Mjc4JnQ9MTUxMjM0NTY3OCZyPTEyMzQ1Njc4OSZmPS9waWMvMS5qcGcmYj1teWJ1Y2tl"
        "dA=="
    )


def test_parts_of_a_second_are_cut() -> None:
    exact = sign_more(CREDENTIALS, "b", "/x", now=NOW, nonce=1, expires_at=NOW + 300)
    later = sign_more(CREDENTIALS, "b", "/x", now=NOW + 0.9, nonce=1, expires_at=NOW + 300.9)
    assert exact == later


def test_the_key_is_not_in_the_signature() -> None:
    assert SECRET.encode() not in base64.b64decode(sign("once", "/x", 0))


def test_a_lone_surrogate_cannot_be_quoted() -> None:
    with pytest.raises(UnicodeEncodeError):
        quote_path("/a\udc80")


@given(st.text(st.characters(codec="utf-8")))
def test_quoting_keeps_what_needs_no_quoting(text: str) -> None:
    quoted = quote_path(text)
    plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~/"
    expected = "".join(
        chr(byte) if chr(byte) in plain else f"%{byte:02X}" for byte in text.encode()
    )
    assert quoted == expected
