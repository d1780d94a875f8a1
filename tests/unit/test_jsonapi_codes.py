"""Server codes: every code of reference section 4 has a class, and the right one."""

from __future__ import annotations

import pytest

from cosfs import errors
from cosfs.errors import ReplyInfo, StoreError
from cosfs.jsonapi.codes import CODES, download_error_for, error_for

#: Every code of the tables 4.2 to 4.6, written out from the reference and not from our table.
NO_SOURCE = {-46, -49, -58, -188}
ACCESS = {*range(-99, -46)} - {-58, -49, *range(-57, -49), -90, -91, -92, -93} | {-9999}
COMMAND = {-121, -133, *range(-199, -142)} - {-188}
PROCESS = {*range(-300, -281), *range(-4005, -3999), -4010, *range(-4027, -4012)}
CGI = {*range(-5999, -5970), *range(-6999, -6990), -5965, -29094, -20002, -29083, -29102, -29109}
CGI |= {-46020, -46022, -50133, -50134, -50135}
DOWNLOAD = {-46628, -6101, -46618, -46619, -46614, -45062, -46152, -46154, -46642, -29033, -29034}
ALL = ACCESS | COMMAND | PROCESS | CGI | DOWNLOAD


@pytest.mark.parametrize("code", sorted(ALL))
def test_every_code_has_a_class(code: int) -> None:
    error = error_for(ReplyInfo(400, code, "X", "id"), "a/b", "stat")
    assert type(error) is CODES[code]
    assert error.path == "a/b"
    assert error.reply == ReplyInfo(400, code, "X", "id")


def test_no_code_without_a_source_has_a_class() -> None:
    assert not NO_SOURCE & set(CODES)
    assert set(CODES) - ALL <= {-4006, -4007, -4008, -4009, -4011, -4012}  # "head flag" and its kin


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (-197, 404, errors.NotFound),
        (-166, 400, errors.NotFound),
        (-133, 404, errors.BucketNotFound),
        (-177, 409, errors.AlreadyExists),
        (-178, 409, errors.AlreadyExists),
        (-4018, 409, errors.SameContentExists),
        (-173, 409, errors.FolderNotEmpty),
        (-97, 403, errors.BadCredentials),
        (-48, 403, errors.BadCredentials),
        (-47, 403, errors.BadCredentials),
        (-79, 403, errors.BadCredentials),
        (-5998, 403, errors.BadCredentials),
        (-59, 403, errors.SignatureExpired),
        (-96, 403, errors.SignatureExpired),
        (-64, 403, errors.AccessDenied),
        (-71, 503, errors.RateLimited),
        (-143, 400, errors.RateLimited),
        (-152, 504, errors.ServerFault),
        (-181, 500, errors.ServerFault),
        (-196, 503, errors.ServerFault),
        (-5989, 500, errors.ServerFault),
        (-5997, 503, errors.ServerFault),
        (-98, 503, errors.ServerFault),
        (-66, 503, errors.ServerFault),
        (-4019, 409, errors.UnfinishedUpload),
        (-4020, 409, errors.UnfinishedOther),
        (-286, 400, errors.UploadSessionLost),
        (-290, 400, errors.UploadSessionLost),
        (-4016, 409, errors.IntegrityError),
        (-175, 400, errors.IntegrityError),
        (-5965, 400, errors.IntegrityError),
        (-285, 413, errors.TooLarge),
        (-5991, 413, errors.TooLarge),
        (-284, 400, errors.BadRequest),
        (-5999, 400, errors.BadRequest),
        (-165, 400, errors.BadRequest),
        (-199, 400, errors.BadRequest),
        # unknown codes: a failure of the server by its status, else kept and not guessed
        (-424242, 500, errors.ServerFault),
        (-424242, 400, errors.UnknownReply),
        (-46, 403, errors.UnknownReply),
        (0, 404, errors.UnknownReply),
        # no JSON
        (None, 500, errors.ServerFault),
        (None, 502, errors.ServerFault),
        (None, 429, errors.RateLimited),
        (None, 413, errors.TooLarge),
        (None, 403, errors.AccessDenied),
        (None, 401, errors.AccessDenied),
        (None, 404, errors.MalformedReply),
        (None, 400, errors.MalformedReply),
        (None, 302, errors.MalformedReply),
        (None, 200, errors.MalformedReply),
    ],
)
def test_meaning(code: int | None, status: int, kind: type[StoreError]) -> None:
    assert type(error_for(ReplyInfo(status, code), "k", "op")) is kind


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (None, 404, errors.NotFound),
        (None, 403, errors.AccessDenied),
        (None, 401, errors.AccessDenied),
        (None, 416, errors.RangeNotSatisfiable),
        (None, 429, errors.RateLimited),
        (None, 503, errors.ServerFault),
        (None, 301, errors.MalformedReply),
        (None, 405, errors.BadRequest),
        # a code says it more exactly ...
        (-46619, 403, errors.SignatureExpired),
        (-97, 403, errors.BadCredentials),
        (-133, 404, errors.BucketNotFound),
        (-46614, 404, errors.UnfinishedUpload),
        (-71, 503, errors.RateLimited),
        # ... but never otherwise than the status
        (-46628, 403, errors.AccessDenied),
        (-46618, 404, errors.NotFound),
        (-197, 500, errors.ServerFault),
    ],
)
def test_meaning_of_a_refused_download(
    code: int | None, status: int, kind: type[StoreError]
) -> None:
    assert type(download_error_for(ReplyInfo(status, code), "k", "download")) is kind
