"""Properties and attributes of one object together: nothing is lost, in either form."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cosfs.errors import AttributesTooLarge, InvalidArgument
from cosfs.model import Attributes, Metadata
from cosfs.store import properties, spelling
from cosfs.store.attributes import to_envelope, to_headers
from cosfs.store.properties import Spelling
from tests.unit.test_store_attributes import NONCE, any_attributes, nonces
from tests.unit.test_store_properties import meta_names, other_names, server_texts, values

FULL = Attributes(33188, 1000, 1001, -1, 259)
LOOKALIKE = to_envelope(FULL)

lookalikes = (
    st.builds(to_envelope, any_attributes)
    | st.sampled_from(['{"cosfs":1}', '{"cosfs":1,"mode":-1}', '{"cosfs":2,"mode":33188}'])
    | st.just(properties.spell("/f", {"biz_attr": LOOKALIKE.encode()}).biz_attr)
)
texts = values | lookalikes.map(str.encode)

any_properties = st.dictionaries(meta_names | other_names, values, max_size=3)
any_metadata = st.builds(
    lambda named, text, held: Metadata({**named, "biz_attr": text} if text else named, None, held),
    any_properties,
    texts,
    any_attributes,
)


# Files.


@given(metadata=any_metadata, nonce=nonces)
@example(metadata=Metadata({"biz_attr": LOOKALIKE.encode()}), nonce="")
@example(metadata=Metadata({"biz_attr": LOOKALIKE.encode()}, None, FULL), nonce=NONCE)
def test_metadata_of_a_file_comes_back(metadata: Metadata, nonce: str) -> None:
    assert spelling.read(spelling.spell("/f", metadata, nonce=nonce)) == metadata


@given(text=server_texts | lookalikes)
@example(text=LOOKALIKE)
@example(text='{"cosfs":1}')
@example(text='{"cosfs":3,"mode":33188}')
def test_a_text_on_the_server_is_written_back_unchanged(text: str) -> None:
    assert spelling.spell("/f", spelling.read(Spelling(text))).biz_attr == text


def test_where_attributes_stand() -> None:
    named = {"x-cos-meta-owner": b"me"}
    assert spelling.spell("/f", Metadata(named, None, FULL)) == Spelling(
        LOOKALIKE, {"x-cos-meta-owner": "me"}
    )
    with_text = Metadata({**named, "biz_attr": b"demo"}, None, FULL)
    assert spelling.spell("/f", with_text, nonce=NONCE) == Spelling(
        "demo", {"x-cos-meta-owner": "me", **to_headers(FULL)}
    )
    assert spelling.spell("/f", Metadata(), nonce=NONCE).biz_attr == to_envelope(
        Attributes(), NONCE
    )
    assert spelling.spell("/f", Metadata()) == Spelling()


def test_a_text_that_looks_like_attributes_is_its_owners() -> None:
    spelt = spelling.spell("/f", Metadata({"biz_attr": LOOKALIKE.encode()}))
    assert spelt.biz_attr.startswith("=?cosfs?B?")
    assert not spelling.has_envelope(spelt) and not spelt.headers
    for foreign in ('{"cosfs":2,"mode":33188}', '{"cosfs":1}', '{"cosfs":1,"a":1}'):
        held = Metadata({"biz_attr": foreign.encode()})
        assert spelling.spell("/f", held).biz_attr == foreign
        assert spelling.read(Spelling(foreign)) == held


def test_both_forms_are_read_and_the_envelope_counts() -> None:
    headers = {"X-Cos-Meta-Mode": "33261", "x-cos-meta-mtime": "17", "x-cos-meta-owner": "me"}
    from_headers = Attributes(mode=33261, mtime_ns=17 * 10**9)
    named = {"x-cos-meta-owner": b"me"}
    assert spelling.read(Spelling("", headers)) == Metadata(named, None, from_headers)
    assert spelling.read(Spelling("demo", headers)) == Metadata(
        {**named, "biz_attr": b"demo"}, None, from_headers
    )
    assert spelling.read(Spelling(LOOKALIKE, headers)) == Metadata(named, None, FULL)
    only_nonce = to_envelope(Attributes(), NONCE)
    assert spelling.read(Spelling(only_nonce, headers)) == Metadata(named)


@pytest.mark.parametrize(
    "attributes",
    [
        Attributes(mode=-1),
        Attributes(mode=0o200000),
        Attributes(uid=2**32),
        Attributes(gid=-1),
        Attributes(rdev=2**64),
        Attributes(mtime_ns=2**63 * 10**9),
    ],
)
def test_attributes_that_cannot_be(attributes: Attributes) -> None:
    metadata = Metadata({}, None, attributes)
    with pytest.raises(InvalidArgument):
        spelling.spell("/f", metadata)
    with pytest.raises(InvalidArgument):
        spelling.spell_folder("/d", metadata)


# Folders.


def without_facts(metadata: Metadata) -> Metadata:
    return replace(metadata, facts=None)


@given(metadata=any_metadata)
@example(metadata=Metadata({"content_type": b"\xff", "authority": b"eWRPrivate", "\udcff": b""}))
@example(metadata=Metadata({"biz_attr": LOOKALIKE.encode()}, None, FULL))
def test_metadata_of_a_folder_comes_back(metadata: Metadata) -> None:
    spelt = spelling.spell_folder("/d", metadata, metadata)
    own, mark = spelling.read_folder(spelt.text), spelling.read_mark(spelt.mark)
    text = metadata.properties.get("biz_attr")
    assert without_facts(own) == Metadata({} if text is None else {"biz_attr": text})
    assert without_facts(mark) == metadata.with_property("biz_attr", None)
    spelt.mark.encode()


@given(text=server_texts | lookalikes)
def test_a_text_of_a_folder_is_written_back_unchanged(text: str) -> None:
    own = spelling.read_folder(text)
    assert spelling.spell_folder("/d", own, own).text == text


def test_the_mark_as_it_is_documented() -> None:
    named = {"x-cos-meta-a": b"1", "comment": "señor".encode(), "odd": b"\xff", "\udcff": b"x\ny"}
    spelt = spelling.spell_folder(
        "/d", Metadata({**named, "biz_attr": LOOKALIKE.encode()}, None, Attributes(mode=16877))
    )
    assert spelt.text == LOOKALIKE
    assert spelt.mark == (
        '{"cosfs":1,"mode":16877,"properties":{"comment":"señor","odd":"=?cosfs?B?/w==?=",'
        '"x-cos-meta-a":"1","=?cosfs?B?/w==?=":"x\\ny"}}'
    )
    assert spelling.spell_folder("/d", Metadata({"biz_attr": b"", "authority": b"eInvalid"})) == (
        spelling.FolderSpelling()
    )


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("", Metadata()),
        ("garbage", Metadata()),
        ('{"cosfs":1,', Metadata()),
        ('{"cosfs":2,"mode":16877}', Metadata()),
        ('{"cosfs":1,"mode":"x","uid":5,"color":1}', Metadata({}, None, Attributes(uid=5))),
        ('{"cosfs":1,"properties":[1]}', Metadata()),
        (
            '{"cosfs":1,"properties":{"":"1","a\\u0000":"1","b":1,"c":null,"d":"1"}}',
            Metadata({"d": b"1"}),
        ),
        ('{"cosfs":1,"properties":{"a":"\\ud800"}}', Metadata({"a": b"\xed\xa0\x80"})),
    ],
)
def test_marks_that_others_have_written(text: str, held: Metadata) -> None:
    assert without_facts(spelling.read_mark(text)) == held


def test_names_that_no_property_of_a_folder_can_have() -> None:
    for name in ("", "a\0b"):
        with pytest.raises(InvalidArgument):
            spelling.spell_folder("/d", Metadata({name: b"1"}))


def test_limits_of_a_folder() -> None:
    spelling.spell_folder("/d", Metadata({"biz_attr": b"x" * 1024, "comment": b"x" * 980}))
    for name in ("biz_attr", "comment"):
        long = Metadata({name: b"x" * 1025})
        with pytest.raises(AttributesTooLarge):
            spelling.spell_folder("/d", long)
        assert spelling.spell_folder("/d", long, long)
        shorter = Metadata({name: b"y" * 1024 + b"y" * (name == "biz_attr")})
        assert spelling.spell_folder("/d", shorter, long)
