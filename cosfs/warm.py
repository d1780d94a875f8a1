"""Owns ``cosfs warm``: letting a mount fetch a tree ahead, and showing how far it has come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from cosfs import ask
from cosfs.exits import ExitCode, Failure
from cosfs.refresh import locate
from cosfs.status import nobody_answers
from cosfs.units import size_text

_WIDTH: Final = 30


def run(
    path: str,
    *,
    environ: Mapping[str, str],
    home: Path,
    show: Callable[[str], None],
    draw: Callable[[str], None] | None,
) -> ExitCode:
    """Return once listings, attributes and contents of ``path`` and below are in the caches.

    ``draw`` shows a line that replaces the one before, if there is a terminal.

    Raises:
        Failure: something is not there, and why; or ``path`` is in no mount that answers.
    """
    mountpoint, inside = locate(path)
    for state, _ in ask.find(mountpoint, environ, home):
        try:
            number = ask.ask(state.folder, "warm", path=inside, patience_s=None)
        except ask.NotRunning:
            continue
        except ask.AskFailed as error:
            raise Failure(ExitCode.FAILED, f"{path}: {error}") from error
        return _ended(path, _followed(path, state.folder, number, draw), show)
    raise Failure(ExitCode.USAGE, nobody_answers(mountpoint))


def _followed(
    path: str, folder: Path, number: int, draw: Callable[[str], None] | None
) -> Mapping[str, Any]:
    """Return what came of it."""
    try:
        while True:
            warmed: Mapping[str, Any] = ask.ask(folder, "warmed", number=number)
            if draw is not None:
                draw(progress_line(warmed))
            if warmed["has_ended"]:
                return warmed
    except ask.AskFailed as error:
        raise Failure(ExitCode.FAILED, f"{path}: {error}") from error
    except KeyboardInterrupt:
        ask.ask(folder, "cool", number=number)
        raise
    finally:
        if draw is not None:
            draw("")


def progress_line(warmed: Mapping[str, Any]) -> str:
    """Return how far it has come."""
    if not warmed["is_listed"]:
        return f"{warmed['files']:,} files in {warmed['folders']:,} folders found"
    total = warmed["bytes"] - warmed["left_bytes"]
    part = min(warmed["read_bytes"] / total, 1.0) if total > 0 else 1.0
    bar = ("#" * round(part * _WIDTH)).ljust(_WIDTH, ".")
    sizes = f"{size_text(warmed['read_bytes'])} of {size_text(max(total, 0))}"
    return f"[{bar}] {part:4.0%}  {sizes}"


def _ended(path: str, warmed: Mapping[str, Any], show: Callable[[str], None]) -> ExitCode:
    """Say what is here; raise ``Failure`` if something is not."""
    show(
        f"{warmed['kept_files']:,} of {warmed['files']:,} files in {warmed['folders']:,} folders,"
        f" {size_text(warmed['kept_bytes'])}, are in the caches"
    )
    missing = []
    if warmed["left_files"]:
        missing.append(
            f"{warmed['left_files']:,} files ({size_text(warmed['left_bytes'])}) found no room:"
            " give the mount more with memory=, or cache_dir= and cache_size="
        )
    if warmed["failed"]:
        missing.append(f"{warmed['failed']:,} names could not be read, first {warmed['failure']}")
    if missing:
        raise Failure(ExitCode.FAILED, f"{path} is not all there: {'; '.join(missing)}")
    return ExitCode.OK
