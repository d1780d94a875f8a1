"""A change whose answer was lost: sent again, and looked at before a refusal is believed."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest

from cosfs import errors
from cosfs.errors import StoreError
from cosfs.jsonapi import protocol
from cosfs.jsonapi.bucket import BucketClient
from cosfs.jsonapi.wire import HttpRequest
from cosfs.model import BytesSource
from tests.fakeclock import FakeClock
from tests.unit.jsonapi_fakes import (
    BUCKET,
    FILE,
    UPLOADED,
    FakeStream,
    FakeTransport,
    Step,
    make_api,
    ok,
    refused,
)

NOW = int(FakeClock().wall())
OLD = NOW - 3600
DATE = formatdate(NOW, usegmt=True)
SOURCE = BytesSource(b"hello")
SHA = str(FILE["sha"])

Run = Callable[[BucketClient], object]


def file(**change: Any) -> FakeStream:
    return ok({**FILE, "ctime": NOW, "mtime": NOW, **change}, date=DATE)


def folder(ctime: int = NOW, biz_attr: str = "") -> FakeStream:
    return ok({"biz_attr": biz_attr, "ctime": ctime, "mtime": ctime}, date=DATE)


def missing() -> FakeStream:
    return refused(-197, 404, date=DATE)


def lost() -> StoreError:
    return errors.ConnectionLost("the connection broke", path="k")


def create(bucket: BucketClient) -> None:
    bucket.create_folder("d/")


def delete_file(bucket: BucketClient) -> None:
    bucket.delete_file("k")


def delete_folder(bucket: BucketClient) -> None:
    bucket.delete_folder("d/")


def move(bucket: BucketClient) -> None:
    bucket.move_file("k", "l", overwrite=False)


def move_over(bucket: BucketClient) -> None:
    bucket.move_file("k", "l", overwrite=True)


def copy(bucket: BucketClient) -> None:
    bucket.copy_file("k", "l", overwrite=False)


def insert(bucket: BucketClient) -> object:
    return bucket.upload("k", SOURCE, sha=SHA, biz_attr="n1", insert_only=True)


def replace(bucket: BucketClient) -> object:
    return bucket.upload("k", SOURCE, sha=SHA, biz_attr="n1", insert_only=False)


def finish(bucket: BucketClient) -> object:
    return bucket.slice_finish("k", "s", 5, SHA)


def finish_without_sha(bucket: BucketClient) -> object:
    return bucket.slice_finish("k", "s", 5)


def init(bucket: BucketClient) -> object:
    return bucket.slice_init(
        "k", filesize=5, slice_size=1 << 20, sha=SHA, uploadparts=[], insert_only=True
    )


def update(bucket: BucketClient) -> None:
    bucket.update_file("k", biz_attr="b", custom_headers={"X-Cos-Meta-A": "1"}, forbid=0)


def update_folder(bucket: BucketClient) -> None:
    bucket.update_folder("d/", "b")


# what, the answers, the outcome: None when it was made, else the class that is raised
TABLE: list[tuple[str, Run, list[Step], type[StoreError] | None]] = [
    ("create again", create, [lost(), ok()], None),
    ("create: ours", create, [lost(), refused(-178, 409), folder()], None),
    ("create: older", create, [lost(), refused(-178, 409), folder(OLD)], errors.AlreadyExists),
    ("create: another text", create, [lost(), refused(-178, 409), folder(NOW, "x")],
     errors.AlreadyExists),
    ("create: gone again", create, [lost(), refused(-178, 409), missing()], errors.AlreadyExists),
    ("create: refused at once", create, [refused(-178, 409)], errors.AlreadyExists),
    ("create: never connected", create, [errors.ConnectFailed("x"), refused(-178, 409)],
     errors.AlreadyExists),
    ("create: throttled first", create, [refused(-71, 503), refused(-178, 409)],
     errors.AlreadyExists),
    ("create: server failed", create, [refused(-181, 500), refused(-178, 409), folder()], None),
    ("create: garbled", create, [FakeStream(200, b"<ht"), refused(-178, 409), folder()], None),
    ("delete again", delete_file, [lost(), ok()], None),
    ("delete: gone", delete_file, [lost(), missing()], None),
    ("delete: refused at once", delete_file, [missing()], errors.NotFound),
    ("delete: other refusal, there", delete_file, [lost(), refused(-64, 403), file()],
     errors.AccessDenied),
    ("delete: other refusal, gone", delete_file, [lost(), refused(-64, 403), missing()], None),
    ("rmdir: gone", delete_folder, [lost(), missing()], None),
    ("rmdir: other refusal, gone", delete_folder, [lost(), refused(-64, 403), missing()], None),
    ("rmdir: not empty", delete_folder, [lost(), refused(-173, 409), folder()],
     errors.FolderNotEmpty),
    ("rmdir: refused at once", delete_folder, [missing()], errors.NotFound),
    ("move again", move, [lost(), ok()], None),
    ("move: made", move, [lost(), missing(), file()], None),
    ("move: made over", move_over, [lost(), missing(), file()], None),
    ("move: both gone", move, [lost(), missing(), missing()], errors.NotFound),
    ("move: taken by us", move, [lost(), refused(-177, 409), missing(), file()], None),
    ("move: taken by another", move, [lost(), refused(-177, 409), file()], errors.AlreadyExists),
    ("move: onto an older one, no source", move_over,
     [lost(), missing(), file(ctime=OLD, mtime=OLD)], errors.ConnectionLost),
    ("move: server failed, no source", move_over,
     [refused(-181, 500), missing(), file(ctime=OLD, mtime=OLD)], errors.Unavailable),
    ("move: the target kept its time", move, [lost(), missing(), file(ctime=OLD)], None),
    ("move: taken by an older one", move,
     [lost(), refused(-177, 409), missing(), file(ctime=OLD, mtime=OLD)], errors.ConnectionLost),
    ("move: refused at once", move, [missing()], errors.NotFound),
    ("move: taken at once", move, [refused(-177, 409)], errors.AlreadyExists),
    ("move: -199, taken", move, [refused(-199), file()], errors.AlreadyExists),
    ("move: -199, free", move, [refused(-199), missing()], errors.BadRequest),
    ("move over: -199", move_over, [refused(-199)], errors.BadRequest),
    ("move: other refusal", move, [refused(-5999)], errors.BadRequest),
    ("copy: made", copy, [lost(), refused(-177, 409), file(ctime=OLD), file()], None),
    ("copy: older", copy, [lost(), refused(-177, 409), file(), file(ctime=OLD, mtime=OLD)],
     errors.AlreadyExists),
    ("copy: other content", copy, [lost(), refused(-177, 409), file(), file(sha="00")],
     errors.AlreadyExists),
    ("copy: source gone", copy, [lost(), refused(-197, 404), missing(), file()], errors.NotFound),
    ("upload again", insert, [lost(), ok(UPLOADED)], None),
    ("upload: ours", insert, [lost(), refused(-4018, 409), file(biz_attr="n1")], None),
    ("upload: ours, -177", insert, [lost(), refused(-177, 409), file(biz_attr="n1")], None),
    ("upload: older", insert, [lost(), refused(-4018, 409), file(biz_attr="n1", ctime=OLD)],
     errors.SameContentExists),
    ("upload: another's", insert, [lost(), refused(-4018, 409), file(biz_attr="n2")],
     errors.SameContentExists),
    ("upload: other content", insert, [lost(), refused(-177, 409), file(biz_attr="n1", sha="00")],
     errors.AlreadyExists),
    ("upload: unfinished", insert, [lost(), refused(-4020, 409), file(biz_attr="n1", filelen=2)],
     errors.UnfinishedOther),
    ("upload: refused at once", insert, [refused(-4018, 409)], errors.SameContentExists),
    ("upload: no URL in the reply", insert, [ok(), refused(-4018, 409), file(biz_attr="n1")], None),
    ("replace again", replace, [lost(), ok(UPLOADED)], None),
    ("replace: made earlier", replace,
     [lost(), refused(-4020, 409), file(biz_attr="n1", ctime=OLD)], None),
    ("replace: refused", replace, [lost(), refused(-4020, 409), file(sha="00", biz_attr="n1")],
     errors.UnfinishedOther),
    ("finish: made", finish, [lost(), refused(-286), file(ctime=OLD, mtime=OLD)], None),
    ("finish: not made", finish, [lost(), refused(-286), file(filelen=0)],
     errors.UploadSessionLost),
    ("finish: gone", finish, [lost(), refused(-286), missing()], errors.UploadSessionLost),
    ("finish: other content", finish, [lost(), refused(-286), file(sha="00")],
     errors.UploadSessionLost),
    ("finish: other size", finish, [lost(), refused(-286), file(filesize=6, filelen=6)],
     errors.UploadSessionLost),
    ("finish: inserted by another", finish,
     [lost(), refused(-177, 409), file(ctime=OLD, mtime=OLD)], errors.AlreadyExists),
    ("finish: refused at once", finish, [refused(-286)], errors.UploadSessionLost),
    ("finish without sha: made", finish_without_sha, [lost(), refused(-286), file(ctime=OLD)],
     None),
    ("finish without sha: older", finish_without_sha,
     [lost(), refused(-286), file(ctime=OLD, mtime=OLD)], errors.UploadSessionLost),
    ("init: instant", init, [lost(), refused(-4018, 409), file()], None),
    ("init: begun", init, [lost(), refused(-4019, 409), file(filelen=0)], errors.UnfinishedUpload),
    ("update again", update, [lost(), ok()], None),
    ("update: made", update,
     [lost(), refused(-64, 403), file(biz_attr="b", custom_headers={"x-cos-meta-a": "1"})], None),
    ("update: not made", update, [lost(), refused(-64, 403), file(biz_attr="b")],
     errors.AccessDenied),
    ("update: gone", update, [lost(), missing(), missing()], errors.NotFound),
    ("update folder: made", update_folder, [lost(), refused(-64, 403), folder(OLD, "b")], None),
    ("update folder: not made", update_folder, [lost(), refused(-64, 403), folder()],
     errors.AccessDenied),
    ("nobody knows", create, [lost(), refused(-178, 409), refused(-97, 403)],
     errors.ConnectionLost),
    ("nobody knows after a failure", create, [refused(-181, 500), refused(-64, 403),
     refused(-97, 403)], errors.Unavailable),
]  # fmt: skip


@pytest.mark.parametrize(
    ("run", "script", "outcome"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_lost_answer(run: Run, script: list[Step], outcome: type[StoreError] | None) -> None:
    transport = FakeTransport(*script)
    bucket = make_api(transport).bucket(BUCKET)
    if outcome is None:
        run(bucket)
    else:
        with pytest.raises(StoreError) as caught:
            run(bucket)
        assert type(caught.value) is outcome
    assert not transport.script, "every answer was asked for"


def test_a_settled_upload_has_the_addresses_of_stat() -> None:
    transport = FakeTransport(lost(), refused(-4018, 409), file(biz_attr="n1"))
    found = make_api(transport).bucket(BUCKET).upload(
        "k", SOURCE, sha=SHA, biz_attr="n1", insert_only=True
    )
    assert (found.access_url, found.source_url) == (FILE["access_url"], FILE["source_url"])


@pytest.mark.parametrize(
    ("look", "outcome"), [(folder(), None), (missing(), errors.RequestTimeout)]
)
def test_when_time_runs_out_there_is_one_look(
    look: FakeStream, outcome: type[StoreError] | None
) -> None:
    clock = FakeClock()
    begin = clock.monotonic()

    def silent(request: HttpRequest) -> FakeStream | StoreError:
        if request.op == "stat":
            return look
        clock.advance(request.silence_timeout_s)
        return errors.RequestTimeout("no answer in time")

    transport = FakeTransport(*[silent] * 50)
    bucket = make_api(transport, clock=clock).bucket(BUCKET)
    if outcome is None:
        bucket.create_folder("d/")
    else:
        with pytest.raises(outcome):
            bucket.create_folder("d/")
    assert transport.ops[0] == "create" and transport.ops[-1] == "stat"
    assert transport.ops.count("stat") == 1
    assert clock.monotonic() - begin < 61


def test_looking_has_its_own_small_budget() -> None:
    clock = FakeClock()
    begin = clock.monotonic()

    def silent(request: HttpRequest) -> StoreError:
        clock.advance(request.silence_timeout_s)
        return errors.RequestTimeout("no answer in time")

    transport = FakeTransport(*[silent] * 80)
    with pytest.raises(errors.Unavailable):
        make_api(transport, clock=clock).bucket(BUCKET).create_folder("d/")
    assert clock.monotonic() - begin < 61


def test_a_change_that_cannot_be_looked_at_is_not_repeated_blindly() -> None:
    transport = FakeTransport(lost())
    request = protocol.delete(BUCKET, "k", "/k")
    with pytest.raises(errors.ConnectionLost):
        make_api(transport).run(request, lambda reply: reply)


@pytest.mark.parametrize("failure", [errors.ConnectFailed("x"), refused(-71, 503)])
def test_it_is_repeated_when_it_surely_was_not_made(failure: Step) -> None:
    transport = FakeTransport(failure, ok({"a": 1}))
    request = protocol.delete(BUCKET, "k", "/k")
    reply = make_api(transport).run(request, lambda reply: reply)
    assert reply.data == {"a": 1} and reply.envelope["message"] == "SUCCESS"


def test_a_slice_that_is_there_is_sent() -> None:
    transport = FakeTransport(lost(), refused(-4015), refused(-4027))
    bucket = make_api(transport).bucket(BUCKET)
    bucket.slice_data("k", "s", 0, SOURCE, 5)
    with pytest.raises(errors.BadRequest):
        bucket.slice_data("k", "s", 0, SOURCE, 5)


def test_the_servers_clock_decides_what_is_new() -> None:
    # Our clock is an hour behind, which is not enough to expire a signature.
    late = formatdate(NOW + 3600, usegmt=True)
    made = ok({"biz_attr": "", "ctime": NOW + 3600, "mtime": NOW}, date=late)
    older = ok({"biz_attr": "", "ctime": NOW + 3500, "mtime": NOW}, date=late)
    create(make_api(FakeTransport(lost(), refused(-178, 409), made)).bucket(BUCKET))
    with pytest.raises(errors.AlreadyExists):
        create(make_api(FakeTransport(lost(), refused(-178, 409), older)).bucket(BUCKET))
