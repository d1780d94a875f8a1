"""Servers for the tests of the server, and connections to them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cosfs.server.running import LocalServer
from tests.server.wire import Wire

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[LocalServer]:
    """One server for every test that wants the default behaviour."""
    with LocalServer(
        buckets=["mybucket", "other"], public_buckets=["public"], control=True
    ) as local:
        yield local


@pytest.fixture
def wire(server: LocalServer) -> Iterator[Wire]:
    """A connection to the shared server; no faults are left behind."""
    connection = Wire(server)
    yield connection
    connection.close()
    server.clear_faults()


@pytest.fixture
def folder() -> str:
    """A folder path nobody else uses, without anything in it."""
    return f"/t{next(_numbers)}/"


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Iterator[Callable[..., Wire]]:
    """Start servers with other behaviour; takes what `LocalServer` takes."""
    running: list[tuple[LocalServer, Wire]] = []

    def start_one(*arguments: Any, **options: Any) -> Wire:
        local = LocalServer(*arguments, **options).start()
        connection = Wire(local)
        running.append((local, connection))
        return connection

    yield start_one
    for local, connection in running:
        connection.close()
        local.stop()
