"""Owns what waits to be made at the server, and who waits for it; must not know how it is made.

One lock guards the queue, the view and the journal. It is held for a statement of the journal, and
never while the server is asked.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cosfs import interrupts
from cosfs.clock import Clock
from cosfs.config import WriteBackOptions
from cosfs.errors import AlreadyExists, CosfsError, FsError, ObjectChanged, StoreError
from cosfs.model import Scope
from cosfs.store.writeback.content import ContentFolder, sync
from cosfs.store.writeback.folding import Folding
from cosfs.store.writeback.journal import Journal
from cosfs.store.writeback.operation import Kind, Operation, State
from cosfs.store.writeback.outage import LONGEST_PAUSE_S, Outage
from cosfs.store.writeback.queue import Queue
from cosfs.store.writeback.recent import Recent
from cosfs.store.writeback.sender import may_pass
from cosfs.store.writeback.view import Node, View

log = logging.getLogger(__name__)

#: While programs make changes one after the other, they have the processor: what nobody waits for
#: is made once there was a pause of so long, or at the latest so much after its time.
_QUIET_S: Final = 0.1
_HELD_BACK_S: Final = 5.0

#: More than can be added at a time, by the threads of a mount.
_AT_A_TIME: Final = 64


@dataclass(frozen=True, slots=True)
class BacklogUsage:
    """What waits: ``changes`` in all, of which ``files`` have content, of ``bytes``.

    ``oldest_s`` is how long the oldest waits. ``failed`` were refused by the server. ``away`` says
    why the server cannot be reached at the moment, "" if it can.
    """

    changes: int
    files: int
    bytes: int
    limit: int
    oldest_s: float
    failed: int
    away: str


class Backlog:
    """See the module's text. Thread safety: any method from any thread."""

    def __init__(self, folder: Path, options: WriteBackOptions, clock: Clock) -> None:
        """Take up what a mount before this one left in ``folder``.

        Raises:
            ConfigError: it is not this one's to take up; the message says what to do.
        """
        is_synced = options.mode == "sync"
        contents = folder / "content"
        contents.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.contents = ContentFolder(contents, is_synced=is_synced)
        self.lock = threading.Lock()
        self._work = threading.Condition(self.lock)
        self._progress = interrupts.Condition(self.lock)
        self._clock = clock
        self._options = options
        self._journal = Journal(folder, is_synced=is_synced)
        if is_synced:
            for made in (contents, folder, folder.parent):
                sync(made)
        self._queue = Queue()
        self.view = View(self._queue)
        self.recent = Recent(clock)
        self._folding = Folding(self._queue, self.view, self._journal, self.contents.drop)
        #: Changes that the server refused, but for writes: those keep their place in the queue.
        self._refused: dict[int, Operation] = {}
        #: Bytes that somebody is about to add.
        self._reserved = 0
        self._is_urgent = False
        self._is_ending = False
        self._is_closed = False
        self._has_timekeeper = False
        self._outage = Outage(clock)
        self._last_added = 0.0
        #: Made so far, for those who look for progress.
        self.made = 0
        with self.lock:
            self._take_up()

    def _take_up(self) -> None:
        left = self._journal.all()
        for operation in left:
            if operation.state is State.FAILED and operation.kind is not Kind.WRITE:
                self._refused[operation.seq] = operation
                continue
            self._queue.add(operation)
            self.view.apply(operation)
        self._queue.begin_after(max((operation.seq for operation in left), default=0))
        self.contents.keep_only({operation.content for operation in left})
        # A name that a change refers to is not free, even where its file is lost.
        names = [*self.contents.names(), *(one.content for one in left if one.content)]
        numbers = [int(name.partition(".")[0]) for name in names]
        self._contents_made = itertools.count(max(numbers, default=0) + 1)
        for place in self._journal.staged():
            self._give_up(place)
        if left:
            log.info("%d changes of a mount before this one are to be stored", len(left))

    # -- adding ------------------------------------------------------------------------------

    def new_content_name(self) -> str:
        """Return a name that no content has."""
        return f"{next(self._contents_made)}.data"

    @contextmanager
    def room_for(self, size: int) -> Iterator[None]:
        """Wait until ``size`` bytes more may wait; they are counted until the end of the ``with``.

        More than may wait in all is let in when nothing else waits.
        """
        with self.lock:
            while self._is_full_for(size) and not self._is_ending:
                self._press_all()
                self._progress.wait()
            self._reserved += size
        try:
            yield
        finally:
            with self.lock:
                self._reserved -= size
                self._progress.notify_all()

    def has_room_for(self, size: int) -> bool:
        """Tell whether ``size`` bytes, and those of many others like it, need not wait now."""
        with self.lock:
            held = self._queue.bytes + self._reserved
            return held + size * _AT_A_TIME <= self._options.size_bytes

    def let_all_in(self) -> None:
        """Let nobody wait for room any more: the mount is to end though the server is away."""
        with self.lock:
            self._is_ending = True
            self._progress.notify_all()

    def _is_full_for(self, size: int) -> bool:
        held = self._queue.bytes + self._reserved
        return bool(held) and held + size > self._options.size_bytes

    def add(self, operation: Operation) -> None:
        """Take a change in; it is in the journal when this returns. To be called under the lock.

        Raises ``NoSpace``, ``SpoolFailed``: it was not taken in.
        """
        operation.since = self._clock.wall()
        operation.due = self._last_added = self._clock.monotonic()
        if self._is_urgent:
            operation.is_pressed = True
        else:
            operation.due += self._options.delay_s
        self._folding.accept(operation)
        if not self._has_timekeeper:
            self._work.notify()

    def stage(self, place: str) -> None:
        """Note that content is being put together at ``place``, a reserved name at the server."""
        with self.lock:
            self._journal.stage(place)

    def unstage(self, place: str, *, is_gone: bool) -> None:
        """Note that ``place`` is free again, or is to be freed."""
        with self.lock:
            try:
                if is_gone:
                    self._journal.unstage(place)
                else:
                    self._give_up(place)
            except FsError as error:
                log.warning("%s is looked at by the next mount: %s", place, error)

    def _give_up(self, place: str) -> None:
        with self._journal.together():
            self.add(Operation(Kind.DELETE, place))
            self._journal.unstage(place)

    # -- making ------------------------------------------------------------------------------

    def take(self, *, is_waiting: bool = True) -> tuple[Operation, bool] | None:
        """Return the next change to be made, and whether it may have been made before.

        Waits for one; ``None`` when there will be none, or, if not ``is_waiting``, there is none.
        """
        with self.lock:
            while not self._is_closed:
                operation = self._next()
                if operation is not None:
                    was_tried, operation.is_tried = operation.is_tried, True
                    self.view.begin(operation)
                    self._work.notify()
                    return operation, was_tried
                if not is_waiting:
                    return None
                self._wait_for_work()
        return None

    def _next(self) -> Operation | None:
        now = self._clock.monotonic()
        if self._outage.hinders():
            return None
        due = self._next_time()
        if due is None or due > now:
            return None
        operation = self._queue.take(now)
        if operation is not None:
            self._outage.begin_attempt()
        return operation

    def _next_time(self) -> float | None:
        """Return when the next change is to be made (monotonic seconds)."""
        operation = self._queue.next()
        if operation is None or operation.is_pressed or not self._options.delay_s:
            return None if operation is None else operation.due
        quiet = self._last_added + _QUIET_S
        return max(operation.due, min(quiet, operation.due + _HELD_BACK_S))

    def _wait_for_work(self) -> None:
        """Wait for a notice; one thread of those that wait looks at the time too."""
        due = self._next_time()
        if due is None or self._has_timekeeper or self._outage.is_probing:
            self._work.wait()
            return
        if self._outage.error is not None:
            due = max(due, self._outage.not_before)
        self._has_timekeeper = True
        try:
            self._work.wait(max(due - self._clock.monotonic(), 0.0))
        finally:
            self._has_timekeeper = False

    def made_it(self, operation: Operation) -> None:
        """Note that a change was made: its row goes, then its content."""
        with self.lock:
            self._outage.is_over(len(self._queue))
            try:
                self._journal.made(operation)
            except FsError as error:
                # The next change drops it, or the next mount finds that it was made.
                log.warning("a change that was made stays in the queue's file: %s", error)
            self._queue.remove(operation)
            node = self.view.node_of(operation)
            self.recent.made(operation, None if node is None else node.entry)
            self.view.done(operation, is_made=True)
            self.made += 1
            self._notify()
        self.contents.drop(operation.content)

    def failed(self, operation: Operation, error: CosfsError) -> None:
        """Note that a change was not made: it is tried again, or kept."""
        with self.lock:
            operation.error = error
            if may_pass(error):
                self._outage.goes_on(error)
                self.view.not_sure(operation)
                self._queue.again(operation, self._clock.monotonic())
            else:
                self._outage.is_over(len(self._queue))
                self._refuse(operation, error)
            self._notify()

    def _refuse(self, operation: Operation, error: CosfsError) -> None:
        operation.refusal = _reason_of(error)
        operation.is_conflict = isinstance(error, (AlreadyExists, ObjectChanged))
        log.error("not stored: %s of %r: %s", operation.kind.value, operation.path, error)
        try:
            if operation.kind is Kind.WRITE:
                self._refuse_write(operation)
                return
            for later in self._folding.all_later(operation):
                # What it expects at its path may not be there: it has to look.
                later.is_tried = later.is_tried or later.kind is Kind.MOVE
            self._queue.remove(operation)
            self.view.done(operation, is_made=False)
            operation.state = State.FAILED
            self._refused[operation.seq] = operation
            self._journal.put(operation)
        except FsError as failure:
            log.error("that it was refused cannot be written down: %s", failure)

    def _refuse_write(self, operation: Operation) -> None:
        try:
            self._folding.refuse(operation)
        except FsError:
            if operation.state is State.STARTED:
                # What waits for it must not go without it: it is refused once there is room.
                operation.refusal, operation.is_conflict = "", False
                self._queue.again(operation, self._clock.monotonic() + LONGEST_PAUSE_S)
            raise

    def _notify(self) -> None:
        self._work.notify_all()
        self._progress.notify_all()

    # -- waiting -----------------------------------------------------------------------------

    def settle(self, path: str, scope: Scope) -> None:
        """Return once everything that touches ``path`` was made. Raises what stands in its way.

        Of names that were refused before, a program is told once, and who asks for a tree always.
        """
        with self.lock:
            failures = self._outage.failures
            self._await(path, scope, failures)
            untold = [one for one in self._refused.values() if one.touches(path, scope)]
            if scope is not Scope.TREE:
                untold = [one for one in untold if not one.is_told]
            for refused in untold:
                refused.is_told = True
            for refused in untold:
                self._wait_for(refused, failures)

    def await_name(self, path: str) -> None:
        """Return once what waits at ``path`` was made; what was refused before is not told."""
        with self.lock:
            self._await(path, Scope.NAME, self._outage.failures)

    def _await(self, path: str, scope: Scope, failures: int) -> None:
        targets = self._queue.touching(path, scope)
        self._press(targets)
        for operation in targets:
            self._wait_for(operation, failures)

    def await_end(self, operation: Operation) -> None:
        """Return once a change was made. Raises what stands in its way."""
        with self.lock:
            self._wait_for(operation, self._outage.failures)

    def _wait_for(self, operation: Operation, failures: int) -> None:
        while True:
            while operation.state is State.GONE and operation.successor is not None:
                operation = operation.successor
                self._press([operation])
            if operation.state is State.GONE:
                return
            if operation.state is State.FAILED:
                operation.is_told = True
                raise operation.error or StoreError(operation.refusal, path=operation.path)
            if self._outage.failures != failures and self._outage.error is not None:
                raise self._outage.error
            self._progress.wait()

    def has_moved(self, path: str, node: Node, places: tuple[str, ...]) -> bool:
        """Tell whether a file is no longer in the ``places`` where it was, or not at ``path``.

        Waits for a rename of it that is being made.
        """
        with self.lock:
            # Of a node that the view has given up nobody tells how its rename ends.
            while node.moving is not None and self.view.files.get(path) is node:
                self._progress.wait()
            return node.places != places or self.view.files.get(path) is not node

    def drain(self, patience_s: float) -> None:
        """Return once nothing waits, or nothing was made for ``patience_s`` seconds."""
        with self.lock:
            self._is_urgent = True
            self._press_all()
            made, since = self.made, self._clock.monotonic()
            while not self._queue.is_idle():
                left = since + patience_s - self._clock.monotonic()
                if left <= 0:
                    return
                self._progress.wait(left)
                if self.made != made:
                    made, since = self.made, self._clock.monotonic()

    def wake(self) -> None:
        """Let workers look at the time anew."""
        with self.lock:
            self._work.notify_all()

    def _press(self, operations: list[Operation]) -> None:
        self._queue.press(operations)
        if self._outage.error is not None:
            # Somebody waits: ask at once whether the server is back.
            self._outage.ask_at_once()
        self._work.notify_all()

    def _press_all(self) -> None:
        self._queue.press(self._queue.waiting())
        self._work.notify_all()

    def shut(self) -> None:
        """Let ``take`` return nothing from now on."""
        with self.lock:
            self._is_closed = True
            self._notify()

    def close(self) -> None:
        """Close the journal; what waits stays in it."""
        with self.lock:
            self._journal.close()

    # -- what a person asks ------------------------------------------------------------------

    def usage(self) -> BacklogUsage:
        """Return how much waits."""
        with self.lock:
            waiting = self._queue.waiting()
            oldest = min((one.since for one in waiting), default=None)
            return BacklogUsage(
                changes=len(waiting),
                files=sum(1 for one in waiting if one.kind is Kind.WRITE),
                bytes=sum(one.size for one in waiting),
                limit=self._options.size_bytes,
                oldest_s=0.0 if oldest is None else max(0.0, self._clock.wall() - oldest),
                failed=len(self._queue) - len(waiting) + len(self._refused),
                away="" if self._outage.error is None else _reason_of(self._outage.error),
            )

    def waiting(self) -> list[Operation]:
        """Return what waits, in its order."""
        with self.lock:
            return self._queue.waiting()

    def refused(self) -> list[Operation]:
        """Return what the server refused, in its order."""
        with self.lock:
            found = self._queue.failed() + list(self._refused.values())
        return sorted(found, key=lambda one: one.seq)

    def retry(self, operation: Operation, *, force: bool) -> None:
        """Try a refused change once more; with ``force`` over whatever is there."""
        with self.lock:
            if operation.state is not State.FAILED:
                return
            if operation.kind is not Kind.WRITE:
                self._retry_last(operation, force=force)
                return
            if force:
                operation.base, operation.exclusive = None, False
            operation.is_conflict, operation.refusal, operation.error = False, "", None
            self._queue.again(operation, self._clock.monotonic())
            self._journal.put(operation)
            self._press([operation])

    def _retry_last(self, operation: Operation, *, force: bool) -> None:
        """Try a change without content once more, behind what was asked for since.

        It is not folded with that: it would undo changes of its names without a look at them.
        """
        again = replace(
            operation,
            base=None if force else operation.base,
            exclusive=operation.exclusive and not force,
            state=State.WAITING,
            refusal="",
            is_conflict=False,
            is_pressed=False,
            due=self._clock.monotonic(),
            error=None,
            waits_for=set(),
            awaited_by=set(),
        )
        self._folding.append(again)
        self._press([again])
        del self._refused[operation.seq]
        operation.state, operation.successor = State.GONE, again
        self._journal.drop(operation)

    def drop(self, operation: Operation) -> None:
        """Forget a refused change for good."""
        with self.lock:
            if operation.state is not State.FAILED:
                return
            if operation.kind is Kind.WRITE:
                self._folding.forget(operation)
            else:
                del self._refused[operation.seq]
                self._journal.drop(operation)
                operation.state = State.GONE
            self._notify()


def _reason_of(error: CosfsError) -> str:
    return error.reason if isinstance(error, StoreError) else str(error)
