"""Signatures against the vectors of reference 2.6, and what ``expired`` means."""

from __future__ import annotations

import base64
import random

import pytest

from cosfs import Auth, CredInfo
from cosfs.errors import ConfigError
from tests.fakeclock import FakeClock

NOW = 1512345678
NONCE = 123456789
CRED = CredInfo(
    1250000000, "AKIDEXAMPLEexampleEXAMPLEexample0123", "KeyExampleKeyExampleKeyExample01"
)
FOLDER = "/测试 目录/"
FILE = "/测试 目录/我的 文件 (1).txt"
ODD = "/a+b=c&d~e!@#$%^'(),;[]{}.txt"

#: Method, path, expired -> HMAC and the plain text from its field e on (V1 to V9).
VECTORS = [
    ("sign_once", "/sample_file.txt", None, "a743b7223fa539f6c104ca998bcff89267deeeb4"),
    ("sign_more", "/sample_folder/", NOW + 300, "b6f963b889aa669d96aa6d49d64f8f6793fe21e1"),
    ("sign_more", "/pic/1.jpg", 600, "fced7dac398421394ea15353c43a626aada7352b"),
    ("sign_download", "/pic/1.jpg", NOW + 600, "39996e51581c5219e766c30a9652312f45e455af"),
    ("sign_more", FILE, NOW + 300, "17b021d90586cfe383c406b5fc3b7fdd18d40087"),
    ("sign_download", FILE, 300, "6b7aa186d7733832e3ad7d05786181b1612918d0"),
    ("sign_once", FOLDER, None, "818b740a914ffb634926d42e852ede64183791e4"),
    ("sign_more", "/sample_folder/te st", NOW + 300, "819ee4c9ce185a857a4e3ee0c0526a6301781f19"),
    ("sign_once", ODD, None, "834c32b4675a7ab1c76d3cb1141c45c86f08765f"),
]


class FixedNonce(random.Random):
    def randrange(self, *args: object) -> int:
        return NONCE


@pytest.fixture
def auth() -> Auth:
    return Auth(CRED, clock=FakeClock(wall=NOW), rng=FixedNonce())


def expiry(signature: str) -> int:
    plain = base64.b64decode(signature)[20:].decode()
    return int(dict(pair.split("=", 1) for pair in plain.split("&"))["e"])


@pytest.mark.parametrize(("method", "path", "expired", "mac"), VECTORS)
def test_vectors(auth: Auth, method: str, path: str, expired: int | None, mac: str) -> None:
    arguments = () if expired is None else (expired,)
    signature = getattr(auth, method)("mybucket", path, *arguments)
    assert base64.b64decode(signature)[:20].hex() == mac


def test_the_whole_text_of_a_signature(auth: Auth) -> None:
    assert auth.sign_more("mybucket", "/pic/1.jpg", 600) == (
        "/O19rDmEITlOoVNTxDpiaq2nNSthPTEyNTAwMDAwMDAmaz1BS0lERVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBs"
        "ZTAxMjMmZT0xNTEyMzQ2Mjc4JnQ9MTUxMjM0NTY3OCZyPTEyMzQ1Njc4OSZmPS8xMjUwMDAwMDAwL215YnVja2V0"
        "L3BpYy8xLmpwZyZiPW15YnVja2V0"
    )


def test_expired_is_a_time_or_seconds_from_now(auth: Auth) -> None:
    assert expiry(auth.sign_more("mybucket", "/a", 600)) == NOW + 600
    assert expiry(auth.sign_more("mybucket", "/a", NOW + 600)) == NOW + 600
    assert expiry(auth.sign_download("mybucket", "/a", 30)) == NOW + 30
    assert expiry(auth.sign_download("mybucket", "/a", -30)) == NOW - 30


def test_zero_makes_a_signature_for_one_use(auth: Auth) -> None:
    once = auth.sign_once("mybucket", "/a")
    assert auth.sign_more("mybucket", "/a", 0) == once
    assert expiry(once) == expiry(auth.sign_download("mybucket", "/a", 0)) == 0


def test_every_signature_is_another_one() -> None:
    auth = Auth(CRED)
    assert len({auth.sign_once("mybucket", "/a") for _ in range(50)}) == 50


def test_an_account_that_cannot_be_one() -> None:
    with pytest.raises(ConfigError, match="secret_id"):
        Auth(CredInfo(1, "", "key")).sign_once("mybucket", "/a")
