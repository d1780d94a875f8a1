"""Owns what each server code and HTTP status means; must not know operations beyond their names.

The table is reference section 4 (both families of codes, old and new). Codes that no source
explains (-46, -49, -58) are not in it. A code is trusted before the HTTP status, as servers of
some years sent 400 with everything; ``message`` is never looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from cosfs import errors
from cosfs.errors import ReplyInfo, StoreError

#: The slice of this offset is there already: what a repeated slice may be told (reference 4.4).
SAME_OFFSET = -4015
#: The page size asked for is above the server's limit (reference 3.4).
PAGE_TOO_LARGE = -165
#: Says two things in two tables: the name breaks a rule, or a move failed (reference 4.3).
BAD_NAME_OR_MOVE = -199

_MEANING: tuple[tuple[type[StoreError], Iterable[int]], ...] = (
    # 4.2 access layer
    (errors.BadCredentials, (-47, -48, -60, -61, -62, -63, -70, -72, -73, -74, -75, -76, -77)),
    (errors.BadCredentials, (-79, -80, -81, -82, -97)),
    (errors.SignatureExpired, (-59, -96)),
    (errors.AccessDenied, (-64,)),
    (errors.BadRequest, (-65, -69, -78)),
    (errors.RateLimited, (-71,)),
    (errors.ServerFault, (-66, -67, -68, *range(-89, -82), -98, -99, -9999)),
    (errors.UploadSessionLost, (-94, -95)),
    # 4.3 command layer
    (errors.AccessDenied, (-121,)),
    (errors.BucketNotFound, (-133,)),
    (errors.RateLimited, (-143,)),
    (errors.NotFound, (-144, -166, -197)),
    (errors.BadRequest, (-145, -146, -147, -148, -149, -150, -151, *range(-165, -152))),
    (errors.ServerFault, (-152,)),
    (errors.BadRequest, (*range(-171, -166), -179, -180, -182, -186, -187, -189, -191, -192)),
    (errors.QuotaExceeded, (-172,)),
    (errors.FolderNotEmpty, (-173,)),
    (errors.IntegrityError, (-174, -175)),
    (errors.AlreadyExists, (-176, -177, -178)),
    (errors.ServerFault, (-181, -183, -184, -185, -190, -193, -194, -195, -196, -198)),
    (errors.BadRequest, (BAD_NAME_OR_MOVE,)),
    # 4.4 process and file layer
    (errors.BadRequest, (-282, -283, -284, -287)),
    (errors.TooLarge, (-285,)),
    (errors.UploadSessionLost, (-286, -290)),
    (errors.ServerFault, (-288, *range(-298, -290))),
    (errors.AccessDenied, (-289,)),
    (errors.BadRequest, (-299,)),
    (errors.RateLimited, (-300,)),
    (errors.BadRequest, (-4000, -4002, *range(-4009, -4004), -4011, -4012, -4014, SAME_OFFSET)),
    (errors.ServerFault, (-4001, -4003, -4004, -4010, -4017, -4025)),
    (errors.UploadSessionLost, (-4013, -4021)),
    (errors.IntegrityError, (-4016,)),
    (errors.SameContentExists, (-4018,)),
    (errors.UnfinishedUpload, (-4019,)),
    (errors.UnfinishedOther, (-4020,)),
    (errors.BadRequest, (-4022, -4023, -4024, -4026, -4027)),
    # 4.5 CGI layer and others
    (errors.IntegrityError, (-5965, -5984)),
    (errors.BadRequest, (*range(-5976, -5970), -5979, -5980, -5990, *range(-5996, -5991), -5999)),
    (errors.ServerFault, (-5977, -5978, -5981, -5982, *range(-5989, -5984), -5997)),
    (errors.UploadSessionLost, (-5983,)),
    (errors.TooLarge, (-5991,)),
    (errors.BadCredentials, (-5998,)),
    (errors.ServerFault, range(-6999, -6990)),
    (errors.BadRequest, (-29094,)),
    (errors.ServerFault, (-20002, -29083, -29102, -29109, -46020, -46022)),
    (errors.ServerFault, (-50133, -50134, -50135)),
    # 4.6 downloads
    (errors.NotFound, (-46628, -6101)),
    (errors.BadCredentials, (-46618, -46154, -46642)),
    (errors.SignatureExpired, (-46619,)),
    (errors.UnfinishedUpload, (-46614, -45062)),
    (errors.BucketNotFound, (-46152,)),
    (errors.RangeNotSatisfiable, (-29033, -29034)),
)

#: Server code -> exception class.
CODES: Mapping[int, type[StoreError]] = MappingProxyType(
    {code: meaning for meaning, codes in _MEANING for code in codes}
)

_SENTENCES: Mapping[type[StoreError], str] = MappingProxyType(
    {
        errors.NotFound: "no such file or folder",
        errors.BucketNotFound: "no such bucket at this endpoint",
        errors.AlreadyExists: "the name is taken",
        errors.SameContentExists: "a file with this content is there already",
        errors.FolderNotEmpty: "the folder is not empty",
        errors.AccessDenied: "the server does not allow this",
        errors.BadCredentials: "the server does not accept the signature",
        errors.SignatureExpired: "the signature had expired when it arrived",
        errors.BadRequest: "the server finds the request invalid",
        errors.RangeNotSatisfiable: "the asked range is not in the object",
        errors.UnfinishedUpload: "an unfinished upload of this content has the name",
        errors.UnfinishedOther: "an unfinished upload of other content has the name",
        errors.UploadSessionLost: "the server does not know the upload session",
        errors.TooLarge: "the content is too large for the server",
        errors.QuotaExceeded: "the account or bucket is full",
        errors.RateLimited: "the server asks to go slower",
        errors.ServerFault: "the server failed",
        errors.IntegrityError: "the server's digest or size of the content differs",
        errors.MalformedReply: "the reply is not what the protocol promises",
        errors.UnknownReply: "the server's answer is in no known table",
    }
)


def error_for(reply: ReplyInfo, path: str, op: str) -> StoreError:
    """Return the exception for an answer of the API host that is no success.

    ``reply.code`` is ``None`` when the body was not the JSON that the protocol promises.
    """
    return _made(_class_of(reply), reply, path, op)


def _class_of(reply: ReplyInfo) -> type[StoreError]:
    meaning = None if reply.code is None else CODES.get(reply.code)
    if meaning is not None:
        return meaning
    if reply.status >= 500:
        return errors.ServerFault
    if reply.status == 429:
        return errors.RateLimited
    if reply.status == 413:
        return errors.TooLarge
    if reply.code is not None:
        return errors.UnknownReply
    # Not JSON: something on the way, or the endpoint of another region (reference 1.1). A 404 of
    # such a body says nothing about the object.
    if reply.status in (401, 403):
        return errors.AccessDenied
    return errors.MalformedReply


#: What a status of the download host means (reference 3.15): there the status alone counts.
_DOWNLOAD_STATUS: Mapping[int, type[StoreError]] = MappingProxyType(
    {
        400: errors.BadRequest,
        401: errors.AccessDenied,
        403: errors.AccessDenied,
        404: errors.NotFound,
        405: errors.BadRequest,
        416: errors.RangeNotSatisfiable,
        429: errors.RateLimited,
    }
)

#: Classes that a code may put in the place of the one of the status, which they refine.
_REFINES: Mapping[type[StoreError], tuple[type[StoreError], ...]] = MappingProxyType(
    {
        errors.AccessDenied: (errors.BadCredentials, errors.BucketNotFound),
        errors.NotFound: (errors.NotFound, errors.UnfinishedUpload),
        errors.BadRequest: (errors.BadCredentials, errors.RangeNotSatisfiable),
        errors.ServerFault: (errors.RateLimited,),
    }
)


def download_error_for(reply: ReplyInfo, path: str, op: str) -> StoreError:
    """Return the exception for an answer of the download host that carries no content.

    The status decides. A code, when the body or ``X-ErrNo`` has one, can only say it more exactly.
    """
    if reply.status >= 500:
        meaning: type[StoreError] = errors.ServerFault
    else:
        meaning = _DOWNLOAD_STATUS.get(reply.status, errors.MalformedReply)
    finer = None if reply.code is None else CODES.get(reply.code)
    if finer is not None and issubclass(finer, _REFINES.get(meaning, ())):
        meaning = finer
    return _made(meaning, reply, path, op)


def _made(meaning: type[StoreError], reply: ReplyInfo, path: str, op: str) -> StoreError:
    return meaning(f"{op}: {_SENTENCES[meaning]}", path=path, reply=reply)
