"""What the typed methods do beyond one request: page sizes, paging that goes nowhere, closing."""

from __future__ import annotations

import pytest

from cosfs import errors
from cosfs.config import NetworkOptions
from cosfs.jsonapi.client import JsonApi
from tests.fakeclock import FakeClock
from tests.unit.jsonapi_fakes import (
    ACCOUNT,
    BUCKET,
    FakeStream,
    FakeTransport,
    make_api,
    ok,
    refused,
)


def page(context: str = "", listover: bool = True, *names: str) -> FakeStream:
    infos = [{"name": name, "filesize": 1, "ctime": 1, "mtime": 1} for name in names]
    return ok({"context": context, "listover": listover, "infos": infos})


def nums(transport: FakeTransport) -> list[str]:
    return [request.url.partition("num=")[2].partition("&")[0] for request in transport.requests]


def test_pages_get_smaller_once_and_for_all() -> None:
    transport = FakeTransport(refused(-165), page("", True, "a"), page(), page())
    api = make_api(transport)
    assert [entry.name for entry in api.bucket(BUCKET).list_folder("d/").entries] == ["a"]
    api.bucket(BUCKET).list_folder("d/")
    api.bucket("other").list_folder("d/", num=5)
    assert nums(transport) == ["1000", "199", "199", "5"]


def test_a_small_page_that_is_refused_is_an_error() -> None:
    with pytest.raises(errors.BadRequest):
        make_api(FakeTransport(refused(-165))).bucket(BUCKET).list_folder("d/", num=100)
    with pytest.raises(errors.BadRequest):
        make_api(FakeTransport(refused(-165), refused(-165))).bucket(BUCKET).list_folder("d/")
    with pytest.raises(errors.BadRequest):
        make_api(FakeTransport(refused(-170))).bucket(BUCKET).list_folder("d/")


def test_an_empty_page_is_not_the_end() -> None:
    listing = make_api(FakeTransport(page("c1", False))).bucket(BUCKET).list_folder("d/", num=1)
    assert (listing.entries, listing.context, listing.listover) == ((), "c1", False)


def test_a_page_that_leads_to_itself_ends_the_listing() -> None:
    bucket = make_api(FakeTransport(page("c1", False))).bucket(BUCKET)
    with pytest.raises(errors.MalformedReply):
        bucket.list_folder("d/", context="c1")


def test_a_lent_transport_stays_open() -> None:
    transport = FakeTransport()
    with pytest.raises(AssertionError):
        transport.close()
    make_api(transport).close()


def test_an_own_transport_is_closed() -> None:
    api = JsonApi(ACCOUNT, NetworkOptions(), clock=FakeClock())
    assert api.counters() == {}
    api.close()
