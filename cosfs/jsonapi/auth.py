"""Owns signatures: pure functions of credentials, time, nonce and path; must not know HTTP.

Protocol: reference 2.1 and 2.2, in the spelling of the official Python SDK (``Auth``); pinned by
the vectors V1-V11 in ``tests/unit/test_jsonapi_auth.py``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import quote

from cosfs.config import Credentials

#: Nonces are drawn below this: unsigned decimals of at most ten digits (reference 2.1).
NONCE_LIMIT = 1_000_000_000


def quote_path(path: str) -> str:
    """Return ``path`` percent-encoded for URLs and signatures.

    ``A-Z a-z 0-9 _ . - ~ /`` stay, every other byte of the UTF-8 form becomes ``%XX`` with upper
    case hex (reference 1.3).

    Raises:
        UnicodeEncodeError: ``path`` holds a lone surrogate.
    """
    return quote(path, safe="/", encoding="utf-8", errors="strict")


def sign_once(
    credentials: Credentials, bucket: str, key_path: str, *, now: float, nonce: int
) -> str:
    """Return a signature for one single request about exactly ``key_path`` (``/a/b.txt``)."""
    file_id = f"/{credentials.appid}/{bucket}{quote_path(key_path)}"
    return _sign(credentials, bucket, file_id, expires_at=0, now=now, nonce=nonce)


def sign_more(
    credentials: Credentials,
    bucket: str,
    key_path: str,
    *,
    now: float,
    nonce: int,
    expires_at: float,
) -> str:
    """Return a signature for any number of requests until ``expires_at`` (Unix seconds).

    It is bound to ``key_path`` (for a listing: folder and prefix); an empty one binds it to nothing
    but the bucket.
    """
    file_id = f"/{credentials.appid}/{bucket}{quote_path(key_path)}" if key_path else ""
    return _sign(credentials, bucket, file_id, expires_at=expires_at, now=now, nonce=nonce)


def sign_download(
    credentials: Credentials,
    bucket: str,
    key_path: str,
    *,
    now: float,
    nonce: int,
    expires_at: float,
) -> str:
    """Return a signature for downloads of ``key_path``: its file id is the bare path."""
    file_id = quote_path(key_path)
    return _sign(credentials, bucket, file_id, expires_at=expires_at, now=now, nonce=nonce)


def _sign(
    credentials: Credentials,
    bucket: str,
    file_id: str,
    *,
    expires_at: float,
    now: float,
    nonce: int,
) -> str:
    plain = (
        f"a={credentials.appid}&k={credentials.secret_id}&e={int(expires_at)}"
        f"&t={int(now)}&r={nonce}&f={file_id}&b={bucket}"
    ).encode()
    digest = hmac.new(credentials.secret_key.encode(), plain, hashlib.sha1).digest()
    return base64.b64encode(digest + plain).decode("ascii")
