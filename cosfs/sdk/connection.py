"""Owns the protocol client for the account and settings of the moment; must not know methods."""

from __future__ import annotations

import ipaddress
import math
import os
import re
import threading
from urllib.parse import urlsplit

from cosfs.clock import SystemClock
from cosfs.config import Account, Credentials, Endpoints, NetworkOptions
from cosfs.errors import ConfigError
from cosfs.jsonapi.client import JsonApi
from cosfs.jsonapi.retry import RetryPolicy
from cosfs.jsonapi.transport import HttpTransport
from cosfs.sdk.settings import API_PATH, CosConfig, CredInfo

#: How often a request is sent at most: a passing failure, a lost packet, a busy moment.
ATTEMPTS_MAX = 4

_CONNECT_TIMEOUT_S = 10.0
_NO_TIMEOUT_S = 86400.0
#: Signatures are decimal numbers of seconds; this is more than anybody means.
_SIGN_EXPIRED_MAX = 10**12

_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


class Connection:
    """Gives the protocol client that fits; makes another one when something was changed.

    Calls under way end on the one that they began with. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._transport: HttpTransport | None = None
        self._transport_for: tuple[NetworkOptions, str] | None = None
        self._api: JsonApi | None = None
        self._api_for: object = None

    def api(self, cred: CredInfo, config: CosConfig) -> JsonApi:
        """Return the client for ``cred`` and ``config`` as they are now.

        Raises:
            ConfigError: they cannot be used.
        """
        wanted = (
            cred.get_appid(),
            cred.get_secret_id(),
            cred.get_secret_key(),
            _endpoint_of(config),
            config.get_download_hostname(),
            config.get_timeout(),
            config.get_sign_expired(),
            config.get_user_agent(),
            config.get_ca_file(),
        )
        with self._lock:
            if self._api is None or self._api_for != wanted:
                self._api = self._make(cred, config)
                self._api_for = wanted
            return self._api

    def _make(self, cred: CredInfo, config: CosConfig) -> JsonApi:
        network = _network_of(config)
        return JsonApi(
            _account_of(cred, config),
            network,
            clock=SystemClock(),
            transport=self._transport_of(network, _ca_file_of(config)),
            policy=RetryPolicy(network.timeout_s, max_attempts=ATTEMPTS_MAX),
            user_agent=config.get_user_agent(),
            sign_expires_s=_sign_expired_of(config),
        )

    def close(self) -> None:
        """Close the connections that are not in use; the next call opens others."""
        with self._lock:
            if self._transport is not None:
                self._transport.close()
            self._api = self._transport = self._transport_for = None

    def _transport_of(self, network: NetworkOptions, ca_file: str) -> HttpTransport:
        wanted = (network, ca_file)
        if self._transport is None or self._transport_for != wanted:
            if self._transport is not None:
                self._transport.close()
            self._transport = HttpTransport(network, ca_file=ca_file)
            self._transport_for = wanted
        return self._transport


def _network_of(config: CosConfig) -> NetworkOptions:
    timeout = config.get_timeout()
    if timeout is None:
        timeout = _NO_TIMEOUT_S
    if not isinstance(timeout, (int, float)) or not 0 < timeout < math.inf:
        raise ConfigError(f"timeout is not a positive number of seconds: {_shown(timeout)}")
    seconds = float(min(timeout, _NO_TIMEOUT_S))
    return NetworkOptions(seconds, min(seconds, _CONNECT_TIMEOUT_S))


def _ca_file_of(config: CosConfig) -> str:
    ca_file = config.get_ca_file()
    try:
        is_good = not ca_file or os.access(ca_file, os.R_OK)
    except (TypeError, ValueError):  # no name of a file at all
        is_good = False
    if not is_good:
        raise ConfigError(f"ca_file cannot be read: {_shown(ca_file)}")
    return ca_file


def _sign_expired_of(config: CosConfig) -> float:
    expired = config.get_sign_expired()
    if not isinstance(expired, (int, float)) or not abs(expired) <= _SIGN_EXPIRED_MAX:
        raise ConfigError(f"sign_expired is not a number of seconds: {_shown(expired)}")
    return float(expired)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # Python does not write numbers of more than 4300 digits
        return "a huge number"


def _endpoint_of(config: CosConfig) -> str:
    try:
        return config.get_endpoint()
    except ValueError as error:
        raise ConfigError("hostname is no name of a host") from error


def _account_of(cred: CredInfo, config: CosConfig) -> Account:
    credentials = Credentials(str(cred.get_appid()), cred.get_secret_id(), cred.get_secret_key())
    try:
        return Account(credentials, _endpoints_of(config))
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"hostname or download_hostname is no name of a host: {error}") from error


def _endpoints_of(config: CosConfig) -> Endpoints:
    suffix = config.get_download_hostname()
    for host in (urlsplit(config.get_endpoint()).netloc, suffix):
        if not isinstance(host, str) or not _HOST.fullmatch(host):
            raise ConfigError(f"{_shown(host)} is no name of a host")
    download = f"{config.get_scheme()}://{suffix}"
    checked = Endpoints.of_region(
        "sh", api=config.get_endpoint().removesuffix(API_PATH), download=download
    )
    if not _is_address(urlsplit(download).hostname or ""):
        download = ""
    return Endpoints(checked.api, download, suffix)


def _is_address(host: str) -> bool:
    """Tell whether ``host`` is one to which no bucket's name can be prepended."""
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
