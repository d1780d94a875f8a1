"""Owns what a mount is compared with: one connection and a plain loop over ``requests``.

It sends the least that the protocol asks for, one request after the other, and checks no content.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import requests

from cosfs.config import Credentials
from cosfs.jsonapi.auth import NONCE_LIMIT, quote_path, sign_more, sign_once
from cosfs.server.running import ServerProcess

from .sizes import MIB

_SIGNED_FOR_S = 24 * 3600


class OneConnection:
    """Asks the server about one bucket. Every method raises ``RuntimeError`` when it is refused."""

    def __init__(self, server: ServerProcess, bucket: str) -> None:
        self._bucket = bucket
        self._credentials = Credentials(server.appid, server.secret_id, server.secret_key)
        self._api = f"{server.url}/files/v2/{server.appid}/{bucket}"
        self._downloads = f"{server.url}/{bucket}-{server.appid}"
        self._session = requests.Session()
        self._session.trust_env = False
        now = time.time()
        self._signature = sign_more(
            self._credentials, bucket, "", now=now, nonce=1, expires_at=now + _SIGNED_FOR_S
        )

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def put(self, path: str, content: bytes) -> None:
        """Store a file of at most 20 MiB with one request; ``path`` begins with a slash."""
        self._post(path, op="upload", insertOnly="0", filecontent=content)

    def put_slices(self, path: str, slices: Iterator[bytes], size: int) -> None:
        """Store ``size`` bytes that come in slices of 1 MiB."""
        begun = self._post(
            path,
            op="upload_slice_init",
            filesize=str(size),
            slice_size=str(MIB),
            insertOnly="0",
        )
        session = begun["session"]
        for number, piece in enumerate(slices):
            self._post(
                path,
                op="upload_slice_data",
                session=session,
                offset=str(number * MIB),
                filecontent=piece,
            )
        self._post(path, op="upload_slice_finish", session=session, filesize=str(size))

    def get(self, path: str, first: int = 0, length: int | None = None) -> int:
        """Read a file, or a range of it, into one buffer of 1 MiB; return how many bytes came."""
        headers = {"Authorization": self._signature, "Accept-Encoding": "identity"}
        if length is not None:
            headers["Range"] = f"bytes={first}-{first + length - 1}"
        buffer, total = bytearray(MIB), 0
        with self._session.get(
            self._downloads + quote_path(path), headers=headers, stream=True
        ) as reply:
            if reply.status_code not in (200, 206):
                raise RuntimeError(f"GET {path}: {reply.status_code}")
            while count := reply.raw.readinto(buffer):
                total += count
        return total

    def delete(self, path: str) -> None:
        """Delete a file."""
        now = time.time()
        signature = sign_once(
            self._credentials, self._bucket, path, now=now, nonce=random.randrange(NONCE_LIMIT)
        )
        reply = self._session.post(
            self._api + quote_path(path),
            json={"op": "delete"},
            headers={"Authorization": signature},
        )
        _data_of(reply)

    def copy(self, path: str, target: str) -> None:
        """Copy a file."""
        reply = self._session.post(
            self._api + quote_path(path),
            params={"op": "copy", "dest_fileid": target, "to_over_write": "1"},
            headers={"Authorization": self._signature},
        )
        _data_of(reply)

    def _post(self, path: str, **fields: str | bytes) -> dict[str, Any]:
        form = {name: (None, value) for name, value in fields.items()}
        reply = self._session.post(
            self._api + quote_path(path), files=form, headers={"Authorization": self._signature}
        )
        return _data_of(reply)


def _data_of(reply: requests.Response) -> dict[str, Any]:
    said = reply.json()
    if said["code"] != 0:
        raise RuntimeError(f"the server refused: {said['code']} {said['message']}")
    data: dict[str, Any] = said.get("data") or {}
    return data
