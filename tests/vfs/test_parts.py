"""The small parts the file system is made of: extents, single flight, stream windows, spool."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosfs import digests, paths
from cosfs.errors import FileTooLarge, NotFound
from cosfs.model import BytesSource
from cosfs.vfs.blocks import BLOCK_SIZE, Stream
from cosfs.vfs.extents import Extents
from cosfs.vfs.singleflight import SingleFlight
from cosfs.vfs.spool import Spool

RANGE = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: sorted(pair))
STEP = st.one_of(
    st.tuples(st.just("add"), RANGE),
    st.tuples(st.just("cut"), st.integers(0, 60).map(lambda n: [n, n])),
)


@given(st.lists(STEP, max_size=30), RANGE)
def test_extents_are_a_set_of_bytes(steps: list[tuple[str, list[int]]], window: list[int]) -> None:
    extents, model = Extents(), set()
    for what, (start, end) in steps:
        if what == "add":
            extents.add(start, end)
            model |= set(range(start, end))
        else:
            extents.cut(start)
            model = {byte for byte in model if byte < start}
    ranges = extents.ranges()
    assert {byte for start, end in ranges for byte in range(start, end)} == model
    assert all(left[1] < right[0] for left, right in zip(ranges, ranges[1:], strict=False))
    missing = {byte for start, end in extents.gaps(*window) for byte in range(start, end)}
    assert missing == set(range(*window)) - model


def test_one_flight_carries_all_that_ask_while_it_is_under_way() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    started, go = threading.Event(), threading.Event()
    runs = []

    def fetch() -> int:
        runs.append(1)
        started.set()
        assert go.wait(10)
        return 42

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(flights.run, "key", fetch)
        assert started.wait(10)
        others = [pool.submit(flights.run, "key", fetch) for _ in range(6)]
        assert flights.run("other", lambda: 7) == 7
        go.set()
        assert [future.result(10) for future in [first, *others]].count(42) == 7
    assert 1 <= len(runs) <= 7
    assert flights.run("key", lambda: 43) == 43


def test_a_failed_flight_fails_for_all_and_is_not_remembered() -> None:
    flights: SingleFlight[str, int] = SingleFlight()

    def fail() -> int:
        raise NotFound("gone")

    with pytest.raises(NotFound):
        flights.run("key", fail)
    assert flights.run("key", lambda: 1) == 1


def test_a_window_grows_with_sequential_reads_and_ends_with_a_jump() -> None:
    stream = Stream()
    piece = 131072
    windows = [stream.advance(at, piece, 8) for at in range(0, 6 * BLOCK_SIZE, piece)]
    assert windows[0] == 1 and max(windows) == 8 and windows == sorted(windows)
    assert stream.advance(40 * BLOCK_SIZE, piece, 8) == 0


def test_reads_out_of_order_count_as_sequential() -> None:
    stream = Stream()
    for at in (0, 262144, 131072, 524288, 393216):
        assert stream.advance(at, 131072, 8) > 0


def test_a_spool_is_private_and_gone_when_closed(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "/f", 10)
    assert spool.file.stat().st_mode & 0o777 == 0o600
    assert spool.missing(0, 100) == [(0, 10)]
    spool.write(4, b"xy")
    assert spool.missing(0, 100) == [(0, 4), (6, 10)]
    with pytest.raises(FileTooLarge):
        spool.truncate(1 << 62)
    assert spool.size == 10 and spool.read_at(4, 2) == b"xy"
    spool.close()
    assert list(tmp_path.iterdir()) == []


CHANGE = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 700)),
    st.tuples(st.just("write"), st.integers(0, 2000)),
    st.tuples(st.just("truncate"), st.integers(0, 2000)),
    st.tuples(st.just("digest"), st.just(0)),
)


@given(st.lists(CHANGE, max_size=20))
def test_a_spool_knows_its_digests_however_it_was_written(changes: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "STEP", 256)
        spool, content = Spool(Path(folder), "/f", 0), b""
        for number, (what, at) in enumerate([*changes, ("digest", 0)]):
            if what == "append":
                piece = bytes([number]) * at
                spool.write(len(content), piece)
                content += piece
            elif what == "write":
                spool.write(at, bytes([number]) * 300)
                content = content.ljust(at, b"\0")
                content = content[:at] + bytes([number]) * 300 + content[at + 300 :]
            elif what == "truncate":
                spool.truncate(at)
                content = content[:at].ljust(at, b"\0")
            else:
                assert spool.digests().sha == hashlib.sha1(content).hexdigest()
        assert spool.digests() == digests.digests_of(BytesSource(content))
        spool.close()


def test_what_is_written_in_order_is_not_read_for_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, size = Spool(tmp_path, "/f", 0), 5 * digests.STEP // 2
    for at in range(0, size, 131072):
        spool.write(at, b"x" * 131072)
    read: list[int] = []
    monkeypatch.setattr(spool, "read_at", lambda at, length: read.append(at) or b"x" * length)
    assert spool.digests().sha == hashlib.sha1(b"x" * size).hexdigest() and not read
    # What is rewritten costs what follows the last state before it.
    spool.write(2 * digests.STEP + 10, b"x")
    assert spool.digests().sha == hashlib.sha1(b"x" * size).hexdigest()
    assert read == [2 * digests.STEP]
    spool.close()


@pytest.mark.parametrize(
    ("path", "parent", "base"), [("/", "/", ""), ("/a", "/", "a"), ("/a/b", "/a", "b")]
)
def test_paths_come_apart_and_together(path: str, parent: str, base: str) -> None:
    assert paths.split(path) == (parent, base) == (paths.parent(path), paths.base(path))
    if base:
        assert paths.join(parent, base) == path
    assert paths.moved("/a/b/c", "/a", "/x") == "/x/b/c"
    assert paths.moved("/a", "/a", "/x") == "/x"
    assert paths.is_inside("/a/b", "/a") and not paths.is_inside("/ab", "/a")
