"""Content in memory: the right bytes, within the bound, for few bytes and requests."""

from __future__ import annotations

import gc
import hashlib
import mmap
import os
import random
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosfs.errors import ConnectionLost, IntegrityError, NotFound
from cosfs.model import Version
from cosfs.vfs import memory
from cosfs.vfs.blocks import BLOCK_SIZE, BlockCache
from cosfs.vfs.pools import Pools
from cosfs.vfs.segments import Content
from cosfs.vfs.streams import KIB, MIB, UNIT, Stream
from tests.mount.bench import wait_until

ExpectLog = Callable[[str], None]

KERNEL = 128 * KIB


class Source:
    """The one call of a store that reading needs. Counts what it is asked for."""

    def __init__(self, *datas: bytes, sha: str | None = None) -> None:
        self._datas = {f"/{n}": data for n, data in enumerate(datas)}
        self.contents = [
            Content(
                Version(hashlib.sha1(data).hexdigest() if sha is None else sha, len(data))
            )
            for data in datas
        ]
        self.asked: list[tuple[int, int]] = []
        self.before: Callable[[str, int], None] = lambda path, offset: None
        self.spoil: Callable[[int, memoryview], None] = lambda offset, into: None

    def read_range(self, path: str, offset: int, into: memoryview, version: Version) -> None:
        self.asked.append((offset, len(into)))
        self.before(path, offset)
        into[:] = self._datas[path][offset : offset + len(into)]
        self.spoil(offset, into)

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.asked)


@contextmanager
def cache_of(
    source: Source, memory: int = 256 * MIB, parallel: int = 4
) -> Iterator[BlockCache]:
    pools = Pools(parallel)
    try:
        yield BlockCache(source, pools, memory, parallel)  # type: ignore[arg-type]
    finally:
        pools.end()


def read(
    cache: BlockCache, source: Source, offset: int, size: int, stream: Stream, which: int = 0
) -> bytes:
    into = bytearray(size)
    view = memoryview(into)
    count = cache.read_into(
        source.contents[which], lambda: f"/{which}", offset, view, stream
    )
    return bytes(view[:count])


def read_all(cache: BlockCache, source: Source, which: int = 0) -> bytes:
    stream = Stream()
    size = source.contents[which].version.size
    return b"".join(
        read(cache, source, at, KERNEL, stream, which) for at in range(0, size, KERNEL)
    )


# -- the right bytes, within the bound -------------------------------------------------------------

SIZES = (0, 10, 100 * KIB, 700 * KIB, 3 * MIB + 17)
DATAS = [random.Random(size).randbytes(size) for size in SIZES]
LIMIT = 1 * MIB

READ = st.tuples(
    st.integers(0, len(SIZES) - 1), st.floats(0, 1.1), st.sampled_from([1, 4096, KERNEL, 300_000])
)
#: A reader's descriptor goes on from where it is, or jumps to a part of a file.
STEPS = st.lists(st.one_of(st.integers(1, 12), READ), min_size=1, max_size=25)


class _Reader:
    """Does steps with one descriptor of each file; remembers what went wrong."""

    def __init__(self, cache: BlockCache, source: Source) -> None:
        self._cache, self._source = cache, source
        self._streams = [Stream() for _ in SIZES]
        self._which, self._at = len(SIZES) - 1, 0
        self.failures = 0

    def run(self, steps: list[int | tuple[int, float, int]]) -> None:
        for step in steps:
            if isinstance(step, int):
                for _ in range(step):
                    self._read(self._which, self._at, KERNEL)
                continue
            which, part, size = step
            self._read(which, int(SIZES[which] * part), size)
        for stream in self._streams:
            self._cache.close(stream)

    def _read(self, which: int, offset: int, size: int) -> None:
        self._which, self._at = which, offset + size
        try:
            got = read(self._cache, self._source, offset, size, self._streams[which], which)
        except ConnectionLost:
            self.failures += 1
            return
        assert got == DATAS[which][offset : offset + size]


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=6), st.integers(0, 2**32), st.sampled_from([0, 0.2]))
def test_any_interleaving_gives_the_bytes_within_the_bound(
    programs: list[list[int | tuple[int, float, int]]], seed: int, chance: float
) -> None:
    source = Source(*DATAS)
    rng = random.Random(seed)
    with cache_of(source, LIMIT) as cache, ThreadPoolExecutor(6) as threads:

        def before(path: str, offset: int) -> None:
            assert cache.usage().bytes <= LIMIT
            if rng.random() < chance:
                raise ConnectionLost("by chance", path=path)

        source.before = before
        readers = [_Reader(cache, source) for _ in programs]
        for future in [
            threads.submit(reader.run, steps)
            for reader, steps in zip(readers, programs, strict=True)
        ]:
            future.result(60)
        source.before = lambda path, offset: None
        for which, data in enumerate(DATAS):
            assert read_all(cache, source, which) == data
        assert cache.usage().bytes <= LIMIT
    assert chance or not any(reader.failures for reader in readers)


