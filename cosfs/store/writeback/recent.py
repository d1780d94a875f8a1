"""Owns what was made at the server of late: its listings may not show it yet.

Must not know what waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cosfs import paths
from cosfs.clock import Clock
from cosfs.model import Entry, Metadata
from cosfs.store import spelling
from cosfs.store.writeback.operation import Kind, Operation

#: How long a listing may lag behind a change.
LAG_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Made:
    """What a name was made to be, ``None``: gone; and when (monotonic seconds)."""

    entry: Entry | None
    at: float


class Recent:
    """Changes by folder and name. Thread safety: none; its user has a lock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made: dict[str, dict[str, Made]] = {}
        #: Folders whose marks were made, and when, the oldest first.
        self._marked: dict[str, float] = {}
        #: Path and time of each change, the oldest first.
        self._order: dict[str, float] = {}

    def note(self, path: str, entry: Entry | None) -> None:
        """Note that ``path`` was made ``entry``."""
        now = self._clock.monotonic()
        self.forget(path)
        folder, name = paths.split(path)
        self._made.setdefault(folder, {})[name] = Made(entry, now)
        self._order[path] = now
        self._expire(now)

    def made(self, operation: Operation, known: Entry | None) -> None:
        """Note what an operation made; ``known`` is what it has moved, as far as that is known."""
        path, kind = operation.path, operation.kind
        if kind in (Kind.WRITE, Kind.MAKE):
            self.note(path, operation.entry)
        elif kind is Kind.MOVE:
            if known is None and operation.base is not None:
                known = operation.base.entry
            self.note(path, None)
            self.forget(operation.new)
            if known is not None:
                self.note(operation.new, known)
        elif kind in (Kind.DELETE, Kind.REMOVE):
            self.note(path, None)
        if kind is Kind.MARK or (kind is Kind.SET and _makes_mark(operation)):
            self._marked.pop(path, None)
            self._marked[path] = self._clock.monotonic()
        elif kind is Kind.REMOVE:
            self._marked.pop(path, None)

    def forget(self, path: str) -> None:
        """Forget what ``path`` was made."""
        if self._order.pop(path, None) is None:
            return
        folder, name = paths.split(path)
        names = self._made[folder]
        del names[name]
        if not names:
            del self._made[folder]

    def get(self, path: str) -> Made | None:
        """Return what ``path`` was made of late."""
        folder, name = paths.split(path)
        return self._made.get(folder, {}).get(name)

    def names_in(self, folder: str, prefix: str) -> dict[str, Made]:
        """Return what names in ``folder`` were made of late."""
        self._expire(self._clock.monotonic())
        made = self._made.get(folder, {})
        return {name: one for name, one in made.items() if name.startswith(prefix)}

    def is_marked(self, folder: str) -> bool:
        """Tell whether something in ``folder`` was made to have attributes of late."""
        self._expire(self._clock.monotonic())
        return folder in self._marked

    def _expire(self, now: float) -> None:
        while self._marked and now - next(iter(self._marked.values())) >= LAG_S:
            del self._marked[next(iter(self._marked))]
        while self._order:
            path = next(iter(self._order))
            if now - self._order[path] < LAG_S:
                return
            self.forget(path)


def _makes_mark(operation: Operation) -> bool:
    """Tell whether there is a mark after metadata were set."""
    if not operation.covers_below:
        return False
    _own, rest = spelling.split(spelling.held(operation.path, operation.metadata, is_folder=True))
    return rest != Metadata()
