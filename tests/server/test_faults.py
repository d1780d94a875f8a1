"""Faults on order: what happens, to which request, and to nobody else."""

from __future__ import annotations

import http.client
import threading
import time
from typing import Any

import pytest

from cosfs.server.running import LocalServer
from tests.server.wire import MIB, Wire, pattern


def order(wire: Wire, *rules: dict[str, Any], **plan: Any) -> None:
    answer = wire.control("PUT", "faults", {"rules": list(rules), **plan})
    assert answer.status == 200, answer.body


def fired(wire: Wire) -> list[int]:
    counts: list[int] = wire.control("GET", "faults").json["fired"]
    return counts


def test_the_plan_of_the_page(wire: Wire) -> None:
    plan = {
        "latency_ms": 0,
        "bytes_per_second_per_connection": None,
        "rules": [
            {
                "op": "upload",
                "skip": 2,
                "times": 1,
                "probability": None,
                "action": "status",
                "status": 503,
                "code": -71,
            }
        ],
    }
    assert wire.control("PUT", "faults", plan).status == 200
    assert wire.control("GET", "faults").json == {**plan, "seed": None, "fired": [0]}
    assert wire.control("DELETE", "faults").json["rules"] == []
    assert wire.control("GET", "faults").json == {
        "latency_ms": 0,
        "bytes_per_second_per_connection": None,
        "seed": None,
        "rules": [],
        "fired": [],
    }


@pytest.mark.parametrize(
    "plan",
    [
        [],
        {"latency": 5},
        {"latency_ms": "5"},
        {"latency_ms": -1},
        {"bytes_per_second_per_connection": 0},
        {"seed": "x"},
        {"rules": {}},
        {"rules": [{"op": "upload"}]},
        {"rules": [{"op": "explode", "action": "hang"}]},
        {"rules": [{"op": "upload", "action": "explode"}]},
        {"rules": [{"op": "upload", "action": "hang", "skipp": 1}]},
        {"rules": [{"op": "upload", "action": "hang", "times": -1}]},
        {"rules": [{"op": "upload", "action": "hang", "probability": 2}]},
        {"rules": [{"op": "upload", "action": "status", "status": 99}]},
    ],
)
def test_a_plan_that_is_none_is_refused_and_changes_nothing(plan: Any, wire: Wire) -> None:
    order(wire, latency_ms=1)
    answer = wire.control("PUT", "faults", plan)
    assert answer.status == 400 and answer.json["error"]
    assert wire.control("GET", "faults").json["latency_ms"] == 1


def test_status_skip_and_times(wire: Wire, folder: str) -> None:
    order(wire, {"op": "upload", "skip": 2, "times": 2, "action": "status"})
    codes = [wire.upload(f"{folder}{number}", b"").code for number in range(6)]
    assert codes == [0, 0, -71, -71, 0, 0]
    assert fired(wire) == [2]
    assert wire.names(folder) == ["0", "1", "4", "5"]


def test_status_and_code_of_a_rule(wire: Wire) -> None:
    order(wire, {"op": "stat", "action": "status", "status": 500, "code": -181})
    answer = wire.stat("/a")
    assert (answer.status, answer.code) == (500, -181)
    assert wire.list("/").code == 0


def test_rules_apply_to_downloads_and_to_everything(wire: Wire, folder: str) -> None:
    wire.put(folder + "a", b"x")
    order(wire, {"op": "download", "action": "status", "status": 503, "times": 1})
    answer = wire.download(folder + "a")
    assert (answer.status, answer.headers["X-ErrNo"]) == (503, "-71")
    assert wire.download(folder + "a").body == b"x"
    order(wire, {"op": "*", "action": "status"})
    assert wire.download(folder + "a").status == wire.stat("/").status == 503
    assert wire.control("GET", "stats").status == 200


def test_a_fault_comes_before_the_signature_is_refused(wire: Wire) -> None:
    order(wire, {"op": "stat", "action": "status"})
    assert wire.get("/a", sign="", op="stat").code == -71


def test_the_first_rule_that_fires_wins(wire: Wire) -> None:
    order(
        wire,
        {"op": "stat", "action": "status", "code": -1001, "times": 1},
        {"op": "*", "action": "status", "code": -1002, "skip": 1},
    )
    assert [wire.stat("/a").code for _ in range(4)] == [-1001, -197, -1002, -1002]


def test_probability_is_repeatable_by_its_seed(wire: Wire) -> None:
    rule = {"op": "stat", "action": "status", "probability": 0.3}
    runs = []
    for seed in (1, 1, 2):
        order(wire, rule, seed=seed)
        runs.append([wire.stat("/a").code for _ in range(60)])
    assert runs[0] == runs[1] != runs[2]
    assert 5 < runs[0].count(-71) < 35


