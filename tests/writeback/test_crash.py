"""A process that is killed at any moment loses nothing that it was told is done."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cosfs.model import Base
from cosfs.store.faulty import Fault, FaultPlan, FaultyStore
from cosfs.store.memory import MemoryStore
from cosfs.store.writeback.store import WriteBackStore
from tests.writeback.bench import behind, finish, get, put

NAMES = ["/a", "/b", "/c", "/d/e", "/d/f", "/d/g"]


class Killed(BaseException):
    """The process is gone."""


def killed() -> Exception:
    raise Killed


class Life:
    """A load on a store that is killed and begun anew, and what must be true of it."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.random = random.Random(seed)
        self.folder = folder
        self.server = MemoryStore()
        self.plan = FaultPlan()
        self.truth: dict[str, bytes] = {}
        self.written: set[bytes] = set()
        self.count = 0
        self.store = self.begin()

    def begin(self) -> WriteBackStore:
        return behind(FaultyStore(self.server, self.plan), self.folder)

    def program(self) -> None:
        """Do what a program does, and note what it was told."""
        path = self.random.choice(NAMES)
        there = sorted(self.truth)
        what = self.random.random()
        if what < 0.5 or not there:
            self.count += 1
            data = b"%d of %s" % (self.count, path.encode())
            old = self.store.stat_file(path) if path in self.truth else None
            put(self.store, path, data, Base(old, is_needed=old is not None))
            self.truth[path] = data
            self.written.add(data)
        elif what < 0.75:
            old_path = self.random.choice(there)
            if old_path != path:
                entry = self.store.stat_file(old_path)
                self.store.move_file(old_path, path, overwrite=True, base=Base(entry))
                self.truth[path] = self.truth.pop(old_path)
        else:
            path = self.random.choice(there)
            self.store.delete_file(path, base=Base(self.store.stat_file(path)))
            del self.truth[path]

    def kill(self) -> None:
        """Die in the next change, before or after the server has made it; then begin anew."""
        changing = ("write_file", "move_file", "delete_file", "set_metadata")
        faults = [
            self.plan.add(Fault(method, error=killed, after=self.random.random() < 0.5))
            for method in changing
        ]
        assert faults
        try:
            finish(self.store)
        except Killed:
            pass
        self.plan.clear()
        self.store.backlog.close()
        self.store = self.begin()

    def check(self) -> None:
        found = {path: get(self.store, path) for path in NAMES}
        assert found == {path: self.truth.get(path) for path in NAMES}


def live(seed: int, folder: Path) -> None:
    life = Life(seed, folder)
    for _ in range(60):
        for _ in range(life.random.randrange(4)):
            life.store.workers.step()
        life.program()
        if life.random.random() < 0.15:
            life.kill()
            life.check()
    life.check()
    finish(life.store)
    assert life.server.files() == life.truth
    assert not list((folder / "content").iterdir())
    life.store.close()


#: Each is killed nine times.
@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_lost_comes_back_or_is_mixed_up(seed: int, tmp_path: Path) -> None:
    live(seed, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 300))
def test_the_same_many_times(seed: int, tmp_path: Path) -> None:
    live(seed, tmp_path)
