"""Speaks to a server with nothing but ``http.client`` and a signature of its own.

Imports nothing of the client and nothing of the server: what both get wrong would go unnoticed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast
from urllib.parse import quote, urlencode

MIB = 1 << 20
BUCKET = "mybucket"

_numbers = itertools.count(int(time.time() * 1000) % 10**9)


class Address(Protocol):
    """What a test must know of a server."""

    appid: str
    secret_id: str
    secret_key: str
    url: str


class Restartable(Address, Protocol):
    """A server that can be started again."""

    def stop(self) -> object: ...

    def start(self) -> object: ...


@dataclass(frozen=True)
class Answer:
    """A reply, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> int:
        value = self.json
        return int(value["code"] if "code" in value else value["errorcode"])

    @property
    def data(self) -> dict[str, Any]:
        assert self.status == 200 and self.code == 0, (self.status, self.body)
        data: dict[str, Any] = self.json["data"]
        return data


def encode_path(text: str) -> str:
    """Quote a path the way the Python SDK does."""
    return quote(text, safe="/~")


def build_sign(
    address: Address,
    *,
    file_id: str = "",
    expires: int | str | None = None,
    order: Sequence[str] = "aketrfb",
    secret_key: str | None = None,
    **fields: object,
) -> str:
    """Sign. `file_id` is quoted already; `fields` replaces or (with None) removes a field."""
    now = int(time.time())
    values: dict[str, object] = {
        "a": address.appid,
        "k": address.secret_id,
        "e": now + 300 if expires is None else expires,
        "t": now,
        "r": next(_numbers),
        "f": file_id,
        "b": BUCKET,
    }
    values.update(fields)
    plain = "&".join(f"{name}={values[name]}" for name in order if values[name] is not None)
    key = (secret_key or address.secret_key).encode()
    return sign_plain(key, plain.encode())


def sign_plain(key: bytes, plain: bytes) -> str:
    """Sign a ready text."""
    return base64.b64encode(hmac.digest(key, plain, "sha1") + plain).decode()


def build_form(
    fields: Mapping[str, object], *, boundary: str = "c0ffee", with_filename: bool = True
) -> tuple[bytes, str]:
    """Build a multipart body and its content type; every part has a file name as in Python 2."""
    pieces = []
    for name, value in fields.items():
        data = value if isinstance(value, bytes) else str(value).encode()
        filename = f'; filename="{name}"' if with_filename else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'
        pieces += [head.encode(), data, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces), f"multipart/form-data; boundary={boundary}"