def test_drop_before_the_change(wire: Wire, folder: str) -> None:
    order(wire, {"op": "upload", "action": "drop_before", "times": 1})
    with pytest.raises((http.client.HTTPException, OSError)):
        wire.upload(folder + "a", b"x")
    assert wire.stat(folder + "a").code == -197


def test_drop_after_the_change(wire: Wire, folder: str) -> None:
    order(wire, {"op": "upload", "action": "drop_after", "times": 1})
    with pytest.raises((http.client.HTTPException, OSError)):
        wire.upload(folder + "a", b"x")
    assert wire.stat(folder + "a").data["filesize"] == 1


@pytest.mark.parametrize("size", [10, 1000, 300_000])
def test_cut_body_of_a_download(size: int, wire: Wire, folder: str) -> None:
    wire.put(folder + "a", pattern(size))
    order(wire, {"op": "download", "action": "cut_body", "times": 1})
    with pytest.raises(http.client.IncompleteRead) as caught:
        wire.download(folder + "a")
    assert caught.value.partial == pattern(size)[: size // 2]
    assert wire.download(folder + "a").body == pattern(size)


def test_cut_body_of_a_reply_comes_after_the_change(wire: Wire, folder: str) -> None:
    order(wire, {"op": "create", "action": "cut_body", "times": 1})
    with pytest.raises(http.client.IncompleteRead) as caught:
        wire.create(folder)
    assert caught.value.partial.startswith(b'{"code": 0')
    assert wire.stat(folder).code == 0


def test_garbage(wire: Wire, folder: str) -> None:
    order(wire, {"op": "create", "action": "garbage", "status": 500, "times": 1})
    answer = wire.create(folder)
    assert answer.status == 500 and answer.headers["Content-Type"] == "text/html"
    with pytest.raises(ValueError, match="Expecting value"):
        answer.json  # noqa: B018
    assert wire.stat(folder).code == -197


def test_hang_holds_nobody_else(wire: Wire, server: LocalServer, folder: str) -> None:
    order(wire, {"op": "create", "action": "hang", "times": 1})
    hung = http.client.HTTPConnection(wire.netloc, timeout=0.3)
    headers = {"Authorization": wire.sign(), "Content-Type": "application/json"}
    hung.request("POST", wire.url_path(folder), b'{"op": "create"}', headers)
    with pytest.raises(TimeoutError):
        hung.getresponse()
    assert wire.stat(folder).code == -197
    hung.close()
    assert wire.create(folder).code == 0


def test_a_hung_request_does_not_keep_the_server_from_stopping() -> None:
    with LocalServer() as local:
        wire = Wire(local)
        order(wire, {"op": "stat", "action": "hang"})
        hung = http.client.HTTPConnection(wire.netloc, timeout=30)
        hung.request("GET", wire.url_path("/a") + "?op=stat", headers={"Authorization": "x"})
        while local.faults()["fired"] == [0]:
            pass
        wire.close()
        began = time.monotonic()
        local.stop()
        assert time.monotonic() - began < 1.5
        hung.close()


def test_latency_is_each_request_s_own(wire: Wire, server: LocalServer) -> None:
    """Twenty requests at once wait side by side, on both hosts."""
    order(wire, latency_ms=200)
    began = time.monotonic()
    waits: list[float] = []

    def ask(number: int) -> None:
        own = Wire(server)
        before = time.monotonic()
        answer = own.stat("/a") if number % 2 else own.download("/a")
        assert answer.status == 404
        waits.append(time.monotonic() - before)
        own.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    assert wire.control("GET", "stats").status == 200
    for thread in threads:
        thread.join()
    assert len(waits) == 20 and min(waits) >= 0.2
    assert time.monotonic() - began < 2.0


def test_bandwidth_is_each_connection_s_own(wire: Wire, server: LocalServer, folder: str) -> None:
    wire.put(folder + "a", pattern(MIB // 2))
    order(wire, bytes_per_second_per_connection=MIB)
    times: list[float] = []

    def load() -> None:
        own = Wire(server)
        before = time.monotonic()
        assert own.download(folder + "a").body == pattern(MIB // 2)
        times.append(time.monotonic() - before)
        own.close()

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == 4 and min(times) >= 0.45 and max(times) < 1.5
    before = time.monotonic()
    assert wire.upload(folder + "b", pattern(MIB // 2)).code == 0
    assert 0.45 <= time.monotonic() - before < 1.5


def test_without_faults_after_delete(wire: Wire) -> None:
    order(wire, {"op": "*", "action": "status"}, latency_ms=50)
    wire.control("DELETE", "faults")
    assert wire.stat("/a").code == -197
