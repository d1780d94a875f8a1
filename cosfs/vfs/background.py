"""Owns what becomes of work whose caller gives up: questions are dropped, changes are finished.

Must not know what is asked or changed. In threads that nobody watches (``interrupts``) all is done
at once, in the thread itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import TypeVar

from cosfs import interrupts
from cosfs.errors import Interrupted
from cosfs.model import Entry, ListPage, Metadata, Version
from cosfs.store.base import Store

T = TypeVar("T")

log = logging.getLogger(__name__)


class Background:
    """Lets callers leave whose change goes on, so that its traces here and there agree.

    Thread safety: any method from any thread.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def finish(
        self, change: Callable[[], T], unwanted: Callable[[T], None] = lambda _result: None
    ) -> T:
        """Return what ``change`` returns, in another thread if the caller may give up.

        ``unwanted`` gets the result of a change that ended after its caller had left.

        Raises:
            Interrupted: the caller gave up. The change is either not begun and never will be, or
                goes on to its end.
        """
        if not interrupts.is_watched():
            return change()
        future = self._executor.submit(_on_behalf_of, interrupts.asker(), change)
        try:
            return interrupts.result(future)
        except Interrupted:
            if not future.cancel():
                future.add_done_callback(partial(_ended_unseen, unwanted))
            raise


def _on_behalf_of(asker: int, change: Callable[[], T]) -> T:
    with interrupts.on_behalf_of(asker):
        return change()


def _ended_unseen(unwanted: Callable[[T], None], future: Future[T]) -> None:
    error = future.exception()
    if error is not None:
        log.info("a change that nobody waited for any more failed: %s", error)
        return
    unwanted(future.result())


class PatientStore:
    """A store whose questions callers may drop; see ``store.base.Store`` for the methods.

    A request that is under way cannot be called back. It goes on in a thread of ``executor``, and
    its answer, or the next attempt, is what nobody wants any more.
    """

    def __init__(self, store: Store, executor: Executor) -> None:
        self._store = store
        self._executor = executor
        self.probe = store.probe
        self.check_path = store.check_path
        self.check_folder = store.check_folder
        self.mark_folder = store.mark_folder
        self.move_file = store.move_file
        self.delete_file = store.delete_file
        self.make_folder = store.make_folder
        self.delete_folder = store.delete_folder
        self.set_metadata = store.set_metadata
        self.check_property = store.check_property
        self.write_file = store.write_file
        self.settle = store.settle
        self.takes_at_once = store.takes_at_once
        self.close = store.close

    def stat_file(self, path: str) -> Entry:
        return self._ask(lambda: self._store.stat_file(path))

    def stat_folder(self, path: str) -> Entry:
        return self._ask(lambda: self._store.stat_folder(path))

    def stat_mark(self, folder: str) -> Metadata:
        return self._ask(lambda: self._store.stat_mark(folder))

    def list_page(self, folder: str, *, prefix: str = "", cursor: str = "") -> ListPage:
        return self._ask(lambda: self._store.list_page(folder, prefix=prefix, cursor=cursor))

    def read_range(self, path: str, offset: int, into: memoryview, version: Version) -> None:
        self._ask(lambda: self._store.read_range(path, offset, into, version))

    def _ask(self, question: Callable[[], T]) -> T:
        if not interrupts.is_watched():
            return question()
        dropped = threading.Event()

        def ask() -> T:
            with interrupts.watched(dropped.is_set):
                return question()

        future = self._executor.submit(ask)
        try:
            return interrupts.result(future)
        except Interrupted:
            dropped.set()
            future.cancel()
            raise
