"""Uploads in slices: workers, resuming, restarting, and failures that must not be hidden."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cosfs import errors
from cosfs.errors import StoreError
from cosfs.jsonapi.replies import FileInfo, SliceList, SlicePart, SliceSession, UploadedFile
from cosfs.jsonapi.slices import Digests, SliceUpload, digests, is_unfinished
from cosfs.model import BytesSource

MIB = 1 << 20
SOURCE = BytesSource(bytes(range(256)) * (5 * MIB // 256) + b"end")
OTHER = Digests("0" * 40, (SlicePart(0, MIB, "0" * 40),))
DONE = UploadedFile("access", "source", "", "")


def file_info(sha: str, size: int, received: int | None = None, biz_attr: str = "") -> FileInfo:
    filelen = size if received is None else received
    return FileInfo(biz_attr, 1, 1, size, filelen, sha, 0, "eInvalid", 0, {}, "", "")


class FakeBucket:
    """A bucket that takes slices; ``fail`` may raise at any call, by operation and number."""

    def __init__(self, slice_size: int = MIB, serial: bool = False) -> None:
        self.slice_size = slice_size
        self.serial = serial
        self.calls: list[tuple[str, Any]] = []
        self.slices: dict[int, bytes] = {}
        self.fail: Callable[[str, int], StoreError | None] = lambda op, number: None
        self.listed: SliceList | UploadedFile | StoreError = errors.NotFound("none")
        self.info = file_info("", SOURCE.size, 0)
        self.completes_at: int | None = None
        self.instant = False
        self.busy = self.most_busy = 0
        self.lock = threading.Lock()

    def _call(self, op: str, what: Any = None) -> None:
        with self.lock:
            number = sum(name == op for name, _ in self.calls)
            self.calls.append((op, what))
        failure = self.fail(op, number)
        if failure is not None:
            raise failure

    @property
    def ops(self) -> list[str]:
        return [op for op, _ in self.calls]

    def slice_init(self, key: str, **options: Any) -> SliceSession | UploadedFile:
        self._call("init", options)
        self.slices.clear()
        return DONE if self.instant else SliceSession("s1", self.slice_size, self.serial)

    def slice_data(
        self, key: str, session: str, offset: int, source: BytesSource, length: int, sha: str | None
    ) -> UploadedFile | None:
        with self.lock:
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
        try:
            self._call("data", (session, offset, length, sha))
            with self.lock:
                assert offset not in self.slices
                self.slices[offset] = source.read_at(offset, length)
            return DONE if offset == self.completes_at else None
        finally:
            with self.lock:
                self.busy -= 1

    def slice_finish(self, key: str, session: str, size: int, sha: str | None) -> UploadedFile:
        self._call("finish", (session, size, sha))
        return DONE

    def slice_list(self, key: str) -> SliceList | UploadedFile:
        self._call("list")
        if isinstance(self.listed, StoreError):
            raise self.listed
        return self.listed

    def stat_file(self, key: str) -> FileInfo:
        self._call("stat")
        return self.info

    def update_file(self, key: str, **options: Any) -> None:
        self._call("update", options)

    def delete_file(self, key: str) -> None:
        self._call("delete")

    def upload(self, key: str, source: BytesSource, **options: Any) -> UploadedFile:
        self._call("upload", options)
        return DONE

    @property
    def content(self) -> bytes:
        return b"".join(self.slices[offset] for offset in sorted(self.slices))


def upload(bucket: FakeBucket, source: BytesSource = SOURCE, **options: Any) -> UploadedFile:
    options.setdefault("insert_only", True)
    return SliceUpload(bucket, "k", source, **options).run()  # type: ignore[arg-type]


def failing(op: str, *failures: StoreError | None) -> Callable[[str, int], StoreError | None]:
    def fail(name: str, number: int) -> StoreError | None:
        return failures[number] if name == op and number < len(failures) else None

    return fail


@pytest.mark.parametrize("slice_size", [MIB, 65536, 3 * MIB, 64 * MIB, 999_999])
@pytest.mark.parametrize("parallel", [1, 8])
def test_the_servers_slice_size_is_used(slice_size: int, parallel: int) -> None:
    bucket = FakeBucket(slice_size)
    assert upload(bucket, slice_size=512 * 1024, parallel=parallel) == DONE
    assert bucket.content == SOURCE.data
    assert bucket.calls[0][1]["slice_size"] == 512 * 1024
    assert bucket.calls[-1] == ("finish", ("s1", SOURCE.size, None))
    offsets = sorted(what[1] for op, what in bucket.calls if op == "data")
    assert offsets == list(range(0, SOURCE.size, slice_size))


def test_digests_go_with_every_request() -> None:
    bucket, known = FakeBucket(), digests(SOURCE)
    upload(bucket, digests=known, slice_size=65536, biz_attr="x")
    assert bucket.calls[0][1] == {
        "filesize": SOURCE.size, "slice_size": MIB, "sha": known.sha, "uploadparts": known.parts,
        "biz_attr": "x", "insert_only": True,
    }  # fmt: skip
    assert {what[3] for op, what in bucket.calls if op == "data"} == {known.sha}
    assert bucket.calls[-1] == ("finish", ("s1", SOURCE.size, known.sha))


def test_a_digest_without_parts_is_not_sent() -> None:
    bucket = FakeBucket()
    upload(bucket, digests=Digests("cafe", None))
    assert bucket.calls[0][1]["sha"] is None and bucket.calls[0][1]["uploadparts"] is None


def test_known_content_is_not_sent() -> None:
    bucket, seen = FakeBucket(), list[tuple[int, int]]()
    bucket.instant = True
    upload(bucket, digests=digests(SOURCE), on_progress=lambda *done: seen.append(done))
    assert bucket.ops == ["init"]
    assert seen == [(SOURCE.size, SOURCE.size)]


def test_nothing_goes_by_a_single_upload() -> None:
    bucket = FakeBucket()
    upload(bucket, BytesSource(b""), biz_attr="x")
    sha = hashlib.sha1(b"").hexdigest()
    assert bucket.calls == [("upload", {"sha": sha, "biz_attr": "x", "insert_only": True})]


def test_a_server_that_wants_order_gets_it() -> None:
    bucket = FakeBucket(65536, serial=True)
    upload(bucket, parallel=8)
    offsets = [what[1] for op, what in bucket.calls if op == "data"]
    assert offsets == sorted(offsets) and bucket.most_busy == 1


def test_a_server_that_completes_the_file_with_its_last_slice() -> None:
    bucket = FakeBucket()
    bucket.completes_at = 5 * MIB
    assert upload(bucket) == DONE
    assert "finish" not in bucket.ops and bucket.content == SOURCE.data


@pytest.mark.parametrize("lent", [True, False])
def test_workers_work_at_once(lent: bool) -> None:
    bucket, barrier = FakeBucket(), threading.Barrier(3)

    def together(op: str, number: int) -> None:
        if op == "data" and number < 3:
            barrier.wait(10)

    bucket.fail = together
    if lent:
        with ThreadPoolExecutor(2) as executor:
            upload(bucket, parallel=3, executor=executor)
    else:
        upload(bucket, parallel=3)
    assert bucket.most_busy == 3 and bucket.content == SOURCE.data


def test_an_executor_that_is_busy_does_not_stop_the_caller() -> None:
    bucket, busy = FakeBucket(), threading.Event()
    with ThreadPoolExecutor(1) as executor:
        executor.submit(busy.wait, 10)
        upload(bucket, parallel=4, executor=executor)
        busy.set()
    assert bucket.content == SOURCE.data and bucket.most_busy == 1


def test_an_executor_that_is_closed_does_not_stop_the_caller() -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    bucket = FakeBucket()
    upload(bucket, executor=executor)
    assert bucket.content == SOURCE.data


def test_threads_that_cannot_be_started_are_done_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, started = threading.Thread.start, list[threading.Thread]()

    def refuse(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    bucket = FakeBucket()
    assert upload(bucket, parallel=6) == DONE
    assert bucket.content == SOURCE.data and len(started) == 2
    assert not any(thread.is_alive() for thread in started)


def test_progress_ends_at_the_size() -> None:
    bucket, seen = FakeBucket(), list[tuple[int, int]]()
    upload(bucket, on_progress=lambda *done: seen.append(done))
    assert seen[0] == (0, SOURCE.size) and seen[-1] == (SOURCE.size, SOURCE.size)
    assert seen == sorted(seen)


@pytest.mark.parametrize("parallel", [1, 4])
def test_a_failed_slice_fails_the_upload(parallel: int) -> None:
    bucket = FakeBucket()
    bucket.fail = failing("data", None, None, errors.Unavailable("gone"))
    with pytest.raises(errors.Unavailable):
        upload(bucket, parallel=parallel)
    assert "finish" not in bucket.ops
    assert bucket.ops.count("data") <= 2 + parallel
    assert bucket.busy == 0


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyboardInterrupt()])
def test_what_is_no_answer_of_a_server_is_raised_too(error: BaseException) -> None:
    bucket = FakeBucket()

    def progress(done: int, total: int) -> None:
        if done:
            raise error

    with pytest.raises(type(error)):
        upload(bucket, parallel=3, on_progress=progress)
    assert "finish" not in bucket.ops and bucket.busy == 0


def unfinished(sha: str, size: int = SOURCE.size, **options: Any) -> SliceList:
    held = (SlicePart(MIB, MIB), SlicePart(0, MIB), SlicePart(3 * MIB, 7))
    return SliceList("s0", MIB, size, sha, held, **options)


def test_an_upload_of_the_same_content_is_resumed() -> None:
    bucket, known, seen = FakeBucket(), digests(SOURCE), list[int]()
    bucket.fail = failing("init", errors.UnfinishedUpload("-4019"))
    bucket.listed = unfinished(known.sha)
    upload(bucket, digests=known, on_progress=lambda done, total: seen.append(done))
    assert bucket.ops[:3] == ["init", "list", "stat"]
    assert "update" not in bucket.ops
    offsets = sorted(what[1] for op, what in bucket.calls if op == "data")
    assert offsets == [2 * MIB, 3 * MIB, 4 * MIB, 5 * MIB], "a slice of another length is sent anew"
    assert {what[0] for op, what in bucket.calls if op == "data"} == {"s0"}
    assert seen[0] == 2 * MIB and bucket.calls[-1][1][0] == "s0"


def resume(
    bucket: FakeBucket, listed: SliceList | UploadedFile | None = None, **options: Any
) -> None:
    known = digests(SOURCE)
    bucket.fail = failing("init", errors.UnfinishedUpload("-4019"))
    bucket.listed = unfinished(known.sha) if listed is None else listed
    upload(bucket, digests=known, **options)


@pytest.mark.parametrize("completes_at", [None, 5 * MIB])
def test_a_resumed_upload_gets_the_text_of_this_call(completes_at: int | None) -> None:
    bucket = FakeBucket()
    bucket.completes_at = completes_at
    bucket.info = file_info("", SOURCE.size, 0, "old")
    resume(bucket, biz_attr="new")
    assert bucket.calls[-1] == ("update", {"biz_attr": "new"})


def test_the_text_of_an_upload_behind_a_file_is_not_known() -> None:
    bucket = FakeBucket()
    bucket.info = file_info("00", 5, biz_attr="new")
    resume(bucket, biz_attr="new", insert_only=False)
    assert bucket.calls[-1] == ("update", {"biz_attr": "new"})


def test_an_upload_that_replaces_is_not_resumed_by_one_that_must_not() -> None:
    bucket = FakeBucket()
    bucket.info = file_info("00", 5)
    with pytest.raises(errors.AlreadyExists):
        resume(bucket, insert_only=True)
    assert bucket.ops == ["init", "list", "stat"]


def test_a_file_finished_meanwhile_with_another_text() -> None:
    bucket = FakeBucket()
    bucket.info = file_info(digests(SOURCE).sha, SOURCE.size, biz_attr="old")
    resume(bucket, DONE, biz_attr="new", insert_only=False)
    assert bucket.ops == ["init", "list", "stat", "update"]
    bucket.calls.clear()
    with pytest.raises(errors.AlreadyExists):
        resume(bucket, DONE, biz_attr="new", insert_only=True)
    assert bucket.ops == ["init", "list", "stat"]


def test_what_is_sent_after_a_session_was_lost_has_the_text_already() -> None:
    bucket, known = FakeBucket(), digests(SOURCE)
    bucket.info = file_info("", SOURCE.size, 0, "old")
    bucket.listed = unfinished(known.sha)

    def fail(op: str, number: int) -> StoreError | None:
        if number:
            return None
        return {"init": errors.UnfinishedUpload("x"), "data": errors.UploadSessionLost("x")}.get(op)

    bucket.fail = fail
    upload(bucket, digests=known, biz_attr="new", parallel=1)
    assert bucket.ops.count("init") == 2 and "update" not in bucket.ops


def test_resuming_keeps_the_order_that_a_server_wants() -> None:
    bucket, known = FakeBucket(), digests(SOURCE)
    bucket.fail = failing("init", errors.UnfinishedUpload("-4019"))
    bucket.listed = unfinished(known.sha, serial=True)
    upload(bucket, digests=known, parallel=4)
    assert bucket.most_busy == 1


def test_an_upload_that_was_finished_meanwhile() -> None:
    bucket, known = FakeBucket(), digests(SOURCE)
    bucket.fail = failing("init", errors.UnfinishedUpload("-4019"))
    bucket.listed = DONE
    bucket.info = file_info(known.sha, SOURCE.size)
    assert upload(bucket, digests=known) == DONE
    assert bucket.ops == ["init", "list", "stat"]


def test_another_file_that_was_finished_meanwhile() -> None:
    bucket = FakeBucket()
    bucket.fail = failing("init", errors.UnfinishedUpload("-4019"))
    bucket.listed = DONE
    bucket.info = file_info("00", SOURCE.size)
    with pytest.raises(errors.UnfinishedUpload):
        upload(bucket, digests=digests(SOURCE))


@pytest.mark.parametrize("listed", [unfinished("00"), unfinished(digests(SOURCE).sha, 5)])
@pytest.mark.parametrize("may_delete", [True, False])
def test_an_upload_that_is_not_ours_after_all(listed: SliceList, may_delete: bool) -> None:
    bucket = FakeBucket()
    bucket.fail = failing("init", errors.UnfinishedUpload("-4019"))
    bucket.listed = listed
    if may_delete:
        upload(bucket, digests=digests(SOURCE), may_delete=True)
        assert bucket.ops[:5] == ["init", "list", "stat", "delete", "init"]
    else:
        with pytest.raises(errors.UnfinishedOther):
            upload(bucket, digests=digests(SOURCE))
        assert "delete" not in bucket.ops


def test_other_content_is_deleted_only_when_allowed() -> None:
    bucket = FakeBucket()
    bucket.fail = failing("init", errors.UnfinishedOther("-4020"))
    with pytest.raises(errors.UnfinishedOther):
        upload(bucket)
    assert bucket.ops == ["init"]
    bucket = FakeBucket()
    bucket.fail = failing("init", errors.UnfinishedOther("-4020"))
    upload(bucket, may_delete=True, insert_only=False)
    assert bucket.ops[:4] == ["init", "stat", "delete", "init"]
    assert bucket.content == SOURCE.data


@pytest.mark.parametrize("insert_only", [True, False])
@pytest.mark.parametrize("known", [None, digests(SOURCE)])
def test_a_file_is_never_deleted_before_its_replacement_is_there(
    insert_only: bool, known: Digests | None
) -> None:
    bucket = FakeBucket()
    bucket.fail = failing("init", errors.UnfinishedOther("-4020"))
    bucket.info = file_info("00", 5)
    bucket.listed = unfinished("11", 5)
    with pytest.raises(errors.UnfinishedOther):
        upload(bucket, may_delete=True, insert_only=insert_only, digests=known)
    assert bucket.ops == ["init", "stat", "list"]


def test_a_file_is_told_from_an_upload_of_its_content_that_has_gaps() -> None:
    bucket = FakeBucket()
    bucket.info = file_info("00", SOURCE.size)
    bucket.listed = unfinished("00")
    assert not is_unfinished(bucket, "k")  # type: ignore[arg-type]


@pytest.mark.parametrize("sha", ["00", ""])
def test_an_upload_that_only_was_not_finished_is_deleted(sha: str) -> None:
    """Its slices have all arrived: to stat it looks complete."""
    bucket = FakeBucket()
    bucket.fail = failing("init", errors.UnfinishedOther("-4020"))
    bucket.info = file_info(sha, 5)
    bucket.listed = unfinished(sha, 5)
    upload(bucket, may_delete=True, insert_only=True)
    assert bucket.ops[:5] == ["init", "stat", "list", "delete", "init"]


def test_other_content_is_deleted_once() -> None:
    bucket = FakeBucket()
    bucket.fail = lambda op, number: errors.UnfinishedOther("x") if op == "init" else None
    with pytest.raises(errors.UnfinishedOther):
        upload(bucket, may_delete=True)
    assert bucket.ops == ["init", "stat", "delete", "init"]


def test_what_is_gone_need_not_be_deleted() -> None:
    bucket = FakeBucket()

    def fail(op: str, number: int) -> StoreError | None:
        if op == "init" and not number:
            return errors.UnfinishedOther("-4020")
        return errors.NotFound("gone") if op == "delete" else None

    bucket.fail = fail
    upload(bucket, may_delete=True)
    assert bucket.content == SOURCE.data


def test_a_lost_session_is_begun_again_once() -> None:
    bucket = FakeBucket()
    bucket.fail = failing("data", None, errors.UploadSessionLost("-286"))
    upload(bucket, parallel=1)
    assert bucket.ops.count("init") == 2 and bucket.content == SOURCE.data
    bucket = FakeBucket()
    bucket.fail = lambda op, number: errors.UploadSessionLost("x") if op == "data" else None
    with pytest.raises(errors.UploadSessionLost):
        upload(bucket, parallel=1)
    assert bucket.ops.count("init") == 2


def test_an_unfinished_upload_that_went_away_is_begun_again() -> None:
    bucket = FakeBucket()
    bucket.fail = failing("init", errors.UnfinishedUpload("-4019"))
    upload(bucket, digests=digests(SOURCE))
    assert bucket.ops[:3] == ["init", "list", "init"] and bucket.content == SOURCE.data


def test_a_refusal_is_the_callers() -> None:
    bucket = FakeBucket()
    bucket.fail = failing("init", errors.AlreadyExists("-177"))
    with pytest.raises(errors.AlreadyExists):
        upload(bucket, may_delete=True)
    assert bucket.ops == ["init"]


class _Broken:
    size = 10

    def __init__(self, error: OSError | None = None) -> None:
        self.error = error

    def read_at(self, offset: int, length: int) -> bytes:
        if self.error is not None:
            raise self.error
        return b"short"


@pytest.mark.parametrize("source", [_Broken(), _Broken(OSError(5, "Input/output error"))])
def test_a_source_that_cannot_be_read_cannot_be_digested(source: _Broken) -> None:
    with pytest.raises(errors.SourceFailed):
        digests(source)
