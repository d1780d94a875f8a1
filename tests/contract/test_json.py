"""The store on the JSON API keeps the contract, whatever habits the server has."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cosfs.clock import SystemClock
from cosfs.config import Account, Credentials, Endpoints, NetworkOptions
from cosfs.jsonapi.client import JsonApi
from cosfs.server.running import LocalServer
from cosfs.store.base import Store
from cosfs.store.json_store import JsonStore
from cosfs.store.names import PORTABLE, RAW

from .store_contract import LargeFiles, StoreContract, write

BUCKET = "mybucket"


def api_of(server: LocalServer) -> JsonApi:
    account = Account(
        Credentials(server.appid, server.secret_id, server.secret_key),
        Endpoints.of_region("sh", api=server.url, download=server.url),
    )
    return JsonApi(account, NetworkOptions(timeout_s=20), clock=SystemClock())


@pytest.fixture(scope="session")
def big_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a server with 2,500 names in one folder, below the prefix ``big``."""
    folder = tmp_path_factory.mktemp("big")
    with LocalServer(folder, buckets=[BUCKET]) as server:
        api = api_of(server)
        store = JsonStore(api.bucket(BUCKET), prefix="big")
        store.make_folder("/big")
        store.make_folder("/big/m-folder")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: write(store, f"/big/{n:04}", b"%d" % n), range(2499)))
        api.close()
    return folder


@pytest.fixture(scope="class")
def api(
    request: pytest.FixtureRequest, big_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[JsonApi]:
    """A client of a server with the switches of the test class."""
    folder = tmp_path_factory.mktemp("server") / "data"
    shutil.copytree(big_data, folder)
    with LocalServer(folder, buckets=[BUCKET], **request.cls.switches) as server:
        api = api_of(server)
        yield api
        api.close()


#: Each test has a prefix of its own on the server of its class.
_prefixes = (f"t{number}" for number in itertools.count())


class JsonContract(StoreContract):
    folders_take_all = False
    switches: dict[str, Any] = {}
    names = PORTABLE

    @pytest.fixture
    def store(self, api: JsonApi) -> Store:
        return JsonStore(api.bucket(BUCKET), prefix=next(_prefixes), names=self.names)

    def test_a_big_folder_is_listed_completely(  # type: ignore[override]
        self, api: JsonApi
    ) -> None:
        store = JsonStore(api.bucket(BUCKET), prefix="big", names=self.names)
        super().test_a_big_folder_is_listed_completely(store, "/big")

    def test_a_folder_does_not_hinder_a_file(  # type: ignore[override]
        self, store: Store, expect_log: Callable[[str], None]
    ) -> None:
        expect_log("'t[0-9]+/a' is not shown: a folder has the same name")
        super().test_a_folder_does_not_hinder_a_file(store)

    def test_where_a_file_and_a_folder_have_one_name(  # type: ignore[override]
        self, store: Store, expect_log: Callable[[str], None]
    ) -> None:
        expect_log("'t[0-9]+/n' is not shown: a folder has the same name")
        super().test_where_a_file_and_a_folder_have_one_name(store)


class TestJson(JsonContract, LargeFiles):
    pass


class TestJsonSmallPages(JsonContract):
    refuses_full_folders = True
    switches = {"page_size": 199, "refuse_nonempty_delete": True, "virtual_times": "omit"}


class TestJsonKeeping(JsonContract):
    overwrite_keeps_headers = True
    switches = {"marker_slot": False, "overwrite_keeps": True}


class TestJsonRawNames(JsonContract):
    implied_is_listed = False
    names = RAW
    switches = {"page_size": 199, "marker_slot": False, "virtual_times": "newest"}


def test_without_a_prefix() -> None:
    contract = StoreContract()
    tests = [
        contract.test_probe_and_root,
        contract.test_an_implied_folder,
        contract.test_moving_over_a_file,
        contract.test_impossible_names,
    ]
    buckets = [f"bucket{number}" for number in range(len(tests))]
    with LocalServer(buckets=buckets) as server:
        api = api_of(server)
        for test, bucket in zip(tests, buckets, strict=True):
            test(JsonStore(api.bucket(bucket)))
        api.close()
