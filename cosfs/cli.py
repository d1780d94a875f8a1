"""Owns the command line: which command, its arguments, its exit code; must not know how it works.

Every failure is one sentence on stderr and an exit code of ``exits``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from cosfs.clock import SystemClock
from cosfs.errors import CosfsError
from cosfs.exits import ExitCode, Failure, failure_of
from cosfs.version import __version__

_INTERRUPTED = 130  # what shells say of a program that Ctrl-C ended

_SUMMARY = """\
cosfs mount BUCKET[:/PREFIX] MOUNTPOINT [-o OPT[,OPT...]] [--foreground]
cosfs umount MOUNTPOINT [--timeout SECONDS | --detach]
cosfs status MOUNTPOINT [--json] [--watch [--interval SECONDS]]
cosfs pending MOUNTPOINT|--all [--retry [--force]] [--export DIR] [--only NAME] [--drop NAME]
cosfs refresh PATH
cosfs flush PATH                 return when it is stored
cosfs warm PATH                  fetch a tree into the caches
cosfs serve [--data DIR] ...     a local COS server
cosfs help [TOPIC]               a page of the documentation
cosfs --version"""

_COMMANDS = ("mount", "umount", "status", "pending", "refresh", "flush", "warm", "serve", "help")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise Failure(ExitCode.USAGE, f"{message} (usage: {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return int(_dispatch(arguments))
    except Failure as failure:
        _say(failure.sentence)
        return int(failure.code)
    except CosfsError as error:
        ending = failure_of(error)
        _say(ending.sentence)
        return int(ending.code)
    except BrokenPipeError:
        # Whoever read our output has enough; do not complain again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return int(ExitCode.FAILED)
    except KeyboardInterrupt:
        return _INTERRUPTED


def _show(text: str) -> None:
    """Print what was asked for, names that the terminal's encoding lacks too."""
    encoding = sys.stdout.encoding or "ascii"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def _say(sentence: str) -> None:
    print(f"cosfs: {sentence}", file=sys.stderr, flush=True)


def _dispatch(arguments: list[str]) -> int:
    if arguments and arguments[0] == "serve":
        return _serve(arguments[1:])
    if _is_from_mount8(arguments):
        arguments = ["mount", *arguments]
    parsed = _parser().parse_args(arguments)
    return int(_RUN[parsed.command](parsed))


def _is_from_mount8(arguments: list[str]) -> bool:
    """``mount -t fuse.cosfs BUCKET:/ DIR -o …`` runs ``cosfs BUCKET:/ DIR -o …``."""
    return (
        len(arguments) >= 2
        and arguments[0] not in _COMMANDS
        and not arguments[0].startswith("-")
        and arguments[1].startswith("/")
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="cosfs", usage=_SUMMARY)
    parser.add_argument("--version", action="version", version=f"cosfs {__version__}")
    commands = parser.add_subparsers(
        prog="cosfs", dest="command", metavar="COMMAND", required=True
    )

    mount = commands.add_parser("mount", help="mount a bucket as a directory")
    mount.add_argument("source", metavar="BUCKET[:/PREFIX]")
    mount.add_argument("mountpoint", metavar="MOUNTPOINT")
    mount.add_argument(
        "-o",
        dest="options",
        metavar="OPT[,OPT...]",
        action="append",
        default=[],
        help="options; 'cosfs help mount' explains them",
    )
    mount.add_argument(
        "-f", "--foreground", action="store_true", help="stay, and log to stderr"
    )

    umount = commands.add_parser("umount", help="store what is dirty, unmount, wait")
    umount.add_argument("mountpoint", metavar="MOUNTPOINT")
    how_long = umount.add_mutually_exclusive_group()
    how_long.add_argument(
        "--timeout", metavar="SECONDS", type=float, help="wait no longer: the rest goes on"
    )
    how_long.add_argument(
        "--detach", action="store_true", help="do not wait: storing goes on in the background"
    )

    status = commands.add_parser("status", help="show what a mount does")
    status.add_argument("mountpoint", metavar="MOUNTPOINT")
    status.add_argument("--json", action="store_true", help="for programs")
    status.add_argument(
        "--watch", action="store_true", help="a line about each interval, until it is unmounted"
    )
    status.add_argument(
        "--interval", metavar="SECONDS", type=_interval, default=1.0, help="of --watch, 1 by itself"
    )

    pending = commands.add_parser("pending", help="list what could not be stored")
    which = pending.add_mutually_exclusive_group(required=True)
    which.add_argument("mountpoint", metavar="MOUNTPOINT", nargs="?")
    which.add_argument("--all", action="store_true", help="of all mounts, running or not")
    pending.add_argument("--retry", action="store_true", help="store it now")
    pending.add_argument(
        "--force", action="store_true", help="retry: replace what others have stored meanwhile"
    )
    pending.add_argument("--export", metavar="DIR", help="copy the contents into a directory")
    pending.add_argument(
        "--only", metavar="NAME", action="append", default=[], help="retry or export this alone"
    )
    pending.add_argument(
        "--drop", metavar="NAME", action="append", default=[], help="forget this for good"
    )

    refresh = commands.add_parser("refresh", help="see at once what others have changed")
    refresh.add_argument("path", metavar="PATH")

    flush = commands.add_parser("flush", help="return when a file or tree is stored")
    flush.add_argument("path", metavar="PATH")

    warm = commands.add_parser("warm", help="fetch a file or tree before programs read it")
    warm.add_argument("path", metavar="PATH")

    commands.add_parser("serve", help="run a local COS server", add_help=False)

    page = commands.add_parser("help", help="print a page of the documentation")
    page.add_argument("topic", metavar="TOPIC", nargs="?")
    return parser


