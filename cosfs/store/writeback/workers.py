"""Owns the threads that make waiting changes; must not know in which order."""

from __future__ import annotations

import logging
import threading

from cosfs.errors import CosfsError
from cosfs.store.writeback.backlog import Backlog
from cosfs.store.writeback.operation import Operation
from cosfs.store.writeback.sender import Sender

log = logging.getLogger(__name__)


class Workers:
    """``count`` threads, between ``start`` and ``stop``."""

    def __init__(self, backlog: Backlog, sender: Sender, count: int) -> None:
        self._backlog = backlog
        self._sender = sender
        self._threads = [
            threading.Thread(target=self._run, name=f"writeback-{number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        """Begin: after a fork that may come."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End once what is being made is made."""
        self._backlog.shut()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def step(self) -> bool:
        """Make the next change in this thread; tell whether there was one that may be made now."""
        return self._make(self._backlog.take(is_waiting=False))

    def _run(self) -> None:
        while self._make(self._backlog.take()):
            pass

    def _make(self, taken: tuple[Operation, bool] | None) -> bool:
        if taken is None:
            return False
        operation, was_tried = taken
        try:
            self._sender.send(operation, was_tried=was_tried)
        except CosfsError as error:
            self._backlog.failed(operation, error)
        except Exception as error:
            # Whatever it is, the rest must go on being stored.
            log.exception("%s of %r failed", operation.kind.value, operation.path)
            self._backlog.failed(operation, CosfsError(repr(error)))
        else:
            self._backlog.made_it(operation)
        return True
