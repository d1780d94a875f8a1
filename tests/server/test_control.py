"""The control pages: counters, and who may see them."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from cosfs.server.door import is_loopback_peer
from tests.server.wire import MIB, Wire, build_form

Start = Callable[..., Wire]
OPS = {
    "stat", "list", "create", "update", "delete", "upload", "upload_slice_init",
    "upload_slice_data", "upload_slice_finish", "upload_slice_list", "move", "copy", "download",
}


def stats(wire: Wire) -> Any:
    return wire.control("GET", "stats").json


@pytest.fixture
def alone(start: Start) -> Wire:
    return start()


def test_counters_at_the_beginning(alone: Wire) -> None:
    assert stats(alone) == {
        "requests": {"total": 0, "by_op": dict.fromkeys(OPS, 0)},
        "bytes_in": 0,
        "bytes_out": 0,
    }


def test_every_request_is_counted_refused_ones_too(alone: Wire) -> None:
    alone.create("/d/")
    alone.create("/d/")
    alone.upload("/d/a", b"12345")
    alone.stat("/d/a")
    alone.get("/d/", sign="", op="stat")
    alone.list("/d/")
    alone.update("/d/a")
    alone.copy("/d/a", "b")
    alone.move("/d/b", "c")
    session = alone.slice_init("/s", 1).data["session"]
    alone.slice_list("/s")
    alone.slice_data("/s", session, 0, b"x")
    alone.slice_finish("/s", session, 1)
    alone.download("/d/a")
    alone.download("/d/a", method="HEAD")
    alone.download("/missing", sign="")
    alone.delete("/d/a")
    alone.post_form("/u", sign="", op="upload", filecontent=b"x" * 1000)
    alone.post_json("/u", op="explode")
    alone.request("GET", "/nowhere")
    alone.request("GET", "/files/v2/1250000000/mybucket/%ff?op=stat")
    counted = stats(alone)["requests"]
    assert counted["by_op"] == {
        "stat": 2, "list": 1, "create": 2, "update": 1, "delete": 1, "upload": 2,
        "upload_slice_init": 1, "upload_slice_data": 1, "upload_slice_finish": 1,
        "upload_slice_list": 1, "move": 1, "copy": 1, "download": 3,
    }
    assert counted["total"] == sum(counted["by_op"].values()) + 3


def test_bytes_are_those_of_bodies(alone: Wire) -> None:
    body, content_type = build_form({"op": "upload", "filecontent": b"x" * 100_000})
    headers = {"Authorization": alone.sign(), "Content-Type": content_type}
    replied = len(alone.request("POST", alone.url_path("/a"), headers, body).body)
    alone.download("/a")
    alone.download("/a", method="HEAD")
    alone.download("/a", Range="bytes=0-9")
    counted = stats(alone)
    assert counted["bytes_in"] == len(body)
    assert counted["bytes_out"] == replied + 100_000 + 10


def test_reset(alone: Wire) -> None:
    alone.stat("/a")
    assert alone.control("POST", "stats/reset").status == 200
    assert stats(alone)["requests"]["total"] == 0


def test_pages_that_are_none(wire: Wire) -> None:
    assert wire.control("GET", "nothing").status == 404
    assert wire.control("DELETE", "stats").status == 405
    assert wire.control("GET", "stats/reset").status == 405


def test_a_long_order_is_refused(wire: Wire) -> None:
    assert wire.request("PUT", "/_server/faults", {}, b" " * MIB).status == 400
    answer = wire.request("PUT", "/_server/faults", {}, b" " * (MIB + 1))
    assert answer.status == 413 and "at most" in answer.json["error"]
    assert wire.control("PUT", "faults", {"latency_ms": 0}).status == 200


def test_others_are_refused_before_they_send(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cosfs.server.door.is_loopback_peer", lambda peer: False)
    host, _, port = wire.netloc.partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = b"PUT /_server/faults HTTP/1.1\r\nHost: h\r\nContent-Length: 400000000\r\n\r\n"
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 403 ")


def test_without_control(start: Start) -> None:
    wire = start(control=False)
    assert wire.control("GET", "stats").code == -5994
    assert wire.control("PUT", "faults", {"latency_ms": 1}).code == -5994


@pytest.mark.parametrize(
    ("peer", "allowed"),
    [
        (("127.0.0.1", 5), True),
        (("127.1.2.3", 5), True),
        (("::1", 5, 0, 0), True),
        (("192.168.1.5", 5), False),
        (("fe80::1%eth0", 5, 0, 2), False),
        (None, False),
    ],
)
def test_only_the_machine_itself_may_control(peer: Any, allowed: bool) -> None:
    assert is_loopback_peer(peer) is allowed
