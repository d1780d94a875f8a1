"""Large files: memory does not grow with them, known content is not sent, a kill costs little."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cosfs import CosClient, DelFileRequest
from cosfs.jsonapi.replies import SliceList
from cosfs.sdk.connection import Connection
from cosfs.server.running import ServerProcess
from tests.sdk import transfer
from tests.sdk.places import BUCKET, MIB, client_of, content

MEMORY_MAX = 150 * MIB

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Large:
    """A local file, its digest, and a server in a process of its own that is to take it."""

    path: Path
    size: int
    sha: str
    server: ServerProcess


@pytest.fixture(
    scope="module",
    params=[256 * MIB, pytest.param(1024 * MIB, marks=pytest.mark.long)],
    ids=["256MiB", "1GiB"],
)
def large(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Large]:
    folder = tmp_path_factory.mktemp("large")
    digest = hashlib.sha1()
    with open(folder / "file", "wb") as file:
        for number in range(request.param // (16 * MIB)):
            piece = content(16 * MIB, 100 + number)
            digest.update(piece)
            file.write(piece)
    with ServerProcess(folder / "data", buckets=[BUCKET]) as server:
        yield Large(folder / "file", request.param, digest.hexdigest(), server)


def run(large: Large, operation: str, local_path: Path, cos_path: str) -> dict[str, Any]:
    """Move the file in another process and return what it says; it must succeed."""
    command = [sys.executable, transfer.__file__, large.server.url, operation]
    output = subprocess.run(
        [*command, str(local_path), cos_path], stdout=subprocess.PIPE, check=True
    ).stdout
    result = json.loads(output.splitlines()[-1])
    assert result["reply"]["code"] == 0, result
    assert isinstance(result, dict)
    return result


def control(large: Large, page: str, method: str = "GET") -> dict[str, Any]:
    request = urllib.request.Request(f"{large.server.url}/_server/{page}", method=method)
    with urllib.request.urlopen(request) as answer:
        value = json.load(answer)
    assert isinstance(value, dict)
    return value


@pytest.fixture
def client(large: Large) -> Iterator[CosClient]:
    with client_of(large.server) as client:
        yield client


@pytest.fixture
def uploaded(large: Large, client: CosClient) -> str:
    """The path of the file on the server."""
    client.del_file(DelFileRequest(BUCKET, "/large"))
    result = run(large, "upload", large.path, "/large")
    grown = result["peak"] - result["start"]
    print(f"upload of {large.size // MIB} MiB: {grown / MIB:.1f} MiB of memory")
    assert grown < MEMORY_MAX
    return "/large"


def sha_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha1").hexdigest()


def test_memory_and_known_content(large: Large, uploaded: str, tmp_path: Path) -> None:
    target = tmp_path / "file"
    result = run(large, "download", target, uploaded)
    grown = result["peak"] - result["start"]
    print(f"download of {large.size // MIB} MiB: {grown / MIB:.1f} MiB of memory")
    assert grown < MEMORY_MAX
    assert sha_of(target) == large.sha
    os.unlink(target)

    control(large, "stats/reset", "POST")
    run(large, "upload", large.path, "/again")
    stats = control(large, "stats")
    assert stats["requests"]["by_op"]["upload_slice_data"] == 0
    assert stats["bytes_in"] < MIB


def test_a_killed_upload_goes_on_with_the_slices_that_are_missing(
    large: Large, client: CosClient, tmp_path: Path
) -> None:
    # Other content than above: what the server knows is not sent at all.
    path = tmp_path / "file"
    subprocess.run(["cp", "--reflink=auto", large.path, path], check=True)
    with open(path, "r+b") as file:
        file.write(b"another")
    command = [sys.executable, transfer.__file__, large.server.url, "upload"]
    half = large.size // 2
    with subprocess.Popen(
        [*command, str(path), "/killed", str(half)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) >= half
        process.kill()
    api = Connection().api(client.get_cred(), client.get_config())
    listed = api.bucket(BUCKET).slice_list("killed")
    assert isinstance(listed, SliceList)
    missing = large.size // MIB - len(listed.parts)
    assert 0 < missing <= half // MIB

    control(large, "stats/reset", "POST")
    run(large, "upload", path, "/killed")
    stats = control(large, "stats")
    sent = stats["requests"]["by_op"]["upload_slice_data"]
    # The slices in flight at the kill may have arrived after they were listed as missing.
    assert missing - transfer.MAX_CON <= sent <= missing
    assert stats["bytes_in"] < (missing + 1) * MIB
    target = tmp_path / "back"
    run(large, "download", target, "/killed")
    assert sha_of(target) == sha_of(path)
