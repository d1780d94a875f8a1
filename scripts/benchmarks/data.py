"""The suites ``sequential`` and ``random``: a large file on loopback, beside one connection."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from . import content, files, machine
from .place import Mount, Place, wait_until
from .rows import Row
from .sizes import GIB, KIB, MIB

#: What part of one connection's throughput a mount is to reach.
_READ_SHARE = 0.5
_WRITE_SHARE = 0.35
_SEED = 1


@dataclass(slots=True)
class _Runs:
    """What several runs of one kind took; each moves ``size`` bytes."""

    size: int
    seconds: list[float] = field(default_factory=list)
    #: Processor time by who took it, of all runs together.
    cpu: dict[str, float] = field(default_factory=dict)

    def add(self, seconds: float) -> None:
        self.seconds.append(seconds)

    @contextmanager
    def counting(self, **pids: int) -> Iterator[None]:
        """Count the processor time of a block."""
        before = {who: machine.cpu_seconds(pid) for who, pid in pids.items()}
        yield
        for who, pid in pids.items():
            self.cpu[who] = self.cpu.get(who, 0) + machine.cpu_seconds(pid) - before[who]

    @property
    def rate(self) -> float:
        """The median in MB/s."""
        return self.size / 1e6 / statistics.median(self.seconds)

    @property
    def cpu_a_gib(self) -> float:
        """Processor time of everybody for 1 GiB."""
        return sum(self.cpu.values()) / len(self.seconds) / (self.size / GIB)

    def rows(self, what: str, note: str = "") -> Iterator[Row]:
        """Yield the throughput, and the processor time, which a busy machine changes less."""
        runs = _list_of(self.size / 1e6 / seconds for seconds in self.seconds)
        yield Row(what, self.rate, "MB/s", note="; ".join(filter(None, (note, runs))))
        total = sum(self.cpu.values())
        shares = ", ".join(f"{who} {share / total:.0%}" for who, share in self.cpu.items())
        yield Row(f"{what}, processor", self.cpu_a_gib, "s/GiB", note=shares)


def sequential(place: Place) -> Iterator[Row]:
    """Measure throughput: of one connection, of the binding alone, and of a mount."""
    what = f"{place.sizes.large // MIB:,} MiB"
    base_write, base_read = _base(place)
    yield from base_write.rows(f"one connection, write {what}", "the base")
    yield from base_read.rows(f"one connection, read {what}", "the base")
    memory_write, memory_read = _memory(place)
    yield from memory_write.rows(f"binding from memory, write {what}")
    yield from memory_read.rows(f"binding from memory, read {what}")
    write, before_close = _mount_write(place)
    yield from write.rows(f"mount, write {what}, first byte to close")
    note = f"{before_close:.0%} of the time before the close"
    yield from _parts("mount, write", write, base_write, _WRITE_SHARE, note)
    read, fetched = _mount_read(place)
    yield from read.rows(f"mount, read {what}, cold")
    note = f"{fetched:.2f} bytes fetched for each that was read"
    yield from _parts("mount, read", read, base_read, _READ_SHARE, note)


def _parts(what: str, runs: _Runs, base: _Runs, goal: float, note: str) -> Iterator[Row]:
    """Yield the throughput as a part of the base's, and the same by processor time.

    Beside other programs the first favours who has more threads; the second does not.
    """
    yield Row(f"{what}, part of the base", runs.rate / base.rate, "", goal, "at least", note)
    part = base.cpu_a_gib / runs.cpu_a_gib if runs.cpu_a_gib else 0
    yield Row(f"{what}, part of the base by processor time", part, "")


def _base(place: Place) -> tuple[_Runs, _Runs]:
    size = place.sizes.large
    writes, reads = _Runs(size), _Runs(size)
    pids = {"program": os.getpid(), "server": place.server.pid}
    with place.connection() as connection:
        for _ in range(place.sizes.rounds):
            with writes.counting(**pids):
                began = time.monotonic()
                connection.put_slices("/base", content.slices(size), size)
                writes.add(time.monotonic() - began)
            with reads.counting(**pids):
                began = time.monotonic()
                if connection.get("/base") != size:
                    raise RuntimeError("the server gave another size")
                reads.add(time.monotonic() - began)
            connection.delete("/base")
    return writes, reads


def _memory(place: Place) -> tuple[_Runs, _Runs]:
    size = place.sizes.large
    writes, reads = _Runs(size), _Runs(size)
    with _memory_mounted(place.folder / "memory") as (folder, pid):
        pids = {"program": os.getpid(), "binding": pid}
        for _ in range(place.sizes.rounds):
            with writes.counting(**pids):
                writes.add(sum(files.write(folder / "file", size)))
            with reads.counting(**pids):
                reads.add(files.read(folder / "file"))
            os.unlink(folder / "file")
    return writes, reads


@contextmanager
def _memory_mounted(folder: Path) -> Iterator[tuple[Path, int]]:
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.memoryfs", str(folder)],
        cwd=Path(__file__).resolve().parents[1],
    )
    try:
        wait_until(lambda: os.path.ismount(folder) or process.poll() is not None)
        if process.poll() is not None:
            raise RuntimeError("the file system in memory does not start")
        yield folder, process.pid
    finally:
        process.terminate()
        process.wait(60)
        if os.path.ismount(folder):
            subprocess.run(["umount", "-l", str(folder)], check=False)


def _mount_write(place: Place) -> tuple[_Runs, float]:
    runs, parts = _Runs(place.sizes.large), []
    with place.mounted() as mount:
        for _ in range(place.sizes.rounds):
            with runs.counting(**_pids(place, mount)):
                written, closed = files.write(mount.path / "written", runs.size)
            runs.add(written + closed)
            parts.append(written / (written + closed))
            os.unlink(mount.path / "written")
    return runs, sum(parts) / len(parts)


def _mount_read(place: Place) -> tuple[_Runs, float]:
    runs = _Runs(place.sizes.large)
    with place.connection() as connection:
        connection.put_slices("/large", content.slices(runs.size), runs.size)
    place.reset_stats()
    for _ in range(place.sizes.rounds):
        with place.mounted() as mount, runs.counting(**_pids(place, mount)):
            runs.add(files.read(mount.path / "large"))
    return runs, place.stats()["bytes_out"] / (runs.size * place.sizes.rounds)


def _pids(place: Place, mount: Mount) -> dict[str, int]:
    return {"program": os.getpid(), "mount": mount.pid, "server": place.server.pid}


def _list_of(rates: Iterable[float]) -> str:
    texts = [f"{rate:.0f}" for rate in rates]
    return f"median of {', '.join(texts)}" if len(texts) > 1 else ""


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
