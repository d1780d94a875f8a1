"""The vendor's own examples, with only the import, the account and the host names changed.

Every call of the official README and sample, in their order, and the documented shape of what each
answers (reference 3, 5.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cosfs import (
    Auth,
    CosClient,
    CosConfig,
    CreateFolderRequest,
    CredInfo,
    DelFileRequest,
    DelFolderRequest,
    DownloadFileRequest,
    DownloadObjectRequest,
    ListFolderRequest,
    MoveFileRequest,
    StatFileRequest,
    StatFolderRequest,
    UpdateFileRequest,
    UpdateFolderRequest,
    UploadFileFromBufferRequest,
    UploadFileRequest,
    UploadSliceFileFromBufferRequest,
    UploadSliceFileRequest,
)
from cosfs.server.running import LocalServer

BUCKET = "mybucket"
UPLOADED = {"access_url": str, "resource_path": str, "source_url": str, "url": str}
FILE = {
    "biz_attr": str, "ctime": int, "mtime": int, "filesize": int, "filelen": int, "sha": str,
    "slicesize": int, "authority": str, "forbid": int, "custom_headers": dict,
    "access_url": str, "source_url": str, "preview_url": str,
}  # fmt: skip
FOLDER = {"biz_attr": str, "ctime": int, "mtime": int}
LISTING = {"context": str, "listover": bool, "infos": list}
LISTED = {
    "name": str, "ctime": int, "mtime": int, "filesize": int, "filelen": int, "sha": str,
    "access_url": str, "source_url": str,
}  # fmt: skip


def check(reply: dict[str, Any], shape: Mapping[str, type] | None = None) -> dict[str, Any]:
    """Check an answer's envelope and the names and types of its data; return the data."""
    assert (reply["code"], reply["message"]) == (0, "SUCCESS")
    assert isinstance(reply["request_id"], str)
    data = reply.get("data", {})
    assert {name: type(value) for name, value in data.items()} == (shape or {})
    assert isinstance(data, dict)
    return data


@pytest.fixture
def cos_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CosClient]:
    monkeypatch.chdir(tmp_path)
    with LocalServer(buckets=[BUCKET]) as server:
        appid = int(server.appid)
        secret_id = server.secret_id
        secret_key = server.secret_key
        region = "shanghai"
        cos_client = CosClient(appid, secret_id, secret_key, region)
        host = server.url.removeprefix("http://")
        conf = CosConfig(timeout=30, hostname=host, download_hostname=host)
        cos_client.set_config(conf)
        yield cos_client
        cos_client.close()


def test_files(cos_client: CosClient) -> None:
    Path("local_file_1.txt").write_text("hello world")
    Path("local_bigfile.txt").write_bytes(bytes(3 * 1024 * 1024))
    bucket = BUCKET

    # Upload, without and with replacing.
    request = UploadFileRequest(bucket, "/sample_file.txt", "local_file_1.txt")
    data = check(cos_client.upload_file(request), UPLOADED)
    assert data["resource_path"] == f"/1250000000/{BUCKET}/sample_file.txt"
    sliced = UploadSliceFileRequest(bucket, "/sample_bigfile.txt", "local_bigfile.txt")
    check(cos_client.upload_slice_file(sliced), UPLOADED)
    with open("local_file_2.txt", "w") as f:
        f.write("hello world2")
    request = UploadFileRequest(bucket, "/sample_file.txt", "local_file_2.txt")
    request.set_insert_only(0)
    check(cos_client.upload_file(request), UPLOADED)

    # What is known about it.
    stat = StatFileRequest(bucket, "/sample_file.txt")
    data = check(cos_client.stat_file(stat), FILE)
    assert (data["filesize"], data["biz_attr"], data["authority"]) == (12, "", "eInvalid")

    # Change that.
    update = UpdateFileRequest(bucket, "/sample_file.txt")
    update.set_biz_attr("这是个demo文件")
    update.set_authority("eWRPrivate")
    update.set_cache_control("cache_xxx")
    update.set_content_type("application/text")
    update.set_content_disposition("ccccxxx.txt")
    update.set_content_language("english")
    update.set_x_cos_meta("x-cos-meta-xxx", "xxx")
    update.set_x_cos_meta("x-cos-meta-yyy", "yyy")
    check(cos_client.update_file(update))
    data = check(cos_client.stat_file(stat), FILE)
    assert (data["biz_attr"], data["authority"]) == ("这是个demo文件", "eWRPrivate")
    assert data["custom_headers"] == {
        "Cache-Control": "cache_xxx",
        "Content-Type": "application/text",
        "Content-Disposition": "ccccxxx.txt",
        "Content-Language": "english",
        "x-cos-meta-xxx": "xxx",
        "x-cos-meta-yyy": "yyy",
    }

    # From memory.
    with open("local_file_1.txt", "rb") as File:
        content = File.read()
    buffer = UploadFileFromBufferRequest(bucket, "/119.txt", content)
    buffer.set_insert_only(0)
    check(cos_client.upload_file_from_buffer(buffer), UPLOADED)
    check(cos_client.upload_single_file_from_buffer(buffer), UPLOADED)
    check(
        cos_client.upload_slice_file_from_buffer(
            UploadSliceFileFromBufferRequest(bucket, "/120.txt", content)
        ),
        UPLOADED,
    )

    # Download.
    download = DownloadFileRequest(bucket, "/sample_file.txt", "local_file_3.txt")
    assert cos_client.download_file(download) == {"code": 0, "message": "download successfully"}
    assert Path("local_file_3.txt").read_text() == "hello world2"
    headers = {"Range": "bytes=0-4"}
    part = DownloadObjectRequest(bucket, "/sample_file.txt", headers=headers)
    with cos_client.download_object(part) as fp:
        assert fp.read() == b"hello"

    # Move and delete.
    move = MoveFileRequest(bucket, "/sample_file.txt", "/sample_file_move.txt")
    check(cos_client.move_file(move))
    delete = DelFileRequest(bucket, "/sample_file_move.txt")
    check(cos_client.del_file(delete))
    assert cos_client.stat_file(stat)["code"] == -197


