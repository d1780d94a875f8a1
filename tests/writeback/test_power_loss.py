"""A power loss: of the state directory only what was synced is there. ``writeback=sync`` syncs all.

What the disk holds is imitated: a file has what it had at its last fsync, a folder the names that
it had at its own. SQLite syncs its log itself, below Python: of the queue's files is taken what
they hold, after checking that SQLite was told to wait for the disk at every commit.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cosfs.model import Base
from cosfs.store.memory import MemoryStore
from cosfs.store.writeback import leftover
from tests.writeback.bench import behind, finish, get, put


class Disk:
    """Notes what of ``folder`` is on the disk for sure."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._contents: dict[int, bytes] = {}
        self._names: dict[str, int] = {}
        self._fsync = os.fsync

    @contextmanager
    def watched(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", self._synced)
            yield

    def _synced(self, descriptor: int) -> None:
        self._fsync(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_dir():
            self._names = {file.name: file.stat().st_ino for file in path.iterdir()}
        else:
            self._contents[path.stat().st_ino] = path.read_bytes()

    def after_the_loss(self, target: Path) -> None:
        """Make ``target`` what the folder is once the power is back."""
        (target / "content").mkdir(parents=True)
        for name, inode in self._names.items():
            (target / "content" / name).write_bytes(self._contents.get(inode, b""))
        for file in self._folder.glob("queue.sqlite*"):
            shutil.copy(file, target / file.name)


def test_what_was_closed_survives_a_power_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, disk = MemoryStore(), Disk(tmp_path / "before")
    store = behind(server, tmp_path / "before", mode="sync")
    [(level,)] = store.backlog._journal._database.execute("PRAGMA synchronous").fetchall()
    assert level == 2  # FULL: with a write-ahead log, a commit waits for the disk
    with disk.watched(monkeypatch):
        for number in range(5):
            put(store, f"/f{number}", b"content %d" % number)
        put(store, "/f0", b"again", Base(store.stat_file("/f0"), is_needed=True))
        store.move_file("/f1", "/g", overwrite=True, base=Base(store.stat_file("/f1")))
        store.delete_file("/f2", base=Base(store.stat_file("/f2")))
    disk.after_the_loss(tmp_path / "after")
    store.backlog.close()
    again = behind(server, tmp_path / "after", mode="sync")
    wanted = {"/f0": b"again", "/g": b"content 1", "/f3": b"content 3", "/f4": b"content 4"}
    assert {path: get(again, path) for path in ("/f1", "/f2", *wanted)} == {
        "/f1": None, "/f2": None, **wanted
    }  # fmt: skip
    finish(again)
    assert server.files() == wanted and leftover.left_over(again) == []
    again.close()
