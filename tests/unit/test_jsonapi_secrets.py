"""No secret and no signature in what is raised, shown or logged: a walk over failures."""

from __future__ import annotations

import json
import logging
import random
import re
import traceback
from collections.abc import Callable, Iterator

import pytest

from cosfs.config import Account, Endpoints, NetworkOptions
from cosfs.errors import CosfsError
from cosfs.jsonapi.bucket import BucketClient
from cosfs.jsonapi.client import JsonApi
from cosfs.jsonapi.proxies import Proxies
from cosfs.jsonapi.replies import OpCount
from cosfs.jsonapi.retry import RetryPolicy
from cosfs.jsonapi.transport import HttpTransport
from cosfs.jsonapi.wire import HttpRequest, HttpStream
from cosfs.model import BytesSource
from tests.fakeclock import FakeClock
from tests.unit.jsonapi_fakes import (
    CREDENTIALS,
    SECRET,
    SocketServer,
    http_reply,
    read_request,
)


class Spy:
    """Passes requests on and keeps every signature that went out."""

    def __init__(self) -> None:
        self.inner = HttpTransport(NetworkOptions(), proxies=Proxies({}))
        self.signatures: set[str] = set()

    def open(self, request: HttpRequest) -> HttpStream:
        if "Authorization" in request.headers:
            self.signatures.add(request.headers["Authorization"])
        self.signatures.update(re.findall(r"sign=([^&]+)", request.url))
        return self.inner.open(request)

    def counters(self) -> dict[str, OpCount]:
        return {}

    def close(self) -> None:
        self.inner.close()


def echo(status: str) -> Callable[[str], bytes]:
    """A server that quotes the signature in all it says."""

    def reply(signature: str) -> bytes:
        body = json.dumps(
            {
                "code": -97,
                "message": f"wrong signature {signature}",
                "request_id": signature,
                "errormsg": signature,
                "errorcode": -46618,
            }
        )
        return http_reply(body.encode(), status)

    return reply


REPLIES: dict[str, Callable[[str], bytes]] = {
    "refused": echo("403 Forbidden"),
    "failed": echo("500 Internal Server Error"),
    "moved": lambda sign: http_reply(b"", "302 Found", [f"Location: http://h/?sign={sign}"]),
    "page": lambda sign: http_reply(f"<html>{sign}</html>".encode()),
    "nothing": lambda sign: b"",
    "no HTTP": lambda sign: f"{sign}\r\n\r\n".encode(),
    "cut headers": lambda sign: f"HTTP/1.1 200 OK\r\nX-Echo: {sign}\r\nfoo".encode(),
    "cut body": lambda sign: http_reply(sign.encode())[:-1],
    "odd data": lambda sign: http_reply(
        json.dumps({"code": 0, "data": {"filesize": sign, "access_url": 5, "session": []}}).encode()
    ),
}

ASKS: list[Callable[[BucketClient], object]] = [
    lambda b: b.stat_file("k"),
    lambda b: b.create_folder("d/"),
    lambda b: b.delete_file("k"),
    lambda b: b.move_file("k", "l", overwrite=False),
    lambda b: b.upload("k", BytesSource(b"x"), sha="y", insert_only=True),
    lambda b: b.slice_init("k", filesize=1, slice_size=1, insert_only=True),
    lambda b: b.list_folder(""),
    lambda b: b.download("k", 0, memoryview(bytearray(4))),
    lambda b: b.head("k"),
]


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("name", [*REPLIES, "nobody"])
def test_no_failure_shows_a_signature(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def handle(connection: object) -> None:
        request = read_request(connection)  # type: ignore[arg-type]
        if request is not None:
            line, headers, _ = request
            found = re.search(r"sign=(\S+)", line)
            signature = found[1] if found else headers["authorization"]
            connection.sendall(REPLIES[name](signature))  # type: ignore[attr-defined]

    with SocketServer(handle) as server:
        url = "http://127.0.0.1:1" if name == "nobody" else server.url
        spy = Spy()
        api = JsonApi(
            Account(CREDENTIALS, Endpoints.of_region("sh", api=url, download=url)),
            NetworkOptions(),
            clock=FakeClock(),
            rng=random.Random(1),
            transport=spy,
            policy=RetryPolicy(2.0, max_attempts=2),
        )
        shown = [repr(api), repr(api.bucket("b"))]
        for ask in ASKS:
            try:
                ask(api.bucket("mybucket"))
            except CosfsError as error:
                shown += traceback.format_exception(error, chain=True)
                for item in chain(error):
                    shown += [str(item), repr(item), repr(item.args), repr(vars(item))]
        spy.close()
    text = "\n".join(shown) + caplog.text
    assert len(spy.signatures) >= len(ASKS)
    # A signature may be quoted or cut: no sizeable part of one may show.
    for signature in spy.signatures:
        assert signature[:30] not in text and signature[-30:] not in text
    assert SECRET not in text


def test_credentials_are_not_shown() -> None:
    account = Account(CREDENTIALS, Endpoints.of_region("sh"))
    assert SECRET not in repr(account)
