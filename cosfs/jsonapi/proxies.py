"""Owns which proxy a host is reached through; must not know the HTTP library.

The environment is read once, by whoever makes a ``Proxies``, so that a program which changes it
later does not change where signatures go.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

from cosfs.errors import ConfigError


class Proxies:
    """Frozen proxy settings: ``http``, ``https``, ``all`` -> URL, and ``no`` -> list of hosts."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._by_scheme: dict[str, str] = {}
        for scheme in ("http", "https"):
            url = settings.get(scheme) or settings.get("all")
            if url:
                self._by_scheme[scheme] = _checked(scheme, url)
        self._bypass = [
            entry.strip().lower() for entry in settings.get("no", "").split(",") if entry.strip()
        ]

    @classmethod
    def from_environment(cls) -> Proxies:
        """Read ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy``, either case."""
        return cls(getproxies_environment())

    def for_url(self, url: str) -> dict[str, str]:
        """Return ``{scheme: proxy URL}`` for ``url``, empty when it is reached directly."""
        parts = urlsplit(url)
        proxy = self._by_scheme.get(parts.scheme)
        if proxy is None or self._is_bypassed(parts.hostname or "", parts.port):
            return {}
        return {parts.scheme: proxy}

    def _is_bypassed(self, host: str, port: int | None) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            address = None
        for entry in self._bypass:
            if entry == "*":
                return True
            if address is not None and "/" in entry:
                if _is_in_network(address, entry):
                    return True
                continue
            name, colon, entry_port = entry.rpartition(":")
            if colon and entry_port.isdigit() and not _is_address(entry):
                if port is None or int(entry_port) != port:
                    continue
                entry = name
            entry = entry.lstrip(".").removeprefix("*.")
            if host == entry or (address is None and host.endswith(f".{entry}")):
                return True
        return False


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_in_network(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, network: str
) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _checked(scheme: str, url: str) -> str:
    if "://" not in url:
        url = f"http://{url}"
    parts = urlsplit(url)
    try:
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        # The value is not shown: it may hold a password.
        raise ConfigError(f"{scheme}_proxy (or all_proxy) must look like http://HOST:PORT")
    return url