def test_who_needs_more_than_is_free_waits() -> None:
    source = Source(*(os.urandom(256 * KIB) for _ in range(8)))
    gate, arrived = threading.Event(), threading.Semaphore(0)

    def before(path: str, offset: int) -> None:
        arrived.release()
        assert gate.wait(30)

    source.before = before
    with cache_of(source, LIMIT) as cache, ThreadPoolExecutor(8) as threads:
        reads = [threads.submit(read_all, cache, source, which) for which in range(8)]
        for _ in range(4):
            assert arrived.acquire(timeout=30)
        assert not arrived.acquire(timeout=0.05) and cache.usage().bytes == LIMIT
        gate.set()
        assert len({future.result(30) for future in reads}) == 8
        assert cache.usage().bytes <= LIMIT


def test_a_read_of_another_version_that_ends_late_is_not_gone_on_with() -> None:
    source = Source(DATAS[3], DATAS[3][::-1])
    arrived, gate = threading.Event(), threading.Event()

    def hold(path: str, offset: int) -> None:
        if path == "/0":
            arrived.set()
            assert gate.wait(10)

    source.before = hold
    stream = Stream()
    with cache_of(source) as cache, ThreadPoolExecutor(1) as pool:
        late = pool.submit(read, cache, source, 0, KERNEL, stream, 0)
        assert arrived.wait(10)
        # The file was stored meanwhile: the same descriptor reads what it is by now.
        assert read(cache, source, 0, KERNEL, stream, 1) == DATAS[3][::-1][:KERNEL]
        gate.set()
        assert late.result(10) == DATAS[3][:KERNEL]
        second = read(cache, source, KERNEL, KERNEL, stream, 1)
    assert second == DATAS[3][::-1][KERNEL : 2 * KERNEL]


