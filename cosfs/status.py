"""Owns ``cosfs status``: what a running mount does, for a person or as JSON."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cosfs import ask, mountopts, mounts
from cosfs.clock import Clock
from cosfs.exits import ExitCode, Failure
from cosfs.units import size_text, span_text, table

#: Lines of ``watch`` between two headings.
_LINES: Final = 20

#: What ``watch`` shows of an interval, and how wide.
_COLUMNS: Final = (
    ("up", 12), ("requests/s", 10), ("sent/s", 9), ("received/s", 10), ("open", 6),
    ("not stored", 10), ("pending", 8), ("memory", 9),
)  # fmt: skip


def run(
    mountpoint: str,
    *,
    as_json: bool,
    environ: Mapping[str, str],
    home: Path,
    show: Callable[[str], None],
) -> ExitCode:
    """Show the status of the mount on ``mountpoint``.

    Raises:
        Failure: no mount of ours answers there.
    """
    where = mounts.resolve(mountpoint)
    _, status = _first_answer(where, environ, home)
    show(json.dumps(status, indent=2) if as_json else _checked(where, lambda: describe(status)))
    return ExitCode.OK


def watch(
    mountpoint: str,
    *,
    interval_s: float,
    as_json: bool,
    environ: Mapping[str, str],
    home: Path,
    clock: Clock,
    show: Callable[[str], None],
) -> ExitCode:
    """Show a line about the mount on ``mountpoint`` every ``interval_s``, until it has ended.

    Rates are those of the interval. ``as_json``: each line is the whole status.

    Raises:
        Failure: no mount of ours answers there.
    """
    where = mounts.resolve(mountpoint)
    folder, before = _first_answer(where, environ, home)
    for number in itertools.count():
        clock.sleep(interval_s)
        try:
            now = _asked(where, folder)
        except ask.NotRunning:
            break
        if as_json:
            show(json.dumps(now))
            continue
        if number % _LINES == 0:
            show(_line(name for name, _ in _COLUMNS))
        show(_checked(where, functools.partial(interval_line, before, now)))
        before = now
    return ExitCode.OK


def _first_answer(
    where: str, environ: Mapping[str, str], home: Path
) -> tuple[Path, dict[str, Any]]:
    """Return the state folder of the mount that answers on the resolved ``where``, and its status.

    Raises:
        Failure: none does.
    """
    for state, _ in ask.find(where, environ, home):
        try:
            return state.folder, _asked(where, state.folder)
        except ask.NotRunning:
            continue
    raise Failure(ExitCode.USAGE, nobody_answers(where))


def _asked(where: str, folder: Path) -> dict[str, Any]:
    try:
        status: dict[str, Any] = ask.ask(folder, "status")
    except ask.NotRunning:
        raise
    except ask.AskFailed as error:
        raise Failure(ExitCode.FAILED, f"the mount on {where}: {error}") from error
    return status


def nobody_answers(where: str) -> str:
    """Return why nothing could be asked on the resolved ``where``."""
    mount = mounts.mounted_at(where)
    if mount is None:
        return f"nothing is mounted on {where}"
    if mount.type != mounts.TYPE:
        return f"{where} is a mount of type {mount.type}, not of cosfs"
    return (
        f"the mount on {where} does not answer you: it answers only the user who made it, with the"
        " same XDG_STATE_HOME, and only while its process runs"
    )


def _checked(where: str, text: Callable[[], str]) -> str:
    try:
        return text()
    except (KeyError, TypeError) as error:
        raise Failure(
            ExitCode.FAILED,
            f"the process of the mount on {where} is of another version of cosfs: mount it again"
            " to see its status, or use --json",
        ) from error


def interval_line(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the line of ``watch`` about what a mount did between two answers."""
    old, then = before["requests"], before["uptime_s"]
    if before["pid"] != now["pid"]:  # mounted anew meanwhile
        old, then = dict.fromkeys(old, 0), 0
    seconds = max(now["uptime_s"] - then, 0.001)
    rates = {
        name: (now["requests"][name] - old[name]) / seconds
        for name in ("requests", "bytes_sent", "bytes_received")
    }
    files, pending = now["files"], now["pending"]
    return _line(
        (
            span_text(now["uptime_s"]),
            f"{rates['requests']:,.1f}",
            size_text(round(rates["bytes_sent"])),
            size_text(round(rates["bytes_received"])),
            f"{files['files']:,}",
            size_text(files["dirty_bytes"]),
            f"{pending['files'] + pending['attributes']:,}",
            size_text(now["process"]["rss_bytes"]),
        )
    )


