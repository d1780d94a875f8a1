"""``iter_folder``: all pages, everything below, prefixes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cosfs import CosClient, CosReplyError, CreateFolderRequest, ListFolderRequest
from cosfs.server.running import LocalServer
from tests.sdk.places import BUCKET, client_of, put
from tests.unit.jsonapi_fakes import SocketServer, answers, http_reply

FILES = ["a.txt", "b/1", "b/2/x", "b.txt", "empty/", "te st", "test/y"]


@pytest.fixture(scope="module", params=[True, False], ids=["marker-slot", "no-marker-slot"])
def listed(request: Any) -> Iterator[CosClient]:
    """A bucket with a few names, on servers of both habits (reference 3.4)."""
    with LocalServer(buckets=[BUCKET], marker_slot=request.param) as server:
        with client_of(server) as client:
            client.create_folder(CreateFolderRequest(BUCKET, "/d/"))
            for name in FILES:
                if name.endswith("/"):
                    client.create_folder(CreateFolderRequest(BUCKET, f"/d/{name}"))
                else:
                    put(client, f"/d/{name}", name.encode())
            yield client


def names(client: CosClient, *, recursive: bool = False, **options: Any) -> list[str]:
    request = ListFolderRequest(BUCKET, "/d/", **options)
    return [entry["name"] for entry in client.iter_folder(request, recursive=recursive)]


@pytest.mark.parametrize("num", [1, 2, 3, 199])
def test_one_level(listed: CosClient, num: int) -> None:
    expected = ["a.txt", "b.txt", "b/", "empty/", "te st", "test/"]
    assert names(listed, num=num) == expected
    assert names(listed, num=num, delimiter="/") == expected


@pytest.mark.parametrize("num", [1, 2, 3, 199])
def test_everything_below(listed: CosClient, num: int) -> None:
    assert sorted(names(listed, num=num, recursive=True)) == sorted(FILES)


@pytest.mark.parametrize("num", [1, 199])
def test_prefixes(listed: CosClient, num: int) -> None:
    assert names(listed, num=num, prefix="te") == ["te st", "test/"]
    assert names(listed, num=num, prefix="te", recursive=True) == ["te st", "test/y"]
    assert names(listed, num=num, prefix="nothing") == []


def test_entries_are_those_of_list_folder(listed: CosClient) -> None:
    request = ListFolderRequest(BUCKET, "/d/")
    assert list(listed.iter_folder(request)) == listed.list_folder(request)["data"]["infos"]


def test_pages_by_hand(listed: CosClient) -> None:
    request = ListFolderRequest(BUCKET, "/d/", 2)
    found: list[str] = []
    while True:
        data = listed.list_folder(request)["data"]
        found += [entry["name"] for entry in data["infos"]]
        if data["listover"]:
            break
        request.set_context(data["context"])
    assert found == names(listed)


def test_a_context_to_begin_at(listed: CosClient) -> None:
    first = listed.list_folder(ListFolderRequest(BUCKET, "/d/", 3))["data"]
    rest = names(listed, context=first["context"])
    assert [entry["name"] for entry in first["infos"]] + rest == names(listed)


def test_pages_are_asked_for_when_they_are_needed(listed: CosClient) -> None:
    entries = listed.iter_folder(ListFolderRequest(BUCKET, "/d/", 1))
    assert next(iter(entries))["name"] == "a.txt"


def test_a_bad_parameter_is_raised_at_once() -> None:
    client = CosClient(1250000000, "id", "key")
    with pytest.raises(CosReplyError) as caught:
        client.iter_folder(ListFolderRequest(BUCKET, "/d"))
    assert caught.value.reply["code"] == -1


def test_a_page_that_cannot_be_had(client: CosClient, server: LocalServer) -> None:
    server.set_faults(
        {"rules": [{"op": "list", "action": "status", "status": 400, "code": -5999}]}
    )
    with pytest.raises(CosReplyError) as caught:
        list(client.iter_folder(ListFolderRequest(BUCKET, "/d/")))
    assert caught.value.reply["code"] == -5999 and "request_id" in caught.value.reply


@pytest.mark.parametrize(
    "data",
    [
        b'{"infos": [], "listover": false, "context": "c"}',
        b'{"infos": [], "listover": false}',
        b'{"infos": [{}], "listover": true}',
        b"{}",
    ],
)
def test_a_server_that_never_ends_a_listing(data: bytes) -> None:
    reply = http_reply(b'{"code": 0, "message": "", "data": %b}' % data)
    with SocketServer(answers(*[reply] * 9)) as server:
        running = LocalServer()
        running.url = server.url
        with client_of(running) as client, pytest.raises(CosReplyError) as caught:
            list(client.iter_folder(ListFolderRequest(BUCKET, "/d/")))
    assert caught.value.reply["code"] == -3
