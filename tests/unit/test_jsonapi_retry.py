"""The retry policy as tables, and how the client follows it on time that stands still."""

from __future__ import annotations

import random
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosfs import errors
from cosfs.errors import ReplyInfo, StoreError
from cosfs.jsonapi.retry import Effort, RetryPolicy, is_ambiguous, is_passing
from cosfs.jsonapi.wire import HttpRequest
from cosfs.model import BytesSource
from tests.fakeclock import FakeClock
from tests.unit.jsonapi_fakes import (
    BUCKET,
    FILE,
    UPLOADED,
    FakeStream,
    FakeTransport,
    make_api,
    ok,
    refused,
)

POLICY = RetryPolicy(60.0)
RNG = random.Random(7)


def subclasses(kind: type[StoreError]) -> list[type[StoreError]]:
    return [kind, *(deep for child in kind.__subclasses__() for deep in subclasses(child))]


#: class -> (worth another attempt, may have been carried out)
TABLE: dict[type[StoreError], tuple[bool, bool]] = {
    errors.StoreError: (False, False),
    errors.NotFound: (False, False),
    errors.BucketNotFound: (False, False),
    errors.AlreadyExists: (False, False),
    errors.SameContentExists: (False, False),
    errors.FolderNotEmpty: (False, False),
    errors.AccessDenied: (False, False),
    errors.BadCredentials: (False, False),
    errors.SignatureExpired: (False, False),
    errors.BadRequest: (False, False),
    errors.RangeNotSatisfiable: (False, False),
    errors.UnfinishedUpload: (False, False),
    errors.UnfinishedOther: (False, False),
    errors.UploadSessionLost: (False, False),
    errors.TooLarge: (False, False),
    errors.QuotaExceeded: (False, False),
    errors.ObjectChanged: (False, False),
    errors.Transient: (True, True),
    errors.RateLimited: (True, False),
    errors.ServerFault: (True, True),
    errors.Unavailable: (True, True),
    errors.ConnectFailed: (True, False),
    errors.TlsRefused: (False, False),
    errors.RequestTimeout: (True, True),
    errors.ConnectionLost: (True, True),
    errors.MalformedReply: (True, True),
    errors.TruncatedBody: (True, True),
    errors.IntegrityError: (False, False),
    errors.SourceFailed: (False, False),
    errors.UnknownReply: (False, False),
}


def test_the_table_is_whole() -> None:
    ours = {kind for kind in subclasses(StoreError) if kind.__module__ == "cosfs.errors"}
    assert set(TABLE) == ours


@pytest.mark.parametrize(("kind", "row"), TABLE.items())
def test_what_is_worth_another_attempt(
    kind: type[StoreError], row: tuple[bool, bool]
) -> None:
    error = kind("x")
    assert (is_passing(error), is_ambiguous(error)) == row
    assert (POLICY.decide(error, 1, 0.0, RNG) is not None) is row[0]


@pytest.mark.parametrize(("status", "passes"), [(200, True), (502, True), (400, False)])
def test_a_garbled_refusal_is_final(status: int, passes: bool) -> None:
    error = errors.MalformedReply("x", reply=ReplyInfo(status))
    assert is_passing(error) is is_ambiguous(error) is passes


@given(st.integers(1, 19), st.integers())
def test_full_jitter(attempt: int, seed: int) -> None:
    policy = RetryPolicy(1e9)
    delay = policy.decide(errors.ServerFault("x"), attempt, 0.0, random.Random(seed))
    assert delay is not None
    assert 0 <= delay <= min(8.0, 0.1 * 2 ** (attempt - 1))


@given(st.integers(1, 19), st.integers())
def test_throttling_backs_off_longer(attempt: int, seed: int) -> None:
    policy = RetryPolicy(1e9)
    delay = policy.decide(errors.RateLimited("x"), attempt, 0.0, random.Random(seed))
    assert delay is not None
    assert 0.5 <= delay <= min(8.0, 2 ** (attempt - 1))


@given(st.integers(1, 30), st.floats(0, 100), st.integers())
def test_no_wait_goes_beyond_the_budget(attempt: int, elapsed: float, seed: int) -> None:
    delay = POLICY.decide(errors.ConnectFailed("x"), attempt, elapsed, random.Random(seed))
    assert delay is None or elapsed + delay < 60.0


def test_attempts_are_bounded() -> None:
    assert POLICY.decide(errors.ServerFault("x"), 19, 0.0, RNG) is not None
    assert POLICY.decide(errors.ServerFault("x"), 20, 0.0, RNG) is None
    assert POLICY.decide(errors.MalformedReply("x"), 2, 0.0, RNG) is not None
    assert POLICY.decide(errors.MalformedReply("x"), 3, 0.0, RNG) is None
    assert POLICY.decide(errors.TruncatedBody("x"), 3, 0.0, RNG) is not None


def test_effort_counts_from_the_last_progress() -> None:
    clock = FakeClock()
    effort = Effort(clock, 60.0)
    clock.advance(50)
    assert (effort.idle, effort.left) == (50, 10)
    effort.progress()
    clock.advance(5)
    assert (effort.age, effort.idle, effort.left) == (55, 5, 55)
    clock.advance(100)
    assert 0 < effort.left < 0.1


PASSING: list[FakeStream | StoreError] = [
    errors.ConnectFailed("x"),
    errors.RequestTimeout("x"),
    errors.ConnectionLost("x"),
    errors.TruncatedBody("x"),
    refused(-71, 503),
    refused(-143, 400),
    refused(-152, 504),
    refused(-181, 500),
    refused(-196, 503),
    refused(-5989, 500),
    refused(-5997, 503),
    refused(-98, 400),
    refused(-66, 400),
    refused(-424242, 500),
    FakeStream(502, b"<html>Bad gateway</html>"),
    FakeStream(200, b"<html>Log in</html>"),
    FakeStream(200, b'{"code": 0, "data": {"filesi'),
    ok({"filesize": 1}),
]


