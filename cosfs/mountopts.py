"""Owns the options of ``cosfs mount``: their names, what they mean and whom they are for; must not
know how a mount is made.

Three kinds of options. *Ours* are documented in ``docs/mount.md``. *Kernel flags* mean something to
every file system and are passed on to FUSE. *Ignored* ones are for mount(8) and systemd, which hand
over the whole column of fstab, or ask for what cannot differ here; they are accepted on purpose:

* ``defaults auto noauto user users nouser owner group nofail _netdev comment=… x-… X-…`` are about
  when and by whom something is mounted;
* ``relatime strictatime diratime nodiratime lazytime nolazytime iversion noiversion mand nomand``:
  times of access are not kept and the others have no meaning for FUSE;
* ``default_permissions`` and ``big_writes`` are always on.

A secret is never an option, as ``ps`` shows options to everyone.
"""

from __future__ import annotations

import difflib
import grp
import math
import os
import pwd
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cosfs.config import (
    AttrsOption,
    CacheOptions,
    ContentTypeOption,
    DataOptions,
    ExclOption,
    NetworkOptions,
    OverwriteOption,
    ViewOptions,
    WriteBackOption,
    WriteBackOptions,
    valid_bucket,
)
from cosfs.errors import ConfigError

T = TypeVar("T")
Word = TypeVar("Word", bound=str)

#: Who may be asked for which credentials and where: handed to ``config.resolve_account``.
ACCOUNT_OPTIONS = ("appid", "region", "endpoint", "download_endpoint", "passwd_file")

_VALUED = (
    *ACCOUNT_OPTIONS,
    "ttl",
    "attrs",
    "excl",
    "overwrite",
    "content_type",
    "size",
    "timeout",
    "uid",
    "gid",
    "umask",
    "names",
    "memory",
    "cache_dir",
    "cache_size",
    "parallel",
    "writeback_size",
    "writeback_delay",
    "log_file",
    "log_level",
)
_FLAGS = ("ro", "rw", "allow_other", "nonempty")
#: With a value or without.
_WRITE_BACK = "writeback"

#: Options of every file system that FUSE takes; the later of a pair wins.
_KERNEL_PAIRS = (
    ("suid", "nosuid"),
    ("dev", "nodev"),
    ("exec", "noexec"),
    ("atime", "noatime"),
    ("sync", "async"),
)
_KERNEL_FLAGS = (*(name for pair in _KERNEL_PAIRS for name in pair), "dirsync")

_IGNORED = frozenset(
    "defaults auto noauto user users nouser owner group nofail _netdev comment"
    " relatime norelatime strictatime nostrictatime diratime nodiratime lazytime nolazytime"
    " iversion noiversion mand nomand default_permissions big_writes".split()
)
_IGNORED_PREFIXES = ("x-", "X-")

_SECRETS = frozenset("secret secret_id secret_key secretid secretkey password passwd key".split())

NAME_RULES = ("portable", "raw")
ATTRS: tuple[AttrsOption, ...] = ("auto", "all", "none")
EXCL: tuple[ExclOption, ...] = ("close", "open")
OVERWRITE: tuple[OverwriteOption, ...] = ("check", "always")
CONTENT_TYPE: tuple[ContentTypeOption, ...] = ("auto", "off")
WRITE_BACK: tuple[WriteBackOption, ...] = ("off", "on", "sync")
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Source:
    """What is mounted: a bucket, or a folder in it (``prefix``: no slash at either end, or "")."""

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> Source:
        """Read ``BUCKET`` or ``BUCKET:/PREFIX``."""
        bucket, colon, prefix = text.partition(":")
        valid_bucket(bucket)
        if colon and prefix and not prefix.startswith("/"):
            raise ConfigError(f"a prefix begins with a slash: write {bucket}:/{prefix}")
        parts = prefix.strip("/").split("/") if prefix.strip("/") else []
        if any(part in ("", ".", "..") for part in parts):
            raise ConfigError(f"the prefix {prefix!r} has an empty part, '.' or '..'")
        return cls(bucket, "/".join(parts))

    def __str__(self) -> str:
        return f"{self.bucket}:/{self.prefix}"


