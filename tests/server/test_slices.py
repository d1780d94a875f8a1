"""Sliced uploads: order, resume, parts, instant upload."""

from __future__ import annotations

import errno
import json
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cosfs.server.running import LocalServer
from tests.server.wire import MIB, Wire, pattern, sha1

Start = Callable[..., Wire]

# Section 3.8: (size, elements).
PARTS: dict[int, list[tuple[int, int, str]]] = {
    100: [(0, 100, "1e6634bfaebc0348298105923d0f26e47aa33ff5")],
    1048576: [(0, 1048576, "c2fc4cb20f1301a6b0dd211c19e69a13925dbe40")],
    2097152: [
        (0, 1048576, "463935c7eea4ca2705d0f481ecedb31f4d0f3a96"),
        (1048576, 1048576, "20e1307de838fb67c28577c7ec9d1c6288eb2883"),
    ],
    2621440: [
        (0, 1048576, "463935c7eea4ca2705d0f481ecedb31f4d0f3a96"),
        (1048576, 1048576, "657c72d675f1e792607e5c0a7405f66cbdb8c290"),
        (2097152, 524288, "d08b7e21afb7bc45b7bc7e265d812094252a14ac"),
    ],
}
BIG = 2621440


def spell(parts: list[tuple[int, int, str]]) -> str:
    return json.dumps([dict(zip(("offset", "datalen", "datasha"), part)) for part in parts])


def init_with_sha(wire: Wire, path: str, size: int = BIG, **fields: object) -> Any:
    sha = PARTS[size][-1][2]
    return wire.slice_init(path, size, sha=sha, uploadparts=spell(PARTS[size]), **fields)


def send(wire: Wire, path: str, session: str, content: bytes, slice_size: int = MIB) -> None:
    for offset in range(0, len(content), slice_size):
        answer = wire.slice_data(path, session, offset, content[offset : offset + slice_size])
        assert answer.data["offset"] == offset


@pytest.fixture
def fresh(start: Start) -> Wire:
    """A server without any content, so that nothing is uploaded instantly."""
    return start(buckets=["mybucket", "other"])


@pytest.mark.parametrize("size", PARTS)
def test_parts_of_the_vectors_are_accepted(size: int, fresh: Wire) -> None:
    content = pattern(size)
    data = init_with_sha(fresh, "/a", size).data
    assert (data["slice_size"], data["serial_upload"]) == (MIB, 0)
    send(fresh, "/a", data["session"], content)
    finished = fresh.slice_finish("/a", data["session"], size, sha=sha1(content)).data
    assert set(finished) == {"access_url", "resource_path", "source_url", "url"}
    stat = fresh.stat("/a").data
    assert (stat["sha"], stat["slicesize"], stat["filelen"]) == (sha1(content), MIB, size)
    assert fresh.download("/a").body == content


def test_wrong_state_of_a_middle_part(fresh: Wire) -> None:
    parts = list(PARTS[BIG])
    parts[1] = (parts[1][0], parts[1][1], "0" * 40)
    sha = parts[-1][2]
    session = fresh.slice_init("/a", BIG, sha=sha, uploadparts=spell(parts)).data["session"]
    send(fresh, "/a", session, pattern(BIG))
    answer = fresh.slice_finish("/a", session, BIG, sha=sha)
    assert (answer.code, answer.status) == (-5965, 400)
    assert fresh.slice_list("/a").data["session"] == session


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: parts[:-1],
        lambda parts: parts + [(BIG, 0, "0" * 40)],
        lambda parts: [parts[1], parts[0], parts[2]],
        lambda parts: [(0, MIB - 1, parts[0][2]), *parts[1:]],
        lambda parts: [*parts[:-1], (*parts[-1][:2], "0" * 40)],
        lambda parts: [(0, MIB, "xyz"), *parts[1:]],
        lambda parts: ["nonsense"],
    ],
)
def test_parts_that_do_not_fit_the_file(
    change: Callable[[Any], Any], fresh: Wire
) -> None:
    parts = change(PARTS[BIG])
    text = spell(parts) if all(isinstance(part, tuple) for part in parts) else json.dumps(parts)
    answer = fresh.slice_init("/a", BIG, sha=PARTS[BIG][-1][2], uploadparts=text)
    assert answer.code == -5965


