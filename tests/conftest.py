"""Shared by all tests: a clean environment, no unexpected log lines, no left-over threads."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator

import pytest
from hypothesis import settings

#: Names of environment variables that change what the code under test does.
_FOREIGN = re.compile(r"COSFS_.*|.*_proxy|XDG_.*_HOME", re.IGNORECASE)

settings.register_profile("short", deadline=None, print_blob=True)
settings.register_profile("long", deadline=None, print_blob=True, max_examples=2000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the tests marked 'long' too")


def pytest_configure(config: pytest.Config) -> None:
    for name in [name for name in os.environ if _FOREIGN.fullmatch(name)]:
        del os.environ[name]
    settings.load_profile("long" if config.getoption("--long") else "short")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    skip = pytest.mark.skip(reason="part of the long list: scripts/test.sh --long")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(skip)


class _Recorder(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class ExpectLog:
    """What a test says of the lines that are logged."""

    def __init__(self) -> None:
        self.due: list[re.Pattern[str]] = []
        self.right: list[re.Pattern[str]] = []

    def __call__(self, pattern: str, *, must_come: bool = True) -> None:
        """Say that lines with this are right; at least one has to come, if it ``must_come``."""
        regex = re.compile(pattern)
        self.right.append(regex)
        if must_come:
            self.due.append(regex)


@pytest.fixture(autouse=True)
def expect_log() -> Iterator[ExpectLog]:
    """Fail the test for every line of WARNING or above that ``cosfs`` logs and it does not expect.

    ``expect_log(regex)`` in a test says that such lines are right, and that at least one comes.
    """
    recorder, expected = _Recorder(), ExpectLog()
    logger = logging.getLogger("cosfs")
    logger.addHandler(recorder)
    try:
        yield expected
    finally:
        logger.removeHandler(recorder)
    lines = [f"{r.levelname} {r.name}: {r.getMessage()}" for r in recorder.records]
    unexpected = [line for line in lines if not any(regex.search(line) for regex in expected.right)]
    missing = [regex.pattern for regex in expected.due if not any(map(regex.search, lines))]
    assert not unexpected, "unexpected log lines (see expect_log)"
    assert not missing, "expected log lines did not come"


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    """Fail the test if threads that keep a process alive outlive it."""
    before = set(threading.enumerate())
    yield
    left = [
        thread
        for thread in threading.enumerate()
        if thread not in before and not thread.daemon and thread.is_alive()
    ]
    for thread in left:
        thread.join(5)
    assert not [thread.name for thread in left if thread.is_alive()]
