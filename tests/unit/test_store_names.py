"""Names and keys: the table of cosfs.store.names, and that it is a bijection."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cosfs.errors import ConfigError, InvalidName, NameTooLong
from cosfs.store.names import KEY_MAX, PORTABLE, QUOTE, RAW, KeySpace, NameRules, rules_of

BOTH = pytest.mark.parametrize("rules", [PORTABLE, RAW], ids=lambda rules: rules.label)

#: Characters that are special somewhere, and a few that are not.
ODD = '?*:|\\<>"？＊：｜＼＜＞＂\x01\x1f\x7f␁␟␡ ␠‛‛‛89AFf0a.é中\u00a0'

linux_names = (
    st.binary(min_size=1, max_size=255)
    .filter(lambda raw: b"/" not in raw and b"\0" not in raw and raw not in (b".", b".."))
    .map(lambda raw: raw.decode("utf-8", "surrogateescape"))
)
odd_names = (
    st.text(st.sampled_from(ODD + "\udcff\udc80\udcc3\udca9"), min_size=1, max_size=12)
    .map(lambda text: text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape"))
    .filter(lambda name: name not in (".", ".."))
)
segments = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), max_size=90)
odd_segments = st.text(st.sampled_from(ODD), max_size=14)


@BOTH
@given(name=linux_names | odd_names)
@example(name="‛?")
@example(name="‛‛？")
@example(name="‛FF\udcff")
@example(name="‛ ")
def test_a_name_comes_back_from_its_key(rules: NameRules, name: str) -> None:
    segment = rules.to_segment(name)
    assert segment and "/" not in segment and segment not in (".", "..")
    segment.encode("utf-8")
    assert rules.to_name(segment) == name


@BOTH
@given(segment=segments | odd_segments)
@example(segment="‛C3‛A9")
@example(segment=" ")
@example(segment="‛‛‛FF‛")
def test_a_shown_key_comes_back_from_its_name(rules: NameRules, segment: str) -> None:
    name = rules.to_name(segment)
    if name is not None:
        assert rules.to_segment(name) == segment


@BOTH
def test_every_short_odd_text_is_a_bijection(rules: NameRules) -> None:
    alphabet = "?？ ␠‛F8a\x01␁"
    for length in range(1, 5):
        for letters in itertools.product(alphabet, repeat=length):
            text = "".join(letters)
            assert rules.to_name(rules.to_segment(text)) == text
            shown = rules.to_name(text)
            if shown is None:  # only escaped bytes that are UTF-8 together are hidden
                assert "‛F" in text or "‛8" in text
            else:
                assert rules.to_segment(shown) == text


@given(name=linux_names | odd_names)
def test_portable_keys_hold_nothing_that_clients_refuse(name: str) -> None:
    segment = PORTABLE.to_segment(name)
    if QUOTE not in name:  # a quoted raw character names the key of another tool
        assert not set(segment) & set('?*:|\\<>"\x7f' + "".join(map(chr, range(32))))
        assert segment == segment.strip(" ")


@BOTH
@given(name=odd_names, cut=st.integers(0, 12))
def test_a_safe_prefix_is_one(rules: NameRules, name: str, cut: int) -> None:
    prefix = name[:cut]
    assert rules.to_segment(name).startswith(rules.safe_prefix(prefix))


def test_a_safe_prefix_is_as_long_as_it_can_be() -> None:
    assert PORTABLE.safe_prefix("12:30") == "12：30"
    assert PORTABLE.safe_prefix(" a") == "␠a"
    assert PORTABLE.safe_prefix("a b") == "a b"
    assert PORTABLE.safe_prefix("a ") == "a"
    assert PORTABLE.safe_prefix("\udcff") == "‛FF"
    assert RAW.safe_prefix("a ") == "a "


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("12:30?.log", "12：30？.log"),
        ("a？", "a‛？"),
        ("a‛？", "a‛‛？"),
        ("‛?", "?"),
        ("‛‛?", "‛?"),
        (" a ", "␠a␠"),
        ("  ", "␠␠"),
        ("   ", "␠ ␠"),
        ("a b", "a b"),
        ("a␠b", "a␠b"),
        ("␠a", "‛␠a"),
        ("‛ a", " a"),
        ("tab\there", "tab␉here"),
        ("\x7f", "␡"),
        ("\udcff\udcfe", "‛FF‛FE"),
        ("‛FF", "‛‛FF"),
        ("‛\udcff", "‛‛‛FF"),
        ("‛ff", "‛ff"),
        ("‛41", "‛41"),
        ("it‛s", "it‛s"),
        ("‛", "‛"),
        ("\\", "＼"),
    ],
)
def test_the_portable_table(name: str, segment: str) -> None:
    assert PORTABLE.to_segment(name) == segment
    assert PORTABLE.to_name(segment) == name


def test_raw_substitutes_only_what_cannot_travel() -> None:
    assert RAW.to_segment(' 12:30?*|\\<>" ') == ' 12:30?*|\\<>" '
    assert RAW.to_segment("a\nb\udcffc") == "a␊b‛FFc"
    assert RAW.to_segment("？") == "？"


@pytest.mark.parametrize(
    "segment", ["", ".", "..", "a\0b", "x" * 256, "中" * 86, "\ud800", "‛C3‛A9"]
)
@BOTH
def test_what_cannot_be_a_name_is_not_shown(rules: NameRules, segment: str) -> None:
    assert rules.to_name(segment) is None


@pytest.mark.parametrize("name", ["", ".", "..", "a\0b", "a/b", "\ud800", "\udc41", "\udcc3\udca9"])
@BOTH
def test_what_is_no_linux_name_is_refused(rules: NameRules, name: str) -> None:
    with pytest.raises(InvalidName):
        rules.to_segment(name)


@BOTH
def test_255_bytes_are_the_longest_name(rules: NameRules) -> None:
    for name in ("x" * 255, "中" * 85, "\udcff" * 255):
        assert rules.to_name(rules.to_segment(name)) == name
    for name in ("x" * 256, "中" * 85 + "x", "\udcff" * 256):
        with pytest.raises(NameTooLong):
            rules.to_segment(name)


def test_keys_of_paths() -> None:
    keys = KeySpace("/data/2024/", PORTABLE)
    assert keys.root == keys.folder("/") == "data/2024/"
    assert keys.file("/a/b?") == "data/2024/a/b？"
    assert keys.folder("/a") == "data/2024/a/"
    assert KeySpace("", PORTABLE).folder("/") == ""
    assert keys.mark("/") == "data/2024/.cosfs/"
    assert keys.mark("/a?") == "data/2024/a？/.cosfs/"
    assert KeySpace("", PORTABLE).mark("/") == ".cosfs/"
    for bad in ("", "a", "/a//b", "/a/", "/a/../b"):
        with pytest.raises(InvalidName):
            keys.file(bad)
    with pytest.raises(InvalidName):
        keys.file("/")


def test_850_bytes_are_the_longest_key() -> None:
    keys = KeySpace("", PORTABLE)
    names = ["x" * 255, "y" * 255, "z" * 255]
    path = "/" + "/".join([*names, "w" * (KEY_MAX - 768)])
    assert len(keys.file(path)) == KEY_MAX
    with pytest.raises(NameTooLong):
        keys.folder(path)  # one byte more
    keys.mark(path[: -len("/.cosfs/")])
    with pytest.raises(NameTooLong):
        keys.mark(path[: -len(".cosfs/")])
    with pytest.raises(NameTooLong, match="850"):
        keys.file(path + "w")
    with pytest.raises(NameTooLong):
        keys.file("/" + "\udcff" * 255)
    with pytest.raises(NameTooLong, match="255"):
        keys.file("/a/" + "x" * 256)


def test_the_mount_option() -> None:
    assert rules_of("portable") is PORTABLE
    assert rules_of("raw") is RAW
    with pytest.raises(ConfigError, match="fancy"):
        rules_of("fancy")
