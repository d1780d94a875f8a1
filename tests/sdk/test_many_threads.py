"""One client, many threads, a server that fails now and then: every answer is right or honest."""

from __future__ import annotations

import json
import os
import random
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cosfs import (
    CopyFileRequest,
    CosClient,
    CosReplyError,
    CreateFolderRequest,
    DelFileRequest,
    DelFolderRequest,
    DownloadFileRequest,
    DownloadObjectRequest,
    ListFolderRequest,
    MoveFileRequest,
    StatFileRequest,
    UpdateFileRequest,
    UploadFileFromBufferRequest,
    UploadSliceFileFromBufferRequest,
)
from cosfs.server.running import ServerProcess
from tests.sdk.places import BUCKET, client_of, content, sha1

THREADS = 32
#: One request in twenty fails, in one of these ways.
FAULTS = [
    {"op": "*", "probability": 0.0125, **fault}
    for fault in (
        {"action": "drop_before"},
        {"action": "drop_after"},
        {"action": "status", "status": 503, "code": -196},
        {"action": "cut_body"},
    )
]
SMALL = [content(size, 80 + size) for size in (0, 1, 1000, 70_000)]
LARGE = content(300_000, 79)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data", buckets=[BUCKET]) as server:
        yield server


def order_faults(server: ServerProcess, seed: int) -> None:
    plan = json.dumps({"seed": seed, "rules": FAULTS}).encode()
    url = f"{server.url}/_server/faults"
    with urllib.request.urlopen(urllib.request.Request(url, plan, method="PUT")) as answer:
        assert answer.status == 200


def share_of_faults(server: ServerProcess) -> float:
    """Return how many of all requests failed by order."""
    pages = []
    for page in ("faults", "stats"):
        with urllib.request.urlopen(f"{server.url}/_server/{page}") as answer:
            pages.append(json.load(answer))
    fired, requests = sum(pages[0]["fired"]), pages[1]["requests"]["total"]
    print(f"{fired} of {requests} requests failed by order")
    return float(fired / requests)


