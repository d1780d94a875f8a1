"""Owns how every method begins and ends: checks before, dicts after; must not know operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cosfs.errors import ConfigError, StoreError
from cosfs.jsonapi.client import JsonApi
from cosfs.sdk import replies
from cosfs.sdk.base_request import BaseRequest
from cosfs.sdk.connection import Connection
from cosfs.sdk.progress import CallbackFailed
from cosfs.sdk.replies import BadParameter, ReplyDict
from cosfs.sdk.settings import CosConfig, CredInfo

R = TypeVar("R", bound=BaseRequest)

#: More connections to one server than this gain nothing.
PARALLEL_MAX = 32


class ClientBase:
    """What the groups of methods share.

    Thread safety: requests are not changed by methods, apart from what ``get_err_tips`` says.
    """

    _cred: CredInfo
    _config: CosConfig
    _connection: Connection

    def _answer(
        self, kind: type[R], request: R, ask: Callable[[JsonApi, R], ReplyDict]
    ) -> ReplyDict:
        """Check ``request`` and return what ``ask`` answers, or a dict that says what failed.

        Raises:
            TypeError: ``request`` is not of ``kind``.
        """
        require(kind, request)
        try:
            return ask(self._api_for(request), request)
        except BadParameter as error:
            return replies.bad_parameter(str(error))
        except StoreError as error:
            return replies.failed(error)
        except CallbackFailed as error:
            raise error.cause

    def _api_for(self, request: BaseRequest) -> JsonApi:
        """Return what runs requests now.

        Raises:
            BadParameter: ``request``, the credentials or the settings cannot be used.
        """
        cred, config = self._cred, self._config
        if not cred.check_params_valid():
            raise BadParameter(cred.get_err_tips() or "")
        if not request.check_params_valid():
            raise BadParameter(request.get_err_tips() or "")
        try:
            return self._connection.api(cred, config)
        except ConfigError as error:
            raise BadParameter(str(error)) from error


def require(kind: type[BaseRequest], request: object) -> None:
    """Raise ``TypeError`` unless ``request`` is of ``kind``."""
    if not isinstance(request, kind):
        raise TypeError(f"this takes a {kind.__name__}, not a {type(request).__name__}")


def parallel_of(max_con: int) -> int:
    """Return how many transfers to run at the same time for what a request asks."""
    return max(1, min(max_con, PARALLEL_MAX))


def key_of(request: BaseRequest) -> str:
    """Return the path of a checked request as the protocol client spells it."""
    return request.get_cos_path()[1:]
