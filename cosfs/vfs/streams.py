"""Owns how one open file is being read, and so what to fetch next; must not know who fetches.

A file may be read in several places at once, each front to back: a *run*. How far ahead of a run
is fetched follows from how much it has read, so a few reads at random fetch what they ask for, and
what is fetched in vain is at most twice what was of use. Only a run that had to wait gets the
largest windows: one whose bytes are always there in time needs no more than it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cosfs.vfs.integrity import Chain
    from cosfs.vfs.segments import Content, Segment

KIB: Final = 1024
MIB: Final = 1024 * 1024

#: Random reads fetch whole units: at 20 ms and 50 MB/s, one costs a sixtieth of its round trip.
UNIT: Final = 16 * KIB

#: Bytes of the largest fetch: large enough that its round trip is small beside its transfer.
PIECE_MAX: Final = 4 * MIB
#: Of the smallest that is made ahead.
PIECE_MIN: Final = 512 * KIB

#: How far from where the last read ended the next one of a run may begin: the kernel sends reads
#: in several threads and out of order, and programs skip a little.
_REACH: Final = 256 * KIB

#: Windows up to this are granted to any run, larger ones to those that have waited.
_FREE_WINDOW: Final = 2 * PIECE_MAX

_RUNS_MAX: Final = 16

#: A run that had no part in so many reads of its file has ended.
_PATIENCE: Final = 48

#: The longest first fetch of a run, when the runs before it were as long.
_FIRST_MAX: Final = 1 * MIB


@dataclass(slots=True, eq=False)
class Run:
    """One place of a file that is read front to back.

    ``end`` is where the furthest of its ``reads`` ended, ``total`` how many bytes they brought,
    ``planned`` up to where everything is fetched or on its way, ``turn`` the file's read that was
    its last, ``granted`` its largest window.
    """

    begin: int
    end: int
    total: int = 0
    reads: int = 0
    planned: int = 0
    turn: int = 0
    granted: int = _FREE_WINDOW

    def note_wait(self) -> None:
        """Note that a reader had to wait: what was fetched ahead was too little or too late."""
        if self.granted <= 2 * self.total:
            self.granted *= 2

    @property
    def piece(self) -> int:
        """How many bytes one fetch should bring: a power of two, about what was read so far."""
        piece = max(PIECE_MIN, min(PIECE_MAX, self.total))
        return 1 << (piece.bit_length() - 1)

    @property
    def is_sequential(self) -> bool:
        return (
            (self.reads > 1 or self.begin == 0)
            and self.total >= 2 * UNIT
            and self.total > (self.end - self.begin) // 2
        )


class Stream:
    """The runs of one open file. Thread safety: none; the owner locks.

    What of ``content`` is read front to back is hashed in ``chain``, unless it ``is_trusting``.
    """

    __slots__ = (
        "_expected", "_last_length", "_turn", "chain", "content", "end", "is_trusting", "runs",
        "segment",
    )  # fmt: skip

    def __init__(self, *, is_trusting: bool = False) -> None:
        self.is_trusting = is_trusting
        self.content: Content | None = None
        self.restart()

    def restart(self) -> None:
        """Forget everything: what is read from now on is another content."""
        self.chain: Chain | None = None
        #: What the last read ended in.
        self.segment: Segment | None = None
        #: Where the read ended that came last.
        self.end = 0
        #: The run that was read last comes first.
        self.runs: list[Run] = []
        self._turn = 0
        #: How long each of the last two runs was at least: who jumps about often reads as much at
        #: the next place too.
        self._expected = 0
        self._last_length = 0

    def goes_on(self, offset: int, end: int, size: int) -> bool:
        """Note a read if it goes on in the run of the last, and nothing more need be planned.

        Otherwise it returns ``False`` and notes nothing. ``size`` is the content's.
        """
        run = self.runs[0]
        if run.planned < size and run.planned < end + PIECE_MAX:
            return False
        if not run.end - _REACH <= offset <= run.end + _REACH:
            return False
        self._add(run, offset, end)
        return True

    def note(self, offset: int, size: int) -> tuple[Run, list[Run]]:
        """Note a read; return its run, and those that have ended by now."""
        runs = self.runs
        for place, run in enumerate(runs):
            if run.end - _REACH <= offset <= max(run.end + _REACH, run.planned):
                if place:
                    del runs[place]
                    runs.insert(0, run)
                break
        else:
            run = Run(offset, offset)
            runs.insert(0, run)
        self._add(run, offset, offset + size)
        return run, self._ended() if len(runs) > 1 else []

    def _add(self, run: Run, offset: int, end: int) -> None:
        self._turn += 1
        self.end = end
        run.total += end - offset
        run.reads += 1
        run.turn = self._turn
        if end > run.end:
            run.end = end

    def first_size(self, run: Run, size: int) -> int:
        """Return how many bytes to fetch where a read of ``size`` finds nothing."""
        if run.reads > 1:
            return size
        return max(size, min(self._expected, _FIRST_MAX))

    def window(self, run: Run, share: int) -> int:
        """Return how many bytes ahead of its end a run should be fetched, ``share`` at most."""
        if not run.is_sequential:
            return 0
        window = min(2 * run.total, run.granted, share)
        length = run.end - run.begin
        return min(window, self._expected - length) if length <= self._expected else window

    def _ended(self) -> list[Run]:
        runs = self.runs
        ended = []
        while len(runs) > 1 and (
            len(runs) > _RUNS_MAX or self._turn - runs[-1].turn > _PATIENCE
        ):
            run = runs.pop()
            length = run.end - run.begin
            self._expected, self._last_length = min(self._last_length, length), length
            ended.append(run)
        return ended
