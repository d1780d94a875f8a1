"""Owns the memory of this mount's own recent changes; must not know what others believe.

An own change is known to be true when it was made, while a listing fetched after it may lag behind
it, and a reply asked for before it is outdated when it comes. Each change has a number from one
rising counter, so that "asked before" is a comparison.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from cosfs import paths
from cosfs.clock import Clock
from cosfs.model import Entry

#: How long an own change is laid over listings. How far a listing of the real service may lag is
#: not documented (reference 6); assumed to be well below this.
OVERLAY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Change:
    """An own change: its number, when it was made, and what the name is since (None: gone).

    A listing that says otherwise is lagging for sure ``until`` then, at most.
    """

    number: int
    at: float
    entry: Entry | None
    until: float


class Overlay:
    """Own changes of the last ``OVERLAY_S`` seconds, by folder and name.

    ``number`` is that of the latest change. Replies asked for when ``number`` was below ``floor``
    must not be believed: changes that they may have missed are no longer remembered.

    Thread safety: none; the owner locks.
    """

    def __init__(self, clock: Clock, max_changes: int) -> None:
        self._clock = clock
        self._max = max_changes
        self._folders: dict[str, dict[str, Change]] = {}
        self._order: deque[tuple[str, Change]] = deque()
        self.number = 0
        self.floor = 0

    def note(self, path: str, entry: Entry | None, until: float) -> None:
        """Remember that this mount made ``path`` what ``entry`` says; see ``Change``."""
        self.number += 1
        self._set(path, Change(self.number, self._clock.monotonic(), entry, until))
        self._prune()

    def correct(self, path: str, entry: Entry | None) -> None:
        """Let a change, if there is one, say ``entry``: a later stat has told so."""
        change = self.get(path)
        if change is not None:
            self._set(path, replace(change, entry=entry))

    def get(self, path: str) -> Change | None:
        """Return the latest own change of ``path`` that is remembered."""
        folder, name = paths.split(path)
        return self._folders.get(folder, {}).get(name)

    def in_folder(self, folder: str) -> list[tuple[str, Change]]:
        """Return the names that changed in ``folder`` and how."""
        self._prune()
        return list(self._folders.get(folder, {}).items())

    def doubt(self, path: str, at: float) -> None:
        """Let an own change of ``path`` be as old as ``at``: a stat settles it with a listing.

        Every reply under way is disbelieved.
        """
        self.number += 1
        self.floor = self.number
        change = self.get(path)
        if change is not None:
            self._set(path, replace(change, at=min(change.at, at)))

    def doubt_below(self, path: str, at: float) -> None:
        """Doubt own changes of ``path`` and of all names below it."""
        self.doubt(path, at)
        for folder in [f for f in self._folders if f == path or paths.is_inside(f, path)]:
            for name, change in list(self._folders[folder].items()):
                self._set(paths.join(folder, name), replace(change, at=min(change.at, at)))

    def _set(self, path: str, change: Change) -> None:
        folder, name = paths.split(path)
        self._folders.setdefault(folder, {})[name] = change
        self._order.append((path, change))

    def _prune(self) -> None:
        horizon = self._clock.monotonic() - OVERLAY_S
        while self._order and (self._order[0][1].at < horizon or len(self._order) > self._max):
            path, change = self._order.popleft()
            self.floor = max(self.floor, change.number)
            folder, name = paths.split(path)
            names = self._folders.get(folder)
            if names is not None and names.get(name) is change:
                del names[name]
                if not names:
                    del self._folders[folder]


def truth(change: Change, listed: Entry | None, generation: int) -> Entry | None:
    """Return what a name is, given an own change and what a listing says."""
    if change.number > generation or differs(change.entry, listed):
        return change.entry
    return listed


def differs(mine: Entry | None, listed: Entry | None) -> bool:
    """Tell whether a listing says something else of a name than an own change."""
    if mine is None or listed is None:
        return mine is not listed
    return mine.kind is not listed.kind or (not mine.is_folder and mine.version != listed.version)
