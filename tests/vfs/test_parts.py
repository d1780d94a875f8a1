"""The small parts the file system is made of: extents, single flight, stream windows, spool."""

from __future__ import annotations

import hashlib
import random
import tempfile
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosfs import digests, paths
from cosfs.errors import FileTooLarge, NotFound
from cosfs.model import BytesSource
from cosfs.vfs.extents import Extents
from cosfs.vfs.singleflight import SingleFlight
from cosfs.vfs.spool import Spool
from cosfs.vfs.streams import MIB, UNIT, Stream

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


KERNEL = 131072


def windows(stream: Stream, offsets: Iterable[int], size: int = KERNEL) -> list[int]:
    """Return the window after each read at ``offsets``, as of readers that had to wait."""
    found = []
    for at in offsets:
        run, _ = stream.note(at, size)
        run.note_wait()
        found.append(stream.window(run, 64 * MIB))
    return found


def test_a_window_grows_with_sequential_reads_and_ends_with_a_jump() -> None:
    stream = Stream()
    grown = windows(stream, range(0, 40 * MIB, KERNEL))
    assert grown[0] == 2 * KERNEL and grown[-1] == 64 * MIB and grown == sorted(grown)
    assert windows(stream, [400 * MIB]) == [0]


def test_a_window_of_who_never_waits_stays_small() -> None:
    stream = Stream()
    for at in range(0, 40 * MIB, KERNEL):
        run, _ = stream.note(at, KERNEL)
    assert stream.window(run, 64 * MIB) == 8 * MIB


def test_reads_out_of_order_and_short_skips_count_as_sequential() -> None:
    stream = Stream()
    assert all(windows(stream, (0, 262144, 131072, 524288, 393216, 655360)))
    assert len(stream.runs) == 1


def test_several_streams_of_one_file_are_told_apart() -> None:
    stream = Stream()
    places = range(0, 900 * MIB, 100 * MIB)
    offsets = [place + at for at in range(0, 4 * MIB, KERNEL) for place in places]
    grown = windows(stream, offsets)
    assert len(stream.runs) == 9 and min(grown[-9:]) >= 8 * MIB


def test_reads_at_random_are_never_ahead() -> None:
    rng = random.Random(1)
    stream = Stream()
    offsets = [rng.randrange(1 << 30) & -4096 for _ in range(5000)]
    assert sum(windows(stream, offsets, 4096)) <= 5000 * 4096
    assert len(stream.runs) <= 16


def test_who_reads_a_length_here_and_there_gets_it_at_once() -> None:
    stream = Stream()
    for place in range(0, 3000 * MIB, 100 * MIB):
        run, _ = stream.note(place, KERNEL)
        first = stream.first_size(run, KERNEL)
        for at in range(place + KERNEL, place + MIB, KERNEL):
            run, _ = stream.note(at, KERNEL)
    assert first == MIB and stream.window(run, 64 * MIB) == 0


def test_runs_that_nobody_goes_on_with_end() -> None:
    stream = Stream()
    old, _ = stream.note(0, KERNEL)
    ended = [run for at in range(100) for run in stream.note(50 * MIB + at * KERNEL, KERNEL)[1]]
    assert ended == [old] and UNIT < KERNEL


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
