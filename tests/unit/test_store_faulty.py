"""Failures on demand: by method, occurrence, path and chance; before and after the change."""

from __future__ import annotations

import threading

import pytest

from cosfs.errors import NotFound, RequestTimeout, ServerFault, TruncatedBody
from cosfs.model import BytesSource, Entry, Metadata
from cosfs.store.faulty import Body, Fault, FaultPlan, FaultyStore, Gate
from cosfs.store.memory import MemoryStore


def timeout() -> Exception:
    return RequestTimeout("injected")


def build(*faults: Fault, seed: int = 0) -> tuple[FaultyStore, MemoryStore, FaultPlan]:
    inner = MemoryStore()
    plan = FaultPlan(*faults, seed=seed)
    return FaultyStore(inner, plan), inner, plan


def put(store: FaultyStore, path: str, data: bytes = b"data") -> Entry:
    return store.write_file(path, BytesSource(data), metadata=Metadata())


def test_before_the_change_nothing_is_done() -> None:
    store, inner, plan = build(Fault("write_file", error=timeout))
    with pytest.raises(RequestTimeout):
        put(store, "/f")
    assert inner.files() == {}
    plan.clear()
    put(store, "/f")
    assert inner.files() == {"/f": b"data"}


def test_after_the_change_it_is_done() -> None:
    store, inner, plan = build(Fault("write_file", error=timeout, after=True))
    with pytest.raises(RequestTimeout):
        put(store, "/f")
    assert inner.files() == {"/f": b"data"}
    assert plan.hits == [("write_file", "/f")]


def test_by_occurrence() -> None:
    store, _, _ = build(Fault("probe", on={2, 4}, error=timeout))
    outcomes = []
    for _ in range(5):
        try:
            store.probe()
            outcomes.append("good")
        except RequestTimeout:
            outcomes.append("bad")
    assert outcomes == ["good", "bad", "good", "bad", "good"]


def test_by_path_either_name_of_a_move() -> None:
    store, _, plan = build(Fault(path="/b", error=lambda: ServerFault("injected")))
    put(store, "/a")
    for call in (lambda: store.move_file("/a", "/b", overwrite=True), lambda: put(store, "/b")):
        with pytest.raises(ServerFault):
            call()
    store.move_file("/a", "/c", overwrite=True)
    assert plan.hits == [("move_file", "/a"), ("write_file", "/b")]


def test_chance_is_repeatable() -> None:
    def hits(seed: int) -> list[bool]:
        store, _, plan = build(Fault("probe", probability=0.5, error=timeout), seed=seed)
        seen = []
        for _ in range(40):
            before = len(plan.hits)
            try:
                store.probe()
            except RequestTimeout:
                pass
            seen.append(len(plan.hits) > before)
        return seen

    assert hits(7) == hits(7)
    assert hits(7) != hits(8)
    assert set(hits(7)) == {True, False}


def test_a_truncated_body_is_noticed() -> None:
    store, _, _ = build(Fault("read_range", body=Body.TRUNCATED, on={1}))
    entry = put(store, "/f")
    into = bytearray(4)
    with pytest.raises(TruncatedBody):
        store.read_range("/f", 0, memoryview(into), entry.version)
    assert bytes(into) == b"da\0\0"
    store.read_range("/f", 0, memoryview(into), entry.version)
    assert bytes(into) == b"data"


def test_a_wrong_body_is_not_noticed() -> None:
    store, _, _ = build(Fault("read_range", body=Body.WRONG))
    entry = put(store, "/f")
    into = bytearray(4)
    store.read_range("/f", 0, memoryview(into), entry.version)
    assert bytes(into) != b"data"
    store.read_range("/f", 0, memoryview(into)[:0], entry.version)


@pytest.mark.parametrize("after", [False, True])
def test_a_gate_holds_a_call_back(after: bool) -> None:
    gate = Gate()
    store, inner, _ = build(Fault("write_file", gate=gate, after=after))
    thread = threading.Thread(target=put, args=(store, "/f"))
    thread.start()
    assert gate.arrived.wait(30)
    assert (inner.files() != {}) == after
    gate.open()
    thread.join(30)
    assert inner.files() == {"/f": b"data"}
    put(store, "/g")  # an open gate lets all through


def test_a_forgotten_gate_is_an_error() -> None:
    store, _, _ = build(Fault("probe", gate=Gate(patience_s=0)))
    with pytest.raises(RuntimeError):
        store.probe()


def test_real_errors_pass() -> None:
    store, _, _ = build()
    with pytest.raises(NotFound):
        store.stat_file("/f")


def test_marks_fail_by_plan_too() -> None:
    store, inner, plan = build(
        Fault("mark_folder", error=timeout, after=True),
        Fault("stat_mark", error=timeout),
        Fault("delete_folder", error=timeout),
    )
    with pytest.raises(RequestTimeout):
        store.mark_folder("/d", Metadata({"comment": b"x"}))
    assert inner.stat_mark("/d").properties == {"comment": b"x"}
    with pytest.raises(RequestTimeout):
        store.stat_mark("/d")
    store.make_folder("/d", biz_attr=b"x")
    with pytest.raises(RequestTimeout):
        store.delete_folder("/d", marked=True)
    assert set(inner.marks()) == {"/d"}
    plan.clear()
    store.delete_folder("/d", marked=True)
    assert inner.marks() == {} and inner.folders() == []
