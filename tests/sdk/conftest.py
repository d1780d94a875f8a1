"""One server for all tests of the SDK; each has a folder of its own on it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from cosfs import CosClient
from cosfs.server.running import LocalServer
from tests.sdk.places import BUCKET, client_of

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def session_server() -> Iterator[LocalServer]:
    with LocalServer(buckets=[BUCKET]) as server:
        yield server


@pytest.fixture
def server(session_server: LocalServer) -> Iterator[LocalServer]:
    """The server without faults and with its counters at zero."""
    session_server.clear_faults()
    session_server.reset_stats()
    yield session_server
    session_server.clear_faults()


@pytest.fixture
def client(server: LocalServer) -> Iterator[CosClient]:
    with client_of(server) as client:
        yield client


@pytest.fixture
def folder() -> str:
    """The path of a folder that no other test uses; nobody made it."""
    return f"/t{next(_NUMBERS)}/"
