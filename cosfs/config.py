"""Owns the options: frozen values, their checks and where they come from; must not know layers.

Precedence: command line > environment > credentials file > default. The environment and files are
read here and nowhere else. A secret is never taken from the command line and never shown.
"""

from __future__ import annotations

import configparser
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from cosfs.errors import ConfigError

#: Region names of the documented SDK and what they stand for (reference 1.1).
REGION_ALIASES: Mapping[str, str] = {
    "shanghai": "sh",
    "guangzhou": "gz",
    "tianjin": "tj",
    "tianjing": "tj",
    "singapore": "sgp",
}

DEFAULT_REGION = "sh"

_REGION = re.compile(r"[a-z0-9-]{1,40}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")  # reference 6.1


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who signs: appid (decimal), secret id and secret key."""

    appid: str
    secret_id: str
    secret_key: str = field(repr=False)

    def __post_init__(self) -> None:
        if not (self.appid.isascii() and self.appid.isdigit()):
            raise ConfigError(f"the appid must be a decimal number, not {self.appid!r}")
        for name in ("secret_id", "secret_key"):
            value = getattr(self, name)
            if not value or not value.isascii() or not value.isprintable() or " " in value:
                raise ConfigError(f"the {name} is empty or holds characters that no secret has")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a region is reached.

    ``api`` and ``download`` are ``scheme://host[:port]`` without a path. An empty ``download``
    means the virtual host of the bucket itself. ``suffix`` completes the virtual host
    ``<bucket>-<appid>.<suffix>`` that is sent as ``Host`` to an explicit ``download``.
    """

    api: str
    download: str
    suffix: str

    @classmethod
    def of_region(cls, region: str, *, api: str = "", download: str = "") -> Endpoints:
        """Make both from ``region`` (https, reference 1.1) where they are not given."""
        code = REGION_ALIASES.get(region, region)
        if not _REGION.fullmatch(code):
            raise ConfigError(f"{region!r} is no region: give a code such as sh, gz, tj, bj, sgp")
        return cls(
            api=_checked_endpoint("endpoint", api) or f"https://{code}.file.myqcloud.com",
            download=_checked_endpoint("download_endpoint", download),
            suffix=f"cos{code}.myqcloud.com",
        )


def _checked_endpoint(name: str, url: str) -> str:
    if not url:
        return ""
    parts = urlsplit(url)
    try:
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        port_is_good = False
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or not port_is_good
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise ConfigError(f"{name} must look like https://HOST or http://HOST:PORT")
    return f"{parts.scheme}://{parts.netloc}"


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """How long the network may take.

    ``timeout_s`` bounds one operation without progress, retries included. ``connect_timeout_s`` is
    short, as a live host answers a SYN quickly and a dead one must not eat the whole budget.
    """

    timeout_s: float = 60.0
    connect_timeout_s: float = 10.0
    #: Connections kept open: read-ahead, parallel slices and callers together.
    pool_size: int = 32


#: Which names' stored attributes are looked for: those in marked folders, all, or none.
AttrsOption = Literal["auto", "all", "none"]


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """What the metadata cache may hold and how old it may be."""

    ttl_s: float = 60.0
    attrs: AttrsOption = "auto"
    #: Names; about 0.5 KiB each.
    max_entries: int = 300_000


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """How objects without stored attributes look."""

    uid: int = 0
    gid: int = 0
    umask: int = 0o022
    read_only: bool = False
    #: Bytes that the bucket seems to hold: it has no size, and a petabyte never fills.
    size_bytes: int = 2**50

    @property
    def file_mode(self) -> int:
        return 0o666 & ~self.umask

    @property
    def folder_mode(self) -> int:
        return 0o777 & ~self.umask


ExclOption = Literal["close", "open"]
ContentTypeOption = Literal["auto", "off"]
OverwriteOption = Literal["check", "always"]

#: Whether changes are made behind the programs: not, so that what was closed survives the death of
#: the mount, or a power loss too.
WriteBackOption = Literal["off", "on", "sync"]


@dataclass(frozen=True, slots=True)
class WriteBackOptions:
    """How far the server may be behind."""

    mode: WriteBackOption = "off"
    #: Bytes that may wait; who wants more then waits himself.
    size_bytes: int = 2**30
    #: How long a change is held back for others of the same name.
    delay_s: float = 1.0

    @property
    def is_on(self) -> bool:
        return self.mode != "off"


