"""Owns asking the server: sign, send, read, try again, settle lost answers. Must not know JSON.

``JsonApi`` runs one operation at a time per caller; ``bucket()`` gives the typed methods.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from cosfs import errors, interrupts
from cosfs.clock import Clock
from cosfs.config import Account, NetworkOptions
from cosfs.errors import StoreError
from cosfs.jsonapi import codes, parsing
from cosfs.jsonapi.api import Doubt, Refused
from cosfs.jsonapi.bucket import BucketClient
from cosfs.jsonapi.protocol import PAGE_MAX, PAGE_SAFE, ApiRequest, Effect
from cosfs.jsonapi.replies import OpCount, Reply
from cosfs.jsonapi.retry import Effort, RetryPolicy, is_ambiguous
from cosfs.jsonapi.signer import ServerClock, Signer, date_of
from cosfs.jsonapi.transport import HttpTransport
from cosfs.jsonapi.wire import HttpStream, Transport, read_body
from cosfs.version import __version__

_log = logging.getLogger(__name__)

T = TypeVar("T")

#: Longest JSON reply: a page of 1000 entries with the longest names is about 5 MiB.
_REPLY_LIMIT = 32 * 1024 * 1024

#: Part of what is left of the budget that one attempt may be silent. The rest is for trying once
#: more on another connection, and after a change for finding out whether it was made.
_READ_SHARE = 0.5
_CHANGE_SHARE = 0.75
#: Part of the whole budget that is kept for each of the (at most two) looks after a change.
_LOOK_SHARE = 0.1


class JsonApi:
    """A client of the JSON API for one account. Thread-safe; one may serve a whole process.

    ``transport`` is one of ours unless it is given; a given one is not closed by ``close``.
    """

    def __init__(
        self,
        account: Account,
        network: NetworkOptions,
        *,
        clock: Clock,
        rng: random.Random | None = None,
        transport: Transport | None = None,
        policy: RetryPolicy | None = None,
        user_agent: str = f"cosfs/{__version__}",
        sign_expires_s: float = 900.0,
    ) -> None:
        self._account = account
        self._network = network
        self._clock = clock
        self._rng = rng or random.SystemRandom()
        self._owns_transport = transport is None
        self._transport: Transport = HttpTransport(network) if transport is None else transport
        self._policy = policy or RetryPolicy(network.timeout_s)
        self._server_clock = ServerClock(clock)
        self._signer = Signer(
            account,
            self._server_clock,
            self._rng,
            user_agent=user_agent,
            expires_s=sign_expires_s,
        )
        self._page_limit = PAGE_MAX

    def bucket(self, name: str) -> BucketClient:
        """Return the typed methods for the bucket ``name`` (without the appid). Cost: none."""
        return BucketClient(self, name)

    def counters(self) -> Mapping[str, OpCount]:
        """Return requests and body bytes by operation, failed attempts included."""
        return self._transport.counters()

    def close(self) -> None:
        """Close the connections."""
        if self._owns_transport:
            self._transport.close()

    @property
    def account(self) -> Account:
        """Who asks, and where."""
        return self._account

    @property
    def page_limit(self) -> int:
        """The largest page to ask for: 1000, or 199 once the server refused more."""
        return self._page_limit

    def shrink_pages(self) -> bool:
        """Ask for small pages from now on; return whether that changes anything."""
        shrinks = self._page_limit > PAGE_SAFE
        self._page_limit = PAGE_SAFE
        return shrinks

    def server_time(self, headers: Mapping[str, str]) -> float:
        """Return the server's Unix seconds at a reply: its ``Date``, else what is known."""
        stamp = date_of(headers)
        return self._server_clock.now() if stamp is None else stamp

    def run(
        self,
        request: ApiRequest,
        parse: Callable[[Reply], T],
        look: Callable[[Doubt], T | None] | None = None,
        *,
        budget_s: float | None = None,
    ) -> T:
        """Run ``request`` and return what ``parse`` makes of the reply of the API host.

        Repeated while that is harmless and time is left: everything that surely was not carried
        out, and what changes nothing or leaves the same the second time. A ``CHANGE`` whose answer
        was lost is not repeated without ``look``.

        ``look`` finds out whether a change was made whose answer was lost: it returns the result if
        so, ``None`` if not. With it such a change is repeated, and a refusal of the repetition is
        looked at before it is believed.

        Raises:
            StoreError: what the server said, or what kept it from saying anything.
        Cost: 1 request, more after failures.
        """

        def attempt(effort: Effort) -> T:
            stream = self.open(request, effort)
            try:
                body = read_body(stream, _REPLY_LIMIT)
            finally:
                stream.close()
            reply, info = parsing.parse_envelope(stream.status, stream.headers, body)
            if reply is None:
                raise Refused(codes.error_for(info, request.key, request.op), stream.headers)
            try:
                return parse(reply)
            except errors.MalformedReply as error:
                raise errors.MalformedReply(
                    f"{request.op}: {error.what}", path=request.key, reply=info
                ) from None

        return self.repeat(request, attempt, look, budget_s=budget_s)

    def repeat(
        self,
        request: ApiRequest,
        attempt: Callable[[Effort], T],
        look: Callable[[Doubt], T | None] | None = None,
        *,
        budget_s: float | None = None,
    ) -> T:
        """Run ``attempt`` until it succeeds or the policy ends; see ``run``."""
        policy = self._policy
        if budget_s is not None:
            policy = replace(policy, budget_s=budget_s)
        elif look is not None:
            policy = replace(policy, budget_s=policy.budget_s * (1 - 2 * _LOOK_SHARE))
        effort = Effort(self._clock, policy.budget_s)
        doubt: StoreError | None = None
        clock_was_set = False
        while True:
            effort.attempts += 1
            headers: Mapping[str, str] = {}
            offset_s = self._server_clock.offset_s
            try:
                return attempt(effort)
            except Refused as refusal:
                failure, headers = refusal.error, refusal.headers
            except StoreError as error:
                failure = error
            if is_ambiguous(failure) and request.effect is not Effect.READ:
                doubt = doubt or failure
            if isinstance(failure, errors.SignatureExpired) and not clock_was_set:
                clock_was_set = True
                # Another thread may have set the clock since this attempt was signed.
                if self._server_clock.learn(headers) or self._server_clock.offset_s != offset_s:
                    continue
            if doubt is not None and look is None and request.effect is Effect.CHANGE:
                break
            delay = policy.decide(failure, effort.attempts, effort.idle, self._rng)
            if delay is None:
                break
            _log.info(
                "%s of %r failed, next attempt in %.2f s: %s",
                request.op,
                request.key,
                delay,
                failure.what,
            )
            self._clock.sleep(delay)
            interrupts.check(request.key)
        if doubt is None or look is None:
            raise failure
        return self._settle(request, look, Doubt(failure, effort), doubt)

    def _settle(
        self,
        request: ApiRequest,
        look: Callable[[Doubt], T | None],
        doubt: Doubt,
        first: StoreError,
    ) -> T:
        try:
            found = look(doubt)
        except StoreError as error:
            _log.info("could not look after %s of %r: %s", request.op, request.key, error.what)
        else:
            if found is not None:
                return found
            raise doubt.failure
        if isinstance(first, errors.Unavailable):
            raise first
        raise errors.Unavailable(
            f"{request.op}: nobody could find out whether it was carried out",
            path=request.key,
            reply=first.reply,
        )

    def look(self, request: ApiRequest, parse: Callable[[Reply], T]) -> T:
        """Run a reading request with the part of the time that is kept for settling."""
        return self.run(request, parse, budget_s=self._policy.budget_s * _LOOK_SHARE)

    def open(self, request: ApiRequest, effort: Effort) -> HttpStream:
        """Sign and send ``request`` once and return the reply, whatever its status."""
        share = _READ_SHARE if request.effect is Effect.READ else _CHANGE_SHARE
        sendable = self._signer.sign(
            request,
            connect_timeout_s=min(self._network.connect_timeout_s, effort.left),
            silence_timeout_s=max(0.05, effort.left * share),
            on_read=effort.progress,
        )
        return self._transport.open(sendable)
