"""The command `cosfs serve`.

Owns its options, messages and exit codes; must not know how a server works.
"""

import argparse
import asyncio
import ipaddress
import logging
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cosfs.server.credentials import load_or_make_account
from cosfs.server.objects import PRIVATE, PUBLIC_READ
from cosfs.server.signatures import Account
from cosfs.server.state import DataFolderInUse
from cosfs.server.switches import MIB, Switches

if TYPE_CHECKING:
    from cosfs.server.app import Options

EXIT_OK = 0
EXIT_USAGE = 2
EXIT_FAILED = 4

_BUCKET = re.compile(r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$")


class UsageError(Exception):
    """The options do not go together; the text is for the user."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server until SIGTERM or SIGINT.

    Args:
        argv: the arguments after `serve`; None takes those of the process.
    Returns:
        0 after a stop on request, 2 for wrong usage, 4 when the server cannot run.
    """
    try:
        arguments = build_parser().parse_args(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else EXIT_USAGE
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        options = build_options(arguments)
        return asyncio.run(serve(options, is_made_up=not arguments.secret_key))
    except ImportError as error:
        return _fail(EXIT_USAGE, f"{error}; install the extra: pip install 'cosfs[server]'")
    except (UsageError, ValueError) as error:
        return _fail(EXIT_USAGE, str(error))
    except DataFolderInUse as error:
        return _fail(EXIT_FAILED, f"another server has the data folder {error} open")
    except OSError as error:
        return _fail(EXIT_FAILED, f"cannot run: {error}")


def _fail(code: int, message: str) -> int:
    print(f"cosfs serve: {message}", file=sys.stderr)
    return code


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the options."""
    parser = argparse.ArgumentParser(prog="cosfs serve", description="Run a local COS server.")
    add = parser.add_argument
    add("--data", metavar="DIR", default="./cosfs-data", help="data folder (./cosfs-data)")
    add("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    add("--port", type=int, default=8500, help="port; 0 takes a free one (8500)")
    add("--appid", metavar="N", help="appid; the three credentials go together")
    add("--secret-id", metavar="S", help="secret id")
    add("--secret-key", metavar="S", help="secret key")
    add("--bucket", metavar="NAME", action="append", default=[], help="private bucket to have")
    add(
        "--public-bucket", metavar="NAME", action="append", default=[], help="public-read bucket"
    )
    add("--no-control", action="store_true", help="no pages under /_server/")
    add("--log", action="store_true", help="write an access log to stderr")
    _add_switches(parser)
    return parser


def _add_switches(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("behaviour (the first choice is the default)")
    add = group.add_argument
    add("--page-size", type=int, default=1000, metavar="N", help="largest num of a list (1000)")
    add("--marker-slot", choices=("on", "off"), default="on")
    add("--overwrite", choices=("clears", "keeps"), default="clears")
    add("--delete-nonempty", choices=("allow", "refuse"), default="allow")
    add("--virtual-times", choices=("zero", "omit", "newest"), default="zero")
    add("--create-existing", choices=("conflict", "success"), default="conflict")
    add("--expired-code", choices=("96", "59"), default="96")
    add("--move-signature", choices=("any", "once"), default="any")
    add("--replay", choices=("reject", "accept"), default="reject")
    add("--parents", choices=("optional", "required"), default="optional")
    add("--serial-upload", choices=("off", "on"), default="off")
    add("--instant-upload", choices=("on", "off"), default="on")
    add("--update-headers", choices=("replace", "merge"), default="replace")
    add("--list-delay", type=float, default=0.0, metavar="SECONDS")
    add("--max-sign-days", type=int, default=0, metavar="N", help="0: any (90 is documented)")
    add("--rate", type=float, default=0.0, metavar="N", help="requests a second before -71")
    add("--max-upload", type=int, default=20 * MIB, metavar="BYTES", help="largest single upload")
    add("--session-hours", type=float, default=24.0, metavar="N", help="life of slice sessions")
    add("--download-suffix", default="", metavar="SUFFIX", help="host names in access_url")


def build_options(arguments: argparse.Namespace) -> "Options":
    """Turn parsed arguments into the options of a server.

    Raises:
        UsageError: they do not go together.
        ImportError: aiohttp is not installed.
    """
    from cosfs.server.app import Options

    data_dir = Path(arguments.data)
    account = _read_account(arguments, data_dir)
    buckets = dict.fromkeys(arguments.bucket, PRIVATE)
    buckets.update(dict.fromkeys(arguments.public_bucket, PUBLIC_READ))
    for bucket in buckets:
        if not _BUCKET.match(bucket):
            raise UsageError(f"no bucket name: {bucket!r} (a-z, 0-9 and -, at most 40)")
    if not 0 <= arguments.port <= 65535:
        raise UsageError(f"no port: {arguments.port}")
    return Options(
        data_dir=data_dir,
        account=account,
        host=arguments.host,
        port=arguments.port,
        buckets=buckets,
        switches=_read_switches(arguments),
        has_control=not arguments.no_control,
        has_log=arguments.log,
    )


def _read_account(arguments: argparse.Namespace, data_dir: Path) -> Account:
    given = (arguments.appid, arguments.secret_id, arguments.secret_key)
    if all(given):
        if not arguments.appid.isascii() or not arguments.appid.isdigit():
            raise UsageError(f"no appid: {arguments.appid!r} (digits)")
        return Account(*given)
    if any(given):
        raise UsageError("--appid, --secret-id and --secret-key go together")
    if not _is_loopback(arguments.host):
        raise UsageError(
            f"listening on {arguments.host} needs --appid, --secret-id and --secret-key:"
            " made-up credentials are for this machine only"
        )
    return load_or_make_account(data_dir)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_switches(arguments: argparse.Namespace) -> Switches:
    if not 1 <= arguments.page_size <= 1000:
        raise UsageError("--page-size is 1 to 1000")
    for name in ("list_delay", "max_sign_days", "rate", "session_hours", "max_upload"):
        if getattr(arguments, name) < 0:
            raise UsageError(f"--{name.replace('_', '-')} is not negative")
    return Switches(
        page_size=arguments.page_size,
        marker_slot=arguments.marker_slot == "on",
        overwrite_keeps=arguments.overwrite == "keeps",
        refuse_nonempty_delete=arguments.delete_nonempty == "refuse",
        virtual_times=arguments.virtual_times,
        create_existing_succeeds=arguments.create_existing == "success",
        expired_code_newest=arguments.expired_code == "59",
        move_wants_once=arguments.move_signature == "once",
        accept_replay=arguments.replay == "accept",
        parents_required=arguments.parents == "required",
        serial_upload=arguments.serial_upload == "on",
        instant_upload=arguments.instant_upload == "on",
        merge_headers=arguments.update_headers == "merge",
        listing_delay_s=arguments.list_delay,
        max_sign_days=arguments.max_sign_days,
        requests_per_second=arguments.rate,
        session_hours=arguments.session_hours,
        download_suffix=arguments.download_suffix,
        max_upload_bytes=arguments.max_upload,
    )


async def serve(options: "Options", is_made_up: bool) -> int:
    """Run a server until a signal; its address is the first line on stdout."""
    from cosfs.server.app import Server

    server = Server(options)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    try:
        await server.start()
        use = describe_use(options, server.url, server.buckets, is_made_up)
        # In one write: who reads the first line only may be gone before a second one.
        print(f"listening on {server.url}\n{use}", flush=True)
        await stopped.wait()
    finally:
        await server.stop()
    return EXIT_OK


def describe_use(options: "Options", url: str, buckets: Sequence[str], is_made_up: bool) -> str:
    """Say how to use a running server; a secret is shown only when it was made up here."""
    lines = [f"data in {options.data_dir}, buckets: {', '.join(buckets)}"]
    if is_made_up:
        account = options.account
        lines += [
            "to use it:",
            f"export COSFS_APPID={account.appid}",
            f"export COSFS_SECRET_ID={account.secret_id}",
            f"export COSFS_SECRET_KEY={account.secret_key}",
            f"export COSFS_ENDPOINT={url}",
            f"export COSFS_DOWNLOAD_ENDPOINT={url}",
        ]
    return "\n".join(lines)
