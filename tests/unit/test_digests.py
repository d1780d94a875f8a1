"""Digests of contents and of their beginnings: the vectors of reference 3.8."""

from __future__ import annotations

import ctypes
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosfs import sha1
from cosfs.digests import STEP, Digests, Trail, digests_of
from cosfs.jsonapi import slices
from cosfs.jsonapi.replies import SlicePart
from cosfs.model import BytesSource

MIB = 1 << 20
PATTERN = bytes(range(251)) * (3 * MIB // 251 + 1)

VECTORS = {
    100: ["1e6634bfaebc0348298105923d0f26e47aa33ff5"],
    MIB: ["c2fc4cb20f1301a6b0dd211c19e69a13925dbe40"],
    2 * MIB: [
        "463935c7eea4ca2705d0f481ecedb31f4d0f3a96",
        "20e1307de838fb67c28577c7ec9d1c6288eb2883",
    ],
    2621440: [
        "463935c7eea4ca2705d0f481ecedb31f4d0f3a96",
        "657c72d675f1e792607e5c0a7405f66cbdb8c290",
        "d08b7e21afb7bc45b7bc7e265d812094252a14ac",
    ],
}


@pytest.mark.parametrize("size", VECTORS)
def test_vector(size: int) -> None:
    assert sha1.available()
    found = slices.digests(BytesSource(PATTERN[:size]))
    parts = [
        SlicePart(number * MIB, min(MIB, size - number * MIB), digest)
        for number, digest in enumerate(VECTORS[size])
    ]
    assert found.parts == tuple(parts)
    assert found.sha == hashlib.sha1(PATTERN[:size]).hexdigest() == parts[-1].digest


def test_nothing_has_no_parts() -> None:
    assert slices.digests(BytesSource(b"")) == slices.Digests(hashlib.sha1().hexdigest(), ())


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_digest_is_hashlibs(chunks: list[bytes]) -> None:
    ours, theirs = sha1.Sha1(), hashlib.sha1()
    for chunk in chunks:
        ours.update(chunk)
        theirs.update(chunk)
        assert ours.hexdigest() == theirs.hexdigest()


def test_the_state_exists_on_block_boundaries_only() -> None:
    digest = sha1.Sha1()
    digest.update(b"x" * 65)
    with pytest.raises(ValueError, match="65 bytes"):
        digest.inner_state()


@pytest.mark.parametrize("size", [0, 1, STEP - 1, STEP, STEP + 1, 3 * STEP])
def test_a_digest_goes_on_from_a_state(size: int) -> None:
    begin, end = PATTERN[: size - size % 64], b"and the rest"
    first = sha1.Sha1()
    first.update(begin)
    resumed = sha1.Sha1(first.inner_state(), len(begin))
    resumed.update(end)
    assert resumed.hexdigest() == hashlib.sha1(begin + end).hexdigest()


@pytest.mark.parametrize("has_states", [True, False])
@given(st.lists(st.tuples(st.integers(0, 4 * STEP), st.integers(0, 3 * STEP)), max_size=6))
def test_what_is_taken_back_is_digested_anew(
    has_states: bool, steps: list[tuple[int, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sha1, "available", lambda: has_states)
        trail, content = Trail(), b""
        for number, (keep, more) in enumerate(steps):
            trail.rewind(keep)
            assert trail.size <= min(keep, len(content))
            assert keep < len(content) or trail.size == len(content)
            content = content[: trail.size] + bytes([number]) * more
            trail.update(content[trail.size :])
        missing = b"never fed"
        found = trail.read(BytesSource(content + missing))
        assert found.sha == hashlib.sha1(content + missing).hexdigest()
        if has_states:
            assert found == Trail().read(BytesSource(content + missing))
            assert found.states is not None and len(found.states) == len(content + missing) // STEP
        else:
            assert found.states is None


def test_a_source_that_knows_its_digests_is_not_read() -> None:
    known = Digests("an answer", ())

    class Knowing(BytesSource):
        def read_at(self, offset: int, length: int) -> bytes:
            raise AssertionError("was read")

        def digests(self) -> Digests:
            return known

    assert digests_of(Knowing(b"12345")) is known


class _Odd:
    """A library whose SHA_CTX is another one."""

    def __getattr__(self, name: str) -> object:
        class Function:
            def __call__(self, *args: object) -> int:
                return 1

        return Function()


@pytest.mark.parametrize(
    "load",
    [
        pytest.param(OSError("no such file"), id="missing"),
        pytest.param(AttributeError("SHA1_Init"), id="without SHA-1"),
        pytest.param(_Odd(), id="another structure"),
    ],
)
def test_absence_is_said(load: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def cdll(name: str) -> object:
        if isinstance(load, Exception):
            raise load
        return load

    sha1._library.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", cdll)
    try:
        assert not sha1.available()
        with pytest.raises(RuntimeError):
            sha1.Sha1()
        found = slices.digests(BytesSource(PATTERN[:MIB]))
        assert found == slices.Digests(hashlib.sha1(PATTERN[:MIB]).hexdigest(), None)
    finally:
        sha1._library.cache_clear()
