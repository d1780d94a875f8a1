"""How attributes are spelt: what is written is read again, and what others write is not misread."""

from __future__ import annotations

import json
import stat

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cosfs.model import Attributes
from cosfs.store import attributes as spelt
from cosfs.store.attributes import from_envelope, from_headers, to_envelope, to_headers

NONCE = "00112233445566778899aabbccddeeff"

SECOND = 10**9

#: All that ``struct stat`` of Linux can hold.
any_attributes = st.builds(
    Attributes,
    mode=st.none() | st.integers(0, 0o177777) | st.sampled_from([0, 0o100644, 0o120777, 0o177777]),
    uid=st.none() | st.integers(0, 2**32 - 1),
    gid=st.none() | st.integers(0, 2**32 - 1),
    mtime_ns=st.none()
    | st.integers(-(2**63 - 1) * SECOND, 2**63 * SECOND - 1)
    | st.integers(-3 * SECOND, 3 * SECOND),
    rdev=st.none() | st.integers(0, 2**64 - 1),
)
nonces = st.just("") | st.binary(min_size=16, max_size=16).map(bytes.hex)


@given(given_attributes=any_attributes, nonce=nonces)
@example(given_attributes=Attributes(mtime_ns=-1), nonce="")
@example(given_attributes=Attributes(mode=0, uid=0, gid=0, mtime_ns=0, rdev=0), nonce=NONCE)
def test_an_envelope_comes_back(given_attributes: Attributes, nonce: str) -> None:
    text = to_envelope(given_attributes, nonce)
    if given_attributes == Attributes() and not nonce:
        assert text == ""
    else:
        assert from_envelope(text) == given_attributes
        assert json.loads(text)["cosfs"] == 1
        assert len(text) < 200 and text.isascii()


@given(given_attributes=any_attributes)
@example(given_attributes=Attributes(mtime_ns=-1))
def test_headers_come_back(given_attributes: Attributes) -> None:
    headers = to_headers(given_attributes)
    assert from_headers(headers) == given_attributes
    assert set(headers) <= spelt.HEADERS
    assert from_headers({name.upper(): f" {text} " for name, text in headers.items()}) == (
        given_attributes
    )


def test_the_envelope_as_it_is_documented() -> None:
    assert to_envelope(Attributes(mode=stat.S_IFREG | 0o644)) == '{"cosfs":1,"mode":33188}'
    full = Attributes(mode=33188, uid=0, gid=0, mtime_ns=1_700_000_000 * SECOND, rdev=259)
    assert to_envelope(full, NONCE) == (
        '{"cosfs":1,"mode":33188,"uid":0,"gid":0,"mtime":"1700000000.000000000","rdev":259,'
        f'"nonce":"{NONCE}"}}'
    )
    half = Attributes(mtime_ns=-SECOND // 2)
    assert to_envelope(half) == '{"cosfs":1,"mtime":"-1.500000000"}'
    assert to_envelope(Attributes(), NONCE) == f'{{"cosfs":1,"nonce":"{NONCE}"}}'


def test_the_headers_as_they_are_documented() -> None:
    assert to_headers(Attributes(33188, 1000, 1001, 1_700_000_000_500_000_000, 259)) == {
        "x-cos-meta-mode": "33188",
        "x-cos-meta-uid": "1000",
        "x-cos-meta-gid": "1001",
        "x-cos-meta-mtime": "1700000000",
        "x-cos-meta-mtime-ns": "1700000000.500000000",
        "x-cos-meta-rdev": "259",
    }
    assert to_headers(Attributes(mtime_ns=-1)) == {
        "x-cos-meta-mtime": "-1",
        "x-cos-meta-mtime-ns": "-1.999999999",
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "demo",
        "{}",
        "null",
        '{"cosfs":1}',
        '{"cosfs":2,"mode":33188}',
        '{"cosfs":"1","mode":33188}',
        '{"cosfs":1.0,"mode":33188}',
        '{"cosfs":1,"mode":33188',
        '{"cosfs":1,"mode":33188} ',
        '{"cosfs":1, "mode":33188}',
        '{"mode":33188,"cosfs":1}',
        '{"cosfs":1,"uid":0,"mode":33188}',
        '{"cosfs":1,"mode":33188,"mode":33188}',
        '{"cosfs":1,"cosfs":1,"mode":33188}',
        '{"cosfs":1,"mode":033188}',
        '{"cosfs":1,"mode":33188.0}',
        '{"cosfs":1,"mode":"33188"}',
        '{"cosfs":1,"mode":true}',
        '{"cosfs":1,"mode":-1}',
        '{"cosfs":1,"mode":65536}',
        '{"cosfs":1,"uid":4294967296}',
        '{"cosfs":1,"mode":' + "9" * 5000 + "}",
        '{"cosfs":1,"mtime":"1.5"}',
        '{"cosfs":1,"mtime":"-0.500000000"}',
        '{"cosfs":1,"mtime":"9223372036854775808.000000000"}',
        '{"cosfs":1,"mtime":"١.000000000"}',
        '{"cosfs":1,"mtime":1}',
        '{"cosfs":1,"color":"red"}',
        '{"cosfs":1,"mode":33188,"color":"red"}',
        '{"cosfs":1,"nonce":""}',
        '{"cosfs":1,"nonce":"not one of ours"}',
        '{"cosfs":1,"nonce":5}',
        '{"cosfs":1,"mode":' + "[" * 100_000,
    ],
)
def test_what_we_would_not_write_is_no_envelope(text: str) -> None:
    assert from_envelope(text) is None


