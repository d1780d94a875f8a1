"""The table from exception class to errno: complete, and what a program should hear."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator

import pytest

from cosfs import errors
from cosfs.errors import CosfsError, FsError, StoreError, StoreFailed
from cosfs.fuse.errnos import TABLE, answer_of, errno_after

#: Under these, every class needs a line of its own: what they share says nothing to a program.
ROOTS = (CosfsError, StoreError, FsError)


def all_classes(kind: type[CosfsError] = CosfsError) -> Iterator[type[CosfsError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from all_classes(child)


def make(kind: type[CosfsError]) -> CosfsError:
    if issubclass(kind, StoreFailed):
        return kind("/a", errors.QuotaExceeded("full"))
    if issubclass(kind, (FsError, StoreError)):
        return kind("/a")
    return kind("text")


@pytest.mark.parametrize("kind", sorted(set(all_classes()), key=lambda kind: kind.__name__))
def test_every_class_has_an_answer(kind: type[CosfsError]) -> None:
    if kind.__bases__[0] in ROOTS:
        assert kind in TABLE
    number, level = answer_of(make(kind))
    assert number in errno.errorcode
    assert 0 < number < 512, "the kernel restarts calls on ERESTARTSYS and its like"
    assert number not in (errno.ENOSYS, errno.EAGAIN)
    assert level in (logging.DEBUG, logging.WARNING, logging.ERROR)


def test_the_table_has_no_line_for_a_class_that_is_gone() -> None:
    assert set(TABLE) <= set(all_classes())


def test_the_nearest_class_wins() -> None:
    class Special(errors.ConnectFailed):
        pass

    assert answer_of(Special("x")) == TABLE[errors.ConnectFailed]


def test_a_failed_store_has_the_errno_of_its_cause() -> None:
    cause = StoreFailed("/a", errors.RequestTimeout("x"))
    assert answer_of(StoreFailed("/a", cause)).errno == errno.ETIMEDOUT


@pytest.mark.parametrize(
    ("error", "number", "level"),
    [
        (errors.NotFound("no", path="/a"), errno.ENOENT, logging.DEBUG),
        (errors.FolderNotEmpty("no"), errno.ENOTEMPTY, logging.DEBUG),
        (errors.NoSuchAttribute("/a"), errno.ENODATA, logging.DEBUG),
        (errors.BucketNotFound("no"), errno.EIO, logging.WARNING),
        (errors.ConnectFailed("no"), errno.EHOSTDOWN, logging.WARNING),
        (errors.UnknownReply("no"), errno.EIO, logging.ERROR),
    ],
)
def test_the_level_belongs_to_the_outcome(
    error: CosfsError,
    number: int,
    level: int,
    caplog: pytest.LogCaptureFixture,
    expect_log: Callable[[str], None],
) -> None:
    if level > logging.DEBUG:
        expect_log("open: E")
    with caplog.at_level(logging.DEBUG, "cosfs"):
        assert errno_after("open", error) == number
    (record,) = caplog.records
    assert record.levelno == level
    assert record.exc_info is None


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (ValueError("x"), errno.EIO),
        (OSError("an error without errno"), errno.EIO),
        (FileNotFoundError(errno.ENOENT, "a file of ours"), errno.EIO),
        (TimeoutError(), errno.EIO),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), errno.EIO),
        (MemoryError(), errno.ENOMEM),
        (SystemExit(0), errno.EIO),
        (KeyboardInterrupt(), errno.EIO),
    ],
)
def test_what_nobody_raised_on_purpose_is_logged_with_a_traceback(
    error: BaseException,
    number: int,
    caplog: pytest.LogCaptureFixture,
    expect_log: Callable[[str], None],
) -> None:
    expect_log("ERROR .* read failed unexpectedly")
    assert errno_after("read", error) == number
    assert caplog.records[0].exc_info is not None
