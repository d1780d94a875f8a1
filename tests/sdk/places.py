"""Owns what the tests of the SDK share: clients of a local server, and short ways to ask."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

from cosfs import (
    CosClient,
    CosConfig,
    DownloadObjectRequest,
    StatFileRequest,
    UploadFileFromBufferRequest,
)

BUCKET = "mybucket"
MIB = 1024 * 1024


class Running(Protocol):
    """A local server, in this process or in another one."""

    url: str
    appid: str
    secret_id: str
    secret_key: str


def client_of(server: Running, **config: Any) -> CosClient:
    """Make a client of ``server``."""
    host = server.url.removeprefix("http://")
    client = CosClient(int(server.appid), server.secret_id, server.secret_key)
    client.set_config(CosConfig(hostname=host, download_hostname=host, **{"timeout": 20, **config}))
    return client


def put(client: CosClient, path: str, data: bytes, **options: Any) -> dict[str, Any]:
    """Store ``data``; it must succeed."""
    reply = client.upload_file_from_buffer(
        UploadFileFromBufferRequest(BUCKET, path, data, **options)
    )
    assert reply["code"] == 0, reply
    return reply


def get(client: CosClient, path: str) -> bytes:
    """Return the content of a file; it must succeed."""
    with client.download_object(DownloadObjectRequest(BUCKET, path)) as body:
        return body.read()


def stat(client: CosClient, path: str) -> dict[str, Any]:
    """Return what is known about a file; it must succeed."""
    reply = client.stat_file(StatFileRequest(BUCKET, path))
    assert reply["code"] == 0, reply
    data = reply["data"]
    assert isinstance(data, dict)
    return data


def content(size: int, seed: int = 0) -> bytes:
    """Return ``size`` bytes that no other seed gives and that do not repeat within a MiB."""
    blocks = range(-(-size // 4096))
    return b"".join(
        hashlib.sha256(b"%d.%d" % (seed, n)).digest() * 128 for n in blocks
    )[:size]


def sha1(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
