"""Owns guessing which names of a folder will be asked for next; must not know what asking means.

Programs that want attributes ask for a folder's names one after the other in the order in which
they were listed, and the kernel passes such lookups on one by one. Where each costs a round trip,
the second in a row starts the next ones in parallel.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final

from cachetools import LRUCache

from cosfs import paths
from cosfs.errors import CosfsError

log = logging.getLogger(__name__)

#: How many names are asked for ahead, all at once.
WINDOW: Final = 64

_FOLDERS: Final = 256


class _Walk:
    """How far somebody has come in one folder."""

    __slots__ = ("names", "places", "last", "row", "begun")

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.places = {name: place for place, name in enumerate(names)}
        self.last = -1
        self.row = 0
        self.begun = 0


class StatsAhead:
    """Calls ``ask`` ahead for names that are about to be asked for.

    Thread safety: any method from any thread; the lock is never held while anything is asked.
    """

    def __init__(
        self,
        executor: Executor,
        names_of: Callable[[str], Sequence[str] | None],
        ask: Callable[[str], object],
    ) -> None:
        self._executor = executor
        self._names_of = names_of
        self._ask = ask
        self._lock = threading.Lock()
        self._walks: LRUCache[str, _Walk] = LRUCache(_FOLDERS)

    def asked(self, path: str) -> None:
        """Note that somebody asks for ``path``, at the price of a request."""
        folder, name = paths.split(path)
        with self._lock:
            walk = self._walks.get(folder)
            if walk is None or name not in walk.places:
                names = self._names_of(folder)
                if names is None or name not in names:
                    return
                walk = self._walks[folder] = _Walk(names)
            ahead = self._advance(walk, walk.places[name])
        for other in ahead:
            self._executor.submit(self._try, paths.join(folder, other))

    @staticmethod
    def _advance(walk: _Walk, place: int) -> Sequence[str]:
        in_order = walk.last < place <= max(walk.last + 2, walk.begun)
        walk.row = walk.row + 1 if in_order else 1
        walk.last = place
        if walk.row < 2:
            walk.begun = place + 1
            return ()
        begin, end = max(walk.begun, place + 1), min(place + 1 + WINDOW, len(walk.names))
        walk.begun = max(walk.begun, end)
        return walk.names[begin:end]

    def _try(self, path: str) -> None:
        try:
            self._ask(path)
        except CosfsError as error:
            # Whoever really asks for this name asks again and is told.
            log.debug("asking ahead for %s failed: %s", path, error)
