"""Fixtures of the tests that mount for real."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosfs.server.running import LocalServer
from tests.mount.bench import Bench, Mounted, why_no_mounts


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.mount)


@pytest.fixture(autouse=True)
def mounts_work() -> None:
    """Skip where no mount can be made; in CI that is a failure, or it would never be noticed."""
    reason = why_no_mounts()
    if reason and os.environ.get("CI"):
        pytest.fail(f"no mount can be made in CI: {reason}")
    if reason:
        pytest.skip(reason)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    with LocalServer(tmp_path / "server", buckets=["demo"]) as running:
        yield running


@pytest.fixture
def bench(server: LocalServer, tmp_path: Path) -> Bench:
    return Bench(server, tmp_path)


@pytest.fixture
def mounted(bench: Bench) -> Iterator[Mounted]:
    """The bucket ``demo`` with default options."""
    with bench.mounted() as mount:
        yield mount
