"""Processes that run, with the numbers of their threads: stands in for ``/proc``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cosfs.vfs import processes


class Processes:
    """See the module's text. The threads of process 110 are 110 to 119."""

    def __init__(self) -> None:
        self._number = 100
        self._running: set[int] = set()

    def start(self) -> int:
        self._number += 10
        self._running.add(self._number)
        return self._number

    def end(self, pid: int) -> None:
        self._running.discard(pid)

    def thread_group(self, thread: int) -> int:
        pid = thread // 10 * 10
        return pid if pid in self._running else 0

    def is_alive(self, thread: int) -> bool:
        return self.thread_group(thread) != 0

    @contextmanager
    def visible(self) -> Iterator[None]:
        """Let the file system see these processes instead of the machine's."""
        real = processes.thread_group, processes.is_alive
        processes.thread_group = self.thread_group
        processes.is_alive = self.is_alive
        try:
            yield
        finally:
            processes.thread_group, processes.is_alive = real