@dataclass(frozen=True, slots=True)
class MountOptions:
    """The options of one mount, by the layer that they are for."""

    account: Mapping[str, str] = field(default_factory=dict)
    network: NetworkOptions = NetworkOptions()
    cache: CacheOptions = CacheOptions()
    view: ViewOptions = ViewOptions()
    data: DataOptions = DataOptions()
    names: str = "portable"
    allow_other: bool = False
    nonempty: bool = False
    #: Passed on to FUSE as they are.
    kernel_flags: tuple[str, ...] = ()
    log_file: Path | None = None
    log_level: str = "info"


def parse_options(groups: Iterable[str], *, uid: int, gid: int) -> MountOptions:
    """Read the texts given with ``-o``, each a list with commas; what comes later wins.

    ``uid`` and ``gid`` own what has no owner of its own, unless an option says otherwise. A comma
    in a value is written ``\\,``.

    Raises:
        ConfigError: an option that does not exist, or a value that cannot be.
    """
    given: dict[str, str] = {}
    flags: dict[str, None] = {}
    for text in groups:
        for item in _split(text):
            name, equals, value = item.partition("=")
            _check(name, bool(equals))
            if name in _VALUED:
                given[name] = value
            elif name == _WRITE_BACK:
                given[name] = value or "on"
            else:
                flags.pop(name, None)
                flags[name] = None
    data = DataOptions(
        memory_bytes=_read(given, "memory", DataOptions().memory_bytes, _mebibytes),
        cache_dir=_read(given, "cache_dir", None, _absolute),
        cache_bytes=_read(given, "cache_size", DataOptions().cache_bytes, _size),
        parallel=_read(given, "parallel", DataOptions().parallel, _connections),
        excl=_read(given, "excl", "close", _one_of(EXCL)),
        overwrite=_read(given, "overwrite", "check", _one_of(OVERWRITE)),
        content_type=_read(given, "content_type", "off", _one_of(CONTENT_TYPE)),
        write_back=WriteBackOptions(
            mode=_read(given, _WRITE_BACK, "off", _one_of(WRITE_BACK)),
            size_bytes=_read(given, "writeback_size", WriteBackOptions().size_bytes, _size),
            delay_s=_read(given, "writeback_delay", WriteBackOptions().delay_s, _seconds),
        ),
    )
    return MountOptions(
        account={name: given[name] for name in ACCOUNT_OPTIONS if given.get(name)},
        network=NetworkOptions(
            timeout_s=_read(given, "timeout", 60.0, _positive_seconds),
            pool_size=max(NetworkOptions().pool_size, 2 * data.parallel),
        ),
        cache=CacheOptions(
            ttl_s=_read(given, "ttl", 60.0, _seconds),
            attrs=_read(given, "attrs", "auto", _one_of(ATTRS)),
        ),
        view=ViewOptions(
            uid=_read(given, "uid", uid, _user),
            gid=_read(given, "gid", gid, _group),
            umask=_read(given, "umask", ViewOptions().umask, _umask),
            read_only=_last(flags, ("ro", "rw")) == "ro",
            size_bytes=_read(given, "size", ViewOptions().size_bytes, _size),
        ),
        data=data,
        names=_read(given, "names", "portable", _one_of(NAME_RULES)),
        allow_other="allow_other" in flags,
        nonempty="nonempty" in flags,
        kernel_flags=_kernel_flags(flags),
        log_file=_read(given, "log_file", None, _absolute),
        log_level=_read(given, "log_level", "info", _one_of(LOG_LEVELS)),
    )


def describe(options: MountOptions) -> dict[str, str | int | float | bool]:
    """Return every option of ours with its value, given or default, as a mount shows them.

    None of them is a secret: those come from the environment or a file.
    """
    return {
        **options.account,
        "ttl": options.cache.ttl_s,
        "attrs": options.cache.attrs,
        "timeout": options.network.timeout_s,
        "uid": options.view.uid,
        "gid": options.view.gid,
        "umask": f"{options.view.umask:03o}",
        "names": options.names,
        "memory": options.data.memory_bytes >> 20,
        **({"cache_dir": str(options.data.cache_dir)} if options.data.cache_dir else {}),
        "cache_size": options.data.cache_bytes,
        "parallel": options.data.parallel,
        "excl": options.data.excl,
        "overwrite": options.data.overwrite,
        "content_type": options.data.content_type,
        "writeback": options.data.write_back.mode,
        "writeback_size": options.data.write_back.size_bytes,
        "writeback_delay": options.data.write_back.delay_s,
        "size": options.view.size_bytes,
        "ro": options.view.read_only,
        "allow_other": options.allow_other,
        "nonempty": options.nonempty,
        "log_level": options.log_level,
        **({"log_file": str(options.log_file)} if options.log_file else {}),
    }


