"""``CosConfig`` and ``CredInfo``: getters, setters, hosts, and what a client makes of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cosfs import (
    CosClient,
    CosConfig,
    CredInfo,
    DownloadFileRequest,
    DownloadObjectRequest,
    ListFolderRequest,
    StatFileRequest,
)
from cosfs.server.running import LocalServer
from tests.sdk.places import BUCKET, client_of, put
from tests.unit.jsonapi_fakes import capture, http_reply

STAT = StatFileRequest(BUCKET, "/a.txt")
OK = http_reply(b'{"code": 0, "message": "SUCCESS", "data": {}}')


def test_getters_and_setters() -> None:
    config = CosConfig(30, 60, True, "gz")
    assert (config.get_timeout(), config.get_sign_expired(), config.enable_https) == (30, 60, True)
    config.set_timeout(31)
    config.set_sign_expired(61)
    config.enable_https = False
    assert (config.get_timeout(), config.get_sign_expired(), config.enable_https) == (31, 61, False)
    assert config.get_endpoint() == "http://gz.file.myqcloud.com/files/v2"
    assert config.get_download_hostname() == "cosgz.myqcloud.com"
    assert config.get_user_agent() == "cos-python-sdk-v4"


@pytest.mark.parametrize(
    ("region", "code"),
    [
        ("sh", "sh"), ("shanghai", "sh"), ("gz", "gz"), ("guangzhou", "gz"), ("tj", "tj"),
        ("tianjin", "tj"), ("tianjing", "tj"), ("sgp", "sgp"), ("singapore", "sgp"), ("bj", "bj"),
    ],
)  # fmt: skip
def test_regions(region: str, code: str) -> None:
    config = CosConfig(enable_https=True, region=region, hostname="ignored")
    assert config.get_endpoint() == f"https://{code}.file.myqcloud.com/files/v2"
    assert config.get_download_hostname() == f"cos{code}.myqcloud.com"


@pytest.mark.parametrize(
    "hosts",
    [{}, {"hostname": "a"}, {"download_hostname": "a"}, {"hostname": "", "download_hostname": ""}],
)
def test_no_region_and_not_both_host_names(hosts: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=re.escape("region or [hostname, download_hostname]")):
        CosConfig(**hosts)  # type: ignore[arg-type]


def test_a_client_without_a_region() -> None:
    with pytest.raises(ValueError, match="region"):
        CosClient(1, "id", "key", None)  # type: ignore[arg-type]


def test_setters_refuse_other_types() -> None:
    config = CosConfig(region="sh")
    with pytest.raises(TypeError):
        config.set_timeout("5")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        config.set_sign_expired(None)  # type: ignore[arg-type]
    client = CosClient(1, "id", "key")
    with pytest.raises(TypeError):
        client.set_config(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        client.set_cred("id")  # type: ignore[arg-type]


def test_a_client_gives_back_what_it_was_given() -> None:
    client = CosClient(1, "id", "key", "gz")
    assert client.get_config().get_endpoint() == "http://gz.file.myqcloud.com/files/v2"
    config, cred = CosConfig(region="tj"), CredInfo(2, "id2", "key2")
    client.set_config(config)
    client.set_cred(cred)
    assert client.get_config() is config and client.get_cred() is cred
    assert (cred.get_appid(), cred.get_secret_id(), cred.get_secret_key()) == (2, "id2", "key2")


@pytest.mark.parametrize(
    ("cred", "tips"),
    [
        ((None, "id", "key"), "appid is None!"),
        (("1", "id", "key"), "appid is not int!"),
        ((1, None, "key"), "secret_id is None!"),
        ((1, b"id", "key"), "secret_id is not unicode!"),
        ((1, "id", None), "secret_key is None!"),
        ((1, "id", 5), "secret_key is not unicode!"),
    ],
)
def test_credentials_are_checked_first(cred: Any, tips: str) -> None:
    info = CredInfo(*cred)
    assert not info.check_params_valid() and info.get_err_tips() == tips
    client = CosClient(*cred)
    assert client.stat_file(StatFileRequest("", "")) == {"code": -1, "message": tips}


@pytest.mark.parametrize(
    "config",
    [
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": "5"},
        {"timeout": float("nan")},
        {"sign_expired": "5"},
        {"sign_expired": 10**30},
        {"hostname": "http://sh"},
        {"hostname": "a/b"},
        {"hostname": "a b"},
        {"hostname": "a:b"},
        {"download_hostname": "\r\nX: y"},
        {"region": "é"},
        {"region": "a/b"},
        {"ca_file": "/nothing/there"},
        {"timeout": -(10**5000)},
        {"sign_expired": 10**5000},
        {"hostname": 10**5000},
        {"hostname": b"sh"},
        {"hostname": "[:::::]"},
        {"hostname": "["},
        {"download_hostname": "[:::::]"},
        {"download_hostname": 5},
        {"download_hostname": 10**5000},
        {"ca_file": "a\0b"},
        {"ca_file": "a\ud800"},
        {"ca_file": ["a"]},
        {"ca_file": 1.5},
    ],
    ids=range(27),
)
def test_settings_that_cannot_be_used(config: dict[str, Any]) -> None:
    client = CosClient(1, "id", "key")
    client.set_config(CosConfig(**{"hostname": "sh", "download_hostname": "sh", **config}))
    assert client.stat_file(STAT)["code"] == -1


@pytest.mark.parametrize("cred", [(1, "", "key"), (1, "id", "a\nb"), (-1, "id", "key")])
def test_credentials_that_cannot_be_used(cred: Any) -> None:
    assert CosClient(*cred).stat_file(STAT)["code"] == -1


@pytest.mark.parametrize("timeout", [10**400, 10**5000, 1e300], ids=range(3))
def test_a_huge_time_limit_is_none(timeout: float) -> None:
    client = CosClient(1, "id", "key")
    client.set_config(CosConfig(timeout, hostname="a b", download_hostname="x"))
    assert client.stat_file(STAT)["message"] == "'a b' is no name of a host"


@pytest.mark.parametrize("number", [10**5000, -(10**5000), 2**63], ids=range(3))
def test_numbers_that_no_server_reads(number: int, tmp_path: Path) -> None:
    assert CosClient(number, "id", "key").stat_file(STAT)["code"] == -1
    client = CosClient(1, "id", "key")
    assert client.list_folder(ListFolderRequest("bucket", "/", number))["code"] == -1
    for ends in ((number, None), (None, number), (number, number)):
        request = DownloadFileRequest("bucket", "/a", str(tmp_path / "a"), *ends)
        assert client.download_file(request)["code"] == -1


def test_no_time_limit(server: LocalServer, folder: str) -> None:
    with client_of(server, timeout=None) as client:
        put(client, f"{folder}a.txt", b"1")


def test_other_settings_work_from_the_next_call_on(server: LocalServer) -> None:
    with client_of(server) as client:
        put(client, "/settings.txt", b"1")
        good, cred = client.get_config(), client.get_cred()
        client.set_config(CosConfig(timeout=5, hostname="127.0.0.1:1", download_hostname="x"))
        assert client.stat_file(STAT)["code"] == -3
        client.set_config(good)
        assert client.stat_file(STAT)["code"] == -197
        client.set_cred(CredInfo(cred.get_appid(), cred.get_secret_id(), "another"))
        assert client.stat_file(STAT)["code"] == -97
        client.set_cred(cred)
        good.set_timeout(7)
        assert client.stat_file(StatFileRequest(BUCKET, "/settings.txt"))["code"] == 0


def test_a_closed_client_can_be_used_on(server: LocalServer) -> None:
    client = client_of(server)
    with client as same:
        assert same is client
        assert client.stat_file(STAT)["code"] == -197
    assert client.stat_file(STAT)["code"] == -197
    client.close()
    client.close()


def test_real_host_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen by a proxy, which is asked with the whole URL."""
    seen: list[tuple[str, dict[str, str], bytes]] = []
    with capture(OK, seen) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with CosClient(1250000000, "id", "key", "singapore") as client:
            assert client.stat_file(STAT)["code"] == 0
            client.download_object(DownloadObjectRequest(BUCKET, "/a.txt")).close()
    assert seen[0][0] == (
        "GET http://sgp.file.myqcloud.com/files/v2/1250000000/mybucket/a.txt?op=stat HTTP/1.1"
    )
    assert seen[0][1]["host"] == "sgp.file.myqcloud.com"
    assert seen[1][0].startswith("GET http://mybucket-1250000000.cossgp.myqcloud.com/a.txt?sign=")
    assert seen[1][1]["host"] == "mybucket-1250000000.cossgp.myqcloud.com"


def test_localhost_is_connected_to_and_the_bucket_is_named_in_host() -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []
    with capture(OK, seen) as server, CosClient(1250000000, "id", "key") as client:
        host = f"localhost:{server.port}"
        client.set_config(CosConfig(hostname=host, download_hostname=host))
        client.download_object(DownloadObjectRequest(BUCKET, "/a.txt")).close()
    assert seen[0][1]["host"] == f"mybucket-1250000000.{host}"