def _interval(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError("give seconds, from 0.1 to 86400")
    return seconds


def _mount(parsed: argparse.Namespace) -> int:
    # Late, as "help" and "serve" need neither the layers of a mount nor their libraries.
    from cosfs import mount

    plan = mount.make_plan(
        parsed.source, parsed.mountpoint, parsed.options, environ=os.environ, home=Path.home()
    )
    return mount.run(plan, foreground=parsed.foreground)


def _umount(parsed: argparse.Namespace) -> int:
    from cosfs import umount

    patience_s = 0.0 if parsed.detach else parsed.timeout
    return umount.run(
        parsed.mountpoint,
        environ=os.environ,
        home=Path.home(),
        clock=SystemClock(),
        say=_say,
        patience_s=patience_s,
    )


def _status(parsed: argparse.Namespace) -> int:
    from cosfs import status

    if parsed.watch:
        return status.watch(
            parsed.mountpoint, interval_s=parsed.interval, as_json=parsed.json,
            environ=os.environ, home=Path.home(), clock=SystemClock(), show=_show,
        )  # fmt: skip
    return status.run(
        parsed.mountpoint, as_json=parsed.json, environ=os.environ, home=Path.home(), show=_show
    )


def _pending(parsed: argparse.Namespace) -> int:
    from cosfs import pending

    if parsed.force and not parsed.retry:
        raise Failure(ExitCode.USAGE, "--force is for --retry")
    if parsed.only and not (parsed.retry or parsed.export):
        raise Failure(ExitCode.USAGE, "--only is for --retry and --export")
    if parsed.drop and parsed.all:
        raise Failure(ExitCode.USAGE, "--drop is for one mount: give its mount point, not --all")
    wish = pending.Wish(
        retry=parsed.retry,
        force=parsed.force,
        only=tuple(parsed.only),
        export=Path(parsed.export) if parsed.export else None,
        drop=tuple(parsed.drop),
    )
    return pending.run(
        parsed.mountpoint, wish, environ=os.environ, home=Path.home(), clock=SystemClock(),
        show=_show, say=_say,
    )  # fmt: skip


def _refresh(parsed: argparse.Namespace) -> int:
    from cosfs import refresh

    return refresh.run(parsed.path, environ=os.environ, home=Path.home(), clock=SystemClock())


def _flush(parsed: argparse.Namespace) -> int:
    from cosfs import flush

    return flush.run(parsed.path, environ=os.environ, home=Path.home())


def _warm(parsed: argparse.Namespace) -> int:
    from cosfs import warm

    draw = _draw if sys.stderr.isatty() else None
    return warm.run(parsed.path, environ=os.environ, home=Path.home(), show=_show, draw=draw)


def _draw(line: str) -> None:
    """Show a line in the place of the one before."""
    print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)


def _serve(arguments: list[str]) -> int:
    """Hand over to the local server: the one place that knows it, and only if it is asked for."""
    try:
        from cosfs.server.command import main as serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "cosfs":
            raise
        raise Failure(
            ExitCode.USAGE,
            f"the local server needs {error.name}: run pip install 'cosfs[server]'",
        ) from error
    return int(serve(arguments) or 0)


def _help(parsed: argparse.Namespace) -> int:
    # Late, as no other command needs it, and some end before it would be imported.
    import importlib.resources

    folder = importlib.resources.files("cosfs") / "docs"
    pages = {
        page.name.removesuffix(".md"): page
        for page in (folder.iterdir() if folder.is_dir() else ())
        if page.name.endswith(".md")
    }
    if parsed.topic is None:
        print(_SUMMARY)
        print(f"\ntopics: {', '.join(sorted(pages))}")
        return ExitCode.OK
    if parsed.topic not in pages:
        raise Failure(
            ExitCode.USAGE,
            f"there is no page {parsed.topic!r}; there are: {', '.join(sorted(pages))}",
        )
    print(pages[parsed.topic].read_text(encoding="utf-8"), end="")
    return ExitCode.OK


_RUN: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "mount": _mount,
    "umount": _umount,
    "status": _status,
    "pending": _pending,
    "refresh": _refresh,
    "flush": _flush,
    "warm": _warm,
    "help": _help,
}
