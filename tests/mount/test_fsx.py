"""Random reads, writes, truncations and remounts of one file, compared byte for byte."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from tests.mount.bench import Bench

MIB = 1024 * 1024

PROGRAM = Path(__file__).parent / "fsx.py"


def a_seed() -> int:
    return int(os.environ.get("FSX_SEED") or random.SystemRandom().randrange(10**6))


def exercise(bench: Bench, largest: int, steps: int, remounts: int, seed: int) -> None:
    print(f"FSX_SEED={seed}")
    (bench.folder / "model").write_bytes(b"")
    for part in range(remounts):
        with bench.mounted() as mount:
            mount.sh("touch -a f")
            bench.sh(
                f"{sys.executable} {PROGRAM} {mount.path}/f model"
                f" {largest} {steps // remounts} {seed + part}"
            )
            mount.umount()
    with bench.mounted() as mount:
        bench.sh(f"cmp model {mount.path}/f")


def test_a_small_file(bench: Bench) -> None:
    exercise(bench, 4 * MIB, 4800, remounts=3, seed=a_seed())


def test_a_large_file(bench: Bench) -> None:
    exercise(bench, 64 * MIB, 200, remounts=2, seed=a_seed())


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("largest", "steps", "remounts"), [(4 * MIB, 190_000, 2), (64 * MIB, 10_000, 20)]
)
def test_for_long(bench: Bench, largest: int, steps: int, remounts: int) -> None:
    seed = a_seed()
    for part in range(steps // 5000):
        # A part that fails can be made the first one: its seed is printed.
        exercise(bench, largest, 5000, remounts, seed + 1000 * part)
        bench.sh("rm -f model")
        with bench.mounted() as mount:
            mount.sh("rm f")
