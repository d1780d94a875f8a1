"""Owns guessing which names of a folder will be read next; must not know what fetching means.

``cat d/*``, ``grep -r``, ``tar c`` and ``cp -r`` read one file after the other, and each would cost
a round trip. They take the names in one of three orders: as the folder lists them, which is that of
shells in the C locale too; by inode number (cp, and find in large folders); or as other locales
sort, small and capital letters together. Once some in a row were read in one of them, the next ones
are fetched in parallel. ``ls -lR`` and ``find`` read folders so.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cachetools import LRUCache

from cosfs import paths

#: How many files are fetched ahead at first, and at most: what is fetched in vain in the end.
_FIRST: Final = 4
_MOST: Final = 64

#: So many names close together are a sign too, whatever their order.
_SIGHTS: Final = 4

#: Several readers that share the names take them slightly out of order.
_REACH: Final = 16

_FOLDERS: Final = 64

#: A folder's names are sorted again only once so large a part of them, one in so many, was read
#: that came since: else each name that is made and read would cost a sort of all of them.
_STRANGE: Final = 64


class Name(NamedTuple):
    """A name that a folder lists, and its inode number."""

    name: str
    ino: int


@dataclass(slots=True)
class _Order:
    """How far somebody has come in one order of a folder's names."""

    names: Sequence[str]
    places: dict[str, int]
    last: int = -1
    row: int = 0
    begun: int = 0
    window: int = _FIRST
    recent: deque[int] = field(default_factory=lambda: deque(maxlen=_SIGHTS))

    @classmethod
    def of(cls, names: Sequence[Name]) -> _Order:
        return cls(
            [name.name for name in names], {name.name: at for at, name in enumerate(names)}
        )

    def advance(self, name: str, enough: int) -> bool:
        """Note that ``name`` is read; return whether it is one of ``enough`` in a row."""
        place = self.places[name]
        if self.row > 1 and self.last - _REACH <= place <= self.begun:
            self.row += 1
        elif place == self.last + 1:
            self.row += 1
            self.begun = max(self.begun, place + 1)
        else:
            self.row, self.begun, self.window = 1, place + 1, _FIRST
            self.recent.append(place)
            if len(set(self.recent)) == _SIGHTS and max(self.recent) - min(self.recent) < 8:
                # Several readers share the names.
                self.row, self.last = _SIGHTS, max(self.recent)
                self.begun = self.last + 1
        self.last = place if self.row == 1 else max(self.last, place)
        return self.row >= enough

    def next_names(self, most: int) -> Sequence[str]:
        """Return the names to fetch now: none before half of the last ones were read."""
        if self.begun - self.last > self.window // 2:
            return ()
        begin = max(self.begun, self.last + 1)
        self.begun = min(self.last + 1 + self.window, len(self.names))
        self.window = max(self.window, min(2 * self.window, most))
        return self.names[begin : self.begun]


@dataclass(slots=True)
class _Folder:
    """The orders of a folder's names, and how many reads were of names that it has not."""

    orders: Sequence[_Order]
    strange: int = 0


class FilesAhead:
    """Calls ``fetch`` ahead for what is about to be read.

    Thread safety: any method from any thread; the lock is never held while anything is fetched.
    """

    def __init__(
        self,
        executor: Executor,
        names_of: Callable[[str], Sequence[Name] | None],
        fetch: Callable[[str], object],
        room: int = _MOST,
        enough: int = 2,
    ) -> None:
        """``names_of`` gives what is read in a folder as it lists it, if that costs nothing.

        There is ``room`` for so many, all being of the largest size that is fetched ahead.
        ``enough`` in a row show an order.
        """
        self._enough = enough
        self._most = min(room, _MOST)
        self._executor = executor
        self._names_of = names_of
        self._fetch = fetch
        self._lock = threading.Lock()
        self._folders: LRUCache[str, _Folder] = LRUCache(_FOLDERS)

    def read(self, path: str) -> None:
        """Note that what is at ``path`` begins to be read. Cost: none now."""
        folder, name = paths.split(path)
        orders = self._orders_for(folder, name)
        with self._lock:
            expected = [order for order in orders if order.advance(name, self._enough)]
            # Where several orders agree, or a chance hit is among them, the longest row is right.
            best = max(expected, key=lambda order: order.row, default=None)
            ahead = best.next_names(self._most) if best is not None else ()
        for other in ahead:
            self._executor.submit(self._fetch, paths.join(folder, other))

    def _orders_for(self, folder: str, name: str) -> Sequence[_Order]:
        """Return the orders of a folder in which ``name`` has a place, if there are any."""
        with self._lock:
            known = self._folders.get(folder)
            if known is not None and name in known.orders[0].places:
                return known.orders
            if known is not None:
                known.strange += 1
                if known.strange * _STRANGE < len(known.orders[0].names):
                    return ()
        names = self._names_of(folder)
        if names is None or len(names) < 2:
            return ()
        orders = [
            _Order.of(names),
            _Order.of(sorted(names, key=lambda one: one.ino)),
            _Order.of(sorted(names, key=lambda one: (one.name.lower(), one.name.swapcase()))),
        ]
        is_listed = name in orders[0].places
        with self._lock:
            # How far somebody has come in those of before is not lost for a name that none has.
            kept = None if known is None or is_listed else known.orders
            self._folders[folder] = _Folder(kept or orders)
        return orders if is_listed else ()
