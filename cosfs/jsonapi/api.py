"""Owns what the typed methods need of whoever runs requests; must not know how they are run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from cosfs.errors import StoreError
from cosfs.jsonapi.protocol import ApiRequest
from cosfs.jsonapi.replies import Reply
from cosfs.jsonapi.retry import Effort
from cosfs.jsonapi.wire import HttpStream

T = TypeVar("T")


class Refused(Exception):
    """Carries an error out of one attempt together with the headers of the reply."""

    def __init__(self, error: StoreError, headers: Mapping[str, str]) -> None:
        super().__init__(error.what)
        self.error = error
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Doubt:
    """A change that may have been made: how its last attempt failed, and since when it is tried."""

    failure: StoreError
    effort: Effort


class Api(Protocol):
    """Runs requests; ``client.JsonApi`` is the one that does it for real."""

    @property
    def page_limit(self) -> int: ...

    def shrink_pages(self) -> bool: ...

    def server_time(self, headers: Mapping[str, str]) -> float: ...

    def run(
        self,
        request: ApiRequest,
        parse: Callable[[Reply], T],
        look: Callable[[Doubt], T | None] | None = None,
    ) -> T: ...

    def repeat(self, request: ApiRequest, attempt: Callable[[Effort], T]) -> T: ...

    def look(self, request: ApiRequest, parse: Callable[[Reply], T]) -> T: ...

    def open(self, request: ApiRequest, effort: Effort) -> HttpStream: ...
