"""Codes, repetitions, and answers that were lost: what the dicts say (reference 4.1, 4.7)."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from cosfs import (
    CopyFileRequest,
    CosClient,
    CosConfig,
    CosReplyError,
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
    UploadSliceFileFromBufferRequest,
)
from cosfs.clock import SystemClock
from cosfs.server.running import LocalServer
from tests.sdk.places import BUCKET, MIB, client_of, content, get, put, stat
from tests.unit.jsonapi_fakes import SocketServer, capture, http_reply

STAT = StatFileRequest(BUCKET, "/a")


def rules(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"rules": list(rules)}


def against(
    reply: bytes, ask: Callable[[CosClient], dict[str, Any]] = lambda client: client.stat_file(STAT)
) -> tuple[dict[str, Any], int]:
    """Return what is answered and how often was asked when a server always says ``reply``."""
    seen: list[tuple[str, dict[str, str], bytes]] = []
    with capture(reply, seen) as server, CosClient(1250000000, "id", "key") as client:
        host = f"127.0.0.1:{server.port}"
        client.set_config(CosConfig(3, hostname=host, download_hostname=host))
        return ask(client), len(seen)


# Codes -------------------------------------------------------------------------------------------


def test_an_answer_is_passed_on_as_it_came() -> None:
    envelope = {"code": 0, "message": "好", "request_id": "x", "data": {"new": [1]}, "more": None}
    assert against(http_reply(json.dumps(envelope).encode())) == (envelope, 1)


def test_a_refusal_is_passed_on_as_it_came() -> None:
    envelope = {"code": -5999, "message": "no " * 200, "data": {"why": "x"}, "request_id": "x"}
    reply = http_reply(json.dumps(envelope).encode(), "400 Bad Request")
    assert against(reply) == (envelope, 1)


def test_a_code_that_no_table_has_is_passed_on() -> None:
    envelope = {"code": -46, "message": "?"}
    assert against(http_reply(json.dumps(envelope).encode(), "403 Forbidden"))[0] == envelope


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"code": "x"}', b"[]", b'{"code": 0}'])
def test_a_server_that_failed_and_said_nothing_usable(body: bytes) -> None:
    reply, asked = against(http_reply(body, "500 Internal Server Error"))
    assert (reply["code"], set(reply), asked) == (-2, {"code", "message"}, 4)


def test_a_server_that_is_busy_is_asked_again() -> None:
    body = b'{"code": -71, "message": "FREQ", "data": {}}'
    reply, asked = against(http_reply(body, "503 Service Unavailable"))
    assert reply == {"code": -71, "message": "FREQ", "data": {}}
    assert 2 <= asked <= 4


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "403 Forbidden"])
@pytest.mark.parametrize("body", [b"<html>", b"", b"{}", b'{"code": null}'])
def test_an_answer_that_is_none(status: str, body: bytes) -> None:
    reply, asked = against(http_reply(body, status))
    assert reply["code"] == -3
    assert asked == (3 if status == "200 OK" else 1)


def test_a_success_with_the_status_of_a_failure_is_none() -> None:
    assert against(http_reply(b'{"code": 0}', "404 Not Found"))[0]["code"] == -3


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = CosClient(1250000000, "id", "secretkey")
    host = f"127.0.0.1:{port}"
    client.set_config(CosConfig(3, hostname=host, download_hostname=host))
    reply = client.stat_file(STAT)
    assert reply["code"] == -3 and "no connection" in reply["message"]
    assert client.download_file(DownloadFileRequest(BUCKET, "/a", "/dev/null"))["code"] == 1


def test_a_server_that_is_silent() -> None:
    def silent(connection: Any) -> None:
        connection.recv(65536)
        connection.recv(65536)

    with SocketServer(silent) as server, CosClient(1250000000, "id", "key") as client:
        host = f"127.0.0.1:{server.port}"
        client.set_config(CosConfig(0.4, hostname=host, download_hostname=host))
        reply = client.stat_file(STAT)
    assert reply["code"] == -3 and "in time" in reply["message"]


def test_messages_hold_no_signature(client: CosClient, server: LocalServer) -> None:
    server.set_faults(rules({"op": "*", "action": "drop_before"}))
    messages = [client.stat_file(STAT)["message"]]
    with pytest.raises(CosReplyError) as caught:
        client.download_object(DownloadObjectRequest(BUCKET, "/a"))
    messages.append(str(caught.value) + str(caught.value.reply))
    assert not any("sign=" in message for message in messages)


@pytest.mark.parametrize("status", [403, 404, 416, 500])
def test_the_status_of_a_download_that_failed(status: int) -> None:
    reply, _ = against(
        http_reply(b"<html>", f"{status} X"),
        lambda client: client.download_file(DownloadFileRequest(BUCKET, "/a", "/dev/null")),
    )
    assert reply["code"] == 1
    words = f"download failed, exception: download failed with status code:{status} "
    assert reply["message"].startswith(words)


def test_download_object_raises_an_io_error(client: CosClient) -> None:
    with pytest.raises(IOError, match="status code:404") as caught:
        client.download_object(DownloadObjectRequest(BUCKET, "/nothing"))
    assert isinstance(caught.value, CosReplyError)
    assert caught.value.reply["code"] == 1 and "status code:404" in caught.value.reply["message"]


@pytest.mark.parametrize("page_size", [1000, 199])
def test_the_servers_page_size_is_its_own_to_refuse(page_size: int) -> None:
    local = LocalServer(buckets=[BUCKET], page_size=page_size)
    with local as server, client_of(server) as client:
        assert client.list_folder(ListFolderRequest(BUCKET, "/", page_size))["code"] == 0
        assert client.list_folder(ListFolderRequest(BUCKET, "/", page_size + 1))["code"] == -165
        assert client.list_folder(ListFolderRequest(BUCKET, "/", 0))["code"] == -157


# What the server refuses -------------------------------------------------------------------------


def test_codes_of_the_server(client: CosClient, folder: str) -> None:
    path = f"{folder}a"
    put(client, path, b"1")
    put(client, f"{folder}b", b"2")
    client.create_folder(CreateFolderRequest(BUCKET, folder))
    missing = f"{folder}none"
    for reply, code in [
        (client.create_folder(CreateFolderRequest(BUCKET, folder)), -178),
        (client.stat_file(StatFileRequest(BUCKET, missing)), -197),
        (client.stat_folder(StatFolderRequest(BUCKET, missing + "/")), -197),
        (client.update_folder(UpdateFolderRequest(BUCKET, missing + "/", "x")), -197),
        (client.del_file(DelFileRequest(BUCKET, missing)), -197),
        (client.del_folder(DelFolderRequest(BUCKET, missing + "/")), -197),
        (client.move_file(MoveFileRequest(BUCKET, missing, "/x")), -197),
        (client.move_file(MoveFileRequest(BUCKET, path, "b")), -177),
        (client.copy_file(CopyFileRequest(BUCKET, missing, "/x")), -197),
        (client.copy_file(CopyFileRequest(BUCKET, path, "b")), -177),
        (client.stat_file(StatFileRequest("another", "/a")), -133),
        (
            client.upload_file_from_buffer(UploadFileFromBufferRequest(BUCKET, path, b"1")),
            -4018,
        ),
        (
            client.upload_file_from_buffer(UploadFileFromBufferRequest(BUCKET, path, b"2")),
            -177,
        ),
    ]:
        assert reply["code"] == code and reply["message"]
    assert get(client, f"{folder}b") == b"2"


# Lost answers ------------------------------------------------------------------------------------

LOST = {"action": "drop_after", "times": 1}


def settled(reply: dict[str, Any], data: dict[str, Any] | None = None) -> bool:
    return reply == {"code": 0, "message": "SUCCESS", "data": data or {}}


def test_a_folder_whose_answer_was_lost(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    server.set_faults(rules({"op": "create", **LOST}))
    reply = client.create_folder(CreateFolderRequest(BUCKET, folder, "text"))
    found = client.stat_folder(StatFolderRequest(BUCKET, folder))["data"]
    assert settled(reply, {"ctime": found["ctime"]})


def test_a_deletion_whose_answer_was_lost(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    client.create_folder(CreateFolderRequest(BUCKET, folder))
    put(client, f"{folder}a", b"1")
    server.set_faults(rules({"op": "delete", **LOST}))
    assert settled(client.del_file(DelFileRequest(BUCKET, f"{folder}a")))
    server.set_faults(rules({"op": "delete", **LOST}))
    assert settled(client.del_folder(DelFolderRequest(BUCKET, folder)))


def test_a_move_whose_answer_was_lost(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    put(client, f"{folder}a", b"1")
    server.set_faults(rules({"op": "move", **LOST}))
    assert settled(client.move_file(MoveFileRequest(BUCKET, f"{folder}a", "b")))
    assert get(client, f"{folder}b") == b"1"


def test_a_copy_whose_answer_was_lost(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    put(client, f"{folder}a", b"1")
    server.set_faults(rules({"op": "copy", **LOST}))
    assert settled(client.copy_file(CopyFileRequest(BUCKET, f"{folder}a", "b")))
    assert get(client, f"{folder}b") == get(client, f"{folder}a")


def test_an_update_whose_answer_was_lost_is_repeated(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    put(client, f"{folder}a", b"1")
    client.create_folder(CreateFolderRequest(BUCKET, folder))
    request = UpdateFileRequest(BUCKET, f"{folder}a")
    request.set_content_type("text/x")
    request.set_authority("eWRPrivate")
    server.set_faults(rules({"op": "update", **LOST}))
    assert client.update_file(request)["request_id"]
    assert stat(client, f"{folder}a")["custom_headers"]["Content-Type"] == "text/x"
    server.set_faults(rules({"op": "update", **LOST}))
    assert client.update_folder(UpdateFolderRequest(BUCKET, folder, "text"))["request_id"]


def test_an_update_that_is_never_answered_is_looked_at(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    put(client, f"{folder}a", b"1")
    client.create_folder(CreateFolderRequest(BUCKET, folder))
    server.set_faults(rules({"op": "update", "action": "drop_after"}))
    request = UpdateFileRequest(BUCKET, f"{folder}a")
    request.set_biz_attr("text")
    assert settled(client.update_file(request))
    assert settled(client.update_folder(UpdateFolderRequest(BUCKET, folder, "text")))


@pytest.mark.parametrize("insert_only", [0, 1])
def test_an_upload_whose_answer_was_lost(
    client: CosClient, server: LocalServer, folder: str, insert_only: int
) -> None:
    path = f"{folder}测 {insert_only}"
    server.set_faults(rules({"op": "upload", "action": "drop_after"}))
    request = UploadFileFromBufferRequest(BUCKET, path, b"hello", "text", insert_only)
    reply = client.upload_file_from_buffer(request)
    server.clear_faults()
    request.set_insert_only(0)
    usual = client.upload_file_from_buffer(request)
    assert settled(reply, usual["data"])


def test_a_finish_whose_answer_was_lost(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    server.set_faults(rules({"op": "upload_slice_finish", **LOST}))
    data = content(2 * MIB, 30)
    request = UploadSliceFileFromBufferRequest(BUCKET, f"{folder}a", data)
    reply = client.upload_slice_file_from_buffer(request)
    found = stat(client, f"{folder}a")
    urls = {name: found[name] for name in ("access_url", "source_url")}
    assert reply["data"] == {
        **urls,
        "url": reply["data"]["url"],
        "resource_path": f"/1250000000/{BUCKET}{folder}a",
    }
    assert reply["data"]["url"].endswith(f"/files/v2/1250000000/{BUCKET}{folder}a")
    assert get(client, f"{folder}a") == data


def test_an_upload_that_someone_else_made_is_not_ours(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    """The first request never arrives; the name is taken by other content all the same."""
    put(client, f"{folder}a", b"other")
    server.set_faults(rules({"op": "upload", "action": "drop_before", "times": 1}))
    request = UploadFileFromBufferRequest(BUCKET, f"{folder}a", b"hello")
    assert client.upload_file_from_buffer(request)["code"] == -177
    assert get(client, f"{folder}a") == b"other"


def test_a_change_that_nobody_can_find_out_about(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    server.set_faults(
        rules({"op": "create", "action": "drop_after"}, {"op": "stat", "action": "drop_before"})
    )
    assert client.create_folder(CreateFolderRequest(BUCKET, folder))["code"] == -3


# Repetitions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "drop_before"},
        {"action": "drop_after"},
        {"action": "status", "status": 503, "code": -71},
        {"action": "status", "status": 500, "code": -181},
        {"action": "cut_body"},
    ],
)
def test_reads_pass_over_failures(
    client: CosClient, server: LocalServer, folder: str, fault: dict[str, Any]
) -> None:
    data = content(MIB, 31)
    put(client, f"{folder}a", data)
    is_slow = fault.get("code") == -71  # waits for about a second, each time
    ops = ("stat",) if is_slow else ("stat", "list", "download")
    server.set_faults(rules(*[{"op": op, "times": 1, **fault} for op in ops]))
    assert stat(client, f"{folder}a")["filesize"] == MIB
    assert client.list_folder(ListFolderRequest(BUCKET, folder))["code"] == 0
    assert get(client, f"{folder}a") == data


def test_a_single_use_signature_is_made_anew_for_every_attempt(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    put(client, f"{folder}a", b"1")
    server.set_faults(
        rules({"op": "delete", "action": "status", "status": 500, "code": -181, "times": 2})
    )
    assert client.del_file(DelFileRequest(BUCKET, f"{folder}a"))["code"] == 0
    assert server.stats()["requests"]["by_op"]["delete"] == 3


def test_garbage_is_asked_again(client: CosClient, server: LocalServer, folder: str) -> None:
    put(client, f"{folder}a", b"1")
    server.set_faults(
        rules(*[{"op": op, "times": 1, "action": "garbage"} for op in ("stat", "list", "upload")])
    )
    assert stat(client, f"{folder}a")["filesize"] == 1
    assert client.list_folder(ListFolderRequest(BUCKET, folder))["code"] == 0
    put(client, f"{folder}b", b"2")


def test_a_clock_that_is_wrong_is_corrected_by_the_servers(
    client: CosClient,
    folder: str,
    expect_log: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expect_log("the server's clock differs by")
    monkeypatch.setattr(SystemClock, "wall", lambda clock: time.time() - 7200)
    put(client, f"{folder}a", b"1")
    assert get(client, f"{folder}a") == b"1"


def test_made_addresses_are_those_of_the_account_that_the_call_began_with(
    client: CosClient, server: LocalServer, folder: str
) -> None:
    cred, config = client.get_cred(), client.get_config()
    endpoint = config.get_endpoint()

    def change(done: int, total: int) -> None:
        client.set_cred(CredInfo(1, "other", "other"))
        client.set_config(CosConfig(region="gz"))

    server.set_faults(rules({"op": "upload_slice_finish", "action": "drop_after"}))
    request = UploadSliceFileFromBufferRequest(BUCKET, f"{folder}a", content(MIB, 69))
    reply = client.upload_slice_file_from_buffer(request, progress=change)
    assert reply["code"] == 0 and client.get_cred() is not cred
    place = f"/{server.appid}/{BUCKET}{folder}a"
    assert reply["data"]["resource_path"] == place
    assert reply["data"]["url"] == f"{endpoint}{place}"
