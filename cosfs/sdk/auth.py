"""Owns ``Auth``, signatures for those who send requests themselves; must not know HTTP."""

from __future__ import annotations

import random

from cosfs.clock import Clock, SystemClock
from cosfs.config import Credentials
from cosfs.jsonapi import auth
from cosfs.sdk.settings import CredInfo

#: Expiries below this are seconds from now, from it on they are Unix time (of 2001 and later): a
#: past time must not turn into one far ahead.
_FIRST_TIME = 1_000_000_000


class Auth:
    """Makes signatures of one account: base64 texts, to be quoted in URLs.

    ``expired`` is a Unix time, or seconds from now where it is less than 31 years; 0 makes a
    signature for a single use.

    Thread safety: any number of threads. Cost: no request.
    Protocol: reference 2; pinned by its vectors V1 to V9 in ``tests/sdk/test_auth.py``.
    """

    def __init__(
        self, cred: CredInfo, *, clock: Clock | None = None, rng: random.Random | None = None
    ) -> None:
        """Sign for ``cred``; ``clock`` and ``rng`` take the place of the machine's."""
        self._cred = cred
        self._clock = clock or SystemClock()
        self._rng = rng or random.SystemRandom()

    def sign_once(self, bucket: str, cos_path: str) -> str:
        """Return a signature for one update, deletion, move or copy of exactly ``cos_path``.

        Raises:
            ConfigError: the account cannot be one.
        """
        nonce = self._nonce()
        now = self._clock.wall()
        return auth.sign_once(self._credentials(), bucket, cos_path, now=now, nonce=nonce)

    def sign_more(self, bucket: str, cos_path: str, expired: int) -> str:
        """Return a signature for any number of uploads, stats, listings or folders made.

        For a listing ``cos_path`` is the folder followed by the prefix.

        Raises:
            ConfigError: the account cannot be one.
        """
        if expired == 0:
            return self.sign_once(bucket, cos_path)
        now = self._clock.wall()
        return auth.sign_more(
            self._credentials(),
            bucket,
            cos_path,
            now=now,
            nonce=self._nonce(),
            expires_at=_expiry(expired, now),
        )

    def sign_download(self, bucket: str, cos_path: str, expired: int) -> str:
        """Return a signature for downloads of ``cos_path``: the value of ``?sign=``, to be quoted.

        Raises:
            ConfigError: the account cannot be one.
        """
        now = self._clock.wall()
        return auth.sign_download(
            self._credentials(),
            bucket,
            cos_path,
            now=now,
            nonce=self._nonce(),
            expires_at=_expiry(expired, now),
        )

    def _credentials(self) -> Credentials:
        cred = self._cred
        return Credentials(str(cred.get_appid()), cred.get_secret_id(), cred.get_secret_key())

    def _nonce(self) -> int:
        return self._rng.randrange(auth.NONCE_LIMIT)


def _expiry(expired: int, now: float) -> int:
    if expired == 0 or expired >= _FIRST_TIME:
        return int(expired)
    return int(now) + int(expired)