@given(text=st.text(max_size=60) | st.from_regex(r'\{"cosfs":1(,"[a-z]+":"?-?[0-9.]+"?){0,3}\}'))
def test_an_envelope_is_exactly_what_we_write(text: str) -> None:
    found = from_envelope(text)
    if found is not None:
        assert to_envelope(found) == text


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, Attributes()),
        ({"x-cos-meta-mode": "33188", "x-cos-meta-owner": "5"}, Attributes(mode=33188)),
        ({"x-cos-meta-mode": "0x1", "x-cos-meta-uid": "", "x-cos-meta-gid": "-1"}, Attributes()),
        ({"x-cos-meta-mode": "70000", "x-cos-meta-uid": "4294967296"}, Attributes()),
        ({"x-cos-meta-mode": "٣", "x-cos-meta-rdev": "9" * 30}, Attributes()),
        ({"x-cos-meta-mtime": "17"}, Attributes(mtime_ns=17 * SECOND)),
        ({"x-cos-meta-mtime": "17.25"}, Attributes(mtime_ns=17_250_000_000)),
        ({"x-cos-meta-mtime": "-17"}, Attributes(mtime_ns=-17 * SECOND)),
        ({"x-cos-meta-mtime": "soon"}, Attributes()),
        ({"x-cos-meta-mtime": "9" * 19}, Attributes()),
        ({"x-cos-meta-mtime-ns": "17.000000001"}, Attributes()),
        (
            {"x-cos-meta-mtime": "17", "x-cos-meta-mtime-ns": "17.000000001"},
            Attributes(mtime_ns=17_000_000_001),
        ),
        (
            {"x-cos-meta-mtime": "18", "x-cos-meta-mtime-ns": "17.000000001"},
            Attributes(mtime_ns=18 * SECOND),
        ),
        (
            {"x-cos-meta-mtime": "17", "x-cos-meta-mtime-ns": "nonsense"},
            Attributes(mtime_ns=17 * SECOND),
        ),
        (
            {"x-cos-meta-mtime": "-1", "x-cos-meta-mtime-ns": "-1.999999999"},
            Attributes(mtime_ns=-1),
        ),
    ],
)
def test_headers_of_other_tools(headers: dict[str, str], found: Attributes) -> None:
    assert from_headers(headers) == found
