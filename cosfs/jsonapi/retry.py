"""Owns when a failed attempt is repeated: pure decisions; must not know requests or the network.

Reference 4.7: full jitter, one budget of time for all attempts, and slower steps when the server
asks to go slower. What is repeated is signed anew every time.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from cosfs import errors
from cosfs.clock import Clock
from cosfs.errors import StoreError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon. Attempts are counted from 1, times are seconds."""

    #: Longest time without progress, waits included.
    budget_s: float
    base_s: float = 0.1
    cap_s: float = 8.0
    #: First step when the server asks to go slower: users of the real one wait 1 to 3 s.
    slow_base_s: float = 1.0
    #: Bounds what progress cannot bound, such as an upload that fails at its end every time.
    max_attempts: int = 20
    #: A reply that is no JSON is mostly a proxy's; two more looks tell a passing one.
    max_malformed: int = 3

    def decide(
        self, error: StoreError, attempt: int, elapsed: float, rng: random.Random
    ) -> float | None:
        """Return the seconds to wait before the next attempt, or ``None`` to give up.

        ``attempt`` is the number of the one that failed with ``error``, ``elapsed`` the time since
        the operation began or last made progress.
        """
        if attempt >= self.max_attempts or not is_passing(error):
            return None
        if isinstance(error, errors.MalformedReply) and not isinstance(error, errors.TruncatedBody):
            if attempt >= self.max_malformed:
                return None
        doublings = min(attempt - 1, 30)
        if isinstance(error, errors.RateLimited):
            ceiling = min(self.cap_s, self.slow_base_s * 2**doublings)
            delay = rng.uniform(self.slow_base_s / 2, max(ceiling, self.slow_base_s))
        else:
            delay = rng.uniform(0.0, min(self.cap_s, self.base_s * 2**doublings))
        return delay if elapsed + delay < self.budget_s else None


def is_passing(error: StoreError) -> bool:
    """Tell whether asking again may help at all."""
    if isinstance(error, errors.TlsRefused):
        return False
    if isinstance(error, errors.MalformedReply):
        return error.reply is None or not 400 <= error.reply.status < 500
    return isinstance(error, errors.Transient)


def is_ambiguous(error: StoreError) -> bool:
    """Tell whether the request may have been carried out although it failed."""
    if isinstance(error, (errors.ConnectFailed, errors.RateLimited)):
        return False
    return is_passing(error)


class Effort:
    """The attempts of one operation: their number, and the time since something last moved.

    Used by one thread.
    """

    def __init__(self, clock: Clock, budget_s: float) -> None:
        self._clock = clock
        self._budget_s = budget_s
        self._began = self._moved = clock.monotonic()
        self.attempts = 0

    @property
    def age(self) -> float:
        """Seconds since the operation began."""
        return self._clock.monotonic() - self._began

    @property
    def idle(self) -> float:
        """Seconds since the operation began or last made progress."""
        return self._clock.monotonic() - self._moved

    @property
    def left(self) -> float:
        """Seconds that remain of the budget, never less than a moment."""
        return max(0.05, self._budget_s - self.idle)

    def progress(self) -> None:
        """Note that bytes moved."""
        self._moved = self._clock.monotonic()

    def restart(self) -> None:
        """Note an advance that makes the next failure count as the first one."""
        self.progress()
        self.attempts = 1
