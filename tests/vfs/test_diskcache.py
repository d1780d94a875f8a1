"""Content on the local disk: found again by the next mount, never needed, never wrong."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosfs.clock import SystemClock
from cosfs.errors import IntegrityError
from cosfs.model import Version
from cosfs.vfs.blocks import BlockCache
from cosfs.vfs.diskcache import Block, DiskCache
from cosfs.vfs.pools import Pools
from cosfs.vfs.streams import KIB, MIB, UNIT, Stream
from tests.vfs.test_reading import KERNEL, Source, read, read_all

ExpectLog = Callable[[str], None]

SMALL = random.Random(1).randbytes(100 * KIB + 7)
LARGE = random.Random(2).randbytes(9 * MIB + 13)


@contextmanager
def mount(
    source: Source, folder: Path, limit: int = 64 * MIB
) -> Iterator[tuple[BlockCache, DiskCache]]:
    """Give the caches of a mount of their own."""
    disk = DiskCache(folder, limit, SystemClock())
    pools = Pools(4)
    disk.start()
    try:
        yield BlockCache(source, pools, 64 * MIB, 4, disk), disk  # type: ignore[arg-type]
    finally:
        pools.end()
        disk.stop()


def files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def space(folder: Path) -> int:
    return sum(-(-file.stat().st_size // 4096) * 4096 for file in files(folder))


def test_the_next_mount_reads_without_a_request(tmp_path: Path) -> None:
    source = Source(SMALL, LARGE)
    with mount(source, tmp_path / "cache") as (cache, _):
        assert read_all(cache, source, 0) == SMALL and read_all(cache, source, 1) == LARGE
    assert {file.stat().st_mode & 0o777 for file in files(tmp_path)} == {0o600}
    source.asked.clear()
    with mount(source, tmp_path / "cache") as (cache, disk):
        assert read_all(cache, source, 0) == SMALL and read_all(cache, source, 1) == LARGE
        # In another way than they were fetched.
        assert read(cache, source, 5 * MIB + 1, 100, Stream(), 1) == LARGE[5 * MIB + 1 :][:100]
        assert disk.usage().hits and not disk.usage().misses
    assert source.asked == []


def test_reads_at_random_are_found_again(tmp_path: Path) -> None:
    source = Source(LARGE)
    places = [random.Random(3).randrange(len(LARGE)) for _ in range(40)]
    with mount(source, tmp_path) as (cache, _):
        stream = Stream()
        for at in places:
            read(cache, source, at, 4096, stream)
    source.asked.clear()
    with mount(source, tmp_path) as (cache, _):
        stream = Stream()
        for at in places:
            assert read(cache, source, at, 4096, stream) == LARGE[at : at + 4096]
    assert source.asked == []


def test_a_mount_finds_what_another_keeps_meanwhile(tmp_path: Path) -> None:
    source = Source(SMALL)
    with mount(source, tmp_path) as (one, disk), mount(source, tmp_path) as (other, _):
        read_all(one, source)
        disk.settle()
        assert read_all(other, source) == SMALL
    assert len(source.asked) == 1


def test_content_without_a_digest_is_not_kept(tmp_path: Path) -> None:
    source = Source(SMALL, sha="")
    with mount(source, tmp_path) as (cache, disk):
        read_all(cache, source)
        disk.settle()
    assert files(tmp_path) == []


@pytest.mark.parametrize("how", ["a byte", "cut", "longer", "empty", "another block"])
def test_a_damaged_block_is_fetched_again(tmp_path: Path, how: str) -> None:
    source = Source(LARGE)
    with mount(source, tmp_path) as (cache, _):
        read_all(cache, source)
    [damaged] = [file for file in files(tmp_path) if f"-{4 * MIB}-" in file.name]
    data = bytearray(damaged.read_bytes())
    damaged.write_bytes(
        {
            "a byte": data[:500] + bytes([data[500] ^ 1]) + data[501:],
            "cut": data[:-1],
            "longer": data + b"x",
            "empty": b"",
            "another block": next(f for f in files(tmp_path) if f != damaged).read_bytes(),
        }[how]
    )
    source.asked.clear()
    with mount(source, tmp_path) as (cache, _):
        assert read_all(cache, source) == LARGE
    assert 0 < source.bytes < len(LARGE)
    source.asked.clear()
    with mount(source, tmp_path) as (cache, _):
        assert read_all(cache, source) == LARGE
    assert source.asked == []


def test_the_folder_may_be_deleted_under_a_live_mount(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    source = Source(SMALL, LARGE)
    with mount(source, folder) as (cache, disk):
        read_all(cache, source, 0)
        disk.settle()
        shutil.rmtree(folder)
        assert read_all(cache, source, 1) == LARGE
        disk.settle()
        assert files(folder)


def test_the_bound_is_held_and_what_was_used_last_stays(tmp_path: Path) -> None:
    datas = [random.Random(n).randbytes(200 * KIB) for n in range(20)]
    source = Source(*datas)
    limit = 1 * MIB
    with mount(source, tmp_path, limit) as (cache, disk):
        for which in range(20):
            read_all(cache, source, which)
            disk.settle()
            # A use from another memory cache: this one does not ask the disk again.
            into = memoryview(bytearray(len(datas[0])))
            assert disk.read(source.contents[0].version, 0, into) == len(into)
            assert space(tmp_path) <= limit and disk.usage().bytes == space(tmp_path)
    with mount(source, tmp_path, limit // 2) as (_, disk):
        disk.put(source.contents[5].version, 0, memoryview(datas[5]))
        disk.settle()
        assert space(tmp_path) <= limit // 2
        assert disk.held_until(source.contents[0].version, 0) == len(datas[0])
        assert disk.held_until(source.contents[18].version, 0) == 0


def test_a_full_disk_costs_no_read_and_one_line_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expect_log: ExpectLog,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def full(descriptor: int, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    expect_log("the disk cache fails")
    source = Source(SMALL, LARGE)
    with mount(source, tmp_path) as (cache, disk):
        with monkeypatch.context() as patch:
            patch.setattr("cosfs.vfs.diskcache.os.write", full)
            assert read_all(cache, source, 1) == LARGE
            disk.settle()
        assert files(tmp_path) == []
        assert read_all(cache, source, 0) == SMALL
        disk.settle()
        assert files(tmp_path)
    assert sum("disk cache" in record.message for record in caplog.records) == 1


def test_a_folder_that_cannot_be_made_costs_no_read(
    tmp_path: Path, expect_log: ExpectLog
) -> None:
    expect_log("the disk cache fails")
    (tmp_path / "file").write_text("")
    source = Source(LARGE)
    with mount(source, tmp_path / "file" / "cache") as (cache, disk):
        assert read_all(cache, source) == LARGE
        disk.settle()


def test_what_arrived_damaged_does_not_stay_on_the_disk(tmp_path: Path) -> None:
    source = Source(LARGE)

    def spoil(offset: int, into: memoryview) -> None:
        if offset == 0 and len(source.asked) == 1:
            into[7] ^= 1

    source.spoil = spoil
    with mount(source, tmp_path) as (cache, disk):
        stream = Stream()
        with pytest.raises(IntegrityError):
            for at in range(0, len(LARGE), KERNEL):
                read(cache, source, at, KERNEL, stream)
        disk.settle()
        assert files(tmp_path) == []
        assert read_all(cache, source) == LARGE
    with mount(source, tmp_path) as (cache, _):
        assert read_all(cache, source) == LARGE


@given(st.integers(1, 20 * MIB), st.integers(0, 20 * MIB), st.integers(1, 6 * MIB))
def test_what_blocks_are_made_of_is_found_by_them(size: int, begin: int, length: int) -> None:
    version = Version("a" * 40, size)
    end = min(begin + length, size)
    made = list(Block.all_within(version, begin, end))
    at = -(-begin // UNIT) * UNIT
    for block in made:
        assert block.start == at and block in Block.all_at(version, at)
        assert block in Block.all_at(version, at + block.length - 1)
        at += block.length
    # Nothing is left over but a part of a unit that goes on.
    assert at >= end or (end - at < UNIT and end < size)
