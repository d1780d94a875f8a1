"""Ranges into a caller's buffer: resumed, checked, and honest about servers that ignore them."""

from __future__ import annotations

import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosfs import errors
from cosfs.errors import StoreError
from cosfs.jsonapi.replies import Downloaded
from cosfs.jsonapi.wire import HttpRequest
from tests.fakeclock import FakeClock
from tests.unit.jsonapi_fakes import BUCKET, FakeStream, FakeTransport, Step, content, make_api

DATA = bytes(range(256)) * 1024


def fetch(offset: int, length: int, *script: Step) -> tuple[bytes, Downloaded, FakeTransport]:
    transport = FakeTransport(*script)
    buffer = bytearray(length)
    with memoryview(buffer) as view:
        found = make_api(transport).bucket(BUCKET).download("k", offset, view)
    assert not transport.script
    assert all(stream.closed for stream in transport.streams)
    return bytes(buffer), found, transport


def ranges(transport: FakeTransport) -> list[str]:
    return [request.headers["Range"] for request in transport.requests]


def lost() -> StoreError:
    return errors.ConnectionLost("the connection broke")


def cut() -> StoreError:
    return errors.TruncatedBody("the body broke off")


def whole(data: bytes, etag: str = "e1") -> FakeStream:
    return FakeStream(200, data, {"content-length": str(len(data)), "etag": f'"{etag}"'})


def test_a_range() -> None:
    data, found, transport = fetch(2, 4, content(b"2345", 2, 10))
    assert data == b"2345"
    assert (found.total_size, found.etag) == (10, "e1")
    assert ranges(transport) == ["bytes=2-5"]


def test_a_large_range() -> None:
    assert fetch(0, len(DATA), content(DATA))[0] == DATA


def test_a_view_of_wider_items_is_filled_with_bytes() -> None:
    items = array.array("I", [0, 0])
    transport = FakeTransport(content(b"12345678"))
    make_api(transport).bucket(BUCKET).download("k", 0, memoryview(items))
    assert items.tobytes() == b"12345678"
    assert ranges(transport) == ["bytes=0-7"]


@pytest.mark.parametrize("fails", [None, cut(), lost(), errors.RequestTimeout("silence")])
def test_a_body_that_breaks_off_is_resumed_there(fails: StoreError | None) -> None:
    data, found, transport = fetch(
        10,
        6,
        content(b"01", 10, 100, announced=6, fails=fails),
        content(b"23", 12, 100, announced=4, fails=fails),
        content(b"45", 14, 100),
    )
    assert data == b"012345"
    assert ranges(transport) == ["bytes=10-15", "bytes=12-15", "bytes=14-15"]
    assert len({request.url for request in transport.requests}) == 3, "signed anew"


@given(st.lists(st.integers(0, 40_000), max_size=12), st.integers(0, 1000))
def test_any_number_of_breaks(cuts: list[int], offset: int) -> None:
    position, script = 0, []
    for length in cuts:
        piece = DATA[offset + position :][:length]
        script.append(
            content(piece, offset + position, len(DATA), announced=200_000 - position, fails=cut())
        )
        position += len(piece)
        if position > 150_000:
            break
    script.append(content(DATA[offset + position : offset + 200_000], offset + position, len(DATA)))
    assert fetch(offset, 200_000, *script)[0] == DATA[offset : offset + 200_000]


def test_breaks_without_progress_end() -> None:
    script = [content(b"", 0, 10, announced=10, fails=cut()) for _ in range(50)]
    transport = FakeTransport(*script)
    with pytest.raises(errors.TruncatedBody):
        make_api(transport).bucket(BUCKET).download("k", 0, memoryview(bytearray(10)))
    assert len(transport.requests) <= 20


def test_progress_makes_time() -> None:
    """A slow body may take longer than the budget as long as it moves."""
    clock = FakeClock()
    half = 128 * 1024

    def slow(begin: int) -> Step:
        def step(request: HttpRequest) -> FakeStream:
            clock.advance(50)
            return content(DATA[begin : begin + half], begin, 2 * half, fails=lost())

        return step

    transport = FakeTransport(slow(0), slow(half))
    buffer = bytearray(2 * half)
    make_api(transport, clock=clock).bucket(BUCKET).download("k", 0, memoryview(buffer))
    assert buffer == DATA[: 2 * half]


