"""Owns whether the server is away, and when it is asked again; must not know what waits for it."""

from __future__ import annotations

import logging
from typing import Final

from cosfs.clock import Clock
from cosfs.errors import CosfsError

log = logging.getLogger(__name__)

#: Pauses between attempts while the server is away.
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0


class Outage:
    """See the module's text. Thread safety: none; its user has a lock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: Why the server cannot be reached; ``None``: it can.
        self.error: CosfsError | None = None
        #: Attempts that have failed so far.
        self.failures = 0
        #: When the next attempt is due (monotonic seconds).
        self.not_before = 0.0
        #: One attempt is under way that will tell; there is no other until it has.
        self.is_probing = False
        self._pause_s = FIRST_PAUSE_S

    def hinders(self) -> bool:
        """Tell whether nothing is to be sent at the moment."""
        is_early = self._clock.monotonic() < self.not_before
        return self.error is not None and (self.is_probing or is_early)

    def begin_attempt(self) -> None:
        """Note that something is sent."""
        self.is_probing = self.error is not None

    def goes_on(self, error: CosfsError) -> None:
        """Note that an attempt has failed as the server is away."""
        if self.error is None:
            log.warning("what waits to be stored is tried again and again: %s", error)
            self._pause_s = FIRST_PAUSE_S
        else:
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self.error = error
        self.failures += 1
        self.is_probing = False
        self.not_before = self._clock.monotonic() + self._pause_s

    def is_over(self, waiting: int) -> None:
        """Note that the server has answered, while so many changes wait."""
        if self.error is not None:
            log.info("the server answers again: %d changes wait", waiting)
        self.error = None
        self.is_probing = False

    def ask_at_once(self) -> None:
        """Let the next attempt be due: somebody waits."""
        self.not_before = self._clock.monotonic()
