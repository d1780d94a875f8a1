"""Owns the composition: builds every layer of one mount from its options and runs it.

The order is fixed: what is wrong with the command line is said first, then credentials, then
FUSE; only then comes the fork, and after it the network, the threads and the mount.
"""

from __future__ import annotations

import logging
import os
import resource
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cosfs import daemon, logs, mounts
from cosfs.answers import Answers, Counters
from cosfs.clock import Clock, SystemClock
from cosfs.config import Account, NetworkOptions, resolve_account
from cosfs.control import ControlServer
from cosfs.errors import (
    AccessDenied,
    BadCredentials,
    BucketNotFound,
    ConfigError,
    CosfsError,
    FuseUnavailable,
    SignatureExpired,
    StoreError,
    Unavailable,
)
from cosfs.exits import ExitCode, Failure, failure_of
from cosfs.fuse.operations import Operations
from cosfs.jsonapi.client import JsonApi
from cosfs.jsonapi.replies import OpCount
from cosfs.mountopts import MountOptions, Source, parse_options
from cosfs.statedir import Info, MountState, default_root
from cosfs.store.base import Store
from cosfs.store.json_store import JsonStore
from cosfs.store.names import rules_of
from cosfs.store.writeback.journal import peek
from cosfs.store.writeback.leftover import left_over
from cosfs.store.writeback.store import WriteBackStore
from cosfs.units import size_text
from cosfs.vfs.filesystem import FileSystem
from cosfs.vfs.types import NotStored

log = logging.getLogger(__name__)

