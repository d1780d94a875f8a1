"""Owns the order of waiting changes: which waits for which, and which is next; must not know why.

A change waits for an earlier one that touches the same path, and for what is done to the folders
above it; the removal of a folder waits for everything below. So the graph points backwards only.
Changes that touch nothing in common are made in any order.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator

from cosfs import paths
from cosfs.model import Scope
from cosfs.store.writeback.operation import Kind, Operation, State


class Queue:
    """The changes that wait, are being made, or were refused.

    Pure: no clock, no disk. Thread safety: none; its user has a lock.
    """

    def __init__(self) -> None:
        self._next_seq = 1
        self._by_path: dict[str, list[Operation]] = {}
        #: For each folder the paths in it that are touched, or below which one is.
        self._below: dict[str, set[str]] = {}
        #: Those first that somebody waits for, then by their time.
        self._ready: list[tuple[bool, float, int, int, Operation]] = []
        self._offers = itertools.count()
        self._all: dict[int, Operation] = {}
        #: Bytes that wait, without those of what was refused.
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Operation]:
        """Give all changes in their order."""
        return iter([self._all[seq] for seq in sorted(self._all)])

    # -- asking ------------------------------------------------------------------------------

    def at(self, path: str) -> list[Operation]:
        """Return what touches ``path``, in its order."""
        return self._by_path.get(path, [])

    def last(self, path: str) -> Operation | None:
        """Return what touches ``path`` last."""
        touching = self._by_path.get(path)
        return touching[-1] if touching else None

    def names_in(self, folder: str) -> list[str]:
        """Return the paths directly in ``folder`` that are touched, or below which one is."""
        return list(self._below.get(folder, ()))

    def touched_below(self, folder: str) -> Iterator[str]:
        """Give every touched path below ``folder``."""
        stack = self.names_in(folder)
        while stack:
            path = stack.pop()
            if path in self._by_path:
                yield path
            stack.extend(self._below.get(path, ()))

    def touching(self, path: str, scope: Scope) -> list[Operation]:
        """Return what touches ``path``, or what the scope includes, in its order."""
        found = {operation.seq: operation for operation in self.at(path)}
        if scope is Scope.FOLDER:
            others: Iterable[str] = self.names_in(path)
        else:
            others = self.touched_below(path) if scope is Scope.TREE else ()
        for other in others:
            found.update((operation.seq, operation) for operation in self.at(other))
        return [found[seq] for seq in sorted(found)]

    def waiting(self) -> list[Operation]:
        """Return what is not refused, in its order."""
        return [operation for operation in self if operation.state is not State.FAILED]

    def failed(self) -> list[Operation]:
        """Return what was refused, in its order."""
        return [operation for operation in self if operation.state is State.FAILED]

    def is_idle(self) -> bool:
        """Tell whether nothing waits."""
        return all(operation.state is State.FAILED for operation in self._all.values())

    # -- changing ----------------------------------------------------------------------------

    def begin_after(self, seq: int) -> None:
        """Give places behind ``seq`` from now on."""
        self._next_seq = max(self._next_seq, seq + 1)

    def number(self, operation: Operation) -> None:
        """Give an operation its place at the end."""
        operation.seq = self._next_seq
        self._next_seq += 1

    def add(self, operation: Operation) -> None:
        """Put a numbered operation at its place, which is the last."""
        self.begin_after(operation.seq)
        self._all[operation.seq] = operation
        if operation.state is not State.FAILED:
            self.bytes += operation.size
            for earlier in self._earlier(operation):
                operation.waits_for.add(earlier)
                earlier.awaited_by.add(operation)
        for path in operation.paths:
            self._by_path.setdefault(path, []).append(operation)
            self._note_below(path)
        self._offer(operation)
        if operation.is_pressed:
            self.press(operation.waits_for)

    def remove(self, operation: Operation) -> list[Operation]:
        """Take an operation out; return those that need not wait any longer."""
        del self._all[operation.seq]
        if operation.state is not State.FAILED:
            self.bytes -= operation.size
        operation.state = State.GONE
        for path in operation.paths:
            touching = self._by_path[path]
            touching.remove(operation)
            if not touching:
                del self._by_path[path]
                self._forget_below(path)
        for earlier in operation.waits_for:
            earlier.awaited_by.discard(operation)
        operation.waits_for.clear()
        return self._let_go(operation)

    def resize(self, operation: Operation, change: int) -> None:
        """Note that an operation sends ``change`` bytes more."""
        if operation.state is not State.FAILED:
            self.bytes += change

    def refuse(self, operation: Operation) -> list[Operation]:
        """Note that the server refused an operation; nothing waits for it any longer."""
        operation.state = State.FAILED
        self.bytes -= operation.size
        return self._let_go(operation)

    def again(self, operation: Operation, due: float) -> None:
        """Let an operation that was begun, or refused, be made at ``due``."""
        if operation.state is State.FAILED:
            self.bytes += operation.size
        operation.state = State.WAITING
        operation.due = due
        self._offer(operation)

    def press(self, operations: Iterable[Operation]) -> None:
        """Let operations and what they wait for be next, before what nobody waits for."""
        stack = list(operations)
        while stack:
            operation = stack.pop()
            if operation.is_pressed or operation.state is not State.WAITING:
                continue
            operation.is_pressed = True
            operation.due = 0.0
            self._offer(operation)
            stack.extend(operation.waits_for)

    def take(self, now: float) -> Operation | None:
        """Return the next operation that may be made, begun from now; ``None`` if there is none."""
        self._drop_stale()
        if not self._ready or self._ready[0][1] > now:
            return None
        operation = heapq.heappop(self._ready)[-1]
        operation.state = State.STARTED
        return operation

    def next(self) -> Operation | None:
        """Return what ``take`` would return once its time has come."""
        self._drop_stale()
        return self._ready[0][-1] if self._ready else None

    # -- inside ------------------------------------------------------------------------------

    def _earlier(self, operation: Operation) -> Iterator[Operation]:
        for path in operation.paths:
            yield from self._blocking(path, any_kind=True)
            while path != paths.ROOT:
                path = paths.parent(path)
                yield from self._blocking(path, any_kind=False)
        if operation.kind is Kind.REMOVE:
            for path in self.touched_below(operation.path):
                yield from self._blocking(path, any_kind=True)

    def _blocking(self, path: str, *, any_kind: bool) -> Iterator[Operation]:
        """Give the last operation at ``path`` that others wait for: it waits for those before."""
        for earlier in reversed(self._by_path.get(path, [])):
            if earlier.state is not State.FAILED and (any_kind or earlier.covers_below):
                yield earlier
                return

    def _let_go(self, operation: Operation) -> list[Operation]:
        freed = []
        for later in operation.awaited_by:
            later.waits_for.discard(operation)
            if not later.waits_for:
                self._offer(later)
                freed.append(later)
        operation.awaited_by.clear()
        return freed

    def _offer(self, operation: Operation) -> None:
        if operation.state is State.WAITING and not operation.waits_for:
            heapq.heappush(
                self._ready,
                (
                    not operation.is_pressed,
                    operation.due,
                    operation.seq,
                    next(self._offers),
                    operation,
                ),
            )

    def _drop_stale(self) -> None:
        """Drop entries of what was folded, begun, pressed since, or waits again."""
        while self._ready:
            _, due, _, _, operation = self._ready[0]
            if (
                operation.state is State.WAITING
                and operation.due == due
                and not operation.waits_for
            ):
                return
            heapq.heappop(self._ready)

    def _note_below(self, path: str) -> None:
        while path != paths.ROOT:
            parent = paths.parent(path)
            siblings = self._below.setdefault(parent, set())
            if path in siblings:
                return
            siblings.add(path)
            path = parent

    def _forget_below(self, path: str) -> None:
        while path != paths.ROOT and path not in self._by_path and not self._below.get(path):
            parent = paths.parent(path)
            siblings = self._below[parent]
            siblings.discard(path)
            if not siblings:
                del self._below[parent]
            path = parent
