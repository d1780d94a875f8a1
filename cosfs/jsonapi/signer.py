"""Owns turning an operation into a signed HTTP request: URLs, hosts, nonces and the clock's offset.

Must not know retries or replies.
"""

from __future__ import annotations

import email.utils
import logging
import random
import threading
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlencode, urlsplit

from cosfs.clock import Clock
from cosfs.config import Account
from cosfs.jsonapi import auth
from cosfs.jsonapi.multipart import MultipartBody
from cosfs.jsonapi.protocol import ApiRequest, Signing
from cosfs.jsonapi.wire import Body, HttpRequest

_log = logging.getLogger(__name__)

#: Offsets below this are not worth learning: ``Date`` has whole seconds and answers take time.
_SMALLEST_OFFSET_S = 5.0


class ServerClock:
    """The server's wall clock as far as it is known. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        #: Seconds that the server's clock is ahead of ours.
        self.offset_s = 0.0

    def now(self) -> float:
        """Return Unix seconds of the server's clock; the machine's own until it was corrected."""
        return self._clock.wall() + self.offset_s

    def learn(self, headers: Mapping[str, str]) -> bool:
        """Set the clock by a reply's ``Date``; return whether that moved it."""
        stamp = date_of(headers)
        if stamp is None:
            return False
        with self._lock:
            offset = stamp - self._clock.wall()
            moved = abs(offset - self.offset_s) >= _SMALLEST_OFFSET_S
            if moved:
                self.offset_s = offset
        if moved:
            _log.warning(
                "the server's clock differs by %+.0f s: signatures use the server's time", offset
            )
        return moved


def date_of(headers: Mapping[str, str]) -> float | None:
    """Return the Unix seconds of a reply's ``Date`` header, if it has one."""
    value = headers.get("date")
    if not value:
        return None
    try:
        return email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None


class Signer:
    """Signs requests of one account, each time anew. Thread-safe."""

    def __init__(
        self,
        account: Account,
        clock: ServerClock,
        rng: random.Random,
        *,
        user_agent: str,
        expires_s: float,
    ) -> None:
        self._account = account
        self._clock = clock
        self._rng = rng
        self._user_agent = user_agent
        self._expires_s = expires_s

    def signature(self, request: ApiRequest) -> str:
        """Return a fresh signature for ``request``."""
        now = self._clock.now()
        nonce = self._rng.randrange(auth.NONCE_LIMIT)
        credentials = self._account.credentials
        path = request.cos_path
        if request.signing is Signing.ONCE:
            return auth.sign_once(credentials, request.bucket, path, now=now, nonce=nonce)
        sign = auth.sign_more if request.signing is Signing.MORE else auth.sign_download
        return sign(
            credentials,
            request.bucket,
            path,
            now=now,
            nonce=nonce,
            expires_at=now + self._expires_s,
        )

    def sign(
        self,
        request: ApiRequest,
        *,
        connect_timeout_s: float,
        silence_timeout_s: float,
        on_read: Callable[[], None],
    ) -> HttpRequest:
        """Return ``request`` ready to be sent; ``on_read`` is told when its body moves."""
        signature = self.signature(request)
        headers = {"User-Agent": self._user_agent, **dict(request.headers)}
        body: bytes | Body | None = request.body
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        elif request.fields:
            boundary = f"cosfs{self._rng.getrandbits(128):032x}"
            form = MultipartBody(boundary, request.fields, request.content, on_read)
            headers["Content-Type"] = form.content_type
            body = form
        if request.signing is Signing.DOWNLOAD:
            url = self.download_url(request, signature)
            host = self.virtual_host(request.bucket)
            if urlsplit(url).netloc != host:
                headers["Host"] = host
        else:
            url = self._api_url(request)
            headers["Authorization"] = signature
        return HttpRequest(
            op=request.op,
            path=request.key,
            method=request.method,
            url=url,
            headers=headers,
            body=body,
            connect_timeout_s=connect_timeout_s,
            silence_timeout_s=silence_timeout_s,
        )

    def virtual_host(self, bucket: str) -> str:
        """Return the host that a bucket's downloads have (reference 1.1)."""
        account = self._account
        return f"{bucket}-{account.credentials.appid}.{account.endpoints.suffix}"

    def download_url(self, request: ApiRequest, signature: str) -> str:
        """Return the URL of a download; the signature is quoted, as some SDKs forget (1.4)."""
        endpoints = self._account.endpoints
        if endpoints.download:
            base = endpoints.download
        else:
            base = f"{urlsplit(endpoints.api).scheme}://{self.virtual_host(request.bucket)}"
        return f"{base}{auth.quote_path(request.cos_path)}?sign={quote(signature, safe='')}"

    def _api_url(self, request: ApiRequest) -> str:
        account = self._account
        url = (
            f"{account.endpoints.api}/files/v2/{account.credentials.appid}/{request.bucket}"
            f"{auth.quote_path(request.cos_path)}"
        )
        return f"{url}?{urlencode(request.query)}" if request.query else url
