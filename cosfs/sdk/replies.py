"""Owns what methods answer with: dicts with ``code`` and ``message``; must not know requests.

``code`` is the server's where it spoke. The others are made here: -1 a parameter is bad, -2 the
server failed (HTTP 5xx) and said nothing usable, -3 no answer was had or it is not what the
protocol promises, 1 a download did not succeed.
"""

from __future__ import annotations

from typing import Any

from cosfs import errors
from cosfs.errors import StoreError
from cosfs.jsonapi.replies import Reply, UploadedFile

ReplyDict = dict[str, Any]

BAD_PARAMETER = -1
SERVER_FAILED = -2
NO_ANSWER = -3
NOT_DOWNLOADED = 1


class BadParameter(Exception):
    """Carries the sentence that says which parameter is bad out of a method's work."""


class CosReplyError(OSError):
    """A method that has no dict to answer with failed.

    ``reply`` is the dict that others would have answered with: ``code`` and ``message``.
    """

    def __init__(self, reply: ReplyDict, what: str = "") -> None:
        self.reply = reply
        super().__init__(what or f"{reply['message']} (code {reply['code']})")


def as_received(reply: Reply) -> ReplyDict:
    """Return the server's answer as it came."""
    return dict(reply.envelope)


def settled(data: ReplyDict | None = None) -> ReplyDict:
    """Return the answer for what was found done after the server's own answer was lost."""
    return {"code": 0, "message": "SUCCESS", "data": data or {}}


def uploaded(file: UploadedFile, url: str, resource_path: str) -> ReplyDict:
    """Return the answer for a file that is complete; two addresses are known without asking."""
    if file.envelope:
        return dict(file.envelope)
    return settled(
        {
            "access_url": file.access_url,
            "resource_path": file.resource_path or resource_path,
            "source_url": file.source_url,
            "url": file.url or url,
        }
    )


def bad_parameter(what: str) -> ReplyDict:
    """Return the answer for a request that was not sent."""
    return {"code": BAD_PARAMETER, "message": what}


def failed(error: StoreError) -> ReplyDict:
    """Return the answer for a request that did not succeed."""
    reply = error.reply
    if reply is not None and reply.code and reply.envelope is not None:
        return dict(reply.envelope)
    if reply is None and isinstance(error, (errors.BadRequest, errors.SourceFailed)):
        return bad_parameter(str(error))
    if reply is not None and reply.status >= 500:
        return {"code": SERVER_FAILED, "message": str(error)}
    return {"code": NO_ANSWER, "message": str(error)}


def download_failed(error: Exception) -> ReplyDict:
    """Return the answer for a download that did not succeed."""
    return {
        "code": NOT_DOWNLOADED,
        "message": f"download failed, exception: {describe_download(error)}",
    }


def describe_download(error: Exception) -> str:
    """Say why a download did not succeed; the HTTP status first, where that is the reason."""
    if isinstance(error, StoreError) and error.reply is not None and error.reply.status >= 300:
        return f"download failed with status code:{error.reply.status} ({error.what})"
    return str(error)
