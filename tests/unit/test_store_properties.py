"""Properties and how they are spelt: nothing is lost either way, ordinary text stands plain."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cosfs.errors import AttributesTooLarge, InvalidArgument, NotPermitted
from cosfs.store import attributes, properties
from cosfs.store.properties import Spelling, check, check_size, read, spell

EMPTY = "=?cosfs?B??="
HELLO = "=?cosfs?B?aGVsbG8=?="

meta_names = st.from_regex(r"x-cos-meta-[a-z0-9-]{1,9}", fullmatch=True).filter(
    lambda name: not name.startswith(properties.XATTR_PREFIX)
)
other_names = (
    st.binary(min_size=1, max_size=20)
    .filter(lambda raw: 0 not in raw)
    .map(lambda raw: raw.decode("utf-8", "surrogateescape"))
    .filter(lambda name: not name.startswith(("x-cos-meta-", "cos.")))
    .filter(lambda name: name not in ("biz_attr", "authority", *properties.NAMED_HEADERS))
)
values = (
    st.binary(max_size=60)
    | st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.sampled_from([b"", EMPTY.encode(), HELLO.encode(), b"=?cosfs?B?/w==?=", b" x", b"x\n"])
)
server_texts = st.text(
    st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30
).filter(lambda text: text == text.strip()) | st.sampled_from(
    [EMPTY, HELLO, "=?cosfs?B?/w==?=", "=?cosfs?B?/x==?=", "=?cosfs?B?x?=", "=?cosfs?B?="]
)
server_headers = meta_names | st.from_regex(
    r"x-cos-meta-xattr-(-?[0-9a-f]{1,2}|-|[a-z]){1,6}", fullmatch=True
)


@given(given_properties=st.dictionaries(meta_names | other_names, values, max_size=5))
@example(given_properties={"x-cos-meta-a": b"", "mime.Type": b"\xff"})
def test_properties_come_back(given_properties: dict[str, bytes]) -> None:
    assert read(spell("/f", given_properties)) == given_properties


@given(value=values.filter(bool))
def test_biz_attr_comes_back(value: bytes) -> None:
    spelling = spell("/f", {"biz_attr": value})
    spelling.biz_attr.encode()
    assert read(spelling) == {"biz_attr": value}


@given(headers=st.dictionaries(server_headers, server_texts, max_size=5))
def test_headers_of_other_tools_are_written_back_unchanged(headers: dict[str, str]) -> None:
    assert spell("/f", read(Spelling(headers=headers))).headers == headers


@given(text=server_texts)
def test_biz_attr_of_other_tools_is_written_back_unchanged(text: str) -> None:
    assert spell("/f", read(Spelling(biz_attr=text))).biz_attr == text


def test_ordinary_text_stands_plain() -> None:
    spelling = spell(
        "/f",
        {
            "biz_attr": "备注\nline two".encode(),
            "authority": b"eWRPrivate",
            "x-cos-meta-owner": b"me",
            "x-cos-meta-note": "señor = 100%?".encode(),
            "content_type": b"text/plain; charset=utf-8",
            "cache_control": b"no-cache",
            "comment": b"a note",
            "mime_Type.v2": b"x",
        },
    )
    assert spelling == Spelling(
        "备注\nline two",
        {
            "x-cos-meta-owner": "me",
            "x-cos-meta-note": "señor = 100%?",
            "Content-Type": "text/plain; charset=utf-8",
            "Cache-Control": "no-cache",
            "x-cos-meta-xattr-comment": "a note",
            "x-cos-meta-xattr-mime-5f-54ype-2ev2": "x",
        },
        "eWRPrivate",
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"", EMPTY),
        (b"a\r\nx-cos-meta-evil: 1", "=?cosfs?B?YQ0KeC1jb3MtbWV0YS1ldmlsOiAx?="),
        (b"\xff", "=?cosfs?B?/w==?="),
        (b" a", "=?cosfs?B?IGE=?="),
        (HELLO.encode(), HELLO),  # a form that we would not have written: plain
        (EMPTY.encode(), "=?cosfs?B?PT9jb3Nmcz9CPz89?="),
    ],
)
def test_what_a_header_cannot_carry_stands_in_a_form(value: bytes, text: str) -> None:
    assert spell("/f", {"x-cos-meta-a": value}).headers == {"x-cos-meta-a": text}


def test_empty_biz_attr_and_inherited_authority_are_absent() -> None:
    spelling = spell("/f", {"biz_attr": b"", "authority": b"eInvalid"})
    assert spelling == Spelling()
    assert read(spelling) == read(Spelling(authority="")) == {}


def test_headers_of_the_server_in_any_case() -> None:
    held = {"content-type": "a/b", "X-Cos-Meta-A": "1", "Expires": "never"}
    assert read(Spelling(headers=held)) == {"content_type": b"a/b", "x-cos-meta-a": b"1"}


@pytest.mark.parametrize(
    "name", ["cos.sha", "cos.any", "x-cos-meta-mode", "x-cos-meta-mtime-ns", "x-cos-meta-xattr-a"]
)
def test_reserved_names(name: str) -> None:
    with pytest.raises(NotPermitted):
        check("/f", name, b"1")


def test_names_that_nobody_can_have_written_are_carried_along() -> None:
    held = Spelling(headers={"x-cos-meta-xattr-biz-5fattr": "1"})
    assert read(held) == {"x-cos-meta-xattr-biz-5fattr": b"1"}
    assert spell("/f", read(held)) == held


@pytest.mark.parametrize("header", sorted(attributes.HEADERS))
def test_headers_of_attributes_are_no_properties(header: str) -> None:
    assert read(Spelling(headers={header: "1", header.title(): "1"})) == {}
    for call in (lambda: check("/f", header, b"1"), lambda: spell("/f", {header: b"1"})):
        with pytest.raises(NotPermitted):
            call()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-cos-meta-", b"1"),
        ("x-cos-meta-A", b"1"),
        ("x-cos-meta-a_b", b"1"),
        ("authority", b"public"),
        ("authority", b""),
        ("content_type", b""),
        ("content_type", b"a\nb"),
        ("content_type", b"\xff"),
        ("", b"1"),
    ],
)
def test_what_cannot_be_set(name: str, value: bytes) -> None:
    with pytest.raises(InvalidArgument):
        check("/f", name, value)


def test_what_can_be_set() -> None:
    for name in ("biz_attr", "x-cos-meta-a-1", "comment", "\udcff", *properties.NAMED_HEADERS):
        check("/f", name, b"value")
    for authority in properties.AUTHORITIES:
        check("/f", "authority", authority.encode())


def test_limits() -> None:
    check("/f", "biz_attr", b"x" * 1024)
    check("/f", "x-cos-meta-a", b"x" * 2036)
    for name, value in [
        ("biz_attr", b"x" * 1025),
        ("biz_attr", "中".encode() * 342),
        ("x-cos-meta-a", b"x" * 2037),
        ("x-cos-meta-a", b"\xff" * 2000),
        ("comment", b"x" * 2025),
        ("content_type", b"x" * 4096),
    ]:
        with pytest.raises(AttributesTooLarge):
            check("/f", name, value)
    many = spell("/f", {f"x-cos-meta-{n}": b"x" * 1500 for n in range(3)})
    with pytest.raises(AttributesTooLarge):
        check_size("/f", many)


def test_what_the_server_holds_may_be_longer() -> None:
    held = Spelling("x" * 3000, {"x-cos-meta-a": "x" * 5000})
    for kept in (held, Spelling("x" * 2999, held.headers), Spelling(), Spelling("y" * 3000)):
        check_size("/f", kept, held)
    for longer in (
        Spelling("x" * 3001),
        Spelling(headers={"x-cos-meta-a": "x" * 5001}),
        Spelling(headers={"x-cos-meta-b": "x" * 2037}),
        Spelling(headers={"x-cos-meta-a": "x" * 4990, "x-cos-meta-b": "x"}),
    ):
        with pytest.raises(AttributesTooLarge):
            check_size("/f", longer, held)


def test_odd_headers_of_other_tools_do_not_hinder() -> None:
    held = Spelling(headers={"Content-Type": " a/b ", "Content-Language": ""})
    assert read(held) == {"content_type": b" a/b "}
    assert spell("/f", read(held)).headers == {"Content-Type": " a/b "}
    with pytest.raises(InvalidArgument):
        spell("/f", {"content_type": b"\xff"})
