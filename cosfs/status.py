"""Owns ``cosfs status``: what a running mount does, for a person or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cosfs import ask, mountopts, mounts
from cosfs.exits import ExitCode, Failure
from cosfs.units import size_text, span_text, table


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
    for state, _ in ask.find(where, environ, home):
        try:
            status = ask.ask(state.folder, "status")
        except ask.NotRunning:
            continue
        except ask.AskFailed as error:
            raise Failure(ExitCode.FAILED, f"the mount on {where}: {error}") from error
        show(json.dumps(status, indent=2) if as_json else _page(where, status))
        return ExitCode.OK
    raise Failure(ExitCode.USAGE, nobody_answers(where))


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


def _page(where: str, status: Mapping[str, Any]) -> str:
    try:
        return describe(status)
    except (KeyError, TypeError) as error:
        raise Failure(
            ExitCode.FAILED,
            f"the process of the mount on {where} is of another version of cosfs: mount it again"
            " to see its status, or use --json",
        ) from error


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
        ("files", f"{files['files']:,} open by {files['descriptors']:,} descriptors;"
         f" {files['dirty_files']:,} written and not stored yet"
         f" ({size_text(files['dirty_bytes'])})"),
        *([("writeback", _queue(status["writeback"]))] if status["writeback"] else []),
        ("pending", _pending(pending, status["mountpoint"])),
    ]  # fmt: skip


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
