"""Bad luck: a store whose requests fail, lose their answers, or are the last of their mount."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from cosfs.errors import (
    AccessDenied,
    ConnectFailed,
    ConnectionLost,
    CosfsError,
    QuotaExceeded,
    ServerFault,
)
from cosfs.store.faulty import FaultPlan, FaultyStore
from cosfs.store.memory import MemoryStore

T = TypeVar("T")

CHANGES = (
    "write_file",
    "move_file",
    "delete_file",
    "make_folder",
    "delete_folder",
    "set_metadata",
    "mark_folder",
)
LOOKS = ("stat_file", "stat_folder", "stat_mark", "list_page", "read_range")

#: Errors that a store may give before it has done anything, with what a program is told.
ERRORS: Sequence[tuple[type[CosfsError], int]] = (
    (ConnectFailed, errno.EHOSTDOWN),
    (ServerFault, errno.EIO),
    (AccessDenied, errno.EACCES),
    (QuotaExceeded, errno.EDQUOT),
)
#: The one that it may give after a change.
LOST = (ConnectionLost, errno.EIO)


#: How many steps an outage lasts.
LASTING_STEPS = 4


class Killed(BaseException):
    """The mount is dead. No ``Exception``, as nothing of the mount may go on after it."""


@dataclass
class Trouble:
    """What goes wrong with requests of the next step: the ``nth`` of those in ``methods``.

    All from there on, in this and the next few steps, if it is ``lasting``; ``after`` the change
    was done, or before. Without an ``error`` the mount is killed there.
    """

    methods: tuple[str, ...]
    nth: int
    error: type[CosfsError] | None = None
    number: int = 0
    after: bool = False
    lasting: bool = False
    seen: int = field(default=0, init=False)
    steps: int = field(default=0, init=False)

    def is_over(self) -> bool:
        """Tell at the end of a step whether it was the last."""
        self.steps += 1
        return not self.lasting or self.steps >= LASTING_STEPS

    def hits(self, method: str) -> bool:
        if method not in self.methods:
            return False
        self.seen += 1
        return self.seen == self.nth or (self.lasting and self.seen > self.nth)


class Watched(FaultyStore):
    """The store as the mount sees it: it notes what was done, and fails as it is told."""

    def __init__(self, inner: MemoryStore, on_kill: Callable[[], None]) -> None:
        """``on_kill`` is called when a mount dies, before anything else of it runs."""
        super().__init__(inner, FaultPlan())
        self.server = inner
        self._is_direct = False
        self._on_kill = on_kill
        self.is_dead = False
        self.trouble: Trouble | None = None
        self.done: list[tuple[str, tuple[str, ...]]] = []
        #: What was done, too, but its answer was lost.
        self.lost: list[tuple[str, tuple[str, ...]]] = []
        self.hits: list[str] = []

    def close(self) -> None:
        """The store outlives its mounts."""

    @contextmanager
    def directly(self) -> Iterator[None]:
        """Let requests neither fail nor be noted."""
        self._is_direct = True
        try:
            with self.server.unseen():
                yield
        finally:
            self._is_direct = False

    def kill(self) -> NoReturn:
        """End the mount here."""
        self.is_dead = True
        self._on_kill()
        raise Killed

    def _run_with(self, method: str, call: Callable[[Any], T], *touched: str) -> T:
        if self._is_direct:
            return call([])
        if self.is_dead:
            raise Killed
        trouble = self.trouble
        if trouble is None or not trouble.hits(method):
            result = call([])
            self.done.append((method, touched))
            return result
        self.hits.append(method)
        if trouble.after:
            call([])
            self.lost.append((method, touched))
        if trouble.error is None:
            self.kill()
        when = "after" if trouble.after else "before"
        raise trouble.error(f"injected {when} {method}", path=touched[0])


class Inline:
    """An executor whose tasks are done when ``submit`` returns."""

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        pass

    def submit(self, call: Callable[..., T], *args: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(call(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def map(self, call: Callable[..., T], *several: Any) -> Iterator[T]:
        return iter([call(*args) for args in zip(*several, strict=True)])

    def shutdown(self, **_kwargs: object) -> None:
        pass
