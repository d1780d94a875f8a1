"""Files: upload, stat, update, delete, move, copy."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import pytest

from tests.server.wire import MIB, Wire, pattern, sha1


@pytest.mark.parametrize(
    "size", [0, 1, 65535, 65536, 65537, 512 * 1024, 4 * MIB, 4 * MIB + 1, 20 * MIB]
)
def test_what_is_uploaded_is_what_is_downloaded(size: int, wire: Wire, folder: str) -> None:
    content = pattern(size)
    data = wire.upload(folder + "a", content).data
    assert set(data) == {"access_url", "resource_path", "source_url", "url"}
    stat = wire.stat(folder + "a").data
    assert (stat["filesize"], stat["filelen"], stat["sha"]) == (size, size, sha1(content))
    assert wire.download(folder + "a").body == content


def test_addresses_of_an_upload(wire: Wire, folder: str) -> None:
    path = folder + "测试 +%.txt"
    data = wire.upload(path, b"x").data
    base = wire.address.url
    quoted = folder + "%E6%B5%8B%E8%AF%95%20%2B%25.txt"
    assert data == {
        "access_url": f"{base}/mybucket-1250000000{quoted}",
        "resource_path": f"/1250000000/mybucket{path}",
        "source_url": f"{base}/mybucket-1250000000{quoted}",
        "url": f"{base}/files/v2/1250000000/mybucket{quoted}",
    }
    # They lead somewhere.
    sign = {"Authorization": wire.sign()}
    assert wire.request("GET", urlsplit(data["access_url"]).path, sign).body == b"x"
    assert wire.request("GET", urlsplit(data["url"]).path + "?op=stat", sign).code == 0


def test_every_field_of_a_stat(wire: Wire, folder: str) -> None:
    before = int(time.time())
    wire.upload(folder + "a.txt", b"hello", biz_attr="备注")
    data = wire.stat(folder + "a.txt").data
    address = f"{wire.address.url}/mybucket-1250000000{folder}a.txt"
    ctime = data["ctime"]
    assert before <= ctime <= time.time()
    assert data == {
        "access_url": address,
        "authority": "eInvalid",
        "biz_attr": "备注",
        "ctime": ctime,
        "custom_headers": {},
        "filelen": 5,
        "filesize": 5,
        "forbid": 0,
        "mtime": ctime,
        "preview_url": "",
        "sha": "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",
        "slicesize": 0,
        "source_url": address,
    }


def test_insert_only_is_the_default(wire: Wire, folder: str) -> None:
    wire.put(folder + "a", b"one")
    assert wire.upload(folder + "a", b"two").code == -177
    assert wire.upload(folder + "a", b"two", insertOnly="1").code == -177
    assert wire.upload(folder + "a", b"one").code == -4018
    assert wire.download(folder + "a").body == b"one"
    assert wire.upload(folder + "a", b"two", insertOnly="0").code == 0
    assert wire.download(folder + "a").body == b"two"


def test_sha_may_be_upper_case_or_absent(wire: Wire, folder: str) -> None:
    assert wire.upload(folder + "a", b"x", sha=sha1(b"x").upper()).code == 0
    assert wire.post_form(folder + "b", op="upload", filecontent=b"x").code == 0
    assert wire.stat(folder + "b").data["sha"] == sha1(b"x")


def test_a_refused_upload_changes_nothing(wire: Wire, folder: str) -> None:
    wire.put(folder + "a", b"old")
    assert wire.upload(folder + "a", b"new", insertOnly="0", sha=sha1(b"x")).code == -4016
    assert wire.upload(folder + "a", bytes(20 * MIB + 1), insertOnly="0").code == -285
    assert wire.download(folder + "a").body == b"old"


def test_overwriting_clears_headers_authority_and_biz_attr(wire: Wire, folder: str) -> None:
    wire.put(folder + "a", b"old")
    headers = {"Content-Type": "text/x", "x-cos-meta-a": "1"}
    wire.update(folder + "a", custom_headers=headers, authority="eWRPrivate", biz_attr="x")
    wire.put(folder + "a", b"new")
    data = wire.stat(folder + "a").data
    assert (data["custom_headers"], data["authority"], data["biz_attr"]) == ({}, "eInvalid", "")


def test_custom_headers_are_one_block(wire: Wire, folder: str) -> None:
    wire.put(folder + "a")
    wire.update(folder + "a", custom_headers={"Cache-Control": "no-cache", "x-cos-meta-a": "1"})
    wire.update(folder + "a", custom_headers={"Content-Type": "text/x"})
    assert wire.stat(folder + "a").data["custom_headers"] == {"Content-Type": "text/x"}


def test_an_update_leaves_alone_what_it_does_not_name(wire: Wire, folder: str) -> None:
    wire.put(folder + "a")
    before = wire.stat(folder + "a").data
    wire.update(folder + "a", custom_headers={"Content-Type": "text/x"})
    wire.update(folder + "a", authority="eWPrivateRPublic")
    wire.update(folder + "a", biz_attr="x")
    wire.update(folder + "a", forbid="1")
    assert wire.update(folder + "a").code == 0
    assert wire.update(folder + "a", authority="", flag=0xFF).code == 0
    assert wire.stat(folder + "a").data == {
        **before,
        "custom_headers": {"Content-Type": "text/x"},
        "authority": "eWPrivateRPublic",
        "biz_attr": "x",
        "forbid": 1,
    }


def test_names_of_custom_headers(wire: Wire, folder: str) -> None:
    wire.put(folder + "a")
    headers = {"CONTENT-TYPE": "a", "cache-control": "b", "X-Cos-Meta-Key": "备注"}
    assert wire.update(folder + "a", custom_headers=headers).code == 0
    expected = {"Content-Type": "a", "Cache-Control": "b", "x-cos-meta-key": "备注"}
    assert wire.stat(folder + "a").data["custom_headers"] == expected


def test_biz_attr_at_its_limit(wire: Wire, folder: str) -> None:
    assert wire.upload(folder + "a", b"", biz_attr="备" * 341).code == 0
    assert wire.update(folder + "a", biz_attr="备" * 341 + "x").code == 0
    assert wire.update(folder + "a", biz_attr="备" * 342).code == -5999


def test_delete(wire: Wire, folder: str) -> None:
    wire.put(folder + "a")
    assert wire.delete(folder + "a").code == 0
    assert wire.delete(folder + "a").code == -197
    assert wire.download(folder + "a").status == 404


@pytest.mark.parametrize("op", ["move", "copy"])
def test_move_and_copy_take_everything_along(op: str, wire: Wire, folder: str) -> None:
    source, target = folder + "a", folder + "new/place"
    wire.upload(source, b"content", biz_attr="备注")
    wire.update(source, custom_headers={"x-cos-meta-a": "1"}, authority="eWRPrivate", forbid=1)
    wire.update(source, forbid=0)
    before = wire.stat(source).data
    assert wire.transfer(op, source, target, 0).code == 0
    after = wire.stat(target).data
    for name in ("filesize", "sha", "biz_attr", "custom_headers", "authority", "slicesize"):
        assert after[name] == before[name], name
    assert wire.download(target).body == b"content"
    assert (wire.stat(source).code == 0) is (op == "copy")


@pytest.mark.parametrize("op", ["move", "copy"])
def test_an_existing_target(op: str, wire: Wire, folder: str) -> None:
    wire.put(folder + "a", b"new")
    wire.put(folder + "b", b"old")
    assert wire.transfer(op, folder + "a", folder + "b", 0).code == -177
    assert wire.download(folder + "b").body == b"old"
    assert wire.transfer(op, folder + "a", folder + "b", 1).code == 0
    assert wire.download(folder + "b").body == b"new"


@pytest.mark.parametrize("op", ["move", "copy"])
def test_a_relative_target(op: str, wire: Wire, folder: str) -> None:
    wire.put(folder + "sub/a", b"x")
    assert wire.transfer(op, folder + "sub/a", "b c/d", 0).code == 0
    assert wire.download(folder + "sub/b c/d").body == b"x"


@pytest.mark.parametrize("op", ["move", "copy"])
def test_the_target_is_the_source(op: str, wire: Wire, folder: str) -> None:
    wire.put(folder + "a", b"x")
    before = wire.stat(folder + "a").data
    assert wire.transfer(op, folder + "a", "a", 0).code == -177
    assert wire.transfer(op, folder + "a", folder + "a", 1).code == 0
    assert wire.stat(folder + "a").data == before


def test_a_copy_lives_on_without_its_source(wire: Wire, folder: str) -> None:
    content = pattern(100_000)
    wire.put(folder + "a", content)
    wire.copy(folder + "a", "b")
    wire.delete(folder + "a")
    assert wire.download(folder + "b").body == content
    wire.put(folder + "b", b"other")
    wire.put(folder + "c", content)
    assert wire.download(folder + "c").body == content
