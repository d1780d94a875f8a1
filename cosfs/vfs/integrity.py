"""Owns comparing content with its digest, at once or while it is read; must not know caches."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor

from cosfs import interrupts
from cosfs.errors import IntegrityError
from cosfs.vfs.segments import Content, Segment, Segments

log = logging.getLogger(__name__)

_DIFFERS = "its bytes differ each time they are read"


def check_whole(
    segment: Segment, where: Callable[[], str], fill_again: Callable[[], None]
) -> None:
    """Make sure that a whole content has its digest, or that the server surely means it.

    The digest of an object that another tool has uploaded in slices may be of something else
    (reference 3.12): the same bytes twice are believed, with a line in the log.

    Raises ``IntegrityError``.
    """
    wanted = segment.content.version.digest
    found = _digest_of(segment.data) if wanted else ""
    if found == wanted:
        return
    fill_again()
    again = _digest_of(segment.data)
    if again == wanted:
        log.warning("%r arrived damaged and was fetched again", where())
    elif again == found:
        log.warning("%r does not have the digest that the server says", where())
    else:
        raise IntegrityError(_DIFFERS, path=where())


def has_digest(segment: Segment) -> bool:
    """Tell whether a whole content has the digest that it is to have."""
    return _digest_of(segment.data) == segment.content.version.digest


def _digest_of(data: memoryview) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


class Chain:
    """The digest of one content, made of its segments as a reader comes by.

    The hashing is done by ``executor``, one segment after the other; ``released`` is called, not
    under the lock, with each that was hashed.

    Thread safety: ``follow`` and ``is_complete`` under the cache's lock; ``settle`` by any thread.
    """

    def __init__(
        self, content: Content, executor: Executor, released: Callable[[Segment], None]
    ) -> None:
        self.content = content
        #: All bytes before this one are hashed, or will be.
        self.next = 0
        self._executor = executor
        self._released = released
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._lock = threading.Lock()
        self._queue: deque[tuple[Segment, int]] = deque()
        self._is_running = False
        self._done = threading.Event()
        #: Held by who compares the digest; what came of it: nothing yet, good, or an error.
        self._settling = threading.Lock()
        self._is_settled = False
        self._failure: IntegrityError | None = None

    @property
    def is_complete(self) -> bool:
        return self.next == self.content.version.size

    def follow(self, segment: Segment | None, segments: Segments | None) -> None:
        """Hash on, if ``segment`` comes next, and then what was read before its turn.

        Each is used until it is released. ``segments`` are those that are in memory.
        """
        while (
            segment is not None
            and segment.start <= self.next < segment.end
            and segment.is_ready
            and segment.run is None
        ):
            segment.users += 1
            self._add(segment)
            segment = None if segments is None else segments.at(self.next)

    def _add(self, segment: Segment) -> None:
        begin = self.next - segment.start
        self.next = segment.end
        with self._lock:
            self._queue.append((segment, begin))
            if self._is_running:
                return
            self._is_running = True
        self._executor.submit(self._run)

    def settle(self, digest_again: Callable[[], str], where: Callable[[], str]) -> bool:
        """Compare the digest; if it is another, fetch the content once more for its digest.

        To be called when the chain is complete; waits for it. The same digest twice is believed.
        Returns whether that was done before.

        Raises:
            IntegrityError: the bytes differ each time they are read.
            Interrupted: the caller has given up.
        """
        interrupts.wait(self._done)
        interrupts.acquire(self._settling)
        try:
            was_settled = self._is_settled
            if not was_settled:
                self._compare(digest_again, where)
                self._is_settled = True
            if self._failure is not None:
                raise self._failure
            return was_settled
        finally:
            self._settling.release()

    def _compare(self, digest_again: Callable[[], str], where: Callable[[], str]) -> None:
        found = self._sha1.hexdigest()
        if found == self.content.version.digest:
            return
        if found == digest_again():
            log.warning("%r does not have the digest that the server says", where())
        else:
            self._failure = IntegrityError(_DIFFERS, path=where())

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._is_running = False
                    return
                segment, begin = self._queue.popleft()
            self._sha1.update(segment.data[begin:])
            is_last = segment.end == self.content.version.size
            self._released(segment)
            if is_last:
                self._done.set()
