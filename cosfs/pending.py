"""Owns ``cosfs pending``: what mounts could not store, and what a person wants done about it.

A mount that runs is asked. Of one that does not, its state folder says what is pending.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cosfs import ask, mounts
from cosfs.clock import Clock
from cosfs.errors import CosfsError
from cosfs.exits import ExitCode, Failure
from cosfs.statedir import Info, MountState, all_mounts
from cosfs.store.writeback.leftover import LeftOver, drop_written, written_down
from cosfs.units import moment_text, printable, size_text, table
from cosfs.vfs.journal import Journal, peek
from cosfs.vfs.pending import read_records
from cosfs.vfs.types import Unstored

Say = Callable[[str], None]

#: Content that a process was writing when it died: nobody was promised that it is stored.
UNFINISHED: Final = "unfinished"

_LOCK_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be done with what is pending; ``only`` names what of it, all if empty."""

    retry: bool = False
    force: bool = False
    only: tuple[str, ...] = ()
    export: Path | None = None
    drop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """One mount, running or not, and what is pending there."""

    state: MountState
    info: Info
    is_running: bool
    items: tuple[Unstored, ...]

    def called(self, names: Iterable[str]) -> list[Unstored]:
        """Return what is called by ``names``, all if there are none."""
        wanted = [spelling for name in names for spelling in self._spellings(name)]
        if not wanted:
            return list(self.items)
        return [item for item in self.items if any(map(item.is_called, wanted))]

    def _spellings(self, name: str) -> list[str]:
        """Return what ``name`` may stand for: as the list shows it, or a path on this machine."""
        inside = self.info.mountpoint.rstrip("/") + "/"
        return [name, *([name[len(inside) - 1 :]] if name.startswith(inside) else [])]


def run(
    mountpoint: str | None,
    wish: Wish,
    *,
    environ: Mapping[str, str],
    home: Path,
    clock: Clock,
    show: Say,
    say: Say,
) -> ExitCode:
    """List what is pending on ``mountpoint``, or of all mounts; before that do as is wished.

    ``show`` gets what was asked for, ``say`` what else there is to tell.

    Returns:
        ``OK`` if nothing is pending in the end, else ``FAILED``.
    Raises:
        Failure: it cannot be done.
    """
    if mountpoint is None:
        found = [pair for root in ask.roots(None, environ, home) for pair in all_mounts(root)]
    else:
        where = mounts.resolve(mountpoint)
        found = list(ask.find(where, environ, home))
        if not found:
            raise Failure(
                ExitCode.USAGE, f"nothing is known of a mount on {where}, neither now nor before"
            )
    places = [_look(state, info) for state, info in found]
    for names in (wish.only, wish.drop):
        _check_names(places, names)
    if wish.export is not None:
        _export(places, wish, show)
    if wish.retry:
        places = [_retry(place, wish, show, say) for place in places]
    if wish.drop:
        places = [_drop(place, wish.drop, clock, show) for place in places]
    return _list(places, show)


def _look(state: MountState, info: Info) -> Place:
    is_running = state.is_alive()
    items = None
    if is_running:
        try:
            items = _items(ask.ask(state.folder, "pending"))
        except (ask.AskFailed, TypeError):
            # Starting, ending, hanging, or of another version, which says other things: what it
            # has written down is true too.
            items = None
    if items is None:
        items = _written_down(state, is_running=is_running)
    items += [_unfinished(file) for file in state.unfinished()]
    return Place(state, info, is_running, tuple(items))


def _items(answer: Sequence[Mapping[str, object]]) -> list[Unstored]:
    return [Unstored(**item) for item in answer]  # type: ignore[arg-type]


def _written_down(state: MountState, *, is_running: bool) -> list[Unstored]:
    """Return what the state folder says that is not stored."""
    found = [
        Unstored(
            "content",
            kept.path,
            kept.reason,
            kept.since,
            size=kept.size,
            missing=kept.missing_bytes,
            file=str(kept.data),
        )
        for kept in read_records(state.spool)
    ]
    found += [
        Unstored(one.kind, one.path, one.reason, one.since, size=one.size, file=one.file)
        for one in _queued(state)
        if one.is_refused or not is_running
    ]
    try:
        attributes = peek(state.journal, "attributes")
        # Of a mount that runs, these are under way.
        renames = {} if is_running else peek(state.journal, "renames")
        overwrites = {} if is_running else peek(state.journal, "overwrites")
    except sqlite3.Error as error:
        raise Failure(ExitCode.FAILED, f"{state.journal} cannot be read: {error}") from error
    later = "the next mount does it"
    found += [Unstored("attributes", path, "not sent yet", None) for path in attributes]
    found += [
        Unstored("rename", path, f"to {printable(record['new'])}: {later}", None)
        for path, record in renames.items()
    ]
    found += [Unstored("metadata", path, f"to be put back: {later}", None) for path in overwrites]
    return found


def _queued(state: MountState) -> list[LeftOver]:
    try:
        return written_down(state.write_back)
    except CosfsError as error:
        raise Failure(ExitCode.FAILED, str(error)) from error


def _unfinished(file: Path) -> Unstored:
    status = file.stat()
    reason = "was being written when the mount's process died"
    return Unstored(
        UNFINISHED, "", reason, status.st_mtime, size=status.st_size, file=str(file)
    )


