"""A store that makes changes later, stepped by hand, and what there will be once all are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from cosfs.config import WriteBackOptions
from cosfs.model import Metadata
from cosfs.store.faulty import FaultPlan, FaultyStore
from cosfs.store.memory import MemoryStore
from cosfs.store.writeback.store import WriteBackStore
from tests.fakeclock import FakeClock
from tests.vfs.machine.faults import Killed, Watched
from tests.writeback.bench import get

T = TypeVar("T")

#: How long an end of the mount waits without progress.
_PATIENCE_S = 1.0


class Behind(FaultyStore):
    """The store as the mount sees it: changes wait until ``make``, or until somebody waits."""

    def __init__(
        self, watched: Watched, folder: Path, clock: FakeClock, delay_s: float, ttl_s: float
    ) -> None:
        self._watched = watched
        self._store = WriteBackStore(
            watched,
            folder,
            clock=clock,
            options=WriteBackOptions(mode="on", delay_s=delay_s),
            parallel=0,
            trusted_s=ttl_s,
            patience_s=_PATIENCE_S,
        )
        super().__init__(self._store, FaultPlan())
        self.done: list[tuple[str, tuple[str, ...]]] = []
        backlog = self._store.backlog
        backlog._progress = _ByHand(backlog.lock, self.make, clock)  # type: ignore[assignment]

    def make(self) -> bool:
        """Make the next change; tell whether there was one whose time has come."""
        return self._store.workers.step()

    def refused(self) -> list[str]:
        """Return what the server would not do."""
        return [f"{one.path}: {one.refusal}" for one in self._store.backlog.refused()]

    def waiting(self) -> int:
        """Return how many changes wait."""
        return self._store.backlog.usage().changes

    def bury(self) -> None:
        """Close what a killed mount had open."""
        self._store.backlog.close()

    def _run_with(self, method: str, call: Callable[[Any], T], *touched: str) -> T:
        if self._watched.is_dead:
            raise Killed
        result = call([])
        self.done.append((method, touched))
        return result

    # -- what there will be, as ``MemoryStore`` tells what there is ------------------------------

    @contextmanager
    def unseen(self) -> Iterator[None]:
        """Look without a request that is counted, or fails."""
        with self._watched.directly():
            yield

    def files(self) -> dict[str, bytes]:
        with self.unseen():
            found: dict[str, bytes] = self._server.files()
            for path in list(self._store.backlog.view.files):
                data = get(self._store, path)
                found.pop(path, None)
                if data is not None:
                    found[path] = data
        return found

    def folders(self) -> list[str]:
        states = self._store.backlog.view.folders
        stay = [path for path in self._server.folders() if path not in states]
        return stay + [path for path, folder in states.items() if folder is not None]

    def marks(self) -> dict[str, Metadata]:
        marks = {**self._server.marks(), **self._store.backlog.view.marks}
        return {path: mark for path, mark in marks.items() if mark is not None}

    @property
    def _server(self) -> MemoryStore:
        return self._watched.server


class _ByHand:
    """Stands where threads wait for changes: who waits makes them."""

    def __init__(self, lock: Any, make: Callable[[], bool], clock: FakeClock) -> None:
        self._lock, self._make, self._clock = lock, make, clock

    def wait(self, timeout: float | None = None) -> bool:
        self._lock.release()
        try:
            if not self._make():
                assert timeout is not None, "somebody waits for what nobody will make"
                self._clock.advance(timeout)
        finally:
            self._lock.acquire()
        return True

    def notify_all(self) -> None:
        pass