class Worker:
    """Works in a folder of its own and knows what must be in it.

    ``files`` maps a name to its content; a name of which a failure left that open is not in it and
    is in ``doubtful`` until it is settled.
    """

    def __init__(self, client: CosClient, number: int, seed: int, local: Path) -> None:
        self.client = client
        self.folder = f"/w{number}/"
        self.local = local / str(number)
        self.random = random.Random(seed * 1000 + number)
        self.files: dict[str, bytes] = {}
        self.doubtful: set[str] = set()
        self.outcomes: Counter[tuple[str, int]] = Counter()

    def work_until(self, end: float) -> None:
        steps: list[Callable[[], None]] = [
            self.store, self.store_slices, self.read, self.fetch, self.stat, self.update,
            self.move, self.copy, self.delete, self.list, self.folders,
        ]  # fmt: skip
        while time.monotonic() < end:
            self.random.choice(steps)()

    def note(self, op: str, reply: dict[str, Any], *names: str) -> bool:
        """Count an answer; a failure makes ``names`` doubtful."""
        self.outcomes[op, reply["code"]] += 1
        if reply["code"] == 0:
            return True
        # Anything else than "could not be done or found out" would be a wrong answer here, but
        # that an upload in slices which failed has the name.
        is_occupied = op == "store" and names[0] in self.doubtful
        honest = {-2, -3, -196, 1, -4020} if is_occupied else {-2, -3, -196, 1}
        assert reply["code"] in honest, (op, reply)
        for name in names:
            self.files.pop(name, None)
            self.doubtful.add(name)
        return False

    def path(self, name: str) -> str:
        return self.folder + name

    def some_name(self) -> str:
        return f"f{self.random.randrange(12)}"

    def known(self) -> str | None:
        return self.random.choice(sorted(self.files)) if self.files else None

    def free(self) -> str | None:
        names = {f"f{n}" for n in range(12)} - set(self.files) - self.doubtful
        return self.random.choice(sorted(names)) if names else None

    def store(self) -> None:
        name, data = self.some_name(), self.random.choice(SMALL)
        request = UploadFileFromBufferRequest(BUCKET, self.path(name), data, insert_only=0)
        if self.note("store", self.client.upload_file_from_buffer(request), name):
            self.files[name] = data
            self.doubtful.discard(name)

    def store_slices(self) -> None:
        name = self.free()
        if name is None:
            return
        data = self.random.randbytes(8) + LARGE
        request = UploadSliceFileFromBufferRequest(
            BUCKET, self.path(name), data, 65536, max_con=2
        )
        if self.note("slices", self.client.upload_slice_file_from_buffer(request), name):
            self.files[name] = data

    def read(self) -> None:
        name = self.known()
        if name is None:
            return
        try:
            request = DownloadObjectRequest(BUCKET, self.path(name))
            with self.client.download_object(request) as body:
                data = body.read()
        except CosReplyError as error:
            self.note("read", error.reply)
        else:
            self.note("read", {"code": 0})
            assert data == self.files[name]

    def fetch(self) -> None:
        name = self.known()
        if name is None:
            return
        request = DownloadFileRequest(BUCKET, self.path(name), str(self.local))
        if self.note("fetch", self.client.download_file(request)):
            assert self.local.read_bytes() == self.files[name]

    def stat(self) -> None:
        name = self.known()
        if name is None:
            return
        reply = self.client.stat_file(StatFileRequest(BUCKET, self.path(name)))
        if self.note("stat", reply):
            assert reply["data"]["sha"] == sha1(self.files[name])

    def update(self) -> None:
        name = self.known()
        if name is None:
            return
        request = UpdateFileRequest(BUCKET, self.path(name))
        request.set_biz_attr(str(self.random.random()))
        self.note("update", self.client.update_file(request))

    def move(self) -> None:
        old, new = self.known(), self.free()
        if old is None or new is None:
            return
        reply = self.client.move_file(MoveFileRequest(BUCKET, self.path(old), new))
        if self.note("move", reply, old, new):
            self.files[new] = self.files.pop(old)

    def copy(self) -> None:
        old, new = self.known(), self.free()
        if old is None or new is None:
            return
        reply = self.client.copy_file(CopyFileRequest(BUCKET, self.path(old), new))
        if self.note("copy", reply, new):
            self.files[new] = self.files[old]

    def delete(self) -> None:
        name = self.known()
        if name is None:
            return
        reply = self.client.del_file(DelFileRequest(BUCKET, self.path(name)))
        if self.note("delete", reply, name):
            del self.files[name]

    def list(self) -> None:
        reply = self.client.list_folder(ListFolderRequest(BUCKET, self.folder))
        if self.note("list", reply):
            found = {info["name"]: info["sha"] for info in reply["data"]["infos"]}
            for name, data in self.files.items():
                assert found.pop(name) == sha1(data)
            assert set(found) <= self.doubtful

    def folders(self) -> None:
        path = f"{self.folder[:-1]}-folder/"
        if self.note("create", self.client.create_folder(CreateFolderRequest(BUCKET, path))):
            reply = self.client.del_folder(DelFolderRequest(BUCKET, path))
            if self.note("remove", reply):
                return
        self.folder_is_gone(path)

    def folder_is_gone(self, path: str) -> None:
        reply = self.client.del_folder(DelFolderRequest(BUCKET, path))
        if reply["code"] != -197 and not self.note("remove", reply):
            self.folder_is_gone(path)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seconds", [10, pytest.param(60, marks=pytest.mark.long)])
def test_every_answer_is_right_or_honest(
    server: ServerProcess, tmp_path: Path, seconds: int
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    threads_before = threading.active_count()
    files_before = len(os.listdir("/proc/self/fd"))
    order_faults(server, seed)
    failures: list[BaseException] = []

    def run(worker: Worker, end: float) -> None:
        try:
            worker.work_until(end)
        except BaseException as error:  # noqa: B036 - raised below
            failures.append(error)

    with client_of(server, timeout=30) as client:
        workers = [Worker(client, number, seed, tmp_path) for number in range(THREADS)]
        end = time.monotonic() + seconds
        threads = [threading.Thread(target=run, args=(worker, end)) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    outcomes: Counter[tuple[str, int]] = sum((each.outcomes for each in workers), Counter())
    good = sum(count for (_, code), count in outcomes.items() if code == 0)
    total = outcomes.total()
    print(f"{total} calls, {good / total:.3%} successes; {dict(outcomes)}")
    if failures:
        raise failures[0]
    assert share_of_faults(server) > 0.03
    assert good >= 0.99 * total and total > THREADS * 10
    assert len({op for op, _ in outcomes}) == 12
    assert threading.active_count() == threads_before
    assert len(os.listdir("/proc/self/fd")) == files_before