def _check_names(places: Sequence[Place], names: Iterable[str]) -> None:
    for name in names:
        if not any(place.called([name]) for place in places):
            raise Failure(ExitCode.USAGE, f"nothing of the name {name!r} is pending")


# -- retry and drop ----------------------------------------------------------------------------


def _retry(place: Place, wish: Wish, show: Say, say: Say) -> Place:
    chosen = [item for item in place.called(wish.only) if item.kind != UNFINISHED]
    if not chosen:
        return place
    if not place.is_running:
        say(f"{_title(place)}: mount it, then what is pending can be stored")
        return place
    names = _names(chosen) if wish.only else []
    try:
        answer = ask.ask(
            place.state.folder, "retry", names=names, force=wish.force, patience_s=None
        )
    except ask.AskFailed as error:
        raise Failure(ExitCode.FAILED, f"{_title(place)}: {error}") from error
    for item in _items(answer["stored"]):
        show(f"stored {_name(item)}")
    left = _items(answer["left"])
    return replace(place, items=(*left, *(i for i in place.items if i.kind == UNFINISHED)))


def _names(chosen: Iterable[Unstored]) -> list[str]:
    """Return what calls exactly these; a file is unique where a path may be not."""
    return [os.path.basename(item.file) or item.path for item in chosen]


def _drop(place: Place, names: Sequence[str], clock: Clock, show: Say) -> Place:
    chosen = place.called(names)
    if not chosen:
        return place
    for item in chosen:
        show(f"dropping {_name(item)}, {_size(item)}, since {moment_text(item.since)}")
    known = [item for item in chosen if item.kind != UNFINISHED]
    try:
        if known and place.is_running:
            ask.ask(place.state.folder, "drop", names=_names(known))
        elif known:
            place.state.acquire(clock, patience_s=_LOCK_S)
            try:
                _drop_here(place.state, known)
            finally:
                place.state.release()
    except CosfsError as error:
        raise Failure(ExitCode.FAILED, f"{_title(place)}: {error}") from error
    for item in chosen:
        if item.kind == UNFINISHED:
            place.state.remove_unfinished(Path(item.file))
    return replace(place, items=tuple(item for item in place.items if item not in chosen))


def _drop_here(state: MountState, chosen: Iterable[Unstored]) -> None:
    """Remove what the state folder of a mount that does not run says is pending."""
    tables = {"attributes": "attributes", "rename": "renames", "metadata": "overwrites"}
    behind = [item for item in chosen if Path(item.file).parent.parent == state.write_back]
    behind += [item for item in chosen if not item.file and item.kind not in tables]
    if behind:
        drop_written(state.write_back, _names(behind))
    journal = Journal(state.journal)
    for item in chosen:
        if item in behind:
            continue
        if item.kind == "content":
            Path(item.file).unlink(missing_ok=True)
            Path(item.file).with_suffix(".json").unlink(missing_ok=True)
        else:
            journal.drop(tables[item.kind], item.path)
    journal.close()


# -- export ------------------------------------------------------------------------------------


def _export(places: Sequence[Place], wish: Wish, show: Say) -> None:
    """Copy contents below the wished folder, under the names that they should have."""
    assert wish.export is not None
    holders = [place for place in places if place.called(wish.only)]
    for place in holders:
        folder = wish.export if len(holders) == 1 else wish.export / place.state.folder.name
        for item in place.called(wish.only):
            if item.file:
                try:
                    show(f"exported {_name(item)} to {_copy(item, folder)}")
                except OSError as error:
                    raise Failure(
                        ExitCode.FAILED, f"{_name(item)} cannot be exported: {error}"
                    ) from error


def _copy(item: Unstored, folder: Path) -> Path:
    """Copy one content; nothing that is there is replaced, and what has holes is called so."""
    source = Path(item.file)
    target = folder / (item.path.lstrip("/") or f"{UNFINISHED}/{source.stem}")
    if item.missing:
        target = target.with_name(f"{target.name}.incomplete")
    target.parent.mkdir(parents=True, exist_ok=True)
    plain, number = target, 1
    while True:
        try:
            # Made here first, so that what is there is neither followed nor replaced.
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            break
        except FileExistsError:
            number += 1
            target = plain.with_name(f"{plain.name}.{number}")
    shutil.copyfile(source, target)
    written = source.stat()
    os.utime(target, ns=(written.st_atime_ns, written.st_mtime_ns))
    return target


# -- what is shown -----------------------------------------------------------------------------


def _list(places: Sequence[Place], show: Say) -> ExitCode:
    holders = [place for place in places if place.items]
    if not holders:
        show("nothing is pending")
        return ExitCode.OK
    for place in holders:
        show(_title(place))
        rows = [
            (Path(item.file).stem or "-", _size(item), moment_text(item.since), _name(item),
             printable(item.reason))
            for item in place.items
        ]  # fmt: skip
        for line in table(rows, right=frozenset({1})):
            show(f"  {line}")
    return ExitCode.FAILED


def _title(place: Place) -> str:
    running = "" if place.is_running else ", not mounted"
    return f"{printable(place.info.source)} on {printable(place.info.mountpoint)}{running}"


def _name(item: Unstored) -> str:
    if item.kind == "content":
        return printable(item.path)
    if item.kind == UNFINISHED:
        return UNFINISHED
    return f"{item.kind} of {printable(item.path)}"


def _size(item: Unstored) -> str:
    if not item.file:
        return "-"
    return size_text(item.size) + (f" ({size_text(item.missing)} missing)" if item.missing else "")
