"""Owns the command line: which command, its arguments, its exit code; must not know how it works.

Every failure is one sentence on stderr and an exit code of ``exits``.
"""

from __future__ import annotations

import argparse
import importlib.resources
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from cosfs.errors import CosfsError
from cosfs.exits import ExitCode, Failure, failure_of
from cosfs.version import __version__

_INTERRUPTED = 130  # what shells say of a program that Ctrl-C ended

_SUMMARY = """\
cosfs mount BUCKET[:/PREFIX] MOUNTPOINT [-o OPT[,OPT...]] [--foreground]
cosfs umount MOUNTPOINT
cosfs serve [--data DIR] ...     a local COS server
cosfs help [TOPIC]               a page of the documentation
cosfs --version"""

_COMMANDS = ("mount", "umount", "serve", "help")


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


def _say(sentence: str) -> None:
    print(f"cosfs: {sentence}", file=sys.stderr, flush=True)


def _dispatch(arguments: list[str]) -> int:
    if arguments and arguments[0] == "serve":
        return _serve(arguments[1:])
    if _is_from_mount8(arguments):
        arguments = ["mount", *arguments]
    parsed = _parser().parse_args(arguments)
    if parsed.command == "mount":
        return _mount(parsed)
    if parsed.command == "umount":
        return _umount(parsed)
    return _help(parsed)


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

    commands.add_parser("serve", help="run a local COS server", add_help=False)

    page = commands.add_parser("help", help="print a page of the documentation")
    page.add_argument("topic", metavar="TOPIC", nargs="?")
    return parser


def _mount(parsed: argparse.Namespace) -> int:
    # Late, as "help" and "serve" need neither the layers of a mount nor their libraries.
    from cosfs import mount

    plan = mount.make_plan(
        parsed.source, parsed.mountpoint, parsed.options, environ=os.environ, home=Path.home()
    )
    return mount.run(plan, foreground=parsed.foreground)


def _umount(parsed: argparse.Namespace) -> int:
    from cosfs import umount

    return umount.run(parsed.mountpoint, environ=os.environ, home=Path.home(), say=_say)


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
