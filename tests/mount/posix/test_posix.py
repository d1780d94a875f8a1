"""The tables of this folder on a local file system, which proves them right, and on a mount."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.bench import COMMAND_TIMEOUT_S, Bench
from tests.mount.posix.differences import DIFFERENCES, reason_of

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def as_root() -> None:
    """The checks act as several users."""
    if os.geteuid() != 0:
        pytest.skip("acting as several users takes root")


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Path]:
    """A file system of the kernel's own that has everything: devices, set-id bits, links."""
    folder = tmp_path / "local"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "cosfs-test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def checks_in(folder: Path) -> dict[str, tuple[str, str]]:
    """Run all tables in ``folder``; return what was expected and what came, by identity."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.mount.posix.run", str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    return {identity: (expected, got) for identity, expected, got in results}


def failures_of(checks: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    return {identity: pair for identity, pair in checks.items() if pair[0] != pair[1]}


def test_a_mount_passes_what_a_local_disk_passes(bench: Bench, local: Path) -> None:
    reference = checks_in(local)
    assert len(reference) > 7000
    assert failures_of(reference) == {}, "these checks are wrong: (expected, got)"
    with bench.mounted("allow_other") as mount:
        found = checks_in(mount.path)
    failures = failures_of(found)
    known = {identity: reason_of(identity) for identity in failures}
    assert {one: failures[one] for one, reason in known.items() if reason is None} == {}
    assert set(DIFFERENCES) - set(known.values()) == set(), "these do not differ any more"
    # A scenario that ended early would leave checks out.
    assert set(reference) == set(found)
