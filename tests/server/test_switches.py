"""Every switch, in the position that is not the default."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from cosfs.server.command import build_options, build_parser
from cosfs.server.switches import Switches
from tests.server.wire import MIB, Wire, pattern, sha1

Start = Callable[..., Wire]


def test_refuse_to_delete_a_folder_with_content(start: Start) -> None:
    wire = start(refuse_nonempty_delete=True)
    wire.create("/d/")
    wire.put("/d/a")
    answer = wire.delete("/d/")
    assert (answer.code, answer.status) == (-173, 409)
    assert wire.stat("/d/").code == 0
    wire.delete("/d/a")
    wire.slice_init("/d/half", 5)
    assert wire.delete("/d/").code == -173
    wire.delete("/d/half")
    assert wire.delete("/d/").code == 0


def test_overwrite_keeps_headers_and_authority(start: Start) -> None:
    wire = start(overwrite_keeps=True)
    wire.put("/a", b"old")
    wire.update("/a", custom_headers={"x-cos-meta-a": "1"}, authority="eWRPrivate", biz_attr="x")
    wire.put("/a", b"new")
    data = wire.stat("/a").data
    assert data["custom_headers"] == {"x-cos-meta-a": "1"} and data["authority"] == "eWRPrivate"
    assert data["biz_attr"] == ""
    session = wire.slice_init("/a", 1, insertOnly=0).data["session"]
    wire.slice_data("/a", session, 0, b"x")
    wire.slice_finish("/a", session, 1)
    assert wire.stat("/a").data["custom_headers"] == {"x-cos-meta-a": "1"}


@pytest.mark.parametrize("kind", ["omit", "newest"])
def test_times_of_virtual_folders(kind: str, start: Start) -> None:
    now = [1000.0]
    wire = start(virtual_times=kind, clock=lambda: now[0])
    sign = wire.sign(expires=10_000)
    wire.post_form("/d/a", sign=sign, op="upload", filecontent=b"")
    now[0] = 2000.0
    wire.post_form("/d/sub/b", sign=sign, op="upload", filecontent=b"")
    now[0] = 3000.0
    wire.post_form("/e", sign=sign, op="upload", filecontent=b"")
    (info, _) = wire.get("/", sign=sign, op="list", num=10).data["infos"]
    times = {"ctime": 2000, "mtime": 2000} if kind == "newest" else {}
    assert info == {"name": "d/", **times}


def test_creating_an_existing_folder_succeeds(start: Start) -> None:
    wire = start(create_existing_succeeds=True)
    ctime = wire.create("/d/", "one").data["ctime"]
    assert wire.create("/d/", "two").data["ctime"] == ctime
    assert wire.stat("/d/").data["biz_attr"] == "one"


def test_newest_code_for_expired_signatures(start: Start) -> None:
    wire = start(expired_code_newest=True)
    assert wire.get("/a", sign=wire.sign(expires=1), op="stat").code == -59
    assert wire.download("/a", sign=wire.sign(expires=1)).code == -46619


@pytest.mark.parametrize("op", ["move", "copy"])
def test_move_and_copy_want_a_single_use_signature(op: str, start: Start) -> None:
    wire = start(move_wants_once=True)
    wire.put("/a")
    assert wire.post_json("/a", op=op, dest_fileid="b").code == -75
    assert wire.post_json("/a", once=True, op=op, dest_fileid="b").code == 0


def test_replay_is_accepted(start: Start) -> None:
    wire = start(accept_replay=True)
    wire.put("/a")
    sign = wire.sign("/a", once=True)
    for _ in range(3):
        assert wire.post_json("/a", sign=sign, op="update").code == 0


def test_parents_must_exist(start: Start) -> None:
    wire = start(parents_required=True)
    assert wire.upload("/d/a", b"").code == -197
    assert wire.slice_init("/d/a", 5).code == -197
    assert wire.create("/d/e/").code == -197
    wire.put("/top")
    assert wire.copy("/top", "/d/a").code == -197
    assert wire.create("/d/").code == 0
    assert wire.upload("/d/a", b"").code == 0
    assert wire.create("/d/e/").code == 0


def test_serial_upload(start: Start) -> None:
    wire = start(serial_upload=True)
    data = wire.slice_init("/a", 3 * 65536, 65536).data
    assert data["serial_upload"] == 1
    piece = bytes(65536)
    assert wire.slice_data("/a", data["session"], 65536, piece).code == -4005
    for offset in (0, 0, 65536, 131072):
        assert wire.slice_data("/a", data["session"], offset, piece).code == 0
    assert wire.slice_finish("/a", data["session"], 3 * 65536).code == 0


def test_without_instant_upload(start: Start) -> None:
    wire = start(instant_upload=False)
    wire.put("/a", b"12345")
    part = {"offset": 0, "datalen": 5, "datasha": sha1(b"12345")}
    answer = wire.slice_init("/b", 5, sha=sha1(b"12345"), uploadparts=json.dumps([part]))
    assert answer.data["session"]


def test_updates_merge_headers(start: Start) -> None:
    wire = start(merge_headers=True)
    wire.put("/a")
    wire.update("/a", custom_headers={"Cache-Control": "a", "x-cos-meta-a": "1"})
    wire.update("/a", custom_headers={"Content-Type": "b", "x-cos-meta-a": "2"})
    expected = {"Cache-Control": "a", "Content-Type": "b", "x-cos-meta-a": "2"}
    assert wire.stat("/a").data["custom_headers"] == expected


def test_listings_lag(start: Start) -> None:
    now = [time.time()]
    wire = start(listing_delay_s=10, clock=lambda: now[0])
    wire.put("/old", b"1")
    assert wire.names("/") == []
    assert wire.stat("/old").code == 0
    now[0] += 11
    assert wire.names("/") == ["old"]
    wire.put("/new", b"22")
    wire.put("/old", b"333")
    wire.delete("/new")
    wire.move("/old", "/moved")
    assert wire.names("/") == ["old"]
    assert wire.list("/").data["infos"][0]["filesize"] == 1
    now[0] += 5
    wire.create("/folder/")
    now[0] += 6
    assert wire.names("/") == ["moved"]
    now[0] += 5
    assert wire.names("/") == ["folder/", "moved"]


def test_longest_life_of_a_signature(start: Start) -> None:
    wire = start(max_sign_days=90)
    now = int(time.time())
    assert wire.get("/a", sign=wire.sign(expires=now + 90 * 86400 - 10), op="stat").code == -197
    assert wire.get("/a", sign=wire.sign(expires=now + 91 * 86400), op="stat").code == -96


def test_host_names_in_addresses(start: Start) -> None:
    wire = start(download_suffix="cossh.myqcloud.com")
    data = wire.upload("/d/a b", b"x").data
    assert data["access_url"] == "http://mybucket-1250000000.cossh.myqcloud.com/d/a%20b"
    assert data["url"].startswith(wire.address.url)


def test_smaller_upload_limit(start: Start) -> None:
    wire = start(max_upload_bytes=MIB)
    assert wire.upload("/a", pattern(MIB)).code == 0
    assert wire.upload("/b", pattern(MIB + 1)).code == -285


def test_every_switch_has_an_option(tmp_path: object) -> None:
    """All options in their other position give all switches another value."""
    line = (
        "--page-size 199 --marker-slot off --overwrite keeps --delete-nonempty refuse"
        " --virtual-times newest --create-existing success --expired-code 59"
        " --move-signature once --replay accept --parents required --serial-upload on"
        " --instant-upload off --update-headers merge --list-delay 2 --max-sign-days 90"
        " --rate 5 --session-hours 1 --download-suffix x.y --max-upload 1048576"
    )
    arguments = build_parser().parse_args([*line.split(), "--data", str(tmp_path)])
    switches = build_options(arguments).switches
    same = [name for name, value in vars(Switches()).items() if vars(switches)[name] == value]
    assert same == []
    defaults = build_options(build_parser().parse_args(["--data", str(tmp_path)])).switches
    assert defaults == Switches()