@pytest.mark.parametrize("failure", PASSING)
def test_a_read_is_tried_again(failure: FakeStream | StoreError) -> None:
    transport = FakeTransport(failure, ok(FILE))
    assert make_api(transport).bucket(BUCKET).stat_file("a").filesize == 5
    signatures = {request.headers["Authorization"] for request in transport.requests}
    assert len(signatures) == 2, "every attempt is signed anew"
    assert all(stream.closed for stream in transport.streams)


FINAL = [refused(-197, 404), refused(-97, 403), refused(-133, 404), refused(-5999), refused(-46)]


@pytest.mark.parametrize("failure", [*FINAL, FakeStream(403, b"<html>"), FakeStream(400, b"<?xml")])
def test_a_refusal_is_final(failure: FakeStream) -> None:
    transport = FakeTransport(failure)
    with pytest.raises(StoreError) as caught:
        make_api(transport).bucket(BUCKET).stat_file("a")
    assert caught.value.path == "a"
    assert caught.value.reply is not None


def test_the_budget_bounds_all_attempts() -> None:
    clock = FakeClock()
    begin = clock.monotonic()

    def slow(request: HttpRequest) -> StoreError:
        clock.advance(min(request.connect_timeout_s, 10.0))
        return errors.ConnectFailed("no connection", path="a")

    transport = FakeTransport(*[slow] * 50)
    with pytest.raises(errors.ConnectFailed):
        make_api(transport, clock=clock).bucket(BUCKET).stat_file("a")
    assert clock.monotonic() - begin <= 60.1
    assert len(transport.requests) >= 6


def test_one_silence_never_eats_the_whole_budget() -> None:
    clock = FakeClock()
    begin = clock.monotonic()

    def silent(request: HttpRequest) -> StoreError:
        clock.advance(request.silence_timeout_s)
        return errors.RequestTimeout("no answer")

    transport = FakeTransport(*[silent] * 50)
    with pytest.raises(errors.RequestTimeout):
        make_api(transport, clock=clock).bucket(BUCKET).stat_file("a")
    assert len(transport.requests) > 2
    assert transport.requests[0].silence_timeout_s == 30.0
    assert clock.monotonic() - begin <= 60.5


def test_an_upload_that_moves_does_not_use_the_budget_up() -> None:
    clock = FakeClock()

    class Slow:
        size = 3

        def read_at(self, offset: int, length: int) -> bytes:
            clock.advance(100.0)
            return b"abc"[offset : offset + length]

    transport = FakeTransport(refused(-196, 503), ok(UPLOADED))
    bucket = make_api(transport, clock=clock).bucket(BUCKET)
    bucket.upload("a", Slow(), sha="x", insert_only=False)
    assert transport.ops == ["upload", "upload"]


# The clock's offset ------------------------------------------------------------------------------


def expired(clock: FakeClock, ahead_s: float) -> FakeStream:
    return refused(-96, 403, date=formatdate(clock.wall() + ahead_s, usegmt=True))


def test_an_expired_signature_teaches_the_clock(expect_log: pytest.FixtureRequest) -> None:
    expect_log(r"clock differs by \+7200 s")  # type: ignore[operator]
    clock = FakeClock()
    transport = FakeTransport(expired(clock, 7200), ok(FILE), ok(FILE))
    bucket = make_api(transport, clock=clock).bucket(BUCKET)
    bucket.stat_file("a")
    bucket.stat_file("a")
    assert len(transport.requests) == 3
    assert clock.monotonic() == 1000.0, "no waiting"


def test_a_second_expiry_is_an_error(expect_log: pytest.FixtureRequest) -> None:
    expect_log("clock differs")  # type: ignore[operator]
    clock = FakeClock()
    transport = FakeTransport(expired(clock, 7200), expired(clock, 14400))
    with pytest.raises(errors.SignatureExpired):
        make_api(transport, clock=clock).bucket(BUCKET).stat_file("a")


@pytest.mark.parametrize("date", [None, "yesterday", "Sat, 99 Foo 2020 25:00:00 GMT"])
def test_without_a_date_there_is_nothing_to_learn(date: str | None) -> None:
    headers = {} if date is None else {"date": date}
    transport = FakeTransport(refused(-96, 403, **headers))
    with pytest.raises(errors.SignatureExpired):
        make_api(transport).bucket(BUCKET).stat_file("a")


def test_a_right_clock_is_not_the_cause() -> None:
    clock = FakeClock()
    with pytest.raises(errors.SignatureExpired):
        make_api(FakeTransport(expired(clock, 1)), clock=clock).bucket(BUCKET).stat_file("a")


def test_a_download_learns_too(expect_log: pytest.FixtureRequest) -> None:
    expect_log("clock differs by -7200 s")  # type: ignore[operator]
    clock = FakeClock()
    headers = {"date": formatdate(clock.wall() - 7200, usegmt=True), "x-errno": "-46619"}
    transport = FakeTransport(
        FakeStream(403, b"", headers), FakeStream(200, b"", {"content-length": "0"})
    )
    make_api(transport, clock=clock).bucket(BUCKET).head("a")


def test_a_change_with_an_expired_signature_is_sent_again(
    expect_log: pytest.FixtureRequest,
) -> None:
    expect_log("clock differs")  # type: ignore[operator]
    clock = FakeClock()
    transport = FakeTransport(expired(clock, 7200), ok(UPLOADED))
    bucket = make_api(transport, clock=clock).bucket(BUCKET)
    bucket.upload("a", BytesSource(b"x"), sha="y", insert_only=True)
