"""Owns who may change which object, or which tree of objects, at a moment; must not know how."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cosfs import interrupts
from cosfs import paths as rules


class PathLocks:
    """Makes changes of one object's content, metadata or name come one after the other.

    Such a lock is held while the store is asked: read, merge and write of metadata must not
    interleave with each other or with an upload, and nothing may be stored under a name in a folder
    that is being renamed. It is taken before every other lock.

    Thread safety: any method from any thread. A thread may take what it holds again; all paths of
    one call are taken at once, so that the order in which they are named does not matter.
    """

    def __init__(self) -> None:
        self._changed = interrupts.Condition()
        self._held: dict[str, tuple[int, int]] = {}
        self._trees: dict[str, tuple[int, int]] = {}

    @contextmanager
    def holding(self, *paths: str) -> Iterator[None]:
        """Hold the locks of all ``paths``; waits for every tree that one of them lies in."""
        with self._taking(self._held, set(paths), self._path_is_free):
            yield

    @contextmanager
    def holding_trees(self, *tops: str) -> Iterator[None]:
        """Hold everything at and below all ``tops``; waits for every path held there."""
        with self._taking(self._trees, set(tops), self._tree_is_free):
            yield

    @contextmanager
    def _taking(
        self,
        table: dict[str, tuple[int, int]],
        wanted: set[str],
        is_free: Callable[[str, int], bool],
    ) -> Iterator[None]:
        me = threading.get_ident()
        with self._changed:
            while not all(is_free(path, me) for path in wanted):
                self._changed.wait()
            for path in wanted:
                table[path] = me, table.get(path, (me, 0))[1] + 1
        try:
            yield
        finally:
            with self._changed:
                for path in wanted:
                    _, count = table[path]
                    if count == 1:
                        del table[path]
                    else:
                        table[path] = me, count - 1
                self._changed.notify_all()

    def _path_is_free(self, path: str, me: int) -> bool:
        if self._held.get(path, (me, 0))[0] != me:
            return False
        return not any(
            owner != me and _covers(top, path) for top, (owner, _) in self._trees.items()
        )

    def _tree_is_free(self, top: str, me: int) -> bool:
        if any(owner != me and _covers(top, path) for path, (owner, _) in self._held.items()):
            return False
        return not any(
            owner != me and (_covers(top, other) or _covers(other, top))
            for other, (owner, _) in self._trees.items()
        )


def _covers(top: str, path: str) -> bool:
    return path == top or rules.is_inside(path, top)