def test_memory_that_somebody_holds_is_not_used_for_content() -> None:
    source = Source(os.urandom(2 * MIB))
    with cache_of(source, LIMIT) as cache:
        with cache.holding(LIMIT // 2):
            read_all(cache, source)
            assert cache.usage().bytes <= LIMIT
            assert cache.usage().bytes >= LIMIT // 2
        with cache.holding(10 * LIMIT):
            assert cache.usage().bytes == LIMIT


def test_a_copy_elsewhere_is_read_there_when_the_one_being_fetched_is_gone() -> None:
    data = os.urandom(100)
    source = Source(data, data)
    gate, arrived = threading.Event(), threading.Event()

    def before(path: str, offset: int) -> None:
        if path == "/0":
            arrived.set()
            assert gate.wait(30)
            raise NotFound("gone", path=path)

    source.before = before
    content = source.contents[1]
    with cache_of(source) as cache, ThreadPoolExecutor(2) as threads:
        first = threads.submit(read, cache, source, 0, 100, Stream(), 0)
        assert arrived.wait(30)
        second = threads.submit(read, cache, source, 0, 100, Stream(), 1)
        wait_until(lambda: cache._table.of(content).at(0).users == 2)  # type: ignore[union-attr]
        gate.set()
        with pytest.raises(NotFound):
            first.result(30)
        assert second.result(30) == data


def test_fetches_that_fail_leave_no_buffer_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(*(bytes([n]) * 200 * KIB for n in range(8)))
    buffers: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()

    class Buffer(mmap.mmap):
        """Can be watched from outside."""

    def new_buffer(size: int) -> memoryview:
        buffer = Buffer(-1, size)
        buffers.add(buffer)
        return memoryview(buffer)

    def spoil(offset: int, into: memoryview) -> None:
        raise ConnectionLost("half-way")

    monkeypatch.setattr(memory, "_new_buffer", new_buffer)
    source.spoil = spoil
    gc.disable()
    try:
        with cache_of(source, LIMIT) as cache:
            for which in range(8):
                with pytest.raises(ConnectionLost):
                    read(cache, source, 0, 100, Stream(), which)
            assert cache.usage().bytes == 0 and not buffers
    finally:
        gc.enable()


# -- what it costs ---------------------------------------------------------------------------------


def test_random_reads_fetch_little_more_than_they_ask_for() -> None:
    source = Source(bytes(64 * MIB), sha="")
    rng = random.Random(1)
    with cache_of(source) as cache:
        stream = Stream()
        for _ in range(500):
            read(cache, source, rng.randrange(64 * MIB) & -4096, 4096, stream)
    assert source.bytes <= 500 * UNIT * 1.1 and len(source.asked) <= 500


def test_small_content_is_one_request_wherever_it_is_read() -> None:
    source = Source(os.urandom(BLOCK_SIZE))
    with cache_of(source) as cache:
        for offset in (3 * MIB, 0, 5000, BLOCK_SIZE - 1):
            read(cache, source, offset, 4096, Stream())
    assert source.asked == [(0, BLOCK_SIZE)]


def test_a_sequential_reader_fetches_every_byte_once() -> None:
    source = Source(os.urandom(40 * MIB))
    with cache_of(source) as cache:
        assert hashlib.sha1(read_all(cache, source)).hexdigest() in str(source.contents[0])
        assert source.bytes == 40 * MIB and len(source.asked) <= 20
        read_all(cache, source)
        assert source.bytes == 40 * MIB


def test_a_reader_of_the_head_fetches_little() -> None:
    source = Source(bytes(64 * MIB), sha="")
    with cache_of(source) as cache:
        stream = Stream()
        read(cache, source, 0, 4096, stream)
        read(cache, source, 4096, 12288, stream)
        cache.close(stream)
    assert source.bytes <= 64 * KIB


def test_reads_of_one_length_here_and_there_cost_a_request_each() -> None:
    source = Source(bytes(512 * MIB), sha="")
    rng = random.Random(2)
    with cache_of(source) as cache:
        stream = Stream()
        for place in (place * 16 * MIB for place in rng.sample(range(32), 32)):
            for at in range(place, place + MIB, KERNEL):
                read(cache, source, at, KERNEL, stream)
    assert {(offset % (16 * MIB), size) for offset, size in source.asked[-8:]} == {(0, MIB)}


def test_what_nobody_waits_for_is_not_fetched_after_a_close() -> None:
    source = Source(bytes(64 * MIB), sha="")
    gate = threading.Event()
    reader = threading.get_ident()

    def before(path: str, offset: int) -> None:
        if threading.get_ident() != reader:
            assert gate.wait(30)

    source.before = before
    with cache_of(source, parallel=1) as cache:
        stream = Stream()
        for _ in range(40):
            # What lies behind is being fetched at the gate: who read it would wait.
            read(cache, source, 0, KERNEL, stream)
        begun = len(source.asked)
        held = cache.usage().bytes
        assert held > 4 * MIB
        cache.close(stream)
        assert cache.usage().bytes < held
        gate.set()
    assert len(source.asked) <= begun + 1


# -- digests ---------------------------------------------------------------------------------------

LARGE = os.urandom(2 * BLOCK_SIZE + 100)


def test_large_content_with_another_digest_is_fetched_once_more_and_believed(
    expect_log: ExpectLog,
) -> None:
    expect_log("does not have the digest")
    source = Source(LARGE, sha="f" * 40)
    with cache_of(source) as cache:
        assert read_all(cache, source) == LARGE
        assert source.bytes == 2 * len(LARGE)
        assert read_all(cache, source) == LARGE
        assert source.bytes == 2 * len(LARGE)


def test_large_content_that_arrives_damaged_is_an_error_and_right_the_next_time() -> None:
    source = Source(LARGE)

    def spoil(offset: int, into: memoryview) -> None:
        if offset == 0 and len(source.asked) == 1:
            into[7] ^= 1

    source.spoil = spoil
    with cache_of(source) as cache:
        stream = Stream()
        size = len(LARGE)
        with pytest.raises(IntegrityError):
            for at in range(0, size, KERNEL):
                read(cache, source, at, KERNEL, stream)
        asked = len(source.asked)
        with pytest.raises(IntegrityError):
            read(cache, source, size - 10, 10, stream)
        assert len(source.asked) == asked
        assert read_all(cache, source) == LARGE


def test_damaged_content_that_somebody_else_is_using_is_not_believed() -> None:
    source = Source(LARGE)

    def spoil(offset: int, into: memoryview) -> None:
        if offset == 0 and len(source.asked) == 1:
            into[7] ^= 1

    source.spoil = spoil
    gate = threading.Event()
    with cache_of(source) as cache:
        hashing = cache._hashing
        try:
            with mock.patch.object(cache, "_hashing") as slow:
                slow.submit = lambda work: hashing.submit(lambda: (gate.wait(30), work()))
                read(cache, source, 0, KERNEL, Stream())
            with pytest.raises(IntegrityError):
                read_all(cache, source)
            assert read_all(cache, source) == LARGE
        finally:
            gate.set()


def test_large_content_read_out_of_order_is_checked_and_at_random_is_not() -> None:
    source = Source(LARGE)
    source.spoil = lambda offset, into: into.__setitem__(0, into[0] ^ len(source.asked))
    size = len(LARGE)
    offsets = list(range(0, size, KERNEL))
    for place in range(1, len(offsets) - 1, 2):
        offsets[place], offsets[place + 1] = offsets[place + 1], offsets[place]
    with cache_of(source) as cache:
        stream = Stream()
        with pytest.raises(IntegrityError):
            for at in offsets:
                read(cache, source, at, KERNEL, stream)
    with cache_of(source) as cache:
        stream = Stream()
        for at in reversed(offsets):
            read(cache, source, at, 10, stream)