def sha1(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def pattern(size: int) -> bytes:
    """The content of the reference's vectors: byte i is i mod 251."""
    block = bytes(range(251))
    return (block * (size // 251 + 1))[:size]


@dataclass
class Wire:
    """One keep-alive connection to a server, and the operations as the notes spell them."""

    address: Address
    bucket: str = BUCKET
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    @property
    def netloc(self) -> str:
        return self.address.url.removeprefix("http://")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def restart(self) -> None:
        """Stop the server and start it again on the same data."""
        self.close()
        address = cast(Restartable, self.address)
        address.stop()
        address.start()

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send a request exactly so and read the answer."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self.netloc, timeout=30)
        try:
            self._connection.request(method, target, body, dict(headers or {}))
            response = self._connection.getresponse()
            answer = Answer(response.status, dict(response.headers), response.read())
        except BaseException:
            self.close()
            raise
        return answer

    def url_path(self, path: str) -> str:
        return f"/files/v2/{self.address.appid}/{self.bucket}{encode_path(path)}"

    def sign(self, path: str | None = None, *, once: bool = False, **fields: Any) -> str:
        """Sign for a path (None: empty `f`), for one use or for many."""
        file_id = ""
        if path is not None:
            file_id = f"/{self.address.appid}/{self.bucket}{encode_path(path)}"
        if once:
            fields.setdefault("expires", 0)
        fields.setdefault("b", self.bucket)
        fields.setdefault("file_id", file_id)
        return build_sign(self.address, **fields)

    def get(self, path: str, *, sign: str | None = None, **query: object) -> Answer:
        """Send stat or list; `query` holds `op` and the rest."""
        text = "?" + urlencode(query) if query else ""
        headers = {"Authorization": self.sign(path) if sign is None else sign}
        return self.request("GET", self.url_path(path) + text, headers)

    def post_json(
        self, path: str, *, once: bool = False, sign: str | None = None, **fields: object
    ) -> Answer:
        signature = self.sign(path, once=once) if sign is None else sign
        headers = {"Authorization": signature, "Content-Type": "application/json"}
        return self.request("POST", self.url_path(path), headers, json.dumps(fields).encode())

    def post_form(self, path: str, *, sign: str | None = None, **fields: object) -> Answer:
        body, content_type = build_form(fields)
        signature = self.sign(path) if sign is None else sign
        headers = {"Authorization": signature, "Content-Type": content_type}
        return self.request("POST", self.url_path(path), headers, body)

    # The operations.

    def create(self, path: str, biz_attr: str = "") -> Answer:
        return self.post_json(path, op="create", biz_attr=biz_attr)

    def stat(self, path: str) -> Answer:
        return self.get(path, op="stat")

    def update(self, path: str, **fields: object) -> Answer:
        return self.post_json(path, once=True, op="update", **fields)

    def delete(self, path: str) -> Answer:
        return self.post_json(path, once=True, op="delete")

    def list(self, path: str, num: object = 1000, context: str = "", **query: object) -> Answer:
        return self.get(path, op="list", num=num, context=context, **query)

    def upload(self, path: str, content: bytes, **fields: object) -> Answer:
        fields = {"op": "upload", "filecontent": content, "sha": sha1(content), **fields}
        return self.post_form(path, **fields)

    def put(self, path: str, content: bytes = b"") -> None:
        """Upload, and insist that it worked."""
        assert self.upload(path, content, insertOnly="0").data

    def move(self, path: str, target: str, overwrite: int = 0) -> Answer:
        return self.transfer("move", path, target, overwrite)

    def copy(self, path: str, target: str, overwrite: int = 0) -> Answer:
        return self.transfer("copy", path, target, overwrite)

    def transfer(self, op: str, path: str, target: str, overwrite: int) -> Answer:
        query = urlencode({"to_over_write": overwrite, "dest_fileid": target, "op": op})
        headers = {"Authorization": self.sign(path, once=True), "Content-Length": "0"}
        return self.request("POST", f"{self.url_path(path)}?{query}", headers)

    def slice_init(self, path: str, size: int, slice_size: int = MIB, **fields: object) -> Answer:
        fields = {"op": "upload_slice_init", "filesize": size, "slice_size": slice_size, **fields}
        return self.post_form(path, **fields)

    def slice_data(self, path: str, session: str, offset: int, content: bytes) -> Answer:
        fields = {"op": "upload_slice_data", "session": session, "offset": offset}
        return self.post_form(path, **fields, filecontent=content)

    def slice_finish(self, path: str, session: str, size: int, **fields: object) -> Answer:
        fields = {"op": "upload_slice_finish", "session": session, "filesize": size, **fields}
        return self.post_form(path, **fields)

    def slice_list(self, path: str) -> Answer:
        return self.post_form(path, op="upload_slice_list")

    def download(
        self, path: str, *, method: str = "GET", sign: str | None = None, **headers: str
    ) -> Answer:
        """Download by virtual host, signed for the bare path."""
        if sign is None:
            sign = self.sign(file_id=encode_path(path))
        host = f"{self.bucket}-{self.address.appid}.cossh.myqcloud.com"
        query = f"?sign={quote(sign, safe='')}" if sign else ""
        sent = {"Host": host, **{name.replace("_", "-"): text for name, text in headers.items()}}
        return self.request(method, encode_path(path) + query, sent)

    # Whole errands.

    def names(self, path: str, num: int = 1000, **query: object) -> list[str]:
        """List all pages and return the names."""
        return [info["name"] for page in self.pages(path, num, **query) for info in page]

    def pages(self, path: str, num: int, **query: object) -> list[list[dict[str, Any]]]:
        pages = []
        context = ""
        for _ in range(10_000):
            data = self.list(path, num, context, **query).data
            pages.append(data["infos"])
            if data["listover"]:
                return pages
            context = data["context"]
        raise AssertionError("the listing does not end")

    def control(self, method: str, page: str, value: object = None) -> Answer:
        body = None if value is None else json.dumps(value).encode()
        return self.request(method, f"/_server/{page}", {}, body)
