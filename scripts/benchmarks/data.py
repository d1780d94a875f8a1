"""The suites ``sequential`` and ``random``: a large file on loopback, beside one connection."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import content, files
from .place import Place, wait_until
from .rows import Row, median
from .sizes import KIB, MIB

#: What part of one connection's throughput a mount is to reach.
_READ_SHARE = 0.5
_WRITE_SHARE = 0.35
_SEED = 1


def sequential(place: Place) -> Iterator[Row]:
    """Measure throughput: of one connection, of the binding alone, and of a mount."""
    size = place.sizes.large
    what = f"{size // MIB:,} MiB"
    base_write, base_read = _base(place)
    yield _rate(f"one connection, write {what}", base_write, "the base")
    yield _rate(f"one connection, read {what}", base_read, "the base")
    memory_write, memory_read = _memory(place)
    yield _rate(f"binding from memory, write {what}", memory_write)
    yield _rate(f"binding from memory, read {what}", memory_read)
    mount_write, writing_share = _mount_write(place)
    row = _rate(f"mount, write {what}, first byte to close", mount_write)
    yield row
    yield Row(
        "mount, write, part of the base",
        row.measured / median(base_write, "")[0],
        "",
        _WRITE_SHARE,
        "at least",
        f"{writing_share:.0%} of the time before the close",
    )
    mount_read, fetched = _mount_read(place)
    row = _rate(f"mount, read {what}, cold", mount_read)
    yield row
    yield Row(
        "mount, read, part of the base",
        row.measured / median(base_read, "")[0],
        "",
        _READ_SHARE,
        "at least",
        f"{fetched:.2f} bytes fetched for each that was read",
    )


def _rate(what: str, rates: list[float], note: str = "") -> Row:
    middle, runs = median(rates, "MB/s")
    return Row(what, middle, "MB/s", note="; ".join(filter(None, (note, runs))))


def _base(place: Place) -> tuple[list[float], list[float]]:
    size, writes, reads = place.sizes.large, [], []
    with place.connection() as connection:
        for _ in range(place.sizes.rounds):
            began = time.monotonic()
            connection.put_slices("/base", content.slices(size), size)
            writes.append(_mb_per_s(size, time.monotonic() - began))
            began = time.monotonic()
            if connection.get("/base") != size:
                raise RuntimeError("the server gave another size")
            reads.append(_mb_per_s(size, time.monotonic() - began))
            connection.delete("/base")
    return writes, reads


def _memory(place: Place) -> tuple[list[float], list[float]]:
    size, writes, reads = place.sizes.large, [], []
    with _memory_mounted(place.folder / "memory") as folder:
        for _ in range(place.sizes.rounds):
            written, closed = files.write(folder / "file", size)
            writes.append(_mb_per_s(size, written + closed))
            reads.append(_mb_per_s(size, files.read(folder / "file")))
            os.unlink(folder / "file")
    return writes, reads


@contextmanager
def _memory_mounted(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.memoryfs", str(folder)],
        cwd=Path(__file__).resolve().parents[1],
    )
    try:
        wait_until(lambda: os.path.ismount(folder) or process.poll() is not None)
        if process.poll() is not None:
            raise RuntimeError("the file system in memory does not start")
        yield folder
    finally:
        process.terminate()
        process.wait(60)
        if os.path.ismount(folder):
            subprocess.run(["umount", "-l", str(folder)], check=False)


def _mount_write(place: Place) -> tuple[list[float], float]:
    size, rates, parts = place.sizes.large, [], []
    with place.mounted() as mount:
        for _ in range(place.sizes.rounds):
            written, closed = files.write(mount.path / "written", size)
            rates.append(_mb_per_s(size, written + closed))
            parts.append(written / (written + closed))
            os.unlink(mount.path / "written")
    return rates, sum(parts) / len(parts)


def _mount_read(place: Place) -> tuple[list[float], float]:
    size, rates = place.sizes.large, []
    with place.connection() as connection:
        connection.put_slices("/large", content.slices(size), size)
    place.reset_stats()
    for _ in range(place.sizes.rounds):
        with place.mounted() as mount:
            rates.append(_mb_per_s(size, files.read(mount.path / "large")))
    return rates, place.stats()["bytes_out"] / (size * place.sizes.rounds)


def random_reads(place: Place) -> Iterator[Row]:
    """Measure reads at random places of a large file, each run on a cold mount."""
    size, number = place.sizes.large, place.sizes.random_reads
    with place.connection() as connection:
        connection.put_slices("/large", content.slices(size), size)
        for length in (4 * KIB, 128 * KIB):
            offsets = _offsets(size, length, number)
            began = time.monotonic()
            for offset in offsets:
                connection.get("/large", offset, length)
            base = number / (time.monotonic() - began)
            with place.mounted() as mount:
                os.stat(mount.path / "large")
                place.reset_stats()
                seconds = _read_at(mount.path / "large", offsets, length)
                stats = place.stats()
            what = f"{length // KIB} KiB at random"
            yield Row(
                f"{what}, reads", number / seconds, "1/s", base, "ideal",
                "the ideal is one connection",
            )  # fmt: skip
            yield Row(
                f"{what}, bytes fetched for each that was asked for",
                stats["bytes_out"] / (number * length),
                "",
                1,
                "ideal",
                f"{stats['requests']['total']} requests for {number} reads, seed {_SEED}",
            )


def _offsets(size: int, length: int, number: int) -> list[int]:
    rng = random.Random(_SEED)
    return [rng.randrange(size // length) * length for _ in range(number)]


def _read_at(path: Path, offsets: list[int], length: int) -> float:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        began = time.monotonic()
        for offset in offsets:
            if len(os.pread(descriptor, length, offset)) != length:
                raise RuntimeError(f"{path} ends at {offset}")
        return time.monotonic() - began
    finally:
        os.close(descriptor)


def _mb_per_s(size: int, seconds: float) -> float:
    return size / 1e6 / seconds