def test_folders(cos_client: CosClient) -> None:
    bucket = BUCKET
    create = CreateFolderRequest(bucket, "/sample_folder/")
    check(cos_client.create_folder(create), {"ctime": int})
    update = UpdateFolderRequest(bucket, "/sample_folder/", "这是一个测试目录")
    check(cos_client.update_folder(update))
    data = check(cos_client.stat_folder(StatFolderRequest(bucket, "/sample_folder/")), FOLDER)
    assert data["biz_attr"] == "这是一个测试目录"
    buffer = UploadFileFromBufferRequest(bucket, "/sample_folder/a.txt", b"hello")
    check(cos_client.upload_file_from_buffer(buffer), UPLOADED)
    data = check(cos_client.list_folder(ListFolderRequest(bucket, "/sample_folder/")), LISTING)
    assert data["listover"] is True
    assert [{name: type(value) for name, value in info.items()} for info in data["infos"]] == [
        LISTED
    ]
    data = check(cos_client.list_folder(ListFolderRequest(bucket, "/")), LISTING)
    assert [info["name"] for info in data["infos"]] == ["sample_folder/"]
    check(cos_client.del_file(DelFileRequest(bucket, "/sample_folder/a.txt")))
    check(cos_client.del_folder(DelFolderRequest(bucket, "/sample_folder/")))


def test_signatures(cos_client: CosClient) -> None:
    """As documented: a private file is downloaded by a link that is made by hand."""
    from urllib.parse import quote
    from urllib.request import Request, urlopen

    check(
        cos_client.upload_file_from_buffer(
            UploadFileFromBufferRequest(BUCKET, "/测试.txt", b"hello")
        ),
        UPLOADED,
    )
    cred = cos_client.get_cred()
    assert isinstance(cred, CredInfo)
    auth = Auth(cred)
    endpoint = cos_client.get_config().get_endpoint()
    host = endpoint.removeprefix("http://").removesuffix("/files/v2")
    sign = auth.sign_download(BUCKET, "/测试.txt", 600)
    url = f"http://{host}/{quote('测试.txt')}?sign={quote(sign, safe='')}"
    virtual = {"Host": f"{BUCKET}-{cred.get_appid()}.{host}"}
    with urlopen(Request(url, headers=virtual)) as answer:
        assert answer.read() == b"hello"
    path = f"{endpoint}/{cred.get_appid()}/{BUCKET}/{quote('测试.txt')}"
    more = {"Authorization": auth.sign_more(BUCKET, "/测试.txt", 600)}
    with urlopen(Request(f"{path}?op=stat", headers=more)) as answer:
        assert answer.status == 200
    once = {
        "Authorization": auth.sign_once(BUCKET, "/测试.txt"),
        "Content-Type": "application/json",
    }
    with urlopen(Request(path, b'{"op": "delete"}', once)) as answer:
        assert answer.status == 200
    assert cos_client.stat_file(StatFileRequest(BUCKET, "/测试.txt"))["code"] == -197


def test_setting_one_header_clears_the_others(cos_client: CosClient) -> None:
    buffer = UploadFileFromBufferRequest(BUCKET, "/a", b"1")
    check(cos_client.upload_file_from_buffer(buffer), UPLOADED)
    first = UpdateFileRequest(BUCKET, "/a")
    first.set_content_type("text/x")
    first.set_x_cos_meta("x-cos-meta-a", "1")
    check(cos_client.update_file(first))
    second = UpdateFileRequest(BUCKET, "/a")
    second.set_cache_control("no-cache")
    check(cos_client.update_file(second))
    third = UpdateFileRequest(BUCKET, "/a")
    third.set_authority("eWPrivateRPublic")
    check(cos_client.update_file(third))
    data = check(cos_client.stat_file(StatFileRequest(BUCKET, "/a")), FILE)
    assert data["custom_headers"] == {"Cache-Control": "no-cache"}
    assert data["authority"] == "eWPrivateRPublic"