def test_a_server_that_ignores_ranges_is_read_up_to_there() -> None:
    data, found, _ = fetch(2, 4, whole(b"0123456789"))
    assert data == b"2345" and found.total_size == 10


def test_a_server_that_ignores_ranges_may_break_off_too() -> None:
    headers = {"content-length": str(len(DATA)), "etag": '"e1"'}
    first = FakeStream(200, DATA[:100_000], headers, cut())
    second = FakeStream(200, DATA, headers)
    assert fetch(90_000, 50_000, first, second)[0] == DATA[90_000:140_000]


@pytest.mark.parametrize(
    "second",
    [
        content(b"23", 2, 4, etag="other"),
        content(b"23", 2, 5),
        whole(b"0123", "other"),
        whole(b"01234"),
    ],
)
def test_an_object_that_changes_meanwhile(second: FakeStream) -> None:
    with pytest.raises(errors.ObjectChanged):
        fetch(0, 4, content(b"01", 0, 4, announced=4, fails=cut()), second)


def test_an_object_that_shrinks_meanwhile() -> None:
    with pytest.raises(errors.ObjectChanged):
        fetch(0, 4, content(b"01", 0, 4, announced=4, fails=cut()), content(b"2", 2, 3))


@pytest.mark.parametrize(
    "reply",
    [
        content(b"01", 0, 2),
        whole(b"01"),
        whole(b""),
        FakeStream(416, b"", {"content-range": "bytes */2"}),
        FakeStream(403, b'{"errorcode": -29033}'),
        FakeStream(400, b'{"errorcode": -29034}'),
    ],
)
def test_a_range_beyond_the_end(reply: FakeStream) -> None:
    refusals = (errors.RangeNotSatisfiable, errors.AccessDenied)
    with pytest.raises(refusals) as caught:
        fetch(0, 4, reply)
    assert (type(caught.value) is errors.AccessDenied) is (reply.status == 403)


@pytest.mark.parametrize(
    "reply",
    [
        content(b"1234", 1, 9),
        content(b"0123", 8, 12),
        FakeStream(206, b"0123", {}),
        FakeStream(200, b"0123", {}),
        FakeStream(200, b"<html>Log in</html>", {"content-length": "19"}),
    ],
)
def test_a_reply_that_is_not_what_was_asked(reply: FakeStream) -> None:
    with pytest.raises(errors.MalformedReply):
        fetch(5, 4, *[reply] * 3)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (FakeStream(404, b"<html>"), errors.NotFound),
        (FakeStream(403, b"{}"), errors.AccessDenied),
        (FakeStream(302, b""), errors.MalformedReply),
    ],
)
def test_a_refusal(reply: FakeStream, kind: type[StoreError]) -> None:
    with pytest.raises(StoreError) as caught:
        fetch(0, 4, *[reply] * 3)
    assert type(caught.value) is kind
    assert caught.value.path == "k"


def test_a_failing_server_is_asked_again() -> None:
    assert fetch(0, 2, FakeStream(503, b"busy"), lost(), content(b"ab"))[0] == b"ab"


def head_of(reply: FakeStream) -> Downloaded:
    return make_api(FakeTransport(reply)).bucket(BUCKET).head("k")


def test_head() -> None:
    headers = {
        "content-length": "7",
        "etag": '"cafe"',
        "last-modified": "Thu, 01 Jan 1970 00:00:07 GMT",
        "x-cos-meta-a": "1",
    }
    found = head_of(FakeStream(200, b"", headers))
    assert (found.total_size, found.etag) == (7, "cafe")
    assert found.last_modified == "Thu, 01 Jan 1970 00:00:07 GMT"
    assert found.headers["x-cos-meta-a"] == "1"


def test_nothing_asked_is_a_head() -> None:
    transport = FakeTransport(FakeStream(200, b"", {"content-length": "7"}))
    found = make_api(transport).bucket(BUCKET).download("k", 3, memoryview(bytearray(0)))
    assert transport.requests[0].method == "HEAD" and found.total_size == 7


def test_head_of_nothing() -> None:
    with pytest.raises(errors.NotFound):
        head_of(FakeStream(404, b"", {"content-length": "50"}))