def _line(texts: Iterable[str]) -> str:
    widths = (width for _, width in _COLUMNS)
    return "  ".join(text.rjust(width) for text, width in zip(texts, widths, strict=True))


def describe(status: Mapping[str, Any]) -> str:
    """Return the status as a page for people."""
    lines = [
        f"{status['bucket']}:/{status['prefix']} on {status['mountpoint']}, process"
        f" {status['pid']}, up {span_text(status['uptime_s'])}, cosfs {status['version']}",
        "",
        *table((name, text) for name, text in _facts(status)),
        "",
        *_requests(status["requests"]),
        "",
        "options   " + " ".join(_options(status["options"])),
    ]
    return "\n".join(lines)


def _facts(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    process, cache, content = status["process"], status["cache"], status["content"]
    files, pending = status["files"], status["pending"]
    return [
        ("process", f"{size_text(process['rss_bytes'])} of memory, {process['threads']} threads,"
         f" {process['descriptors']} descriptors"),
        ("cache", f"{cache['names']:,} names, {cache['listings']:,} complete listings;"
         f" {_share(cache['hits'], cache['misses'])} of {cache['hits'] + cache['misses']:,}"
         " questions answered"),
        ("content", f"{size_text(content['bytes'])} of {size_text(content['limit'])} in memory;"
         f" {content['hits']:,} blocks found, {content['fetches']:,} fetched"),
        *([("disk", _disk(status["disk"]))] if status["disk"] else []),
        ("files", f"{files['files']:,} open by {files['descriptors']:,} descriptors;"
         f" {files['dirty_files']:,} written and not stored yet"
         f" ({size_text(files['dirty_bytes'])})"),
        *([("writeback", _queue(status["writeback"]))] if status["writeback"] else []),
        ("pending", _pending(pending, status["mountpoint"])),
    ]  # fmt: skip


def _disk(disk: Mapping[str, Any]) -> str:
    return (
        f"{size_text(disk['bytes'])} of {size_text(disk['limit'])} in cache_dir;"
        f" {disk['hits']:,} blocks found, {disk['misses']:,} not"
    )


def _queue(queue: Mapping[str, Any]) -> str:
    text = "nothing waits"
    if queue["changes"]:
        text = (
            f"{queue['changes']:,} changes wait, {queue['files']:,} files of"
            f" {size_text(queue['bytes'])} (at most {size_text(queue['limit'])}), the oldest for"
            f" {span_text(queue['oldest_s'])}"
        )
    if queue["failed"]:
        text += f"; {queue['failed']:,} were refused: see cosfs pending"
    return text + (f"; the server is away: {queue['away']}" if queue["away"] else "")


def _pending(pending: Mapping[str, int], mountpoint: str) -> str:
    if not any(pending.values()):
        return "nothing"
    parts = []
    if pending["files"]:
        parts.append(f"{pending['files']:,} files ({size_text(pending['bytes'])})")
    if pending["attributes"]:
        parts.append(f"attributes of {pending['attributes']:,} names")
    return f"{' and '.join(parts)}: see cosfs pending {mountpoint}"


def _share(hits: int, misses: int) -> str:
    return f"{hits * 100 // (hits + misses)}%" if hits + misses else "none"


def _requests(requests: Mapping[str, Any]) -> list[str]:
    rows = [("requests", "number", "sent", "received")]
    for op, count in (*requests["by_op"].items(), ("in all", requests)):
        sent, received = size_text(count["bytes_sent"]), size_text(count["bytes_received"])
        rows.append((f"  {op}", f"{count['requests']:,}", sent, received))
    return table(rows, right=frozenset({1, 2, 3}))


def _options(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the options that are not what they are by themselves, and the TTL."""
    usual = mountopts.describe(mountopts.MountOptions())
    for name, value in options.items():
        if value is True:
            yield name
        elif name == "ttl" or value != usual.get(name):
            yield f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
