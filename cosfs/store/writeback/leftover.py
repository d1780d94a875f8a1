"""Owns what of the backlog a person sees and decides about; must not know how it is shown.

A change that the server refused is kept until somebody has it tried again, or drops it. What waits
in the folder of a mount that does not run is told too: the next mount makes it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from cosfs.errors import CosfsError
from cosfs.store.writeback.journal import Journal, peek
from cosfs.store.writeback.operation import Kind, Operation, State
from cosfs.store.writeback.store import WriteBackStore

#: What a person calls a change that has no content.
_WORDS = {
    Kind.MOVE: "move",
    Kind.DELETE: "removal",
    Kind.REMOVE: "removal",
    Kind.SET: "properties",
    Kind.MAKE: "folder",
    Kind.MARK: "mark",
}


@dataclass(frozen=True, slots=True)
class LeftOver:
    """One change that is not made: ``kind`` is "content", or a word for what else was to be done.

    ``since`` is in Unix seconds, ``file`` holds ``size`` bytes of content. ``is_refused``: it is
    not tried by itself.
    """

    kind: str
    path: str
    reason: str
    since: float
    size: int
    file: str
    is_refused: bool

    def is_called(self, name: str) -> bool:
        """Tell whether ``name`` means this: its path, or the file that holds it."""
        file = os.path.basename(self.file)
        return name == self.path or bool(file) and name in (self.file, file, file.split(".")[0])


def left_over(store: WriteBackStore) -> list[LeftOver]:
    """Return what the server has refused."""
    folder = store.backlog.contents.folder
    return [_left_over(one, folder) for one in store.backlog.refused()]


def written_down(folder: Path) -> list[LeftOver]:
    """Return everything that the journal in ``folder`` holds. Raises ``CosfsError``."""
    return [_left_over(one, folder / "content") for one in peek(folder)]


def retry(
    store: WriteBackStore, names: Collection[str], *, force: bool
) -> list[LeftOver]:
    """Try again what was refused and is called by ``names``; return what was made."""
    chosen = _chosen(store, names)
    for operation, _ in chosen:
        store.backlog.retry(operation, force=force)
    made = []
    for operation, one in chosen:
        try:
            store.backlog.await_end(operation)
        except CosfsError:
            continue
        made.append(one)
    return made


def drop(store: WriteBackStore, names: Collection[str]) -> list[LeftOver]:
    """Forget for good what was refused and is called by ``names``; return what that was."""
    chosen = _chosen(store, names)
    for operation, _ in chosen:
        store.backlog.drop(operation)
    return [one for _, one in chosen]


def drop_written(folder: Path, names: Collection[str]) -> None:
    """Forget for good what is called by ``names`` in the folder of a mount that does not run."""
    journal = Journal(folder, is_synced=True)
    try:
        for operation in journal.all():
            one = _left_over(operation, folder / "content")
            if any(map(one.is_called, names)):
                journal.drop(operation)
                if one.file:
                    Path(one.file).unlink(missing_ok=True)
    finally:
        journal.close()


def _chosen(
    store: WriteBackStore, names: Collection[str]
) -> Sequence[tuple[Operation, LeftOver]]:
    folder = store.backlog.contents.folder
    found = [(one, _left_over(one, folder)) for one in store.backlog.refused()]
    return [pair for pair in found if not names or any(map(pair[1].is_called, names))]


def _left_over(operation: Operation, folder: Path) -> LeftOver:
    is_refused = operation.state is State.FAILED
    reason = operation.refusal or "waits to be stored: the next mount does it"
    if operation.kind is Kind.MOVE:
        reason = f"to {operation.new}: {reason}"
    return LeftOver(
        kind=_WORDS.get(operation.kind, "content"),
        path=operation.path,
        reason=reason,
        since=operation.since,
        size=operation.size,
        file=str(folder / operation.content) if operation.content else "",
        is_refused=is_refused,
    )
