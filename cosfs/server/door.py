"""One request: counted, verified, read, failed on order, run, answered.

Owns that sequence, the envelopes and the access log; must not know what operations do, nor the life
of the server.
"""

import asyncio
import base64
import ipaddress
import itertools
import json
import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiohttp import ClientError, web

from cosfs.server import codes
from cosfs.server.addresses import Target, build_base_url, parse_query, parse_target
from cosfs.server.calls import Call, Context
from cosfs.server.codes import Refusal
from cosfs.server.content import Spool
from cosfs.server.control import OPS, Counters, answer_control
from cosfs.server.download import UnsatisfiableRange, download_error_body, plan_download
from cosfs.server.faults import Faults, Pace, Rule
from cosfs.server.forms import Fields, read_body
from cosfs.server.operations import Operations
from cosfs.server.sending import Reply, Sent, drop, send, wait_for_disconnect
from cosfs.server.signatures import Signature, Verifier

logger = logging.getLogger(__name__)
access_logger = logging.getLogger("cosfs.server.access")

_GONE = (ConnectionError, ClientError, web.RequestPayloadError, asyncio.IncompleteReadError)

# Of an order of faults, which is a few lines.
_MAX_CONTROL_BYTES = 1 << 20


class Door:
    """Answers requests. Belongs to the event loop."""

    def __init__(self, context: Context, has_control: bool, has_log: bool) -> None:
        self._context = context
        self._state = context.state
        self._has_control = has_control
        self._has_log = has_log
        self._operations = Operations(context)
        self._verifier = Verifier(
            context.account, context.switches, self._has_bucket, self._state.spend
        )
        self.counters = Counters()
        self.faults = Faults(frozenset(OPS))
        self._limiter = _Limiter(context.switches.requests_per_second)
        self._request_numbers = itertools.count(1)
        # The address of the server, for clients whose Host header is of no use.
        self.url = ""
        # Set when the server stops: nothing may wait for its client any more.
        self.is_stopping = False

    def _has_bucket(self, bucket: str) -> bool:
        return bucket in self._state.buckets()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; the handler of the HTTP server."""
        exchange = _Exchange(request, next(self._request_numbers))
        try:
            response = await self._answer(exchange)
        except _GONE as error:
            exchange.outcome = f"client gone ({type(error).__name__})"
            drop(request)
            response = web.Response()
        except asyncio.CancelledError:
            exchange.outcome = "stopped"
            raise
        except Exception:
            # While sending: nobody knows how much the client has, so it gets no more.
            logger.exception("request %s failed", exchange.request_id)
            drop(request)
            response = web.Response()
        self.counters.bytes_in += exchange.received
        self.counters.bytes_out += exchange.sent.size
        if self._has_log and not exchange.is_control:
            access_logger.info("%s", exchange.describe())
        return response

    async def _answer(self, exchange: "_Exchange") -> web.StreamResponse:
        try:
            host = exchange.request.headers.get("Host", "")
            target = parse_target(exchange.raw_path, host, self._context.account.appid)
            if target.kind == "control" and self._has_control:
                return await self._answer_control(exchange, target)
            self.counters.total += 1
            if target.kind == "download":
                exchange.op = "download"
                self.counters.count_op("download")
            latency_ms = self.faults.plan.latency_ms
            if latency_ms:
                await asyncio.sleep(latency_ms / 1000)
            reply = await self._decide(exchange, target)
        except Refusal as refusal:
            # Only the address itself is refused here, before anybody knows what is wanted.
            self.counters.total += 1
            reply = self._refuse(exchange, refusal)
        return await self._send(exchange, reply)

    async def _decide(self, exchange: "_Exchange", target: Target) -> Reply:
        try:
            if target.kind == "download":
                exchange.rule = self.faults.choose("download")
                reply = await self._fail_before(exchange)
                return reply or self._download(exchange, target)
            if target.kind not in ("api", "buckets"):
                raise Refusal(codes.BAD_URL, "no such address")
            return await self._run_api(exchange, target)
        except Refusal as refusal:
            return self._refuse(exchange, refusal)
        except _GONE:
            raise
        except OSError:
            logger.exception("request %s: the data folder fails", exchange.request_id)
            return self._refuse(exchange, Refusal(codes.STORAGE_ERROR, "the data folder fails"))
        except Exception:
            logger.exception("request %s failed", exchange.request_id)
            return self._refuse(exchange, Refusal(codes.UNKNOWN_FAILURE, "internal error"))

    async def _run_api(self, exchange: "_Exchange", target: Target) -> Reply:
        request = exchange.request
        query = parse_query(exchange.query)
        refusal: Refusal | None = None
        signature: Signature | None = None
        try:
            sign = request.headers.get("Authorization") or query.get("sign", "")
            signature = self._verifier.verify(sign, target, self._context.clock())
        except Refusal as error:
            refusal = error
        limit = self._context.switches.max_upload_bytes if refusal is None else 0
        expected = request.content_length or 0
        spool = Spool(self._state.files, self._context.pool, limit, expected)
        try:
            values: dict[str, Any] = dict(query)
            try:
                values.update(await self._read(exchange, spool, refusal))
            except Refusal as error:
                refusal = refusal or error
            fields = Fields(values)
            exchange.op = _read_op(fields)
            self.counters.count_op(exchange.op)
            exchange.rule = self.faults.choose(exchange.op)
            failed = await self._fail_before(exchange)
            if failed is not None:
                return failed
            if refusal is not None or signature is None:
                raise refusal or Refusal(codes.SIGN_EMPTY)
            self._limiter.check()
            call = Call(
                target=target,
                fields=fields,
                spool=spool,
                now=int(self._context.clock()),
                base_url=build_base_url(request.headers.get("Host", ""), self.url),
            )
            data = await self._operations.run(call, exchange.op, request.method, signature)
            return self._envelope(exchange, 200, 0, "SUCCESS", data)
        finally:
            await spool.discard()

    async def _read(
        self, exchange: "_Exchange", spool: Spool, refusal: Refusal | None
    ) -> dict[str, Any]:
        request = exchange.request
        if request.headers.get("Expect", "").lower() == "100-continue":
            if refusal is not None:
                return {}  # The body need not be sent.
            assert request.transport is not None
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not request.can_read_body:
            return {}
        body = self._iter_body(exchange)
        return await read_body(request.headers.get("Content-Type", ""), body, spool)

    async def _iter_body(self, exchange: "_Exchange") -> AsyncIterator[bytes]:
        pace = Pace(self.faults.plan.bytes_per_second_per_connection)
        content = exchange.request.content
        while True:
            try:
                if pace.is_unlimited:
                    chunk = await content.readany()
                else:
                    chunk = await content.read(pace.step)
            except web.RequestPayloadError:
                transport = exchange.request.transport
                if transport is None or transport.is_closing():
                    raise
                # A wrong Content-Encoding: the client is there and waits for an answer.
                exchange.is_last = True
                raise Refusal(codes.BAD_FORM, "the body cannot be decoded") from None
            if not chunk:
                return
            exchange.received += len(chunk)
            await pace.wait(len(chunk))
            yield chunk

    def _download(self, exchange: "_Exchange", target: Target) -> Reply:
        request = exchange.request
        if request.method not in ("GET", "HEAD"):
            raise Refusal(codes.DOWNLOAD_BAD_METHOD, "downloads are GET or HEAD")
        sign = request.headers.get("Authorization") or parse_query(exchange.query).get("sign", "")
        range_header = request.headers.get("Range", "")
        self._limiter.check()
        plan = plan_download(self._context, self._verifier, target, sign, range_header)
        return Reply(
            plan.status,
            {**exchange.common_headers(), **plan.headers},
            path=plan.path,
            start=plan.start,
            length=plan.length,
            is_head=request.method == "HEAD",
        )

    # Replies.

    def _envelope(
        self, exchange: "_Exchange", status: int, code: int, message: str, data: Any = None
    ) -> Reply:
        value: dict[str, Any] = {
            "code": code,
            "message": message,
            "request_id": exchange.request_id,
        }
        if data is not None:
            value["data"] = data
        exchange.status, exchange.code = status, code
        body = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
        headers = {**exchange.common_headers(), "Content-Type": "application/json; charset=utf-8"}
        return Reply(status, headers, body, is_head=exchange.request.method == "HEAD")

    def _refuse(self, exchange: "_Exchange", refusal: Refusal) -> Reply:
        code = refusal.code
        exchange.outcome = refusal.detail
        if exchange.op != "download":
            return self._envelope(exchange, code.status, code.number, refusal.message)
        exchange.status, exchange.code = code.status, code.number
        body = json.dumps(download_error_body(code, "refused")).encode()
        headers = {
            **exchange.common_headers(),
            "Content-Type": "application/json; charset=utf-8",
            "X-ErrNo": str(code.number),
        }
        if isinstance(refusal, UnsatisfiableRange):
            headers["Content-Range"] = f"bytes */{refusal.size}"
        return Reply(code.status, headers, body, is_head=exchange.request.method == "HEAD")

    async def _send(self, exchange: "_Exchange", reply: Reply) -> web.StreamResponse:
        rule = exchange.rule
        if rule is not None and rule.action == "drop_after":
            drop(exchange.request)
            raise ConnectionResetError("dropped on order")
        reply.is_cut = rule is not None and rule.action == "cut_body"
        exchange.status = reply.status
        pace = Pace(self.faults.plan.bytes_per_second_per_connection)
        try:
            return await send(exchange.request, reply, pace, exchange.sent)
        except _GONE:
            raise
        except OSError:
            logger.exception("request %s: content cannot be read", exchange.request_id)
            failed = self._refuse(exchange, Refusal(codes.STORAGE_ERROR, "content cannot be read"))
            return await send(exchange.request, failed, Pace(None), exchange.sent)

    # Faults and control.

    async def _fail_before(self, exchange: "_Exchange") -> Reply | None:
        """Carry out a fault that comes instead of the operation; None when there is none."""
        rule = exchange.rule
        if rule is None or rule.action in ("drop_after", "cut_body"):
            return None
        if rule.action == "drop_before":
            raise ConnectionResetError("dropped on order")
        if rule.action == "hang":
            await wait_for_disconnect(exchange.request, lambda: self.is_stopping)
            raise ConnectionResetError("hung on order")
        if rule.action == "garbage":
            body = b"<html><head><title>Oops</title></head><body>no JSON here</body></html>"
            status = rule.status or 200
            headers = {**exchange.common_headers(), "Content-Type": "text/html"}
            exchange.status, exchange.code = status, 0
            return Reply(status, headers, body, is_head=exchange.request.method == "HEAD")
        code = codes.Code(rule.code, rule.status or 503)
        return self._refuse(exchange, Refusal(code, "failed on order"))

    async def _answer_control(self, exchange: "_Exchange", target: Target) -> web.StreamResponse:
        exchange.is_control = True
        request = exchange.request
        peer = request.transport.get_extra_info("peername") if request.transport else None
        value: dict[str, Any]
        if not is_loopback_peer(peer):
            status, value = 403, {"error": "control is for the machine itself"}
        elif (body := await _read_control(request)) is None:
            status, value = 413, {"error": f"a body has at most {_MAX_CONTROL_BYTES} bytes"}
        else:
            status, value = answer_control(
                self.counters, self.faults, request.method, target.path, body
            )
        headers = {**exchange.common_headers(), "Content-Type": "application/json"}
        return web.Response(status=status, headers=headers, body=json.dumps(value).encode())


class _Exchange:
    """What is known about one request while it is answered."""

    def __init__(self, request: web.BaseRequest, number: int) -> None:
        self.request = request
        self.raw_path, _, self.query = request.raw_path.partition("#")[0].partition("?")
        self.request_id = base64.b64encode(f"{int(time.time()):x}_{number:x}".encode()).decode()
        self.began = time.monotonic()
        self.op = ""
        self.rule: Rule | None = None
        self.status = 0
        self.code = 0
        self.outcome = ""
        self.received = 0
        self.sent = Sent()
        self.is_control = False
        # Where the next request begins is not known: the connection ends.
        self.is_last = False

    def common_headers(self) -> dict[str, str]:
        """Return the headers of every reply."""
        headers = {"Server": "cosfs", "x-cos-request-id": self.request_id}
        return {**headers, "Connection": "close"} if self.is_last else headers

    def describe(self) -> str:
        """Return the line of the access log. The query is left out: it may hold a signature."""
        milliseconds = (time.monotonic() - self.began) * 1000
        line = (
            f"{self.request.remote} {self.request.method} {self.raw_path} {self.op or '-'}"
            f" {self.status} {self.code} in={self.received} out={self.sent.size}"
            f" {milliseconds:.1f}ms {self.request_id}"
        )
        return f"{line} {self.outcome}" if self.outcome else line


class _Limiter:
    """Answers -71 beyond a rate; a bucket of one second's tokens."""

    def __init__(self, per_second: float) -> None:
        self._rate = per_second
        self._tokens = max(1.0, per_second)
        self._then = time.monotonic()

    def check(self) -> None:
        """Take a token.

        Raises:
            Refusal: -71, there is none.
        """
        if not self._rate:
            return
        now = time.monotonic()
        self._tokens = min(
            max(1.0, self._rate), self._tokens + (now - self._then) * self._rate
        )
        self._then = now
        if self._tokens < 1:
            raise Refusal(codes.TOO_MANY_REQUESTS, "too many requests a second")
        self._tokens -= 1


def _read_op(fields: Fields) -> str:
    try:
        return fields.text("op")
    except Refusal:
        return "?"


async def _read_control(request: web.BaseRequest) -> bytes | None:
    """Return the body of a control request; None when it is too long, and the rest is not read."""
    body = bytearray()
    while chunk := await request.content.readany():
        body += chunk
        if len(body) > _MAX_CONTROL_BYTES:
            return None
    return bytes(body)


def is_loopback_peer(peer: Sequence[Any] | None) -> bool:
    """Tell whether a peer's socket address is one of this machine itself."""
    if not peer:
        return False
    try:
        return ipaddress.ip_address(peer[0]).is_loopback
    except ValueError:
        return False
