"""Owns telling whether the program that made a call is to end; must not know the call.

The kernel interrupts a request at any signal of its caller. A disk never does: programs that use
timers, or wait for children, do not expect EINTR of ``stat`` or ``mkdir``, which is what they would
get. So only a signal that is to end the program counts, as with NFS; where the program catches it,
EINTR is what makes it look.
"""

from __future__ import annotations

import signal
from typing import Final

import fuse as fusepy

_libfuse: Final = fusepy._libfuse


def _mask(*signals: signal.Signals) -> int:
    return sum(1 << (number - 1) for number in signals)


#: A signal that nobody catches makes the kernel send this one to each thread.
_DEADLY: Final = _mask(signal.SIGKILL)

#: What a person or a service manager sends to end a program, which may catch it.
_ENDING: Final = _mask(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def has_given_up() -> bool:
    """Tell whether who made the call that this thread answers is to end. Only during a call."""
    if not _libfuse.fuse_interrupted():
        return False
    _, _, pid = fusepy.fuse_get_context()
    return is_to_end(pid)


def is_to_end(pid: int) -> bool:
    """Tell whether a signal that is to end it waits for thread ``pid``, or it has ended.

    One that cannot be seen from here counts as ended.
    """
    pending = blocked = ignored = 0
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            for line in status:
                name, _, value = line.partition(b":")
                if name in (b"SigPnd", b"ShdPnd"):
                    pending |= int(value, 16)
                elif name == b"SigBlk":
                    blocked = int(value, 16)
                elif name == b"SigIgn":
                    ignored = int(value, 16)
    except OSError:
        return True
    return bool(pending & (_DEADLY | _ENDING & ~blocked & ~ignored))
