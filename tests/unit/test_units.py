"""Sizes, spans and moments as people read them."""

from __future__ import annotations

import re

import pytest

from cosfs.units import moment_text, printable, size_text, span_text, table


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (10 * 1024, "10 KiB"),
        (1023 * 1024, "1.0 MiB"),
        (256 << 20, "256 MiB"),
        (5 << 40, "5.0 TiB"),
        (1 << 50, "1.0 PiB"),
        (2**63, "8.0 EiB"),
        (2**74, "16384 EiB"),
    ],
)
def test_size(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (7380, "2 h 3 min"),
        (86400, "1 day"),
        (86400 + 7200 + 60, "1 day 2 h"),
        (100 * 86400, "100 days"),
    ],
)
def test_span(seconds: float, text: str) -> None:
    assert span_text(seconds) == text


def test_moment() -> None:
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", moment_text(1_700_000_000.9))
    assert moment_text(None) == "some time ago"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("/a b é 漢", "/a b é 漢"),
        ("/a\nb", "/a\\nb"),
        ("/\x1b[31m", "/\\x1b[31m"),
        ("/\udcff", "/\\udcff"),
    ],
)
def test_printable(name: str, text: str) -> None:
    assert printable(name) == text


def test_table() -> None:
    rows = [("name", "size"), ("a", "1 B"), ("longer", "100 B")]
    assert table(rows, right=frozenset({1})) == ["name     size", "a         1 B", "longer  100 B"]
    assert table(rows) == ["name    size", "a       1 B", "longer  100 B"]
    assert table([]) == []