#: A start that fails is to say so within 15 s, whatever does not answer.
_PROBE_S = 8.0
_LOCK_S = 3.0
_START_S = 13.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One mount, with everything checked that can be without the network."""

    source: Source
    mountpoint: str
    options: MountOptions
    account: Account
    state: MountState

    @property
    def endpoint(self) -> str:
        return self.account.endpoints.api


def make_plan(
    source: str,
    mountpoint: str,
    option_groups: Iterable[str],
    *,
    environ: Mapping[str, str],
    home: Path,
) -> Plan:
    """Check a command line.

    Raises:
        CosfsError: what is wrong with it.
    """
    options = parse_options(option_groups, uid=os.getuid(), gid=os.getgid())
    what = Source.parse(source)
    where = mounts.resolve(mountpoint)
    mounts.check_mountpoint(where, nonempty=options.nonempty)
    _check_cache_dir(options.data.cache_dir, where)
    account = resolve_account(options.account, environ, home)
    mounts.check_fuse()
    _load_binding()
    root = default_root(environ, os.geteuid(), home)
    return Plan(
        what, where, options, account, MountState.of(root, where, what.bucket, what.prefix)
    )


def _check_cache_dir(folder: Path | None, mountpoint: str) -> None:
    """Refuse a folder for content in which others could put something, or the mount itself would.

    Raises ``ConfigError``.
    """
    if folder is None:
        return
    if Path(os.path.realpath(folder)).is_relative_to(mountpoint):
        raise ConfigError(f"cache_dir={folder} lies in the mount itself")
    try:
        status = os.stat(folder)
    except OSError:
        return  # it is made later
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"cache_dir={folder} is no directory")
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise ConfigError(
            f"cache_dir={folder} must be yours, and nobody else may write there: give a directory"
            " of its own"
        )


def run(plan: Plan, *, foreground: bool) -> ExitCode:
    """Mount: in the foreground return at the end, else once the mount answers.

    Raises:
        Failure: no mount came about; the exit code and the sentence for the user.
    """
    clock = SystemClock()
    if foreground:
        return serve(plan, daemon.Silent(), clock, log_file=plan.options.log_file)
    log_file = plan.options.log_file or plan.state.log_file
    daemon.run_in_background(
        lambda progress: serve(plan, progress, clock, log_file=log_file),
        patience_s=_START_S,
        on_silence=_no_answer(plan, f"no answer within {_START_S:g} s"),
    )
    try:
        # The kernel lets this wait until the file system has said hello, then asks for the root.
        os.stat(plan.mountpoint)
    except OSError as error:
        raise Failure(
            ExitCode.FUSE,
            f"the mount on {plan.mountpoint} does not answer ({error.strerror}): see {log_file}",
        ) from error
    return ExitCode.OK


def serve(
    plan: Plan, progress: daemon.Progress, clock: Clock, *, log_file: Path | None
) -> ExitCode:
    """Probe, mount, serve until unmounted or told to stop, store the rest, write the report.

    Raises:
        Failure: no mount came about.
    """
    try:
        plan.state.acquire(clock, patience_s=_LOCK_S)
        logs.install(plan.options.log_level, log_file)
        info = Info(
            os.getpid(), plan.mountpoint, plan.source.bucket, plan.source.prefix, clock.wall()
        )
        left = plan.state.begin(info)
    except OSError as error:
        raise Failure(ExitCode.USAGE, f"the log or the state cannot be written: {error}") from error
    except CosfsError as error:
        raise failure_of(error) from error
    _check_queue(plan)
    if left is not None:
        log.error("a mount before this one died while files were written: they are in %s", left)
    probed = _probe(plan, clock)
    progress.probed()
    with open_store(plan, plan.options.network, clock) as (store, api):
        return _serve_store(
            plan, info, store, lambda: _sum(probed, api.counters()), progress, clock
        )


def _serve_store(
    plan: Plan,
    info: Info,
    store: Store,
    counters: Counters,
    progress: daemon.Progress,
    clock: Clock,
) -> ExitCode:
    """Mount ``store`` and serve it; see ``serve``."""
    binding = _load_binding()
    options = plan.options
    _allow_many_files()
    behind = _write_back(plan, store, clock)
    fs = FileSystem(
        behind or store,
        clock=clock,
        cache=options.cache,
        view=options.view,
        data=options.data,
        spool_dir=plan.state.spool,
        journal_file=plan.state.journal,
    )

    answers = Answers(fs, info, options, counters, clock, clock.monotonic(), behind)
    control = ControlServer(plan.state.folder, answers.commands(), owner=os.geteuid())

    def ready() -> None:
        _begin_to_answer(control)
        log.info("%s is mounted on %s", plan.source, plan.mountpoint)
        progress.ready()

    def let_all_in() -> None:
        if behind is not None:
            behind.backlog.let_all_in()

    if behind is not None:
        behind.start()
    try:
        binding.serve(
            Operations(fs, clock, binding.current_caller),
            plan.mountpoint,
            fuse_options(plan, fs.kernel_ttl_s),
            on_ready=ready,
            on_stop=let_all_in,
        )
    except FuseUnavailable as error:
        raise failure_of(error, _advice(str(error))) from error
    finally:
        control.stop()
        let_all_in()
        not_stored = fs.stop()
        if behind is not None:
            not_stored += _left_behind(plan, behind)
        plan.state.finish(os.getpid(), not_stored)
    for item in not_stored:
        log.error("not stored: %s: %s; kept in %s", item.path, item.reason, item.kept_in)
    log.info("unmounted %s, %d files not stored", plan.mountpoint, len(not_stored))
    return ExitCode.FAILED if not_stored else ExitCode.OK


def _check_queue(plan: Plan) -> None:
    """Refuse a mount that would not go on with what a mount before it was to store.

    Raises:
        Failure: what to do.
    """
    try:
        waiting = peek(plan.state.write_back)
    except CosfsError as error:
        raise failure_of(error) from error
    if waiting and (not plan.options.data.write_back.is_on or plan.options.view.read_only):
        raise Failure(
            ExitCode.USAGE,
            f"{len(waiting)} changes of a mount before this one wait to be stored: mount with"
            f" -o writeback (not ro) and run cosfs umount, or see cosfs pending {plan.mountpoint}",
        )


def _write_back(plan: Plan, store: Store, clock: Clock) -> WriteBackStore | None:
    """Put a store that makes changes later over ``store``, if the options say so."""
    options = plan.options
    if not options.data.write_back.is_on or options.view.read_only:
        return None
    try:
        return WriteBackStore(
            store,
            plan.state.write_back,
            clock=clock,
            options=options.data.write_back,
            parallel=options.data.parallel,
            trusted_s=options.cache.ttl_s,
            patience_s=options.network.timeout_s,
        )
    except CosfsError as error:
        raise failure_of(error) from error


def _left_behind(plan: Plan, behind: WriteBackStore) -> list[NotStored]:
    """Return what still waits at the end, and what was refused."""
    left = [
        NotStored(one.path, one.reason, one.file or str(plan.state.write_back))
        for one in left_over(behind)
    ]
    waiting = behind.backlog.usage()
    if waiting.changes:
        reason = (
            f"{waiting.changes} changes with {size_text(waiting.bytes)} wait"
            f" ({waiting.away or 'the server was too slow'}): the next mount stores them"
        )
        left.append(NotStored("/", reason, str(plan.state.write_back)))
    return left


def _begin_to_answer(control: ControlServer) -> None:
    """Answer ``cosfs status`` and its like; a mount that cannot is still of use."""
    try:
        control.start()
    except OSError as error:
        log.error("cosfs status, pending and refresh will not work: no socket (%s)", error)


def _sum(first: Mapping[str, OpCount], then: Mapping[str, OpCount]) -> Mapping[str, OpCount]:
    """Return the counts of two clients as those of one."""
    counts = dict(then)
    for op, count in first.items():
        other = counts.get(op, OpCount())
        counts[op] = OpCount(
            count.requests + other.requests,
            count.bytes_sent + other.bytes_sent,
            count.bytes_received + other.bytes_received,
        )
    return counts


@contextmanager
def open_store(
    plan: Plan, network: NetworkOptions, clock: Clock
) -> Iterator[tuple[Store, JsonApi]]:
    """Give the store of ``plan``'s bucket and the client that it uses.

    The client has connections of its own: only after the fork.
    """
    api = JsonApi(plan.account, network, clock=clock)
    try:
        store = JsonStore(
            api.bucket(plan.source.bucket),
            prefix=plan.source.prefix,
            names=rules_of(plan.options.names),
            data=plan.options.data,
            clock=clock,
        )
        yield store, api
    finally:
        api.close()


def fuse_options(plan: Plan, kernel_ttl_s: float) -> dict[str, str | bool]:
    """Return what libfuse gets with ``-o`` beside the options that are always on."""
    source = "/".join(filter(None, (f"cosfs:{plan.source.bucket}", plan.source.prefix)))
    options: dict[str, str | bool] = {
        # In a value, libfuse takes a comma for the end unless a backslash precedes it.
        "fsname": source.replace("\\", "\\\\").replace(",", "\\,"),
        "attr_timeout": f"{kernel_ttl_s:g}",
        "entry_timeout": f"{kernel_ttl_s:g}",
        "negative_timeout": f"{kernel_ttl_s:g}",
        "allow_other": plan.options.allow_other,
        "nonempty": plan.options.nonempty,
    }
    options.update(dict.fromkeys(plan.options.kernel_flags, True))
    return options


def _load_binding() -> Any:
    """Import the binding, and with it libfuse: late, as everything else works without."""
    try:
        from cosfs.fuse import binding
    except OSError as error:
        raise FuseUnavailable(
            f"libfuse 2 cannot be loaded ({error}): install the package libfuse2"
            " (libfuse2t64 on Ubuntu 24.04 and later), for example with apt-get install libfuse2"
        ) from error
    return binding


def _allow_many_files() -> None:
    """Take all descriptors one may have: files that are being written need one each."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _probe(plan: Plan, clock: Clock) -> Mapping[str, OpCount]:
    """Ask the server once whether endpoint, credentials and bucket are good, with little patience.

    Returns:
        What that has cost.
    Raises:
        Failure: what is wrong, and what the user may do.
    """
    network = replace(
        plan.options.network,
        timeout_s=min(_PROBE_S, plan.options.network.timeout_s),
        connect_timeout_s=min(_PROBE_S / 2, plan.options.network.connect_timeout_s),
    )
    with open_store(plan, network, clock) as (store, api):
        try:
            store.probe()
        except CosfsError as error:
            raise _refusal(plan, error) from error
        return api.counters()


