"""Owns ``cosfs umount``: unmount, wait for the mount's process, say what is not stored.

umount(8) waits for nothing, and the process of a mount goes on storing after it. That everything is
stored is known only once that process has ended and left its report.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Mapping
from pathlib import Path

from cosfs import ask, mounts
from cosfs.clock import Clock
from cosfs.errors import CosfsError
from cosfs.exits import ExitCode, Failure
from cosfs.holders import holders
from cosfs.statedir import Info, MountState
from cosfs.store.writeback.leftover import written_down
from cosfs.units import size_text, span_text

#: Seconds of silence before the user is told what takes so long; and between such lines.
_PATIENCE_S = 3.0

#: A busy mount names this many of the programs that use it.
_HOLDERS_SHOWN = 10


def run(
    mountpoint: str,
    *,
    environ: Mapping[str, str],
    home: Path,
    clock: Clock,
    say: Callable[[str], None],
    patience_s: float | None = None,
) -> ExitCode:
    """Unmount; return once the mount's process has ended and everything is stored.

    ``say`` gets lines for the user while there is something to wait for. After ``patience_s``
    seconds it is not waited for any longer: the process goes on storing.

    Raises:
        Failure: it is busy, it is no mount of ours, or something is not stored.
    """
    where = mounts.resolve(mountpoint)
    mount = mounts.mounted_at(where)
    if mount is not None and mount.type != mounts.TYPE:
        raise Failure(ExitCode.USAGE, f"{where} is a mount of type {mount.type}, not of cosfs")
    found = next(ask.find(where, environ, home), None)
    alive = found is not None and found[0].is_alive()
    if mount is None:
        if found is None or not alive:
            raise Failure(ExitCode.USAGE, f"nothing is mounted on {where}")
        say(f"{where} is unmounted already; process {found[1].pid} is still storing")
    process = _Process(found[1].pid) if found is not None and alive else None
    dead = mount is not None and mounts.is_dead(where)
    if mount is not None:
        _unmount(where, environ, lazily=dead)
    if dead:
        return _after_death(where, found, say)
    if found is None or process is None:
        raise Failure(
            ExitCode.FAILED,
            f"{where} is unmounted, but its process is not known here (was it mounted with another"
            " XDG_STATE_HOME or by another user?): whether all is stored, only its log can say",
        )
    progress = _Progress(found[0], found[1].pid, clock)
    if not process.wait(clock, patience_s, lambda: say(progress.line())):
        if patience_s == 0:
            say(f"{where} is unmounted; {progress.rest()}")
            return ExitCode.OK
        raise Failure(
            ExitCode.FAILED, f"{where} is unmounted, not all is stored yet: {progress.rest()}"
        )
    return _verdict(where, *found)


def _unmount(where: str, environ: Mapping[str, str], *, lazily: bool) -> None:
    try:
        mounts.unmount(where, environ, lazily=lazily)
    except mounts.MountBusy:
        raise Failure(ExitCode.FAILED, _busy(where)) from None
    except mounts.UnmountRefused as error:
        raise Failure(ExitCode.FAILED, f"{where} cannot be unmounted: {error}") from error


def _busy(where: str) -> str:
    found = holders(where)
    if not found:
        return (
            f"{where} is in use by programs that this user may not look at, or something is mounted"
            f" in it (as root, fuser -vm {where} tells): close them, then try again"
        )
    lines = [str(holder) for holder in found[:_HOLDERS_SHOWN]]
    if len(found) > len(lines):
        lines.append(f"and {len(found) - len(lines)} more")
    return (
        f"{where} is in use:\n  " + "\n  ".join(lines)
        + "\nclose these programs, or let them go elsewhere, then try again"
    )


def _after_death(
    where: str, found: tuple[MountState, Info] | None, say: Callable[[str], None]
) -> ExitCode:
    kept = found[0].spooled() if found is not None else []
    sentence = f"the process of the mount on {where} had died; the dead mount is removed"
    if kept:
        raise Failure(
            ExitCode.FAILED,
            f"{sentence}, and content that may not be stored is in: {', '.join(map(str, kept))}",
        )
    say(f"{sentence}, nothing unstored was left behind")
    return ExitCode.OK


def _verdict(where: str, state: MountState, info: Info) -> ExitCode:
    report = state.report()
    if report is None or report.pid != info.pid:
        raise Failure(
            ExitCode.FAILED,
            f"{where} is unmounted, but its process died before it had stored everything:"
            f" what it had not is in {state.spool}",
        )
    if not report.not_stored:
        return ExitCode.OK
    lines = [
        f"{item.path}: {item.reason}; its content is kept in {item.kept_in}"
        for item in report.not_stored
    ]
    raise Failure(
        ExitCode.FAILED,
        f"{where} is unmounted, but {len(lines)} files are NOT STORED:\n  " + "\n  ".join(lines)
        + f"\n(mount it again, then cosfs pending {where} --retry stores them)",
    )


class _Process:
    """Another process, held by a descriptor so that its number cannot mean a new one."""

    def __init__(self, pid: int) -> None:
        try:
            self._descriptor: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            self._descriptor = None

    def wait(
        self, clock: Clock, patience_s: float | None, on_waiting: Callable[[], None]
    ) -> bool:
        """Return when it has ended, or with ``False`` after ``patience_s`` seconds.

        Calls ``on_waiting`` every few seconds until then.
        """
        if self._descriptor is None:
            return True
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        end = None if patience_s is None else clock.monotonic() + patience_s
        try:
            while True:
                pause = _PATIENCE_S
                if end is not None:
                    pause = min(pause, max(end - clock.monotonic(), 0.0))
                if poll.poll(pause * 1000):
                    return True
                if end is not None and clock.monotonic() >= end:
                    return False
                on_waiting()
        finally:
            os.close(self._descriptor)


class _Progress:
    """How far a process has come with what waited when its mount went."""

    def __init__(self, state: MountState, pid: int, clock: Clock) -> None:
        self._state = state
        self._pid = pid
        self._clock = clock
        self._began = clock.monotonic()
        self._at_first = self._waiting()

    def line(self) -> str:
        """Return what is left, how fast it goes, and for how long."""
        changes, size = self._waiting()
        if not changes:
            return f"waiting for process {self._pid}, which is storing"
        passed = self._clock.monotonic() - self._began
        done, sent = self._at_first[0] - changes, self._at_first[1] - size
        if done <= 0 or passed <= 0:
            return f"process {self._pid} stores {_amount(changes, size)}"
        left_s = changes / (done / passed)
        if sent > 0:
            left_s = max(left_s, size / (sent / passed))
        return (
            f"process {self._pid} stores {_amount(changes, size)}, {size_text(int(sent / passed))}"
            f" and {done / passed:.0f} changes a second, {span_text(left_s)} to go"
        )

    def rest(self) -> str:
        """Return what the process goes on with."""
        changes, size = self._waiting()
        return f"process {self._pid} goes on storing {_amount(changes, size)}"

    def _waiting(self) -> tuple[int, int]:
        """Return how many changes wait, and how many bytes."""
        try:
            waiting = [one for one in written_down(self._state.write_back) if not one.is_refused]
        except CosfsError:
            return 0, 0
        return len(waiting), sum(one.size for one in waiting)


def _amount(changes: int, size: int) -> str:
    return f"{changes:,} changes ({size_text(size)})"
