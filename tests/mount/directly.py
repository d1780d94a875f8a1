"""The bucket without a mount: what a test puts there, or reads there, behind a mount's back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cosfs.clock import SystemClock
from cosfs.config import Account, Credentials, Endpoints, NetworkOptions
from cosfs.jsonapi.bucket import BucketClient
from cosfs.jsonapi.client import JsonApi
from cosfs.server.running import APPID, SECRET_ID, SECRET_KEY, LocalServer


@contextmanager
def opened(server: LocalServer) -> Iterator[BucketClient]:
    """Give a client of the server's bucket ``demo``."""
    account = Account(
        Credentials(APPID, SECRET_ID, SECRET_KEY),
        Endpoints.of_region("sh", api=server.url, download=server.url),
    )
    api = JsonApi(account, NetworkOptions(), clock=SystemClock())
    try:
        yield api.bucket("demo")
    finally:
        api.close()
