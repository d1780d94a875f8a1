"""Owns the containers of what is believed for a time; must not know when a belief ends early."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from cachetools import TTLCache

from cosfs.model import Entry

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class Beliefs(TTLCache[K, V]):
    """A TTL cache that looks once or twice for what is asked for; cachetools' own ``get`` looks
    three times and stops its clock in between, which takes three times as long. A ``stat`` that is
    answered from memory asks three of them.
    """

    @overload
    def get(self, key: K) -> V | None: ...

    @overload
    def get(self, key: K, default: V | T) -> V | T: ...

    def get(self, key: K, default: Any = None) -> Any:
        try:
            return self[key] if key in self else default
        except KeyError:  # its time was up between the two
            return default


class Listing:
    """A complete listing of one folder: only ``learn_listing`` and an own ``mkdir`` make one."""

    __slots__ = ("bytes", "entries", "until")

    def __init__(self, entries: dict[str, Entry], until: float) -> None:
        self.entries = entries
        #: How long it is believed (monotonic seconds).
        self.until = until
        #: Of all files in it.
        self.bytes = sum(entry.size for entry in entries.values())

    def place(self, name: str, entry: Entry | None) -> None:
        """Let ``name`` be ``entry``, or with ``None`` not be there."""
        old = self.entries.pop(name, None)
        self.bytes += (entry.size if entry else 0) - (old.size if old else 0)
        if entry is not None:
            self.entries[name] = entry
