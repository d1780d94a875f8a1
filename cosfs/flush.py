"""Owns ``cosfs flush``: waiting until the server holds a name or tree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cosfs import ask
from cosfs.exits import ExitCode, Failure
from cosfs.refresh import locate
from cosfs.status import nobody_answers


def run(path: str, *, environ: Mapping[str, str], home: Path) -> ExitCode:
    """Return once the server holds everything at ``path`` and below that programs have closed.

    Raises:
        Failure: it does not, and why; or ``path`` is in no mount that answers.
    """
    mountpoint, inside = locate(path)
    for state, _ in ask.find(mountpoint, environ, home):
        try:
            ask.ask(state.folder, "flush", path=inside, patience_s=None)
        except ask.NotRunning:
            continue
        except ask.AskFailed as error:
            raise Failure(ExitCode.FAILED, f"{path} is not stored yet: {error}") from error
        return ExitCode.OK
    raise Failure(ExitCode.USAGE, nobody_answers(mountpoint))
