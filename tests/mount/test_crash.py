"""kill -9 of the mount in the middle of a load: what was answered is there after the next mount."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from cosfs.jsonapi.bucket import BucketClient
from cosfs.store.json_store import JsonStore
from tests.mount import remounter
from tests.mount.bench import Bench, Mounted, wait_for_end, wait_until
from tests.mount.crash_load import Worker
from tests.mount.crash_model import FOLDER_MODE, Node, Tree, differences, found_in
from tests.mount.directly import opened

#: What a program is told by a mount that is dead, or dies while it reads a request.
DEAD = {errno.ENOTCONN, errno.ECONNABORTED, errno.EIO}


@contextmanager
def mounting(bench: Bench) -> Iterator[Callable[[], Mounted]]:
    """Give what mounts, and mounts again after a kill."""
    path = bench.folder / "mnt"
    path.mkdir()
    with subprocess.Popen(
        [sys.executable, remounter.__file__],
        env=bench.environ,
        cwd=bench.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        mounted = Mounted(bench, path)

        def mount() -> Mounted:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(json.dumps(["mount", "demo", str(path)]) + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == "0\n"
            return mounted

        try:
            yield mount
        finally:
            if mounted.is_mounted:
                print(mounted.log)
                kill(mounted)
                umount(mounted)


def kill(mount: Mounted) -> None:
    pid = mount.pid
    os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)


def umount(mount: Mounted) -> None:
    """Take a dead mount away; until then it is the one that answers."""
    subprocess.run(["umount", "-l", str(mount.path)], check=True)


def wait_for_a_moment(bench: Bench, chance: random.Random) -> str:
    """Return at a moment that nobody has chosen; say what it was."""
    op = chance.choice(["", "", "upload", "upload_slice_data", "move", "update", "delete"])
    if not op:
        seconds = chance.uniform(0, 0.3)
        threading.Event().wait(seconds)
        return f"{seconds:.2f} s"
    # Right when a request has come: its answer, or what follows that, is often lost.
    count = bench.requests(op) + chance.randrange(1, 4)
    wait_until(lambda: bench.requests(op) >= count)
    return f"{op} {count}"


def left_on_the_server(bucket: BucketClient) -> list[str]:
    """Return the objects that are no file of anybody."""
    found, folders = [], [".cosfs-work/"]
    while folders:
        key = folders.pop()
        for entry in bucket.list_folder(key).entries:
            if entry.is_folder:
                folders.append(f"{key}{entry.name.rstrip('/')}/")
            else:
                found.append(f"{key}{entry.name}")
    return found


def tree_after(worker: Worker, found: Tree) -> Tree:
    """Return what a worker goes on with; fail unless ``found`` is what it was promised."""
    assert worker.error is not None and worker.error.errno in DEAD, str(worker)
    wrong = [differences(tree, found) for tree in worker.possible]
    nearest = min(wrong, key=len)
    assert not nearest, f"not as after {worker}\n" + "\n".join(nearest)
    tree = worker.possible[wrong.index(nearest)]
    return {path: replace(node, data=tree[path].data) for path, node in found.items()}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kills", [50, pytest.param(500, marks=pytest.mark.long)])
def test_what_was_answered_outlives_a_killed_mount(bench: Bench, kills: int) -> None:
    seed = int(os.environ.get("CRASH_SEED") or random.randrange(10**6))
    print(f"CRASH_SEED={seed}")
    chance = random.Random(seed)
    trees: dict[str, Tree] = {
        name: {"": Node(stat.S_IFDIR, FOLDER_MODE)} for name in ("small1", "small2", "large")
    }
    with opened(bench.server) as bucket, mounting(bench) as mount, ThreadPoolExecutor(4) as pool:
        store = JsonStore(bucket)
        mounted = mount()
        for name in trees:
            (mounted.path / name).mkdir()
        for number in range(kills):
            workers = {
                name: Worker(mounted.path / name, tree, seed + number, large=name == "large")
                for name, tree in trees.items()
            }
            for worker in workers.values():
                worker.start()
            print(f"kill {number}: {wait_for_a_moment(bench, chance)}")
            for worker in workers.values():
                assert worker.is_alive(), str(worker)
            kill(mounted)
            for worker in workers.values():
                worker.join()
            umount(mounted)
            mount()
            wait_until(lambda: mounted.is_settled)
            for name, worker in workers.items():
                trees[name] = tree_after(worker, found_in(store, f"/{name}", pool))
            wait_until(lambda: not left_on_the_server(bucket))
        assert_seen(mounted, trees)


def assert_seen(mount: Mounted, trees: dict[str, Tree]) -> None:
    """Fail unless a mount shows what the server holds."""
    wanted = {
        f"./{name}/{path}": node for name, tree in trees.items() for path, node in tree.items()
    }
    for path, node in wanted.items():
        status = (mount.path / path).lstat()
        assert (status.st_mode, status.st_uid) == (node.kind | node.mode, node.uid), path
        assert node.mtime_ns in (None, status.st_mtime_ns), path
    shown = mount.sh("find . -type f -exec sha1sum -b {} +").splitlines()
    assert {line[42:]: line[:40] for line in shown} == {
        path: node.digest for path, node in wanted.items() if node.kind == stat.S_IFREG
    }
