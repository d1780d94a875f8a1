"""Folders: markers, virtual folders, and what selects a folder."""

from __future__ import annotations

import time

from tests.server.wire import Wire


def test_create_and_stat(wire: Wire, folder: str) -> None:
    before = int(time.time())
    created = wire.create(folder, "备注").data
    assert before <= created["ctime"] <= time.time()
    data = wire.stat(folder).data
    assert data == {"biz_attr": "备注", "ctime": created["ctime"], "mtime": created["ctime"]}


def test_update_keeps_the_times(wire: Wire, folder: str) -> None:
    wire.create(folder, "one")
    before = wire.stat(folder).data
    assert wire.update(folder, biz_attr="two").code == 0
    assert wire.stat(folder).data == {**before, "biz_attr": "two"}
    assert wire.update(folder).code == 0
    assert wire.stat(folder).data["biz_attr"] == "two"


def test_root_can_be_looked_at(wire: Wire) -> None:
    data = wire.stat("/").data
    assert data["ctime"] > 0 and set(data) == {"biz_attr", "ctime", "mtime"}


def test_a_bucket_address_without_slash_is_the_root(wire: Wire) -> None:
    headers = {"Authorization": wire.sign("/")}
    assert wire.request("GET", wire.url_path("") + "?op=stat", headers).code == 0


def test_a_virtual_folder_lives_while_it_has_content(wire: Wire, folder: str) -> None:
    wire.put(folder + "sub/file")
    assert wire.list(folder).data["infos"] == [{"name": "sub/", "ctime": 0, "mtime": 0}]
    assert wire.stat(folder + "sub/").code == -197
    assert wire.delete(folder + "sub/file").code == 0
    assert wire.list(folder).data["infos"] == []


def test_uploads_make_no_parents(wire: Wire, folder: str) -> None:
    wire.put(folder + "a/b/c")
    wire.copy(folder + "a/b/c", folder + "x/y")
    for path in (folder, folder + "a/", folder + "a/b/", folder + "x/"):
        assert wire.stat(path).code == -197


def test_deleting_a_folder_keeps_its_content(wire: Wire, folder: str) -> None:
    wire.create(folder)
    wire.put(folder + "file", b"x")
    assert wire.delete(folder).code == 0
    assert wire.stat(folder).code == -197
    assert wire.names(folder) == ["file"]
    assert wire.download(folder + "file").body == b"x"


def test_file_and_folder_of_one_name_coexist(wire: Wire, folder: str) -> None:
    wire.put(folder + "a", b"file")
    assert wire.create(folder + "a/", "folder").code == 0
    assert wire.stat(folder + "a").data["filesize"] == 4
    assert wire.stat(folder + "a/").data["biz_attr"] == "folder"
    assert wire.names(folder) == ["a", "a/"]
    assert wire.delete(folder + "a").code == 0
    assert wire.names(folder) == ["a/"]


def test_odd_names(wire: Wire, folder: str) -> None:
    names = ['" * : | \\ < >', "←↑→↓", "?", "#", "%41", "a+b", "..", ".", "\t", "测试", "🙂", "\x7f"]
    for name in names:
        assert wire.create(f"{folder}{name}/").code == 0, name
        wire.put(f"{folder}{name}/file", name.encode())
    assert wire.names(folder) == sorted((f"{name}/" for name in names), key=str.encode)
    for name in names:
        assert wire.download(f"{folder}{name}/file").body == name.encode()


def test_slashes_are_collapsed(wire: Wire, folder: str) -> None:
    wire.put(folder + "/a//b", b"x")
    assert wire.stat(folder + "a/b").code == 0
    wire.create(folder + "c///")
    assert wire.names(folder) == ["a/", "c/"]


def test_the_longest_key(wire: Wire, folder: str) -> None:
    path = folder + "x" * (851 - len(folder))
    assert wire.upload(path, b"").code == 0
    assert wire.stat(path).code == 0
    assert wire.upload(path + "x", b"").code == -199


def test_a_key_of_850_bytes_in_chinese_fits_every_line(wire: Wire, folder: str) -> None:
    path = folder + "测" * ((850 - len(folder)) // 3)
    assert wire.upload(path, b"x").code == 0
    assert wire.download(path).body == b"x"
    assert wire.copy(path, path[:-1] + "试").code == 0


def test_buckets_are_listed_at_the_appid(wire: Wire) -> None:
    sign = wire.sign(b="")
    answer = wire.request("GET", "/files/v2/1250000000//?op=list&num=10", {"Authorization": sign})
    assert [info["name"] for info in answer.data["infos"]] == ["mybucket/", "other/", "public/"]


def test_buckets_are_separate(wire: Wire, folder: str) -> None:
    wire.put(folder + "a", b"mine")
    other = Wire(wire.address, bucket="other")
    assert other.stat(folder + "a").code == -197
    other.put(folder + "a", b"theirs")
    assert other.download(folder + "a").body == b"theirs"
    other.close()
    assert wire.download(folder + "a").body == b"mine"