@dataclass(frozen=True, slots=True)
class DataOptions:
    """How content is read and written."""

    #: Bytes of file content kept in memory for the whole mount.
    memory_bytes: int = 256 * 1024 * 1024
    #: Where file content is kept on the local disk, if it is to be, and how many bytes of it.
    cache_dir: Path | None = None
    cache_bytes: int = 2**30
    #: Requests in flight for one large transfer.
    parallel: int = 16
    #: When an exclusive creation finds out whether it is the first: with its content, or at once,
    #: at the price of a request.
    excl: ExclOption = "close"
    #: Whether content that builds on a version is refused when somebody else has replaced that.
    overwrite: OverwriteOption = "check"
    #: Whether a new file gets the content type of its extension, at the price of a request.
    content_type: ContentTypeOption = "off"
    write_back: WriteBackOptions = WriteBackOptions()


def valid_bucket(name: str) -> str:
    """Return ``name`` if it can be a bucket's (reference 6.1), else raise ``ConfigError``."""
    if not _BUCKET.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no bucket name: lower-case letters, digits and '-', at most 40;"
            " give it without the appid"
        )
    return name


@dataclass(frozen=True, slots=True)
class Account:
    """Everything that says who asks where: credentials and endpoints."""

    credentials: Credentials
    endpoints: Endpoints


#: Setting -> environment variable.
ENVIRONMENT: Mapping[str, str] = {
    "appid": "COSFS_APPID",
    "secret_id": "COSFS_SECRET_ID",
    "secret_key": "COSFS_SECRET_KEY",
    "region": "COSFS_REGION",
    "endpoint": "COSFS_ENDPOINT",
    "download_endpoint": "COSFS_DOWNLOAD_ENDPOINT",
}


class CredentialsError(ConfigError):
    """Credentials are missing, unreadable or readable by others: exit code 3."""


def resolve_account(
    options: Mapping[str, str], environ: Mapping[str, str], home: Path
) -> Account:
    """Put the account together from the command line, the environment and the credentials file.

    ``options`` may hold appid, region, endpoint, download_endpoint and passwd_file.

    Raises:
        CredentialsError: no or bad credentials, or a file that others can read.
        ConfigError: an endpoint or region that cannot be.
    """
    given = options.get("passwd_file", "")
    file = read_credentials_file(Path(given).expanduser() if given else default_file(home), given)

    def setting(name: str, default: str = "") -> str:
        return options.get(name) or environ.get(ENVIRONMENT[name], "") or file.get(name, default)

    missing = [name for name in ("appid", "secret_id", "secret_key") if not setting(name)]
    if missing:
        variables = ", ".join(ENVIRONMENT[name] for name in missing)
        raise CredentialsError(
            f"no {', '.join(missing)}: set {variables}, or write"
            f" {given or '~/.config/cosfs/credentials'} (INI, section [default], mode 0600)"
        )
    try:
        credentials = Credentials(setting("appid"), setting("secret_id"), setting("secret_key"))
    except ConfigError as error:
        raise CredentialsError(str(error)) from error
    return Account(
        credentials,
        Endpoints.of_region(
            setting("region", DEFAULT_REGION),
            api=setting("endpoint"),
            download=setting("download_endpoint"),
        ),
    )


def default_file(home: Path) -> Path:
    """Return where credentials are looked for when no ``passwd_file`` is given."""
    return home / ".config" / "cosfs" / "credentials"


def read_credentials_file(path: Path, given: str) -> dict[str, str]:
    """Read an INI file with the settings of ``ENVIRONMENT`` under ``[default]``.

    A missing default file is no error; one that was ``given`` by name is. A file that its group or
    others can read is refused, as ssh does with keys.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            if stat.S_IMODE(os.fstat(stream.fileno()).st_mode) & 0o077:
                raise CredentialsError(f"{path} can be read by others: run chmod 600 {path}")
            text = stream.read()
    except FileNotFoundError:
        if given:
            raise CredentialsError(f"the credentials file {path} does not exist") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"the credentials file {path} cannot be read: {error}") from error
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error:
        # Not chained: the parser's own message quotes the line, which may be a secret.
        raise CredentialsError(f"{path} is not an INI file with a section [default]") from None
    if not parser.has_section("default"):
        raise CredentialsError(f"{path} has no section [default]")
    settings = dict(parser.items("default"))
    unknown = sorted(set(settings) - set(ENVIRONMENT))
    if unknown:
        raise CredentialsError(
            f"{path} has settings that are unknown: {', '.join(unknown)};"
            f" known are {', '.join(ENVIRONMENT)}"
        )
    return settings