def test_parts_as_texts_and_as_an_array_in_json(fresh: Wire) -> None:
    """Java sends every JSON value as a text."""
    parts = [{"offset": "0", "datalen": "100", "datasha": PARTS[100][0][2].upper()}]
    answer = fresh.post_json(
        "/a",
        op="upload_slice_init",
        filesize="100",
        slice_size=str(MIB),
        sha=PARTS[100][0][2],
        uploadparts=parts,
    )
    assert "session" in answer.data


@pytest.mark.parametrize("slice_size", [65536, 524288, MIB, 2 * MIB, 3 * MIB])
def test_slices_in_any_order_without_sha(slice_size: int, wire: Wire, folder: str) -> None:
    content = random.Random(slice_size).randbytes(3 * slice_size + 17)
    data = wire.slice_init(folder + "a", len(content), slice_size, biz_attr="x").data
    assert data["slice_size"] == slice_size
    offsets = list(range(0, len(content), slice_size))
    random.Random(1).shuffle(offsets)
    for offset in offsets:
        piece = content[offset : offset + slice_size]
        answer = wire.slice_data(folder + "a", data["session"], offset, piece)
        assert answer.data["datalen"] == len(piece)
    assert wire.slice_finish(folder + "a", data["session"], len(content)).code == 0
    assert wire.download(folder + "a").body == content
    stat = wire.stat(folder + "a").data
    assert (stat["sha"], stat["biz_attr"]) == (sha1(content), "x")


