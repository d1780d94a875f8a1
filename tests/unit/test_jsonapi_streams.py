"""Reading a download front to back, on a scripted transport."""

from __future__ import annotations

from typing import Any

import pytest

from cosfs import errors
from cosfs.jsonapi.streams import ObjectStream
from tests.fakeclock import FakeClock
from tests.unit.jsonapi_fakes import BUCKET, FakeStream, FakeTransport, content, make_api

DATA = bytes(range(256)) * 1024
LOST = errors.ConnectionLost("lost")


def whole(data: bytes, length: int | None = None, **options: Any) -> FakeStream:
    """A 200 of the download host that announces ``length`` bytes."""
    size = len(data) if length is None else length
    return FakeStream(200, data, {"content-length": str(size), "etag": '"e1"'}, **options)


def open_stream(transport: FakeTransport, **options: Any) -> ObjectStream:
    return ObjectStream(make_api(transport, clock=FakeClock()), BUCKET, "f", **options)


def read(stream: ObjectStream, size: int = 1000) -> bytes:
    buffer = memoryview(bytearray(size))
    data = b""
    while count := stream.readinto(buffer):
        data += buffer[:count]
    return data


def ranges(transport: FakeTransport) -> list[str]:
    return [request.headers.get("Range", "") for request in transport.requests]


def test_a_whole_file() -> None:
    transport = FakeTransport(whole(b"hello"))
    stream = open_stream(transport)
    assert (stream.status, stream.size, stream.body.total, stream.body.etag) == (200, 5, 5, "e1")
    assert read(stream) == b"hello" and ranges(transport) == [""]
    assert stream.readinto(memoryview(bytearray(5))) == 0
    assert transport.streams[0].closed


@pytest.mark.parametrize(
    ("first", "last", "sent", "expected"),
    [(2, None, "bytes=2-", b"llo"), (0, 1, "bytes=0-1", b"he"), (2, 99, "bytes=2-99", b"llo")],
)
def test_ranges(first: int, last: int | None, sent: str, expected: bytes) -> None:
    for answer in (content(expected, first, 5), whole(b"hello")):
        transport = FakeTransport(answer)
        stream = open_stream(transport, first=first, last=last)
        assert stream.size == len(expected) and read(stream, 2) == expected
        assert ranges(transport) == [sent]


def test_a_range_behind_the_end_that_a_server_ignores() -> None:
    transport = FakeTransport(whole(b"hello"))
    with pytest.raises(errors.RangeNotSatisfiable):
        open_stream(transport, first=5)
    assert transport.streams[0].closed


@pytest.mark.parametrize(
    "answer",
    [
        content(b"ell", 1, 5),
        content(b"lo", 3, 5),
        FakeStream(206, b"llo", {"content-length": "3"}),
        FakeStream(200, b"hello", {"transfer-encoding": "chunked"}),
        FakeStream(200, b"hello", {}),
    ],
)
def test_another_range_than_was_asked_for(answer: FakeStream) -> None:
    transport = FakeTransport(*[answer] * 3)
    with pytest.raises(errors.MalformedReply):
        open_stream(transport, first=2)
    assert answer.closed


def test_a_whole_file_that_ends_before_the_range() -> None:
    transport = FakeTransport(whole(b"", 5))
    with pytest.raises(errors.TruncatedBody):
        open_stream(transport, first=2)


def test_a_break_is_mended_where_it_was() -> None:
    transport = FakeTransport(
        whole(DATA[:1000], len(DATA), fails=LOST),
        content(DATA[1000:2000], 1000, len(DATA), announced=len(DATA) - 1000),
        content(DATA[2000:], 2000),
    )
    assert read(open_stream(transport)) == DATA
    end = len(DATA) - 1
    assert ranges(transport) == ["", f"bytes=1000-{end}", f"bytes=2000-{end}"]
    assert all(stream.closed for stream in transport.streams)


def test_a_break_is_mended_by_a_server_that_ignores_ranges() -> None:
    transport = FakeTransport(whole(DATA[:1000], len(DATA), fails=LOST), whole(DATA))
    assert read(open_stream(transport)) == DATA


def test_a_range_of_its_own_words_is_mended_too() -> None:
    transport = FakeTransport(
        content(b"ell", 1, 9, announced=5, fails=LOST), content(b"o!", 4, 9)
    )
    stream = open_stream(transport, headers=[("range", "bytes=1-5"), ("X-A", "b")])
    assert read(stream) == b"ello!"
    assert [dict(request.headers).get("X-A") for request in transport.requests] == ["b", "b"]
    assert transport.requests[0].headers["range"] == "bytes=1-5"
    assert ranges(transport)[1] == "bytes=4-5" and "range" not in transport.requests[1].headers


@pytest.mark.parametrize(
    "answer",
    [
        FakeStream(206, b"--x", {"content-length": "9"}, LOST),  # several ranges at once
        FakeStream(200, b"hel", {"transfer-encoding": "chunked"}, LOST),
    ],
)
def test_what_cannot_be_mended(answer: FakeStream) -> None:
    transport = FakeTransport(answer)
    stream = open_stream(transport, headers=[("Range", "bytes=0-1,4-5")])
    with pytest.raises(errors.ConnectionLost):
        read(stream)


def test_too_many_breaks_without_an_advance() -> None:
    size = 1_000_000
    broken = [content(b"x", n, size, announced=size - n, fails=LOST) for n in range(1, 9)]
    transport = FakeTransport(whole(b"x", size, fails=LOST), *broken)
    with pytest.raises(errors.ConnectionLost):
        read(open_stream(transport))
    assert len(transport.requests) == 4


def test_breaks_with_an_advance_between_them_do_not_add_up() -> None:
    step = 64 * 1024
    size = 10 * step
    data = bytes(step)
    parts = [
        content(data, n * step, size, announced=size - n * step, fails=LOST) for n in range(1, 9)
    ]
    transport = FakeTransport(
        whole(data, size, fails=LOST), *parts, content(data, 9 * step, size)
    )
    assert read(open_stream(transport)) == bytes(size)


def test_another_version_is_not_mixed_in() -> None:
    transport = FakeTransport(
        whole(DATA[:1000], len(DATA), fails=LOST), content(DATA[1000:], 1000, etag="e2")
    )
    with pytest.raises(errors.ObjectChanged):
        read(open_stream(transport))
    assert all(stream.closed for stream in transport.streams)


def test_a_file_that_is_gone_meanwhile() -> None:
    transport = FakeTransport(
        whole(DATA[:1000], len(DATA), fails=LOST), FakeStream(404, b"{}")
    )
    with pytest.raises(errors.NotFound):
        read(open_stream(transport))


def test_a_body_that_ends_early_without_saying_so() -> None:
    transport = FakeTransport(whole(b"he", 5), content(b"llo", 2, 5))
    assert read(open_stream(transport)) == b"hello"