def _split(text: str) -> list[str]:
    """Split at commas that no backslash precedes; empty pieces are dropped."""
    pieces = [""]
    characters = iter(text)
    for character in characters:
        if character == ",":
            pieces.append("")
        else:
            pieces[-1] += next(characters, "") if character == "\\" else character
    return [piece for piece in pieces if piece]


def _check(name: str, has_value: bool) -> None:
    if name in _IGNORED or name.startswith(_IGNORED_PREFIXES):
        return
    if name in _VALUED:
        if not has_value:
            raise ConfigError(f"the option {name} needs a value: -o {name}=…")
        return
    if name == _WRITE_BACK:
        return
    if name in _FLAGS or name in _KERNEL_FLAGS:
        if has_value:
            raise ConfigError(f"the option {name} takes no value")
        return
    if name.lower() in _SECRETS:
        raise ConfigError(
            f"{name} is no option, as everybody could read it with ps:"
            " set COSFS_SECRET_ID and COSFS_SECRET_KEY, or use passwd_file"
        )
    known = (*_VALUED, *_FLAGS, _WRITE_BACK, *_KERNEL_FLAGS)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    raise ConfigError(
        f"there is no option {name!r}"
        + (f": did you mean {near[0]}?" if near else f"; there are: {', '.join(sorted(known))}")
    )


def _last(flags: Mapping[str, None], names: tuple[str, ...]) -> str | None:
    return next((name for name in reversed(list(flags)) if name in names), None)


def _kernel_flags(flags: Mapping[str, None]) -> tuple[str, ...]:
    pairs = [("ro", "rw"), *_KERNEL_PAIRS, ("dirsync",)]
    return tuple(name for name in (_last(flags, pair) for pair in pairs) if name)


def _read(given: Mapping[str, str], name: str, default: T, convert: Callable[[str], T]) -> T:
    if name not in given:
        return default
    try:
        return convert(given[name])
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{name}={given[name]}: {error}") from error


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (math.isfinite(value) and value >= 0):
        raise ValueError("give a number of seconds, 0 or more")
    return value


def _positive_seconds(text: str) -> float:
    value = _seconds(text)
    if value < 1:
        raise ValueError("give a number of seconds, 1 or more")
    return value


def _mebibytes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 16 <= int(text) <= 2**20):
        raise ValueError("give a whole number of MiB, 16 or more")
    return int(text) * 2**20


def _connections(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 128):
        raise ValueError("give a whole number from 1 to 128")
    return int(text)


def _size(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,19})([KMGTPE]?)", text.upper(), re.ASCII)
    size = int(found[1]) << 10 * " KMGTPE".index(found[2] or " ") if found else 0
    if not 2**20 <= size < 2**63:
        raise ValueError("give a size such as 500G, 1T or 1P, in powers of 1024 and 1M or more")
    return size


def _umask(text: str) -> int:
    if not (text and len(text) <= 4 and set(text) <= set("01234567") and int(text, 8) <= 0o777):
        raise ValueError("give an octal number such as 022")
    return int(text, 8)


def _user(text: str) -> int:
    return _identity(text, lambda name: pwd.getpwnam(name).pw_uid, "user")


def _group(text: str) -> int:
    return _identity(text, lambda name: grp.getgrnam(name).gr_gid, "group")


def _identity(text: str, find: Callable[[str], int], kind: str) -> int:
    if text.isascii() and text.isdigit():
        if int(text) >= 2**32 - 1:
            raise ValueError(f"no {kind} can have this number")
        return int(text)
    try:
        return find(text)
    except (KeyError, ValueError):
        raise ValueError(f"there is no {kind} of this name") from None


def _one_of(values: tuple[Word, ...]) -> Callable[[str], Word]:
    def convert(text: str) -> Word:
        for value in values:
            if text == value:
                return value
        raise ValueError(f"give one of {', '.join(values)}")

    return convert


def _absolute(text: str) -> Path:
    if not text:
        raise ValueError("give the name of a file")
    return Path(os.path.abspath(os.path.expanduser(text)))