def test_slices_in_parallel(server: LocalServer, wire: Wire, folder: str) -> None:
    content = random.Random(7).randbytes(8 * MIB + 5)
    session = wire.slice_init(folder + "a", len(content), 262144).data["session"]
    offsets = list(range(0, len(content), 262144))
    random.Random(2).shuffle(offsets)
    codes: list[int] = []

    def work(mine: list[int]) -> None:
        own = Wire(server)
        for offset in mine:
            piece = content[offset : offset + 262144]
            codes.append(own.slice_data(folder + "a", session, offset, piece).code)
        own.close()

    threads = [threading.Thread(target=work, args=(offsets[n::8],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0] * len(offsets)
    assert wire.slice_finish(folder + "a", session, len(content)).code == 0
    assert wire.download(folder + "a").body == content


def test_a_slice_that_is_sent_again(wire: Wire, folder: str) -> None:
    path = folder + "a"
    content = random.Random(3).randbytes(3 * 65536)
    session = wire.slice_init(path, len(content), 65536).data["session"]
    wrong = bytes(65536)
    assert wire.slice_data(path, session, 0, wrong).code == 0
    assert wire.slice_data(path, session, 65536, content[65536:131072]).code == 0
    assert wire.slice_data(path, session, 65536, content[65536:131072]).code == 0
    assert wire.slice_data(path, session, 0, content[:65536]).code == 0
    assert wire.stat(path).data["filelen"] == 131072
    assert wire.slice_data(path, session, 131072, content[131072:]).code == 0
    assert wire.slice_finish(path, session, len(content)).code == 0
    assert wire.download(path).body == content


def test_an_unfinished_upload_in_stat_list_and_download(wire: Wire, folder: str) -> None:
    path = folder + "a"
    session = wire.slice_init(path, 200000, 65536).data["session"]
    assert wire.stat(path).data["filelen"] == 0
    wire.slice_data(path, session, 65536, bytes(65536))
    stat = wire.stat(path).data
    assert (stat["filesize"], stat["filelen"], stat["sha"]) == (200000, 65536, "")
    answer = wire.download(path)
    assert (answer.status, answer.code) == (404, -46614)
    assert wire.slice_list(path).data == {
        "session": session,
        "slice_size": 65536,
        "filesize": 200000,
        "sha": "",
        "serial_upload": 0,
        "listparts": [{"offset": 65536, "datalen": 65536}],
    }
    assert wire.slice_finish(path, session, 200000).code == -175


def test_slice_list_of_a_finished_file(wire: Wire, folder: str) -> None:
    uploaded = wire.upload(folder + "a", b"x").data
    assert wire.slice_list(folder + "a").data == uploaded


def test_resume_after_4019(fresh: Wire) -> None:
    content = pattern(BIG)
    session = init_with_sha(fresh, "/a").data["session"]
    fresh.slice_data("/a", session, MIB, content[MIB : 2 * MIB])
    assert init_with_sha(fresh, "/a").code == -4019
    listed = fresh.slice_list("/a").data
    assert listed["session"] == session and listed["sha"] == sha1(content)
    have = {part["offset"] for part in listed["listparts"]}
    assert have == {MIB}
    for offset in sorted({0, MIB, 2 * MIB} - have):
        assert fresh.slice_data("/a", session, offset, content[offset : offset + MIB]).code == 0
    assert fresh.slice_finish("/a", session, BIG, sha=sha1(content)).code == 0
    assert fresh.download("/a").body == content


def test_restart_after_4020(fresh: Wire) -> None:
    session = init_with_sha(fresh, "/a").data["session"]
    assert init_with_sha(fresh, "/a", 100).code == -4020
    assert fresh.slice_init("/a", 5).code == -4020
    assert fresh.upload("/a", b"12345", insertOnly="0").code == -4020
    assert fresh.upload("/a", pattern(BIG), insertOnly="0").code == -4019
    assert fresh.delete("/a").code == 0
    assert fresh.stat("/a").code == -197
    assert fresh.slice_data("/a", session, 0, pattern(MIB)).code == -286
    assert init_with_sha(fresh, "/a", 100).code == 0


def test_an_upload_without_sha_starts_over(wire: Wire, folder: str) -> None:
    path = folder + "a"
    first = wire.slice_init(path, 5).data["session"]
    second = wire.slice_init(path, 6).data["session"]
    assert first != second
    assert wire.slice_data(path, first, 0, b"12345").code == -286
    assert wire.slice_data(path, second, 0, b"123456").code == 0
    assert wire.slice_finish(path, second, 6).code == 0


def test_finish_repeated(wire: Wire, folder: str) -> None:
    path = folder + "a"
    session = wire.slice_init(path, 5).data["session"]
    wire.slice_data(path, session, 0, b"12345")
    assert wire.slice_finish(path, session, 5).code == 0
    assert wire.slice_finish(path, session, 5).code == -286


def test_an_empty_file_in_slices(wire: Wire, folder: str) -> None:
    session = wire.slice_init(folder + "a", 0).data["session"]
    assert wire.slice_finish(folder + "a", session, 0).code == 0
    assert wire.download(folder + "a").body == b""


def test_overwriting_keeps_the_old_file_visible_until_the_end(wire: Wire, folder: str) -> None:
    path = folder + "a"
    wire.put(path, b"old")
    assert wire.slice_init(path, 5).code == -177
    session = wire.slice_init(path, 5, insertOnly="0").data["session"]
    wire.slice_data(path, session, 0, b"12345")
    assert wire.download(path).body == b"old"
    assert wire.stat(path).data["filesize"] == 3
    assert wire.names(folder) == ["a"]
    assert wire.slice_finish(path, session, 5).code == 0
    assert wire.download(path).body == b"12345"


def test_half_an_overwrite_shows_when_the_old_file_goes(wire: Wire, folder: str) -> None:
    path = folder + "a"
    wire.put(path, b"old")
    session = wire.slice_init(path, 5, insertOnly="0").data["session"]
    wire.move(path, folder + "b")
    assert wire.names(folder) == ["a", "b"]
    assert wire.stat(path).data["filelen"] == 0
    wire.slice_data(path, session, 0, b"12345")
    assert wire.slice_finish(path, session, 5).code == 0


def test_instant_upload(fresh: Wire) -> None:
    """The content is known, whatever the bucket and however it came."""
    content = pattern(BIG)
    fresh.put("/a", content)
    other = Wire(fresh.address, bucket="other")
    data = init_with_sha(other, "/b").data
    assert "session" not in data and data["resource_path"] == "/1250000000/other/b"
    assert other.download("/b").body == content
    assert other.stat("/b").data["sha"] == sha1(content)
    fresh.delete("/a")
    assert other.download("/b").body == content
    assert init_with_sha(other, "/b").code == -4018
    assert "session" not in init_with_sha(other, "/b", insertOnly="0").data
    other.delete("/b")
    assert "session" in init_with_sha(other, "/b").data
    other.close()


def test_instant_upload_of_what_came_in_slices(fresh: Wire) -> None:
    session = init_with_sha(fresh, "/a").data["session"]
    send(fresh, "/a", session, pattern(BIG))
    assert fresh.slice_finish("/a", session, BIG, sha=PARTS[BIG][-1][2]).code == 0
    assert "session" not in init_with_sha(fresh, "/b").data


def test_no_instant_upload_with_wrong_parts_or_without_sha(fresh: Wire) -> None:
    content = pattern(BIG)
    fresh.put("/a", content)
    parts = [(0, MIB, "0" * 40), *PARTS[BIG][1:]]
    answer = fresh.slice_init("/b", BIG, sha=sha1(content), uploadparts=spell(parts))
    assert answer.code == -5965
    assert "session" in fresh.slice_init("/b", BIG).data


def test_session_of_another_path(wire: Wire, folder: str) -> None:
    session = wire.slice_init(folder + "a", 5).data["session"]
    assert wire.slice_data(folder + "b", session, 0, b"12345").code == -286


def test_expired_session(start: Start) -> None:
    now = [1_000_000.0]
    wire = start(clock=lambda: now[0], session_hours=1.0)
    session = wire.slice_init("/a", 5).data["session"]
    now[0] += 3500
    assert wire.slice_data("/a", session, 0, b"12345").code == 0
    now[0] += 200
    assert wire.slice_finish("/a", session, 5).code == -286
    assert wire.stat("/a").code == -197


def test_resume_after_a_restart(start: Start, tmp_path: Path) -> None:
    wire = start(tmp_path)
    content = pattern(BIG)
    session = init_with_sha(wire, "/a").data["session"]
    wire.slice_data("/a", session, 0, content[:MIB])
    wire.slice_data("/a", session, 2 * MIB, content[2 * MIB :])
    wire.restart()
    assert wire.slice_list("/a").data["listparts"] == [
        {"offset": 0, "datalen": MIB},
        {"offset": 2 * MIB, "datalen": BIG - 2 * MIB},
    ]
    assert wire.slice_data("/a", session, MIB, content[MIB : 2 * MIB]).code == 0
    assert wire.slice_finish("/a", session, BIG, sha=sha1(content)).code == 0
    assert wire.download("/a").body == content


@pytest.mark.parametrize("field", ["fileContent", "FILECONTENT"])
def test_spellings_of_filecontent(field: str, wire: Wire, folder: str) -> None:
    session = wire.slice_init(folder + "a", 5).data["session"]
    fields = {"op": "upload_slice_data", "session": session, "offset": "0", field: b"12345"}
    assert wire.post_form(folder + "a", **fields).code == 0


def test_a_slice_beside_a_long_field(wire: Wire, folder: str) -> None:
    """The body is longer than what is kept in memory, the slice is not."""
    content = pattern(3 * MIB)
    session = wire.slice_init(folder + "a", len(content), 3 * MIB).data["session"]
    answer = wire.post_form(
        folder + "a",
        datamd5="x" * (2 * MIB),
        filecontent=content,
        op="upload_slice_data",
        session=session,
        offset=0,
    )
    assert answer.code == 0
    assert wire.slice_finish(folder + "a", session, len(content)).code == 0
    assert wire.download(folder + "a").body == content


def test_a_file_of_absurd_size_is_refused(wire: Wire, folder: str) -> None:
    answer = wire.slice_init(folder + "a", (5 << 40) + 1)
    assert (answer.status, answer.code) == (413, -285)
    assert wire.slice_init(folder + "a", 5 << 40).code == 0


def test_a_full_disk_is_a_storage_error(
    wire: Wire,
    folder: str,
    monkeypatch: pytest.MonkeyPatch,
    expect_log: Callable[[str], None],
) -> None:
    expect_log("the data folder fails")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    session = wire.slice_init(folder + "a", 1).data["session"]
    with monkeypatch.context() as patch:
        patch.setattr("cosfs.server.assembly.write_all_at", fail)
        answer = wire.slice_data(folder + "a", session, 0, b"x")
    assert (answer.status, answer.code) == (500, -181)
    assert wire.slice_data(folder + "a", session, 0, b"x").code == 0
    with monkeypatch.context() as patch:
        patch.setattr("cosfs.server.content.write_all", fail)
        assert wire.upload(folder + "b", b"full").code == -181
    assert wire.upload(folder + "b", b"full").code == 0


def test_a_full_disk_under_the_index_is_a_storage_error(
    tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("the data folder fails")

    def limit(pages: int) -> None:
        # As if the disk were full: so many pages, but never fewer than there are.
        server._call(lambda it: it._state._db.fetch_one(f"PRAGMA max_page_count = {pages}"))

    with LocalServer(tmp_path / "data") as server:
        wire = Wire(server)
        assert wire.upload("/first", b"1").code == 0
        limit(1)
        answers = [wire.upload(f"/{'x' * 200}{number}", b"2") for number in range(50)]
        refused = [answer for answer in answers if answer.code != 0]
        assert {(answer.status, answer.code) for answer in refused} == {(500, -181)}
        limit(2**30)
        assert wire.upload("/last", b"3").code == 0
        assert wire.download("/first").body == b"1"
        wire.close()