def _refusal(plan: Plan, error: CosfsError) -> Failure:
    server, appid = plan.endpoint, plan.account.credentials.appid
    sentences: tuple[tuple[type[CosfsError], str], ...] = (
        (
            SignatureExpired,
            f"{server} found our signature expired: set the clock of this machine",
        ),
        (
            BadCredentials,
            f"{server} does not accept the credentials: check appid ({appid}), secret id and"
            " secret key",
        ),
        (
            AccessDenied,
            f"{server} does not let these credentials into the bucket {plan.source.bucket}:"
            " give them the right to read it",
        ),
        (
            BucketNotFound,
            f"there is no bucket {plan.source.bucket} of the appid {appid} at {server}: check its"
            " name (without the appid) and the region",
        ),
    )
    for kind, sentence in sentences:
        if isinstance(error, kind):
            said = f" ({error.reply})" if isinstance(error, StoreError) and error.reply else ""
            return Failure(failure_of(error).code, sentence + said)
    if isinstance(error, Unavailable):
        return _no_answer(plan, error.what.rpartition(": ")[2])
    return Failure(
        ExitCode.BUCKET_OR_NETWORK,
        f"{server} does not answer as the JSON API of COS ({error}): check the endpoint or region",
    )


def _no_answer(plan: Plan, what: str) -> Failure:
    return Failure(
        ExitCode.BUCKET_OR_NETWORK,
        f"{plan.endpoint} cannot be reached, {what}: check the endpoint or region, the network,"
        " and that the server runs",
    )


def _advice(words: str) -> str:
    """Return what helps against a refusal of libfuse, fusermount or the kernel."""
    answers: tuple[tuple[str, str], ...] = (
        ("user_allow_other", "write that line into /etc/fuse.conf, or leave allow_other out"),
        ("modprobe", "load the kernel module with modprobe fuse"),
        ("write access", "mount on a directory of your own"),
        ("/dev/fuse: permission denied", "let root run chmod 666 /dev/fuse, or mount as root"),
        ("not permitted", "the kernel refuses mounts here: a container needs"
         " --cap-add SYS_ADMIN --device /dev/fuse"),
        ("fusermount", "install the package fuse3"),
    )  # fmt: skip
    lowered = words.lower()
    return next((advice for sign, advice in answers if sign in lowered), "")
