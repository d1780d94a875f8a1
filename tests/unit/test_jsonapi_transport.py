"""HTTP over real sockets: reuse, time limits, broken connections, TLS, proxies, counters."""

from __future__ import annotations

import logging
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cosfs import errors
from cosfs.config import NetworkOptions
from cosfs.errors import ConfigError, StoreError
from cosfs.jsonapi.multipart import MultipartBody, SourcePart
from cosfs.jsonapi.proxies import Proxies
from cosfs.jsonapi.replies import OpCount
from cosfs.jsonapi.transport import HttpTransport
from cosfs.jsonapi.wire import HttpRequest, read_body, without_signature
from tests.unit.jsonapi_fakes import SocketServer, answers, capture, http_reply, read_request
from tests.unit.jsonapi_tls import CERTIFICATE, KEY

NO_PROXIES = Proxies({})
OPTIONS = NetworkOptions(timeout_s=20.0, connect_timeout_s=5.0, pool_size=4)

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

Handler = Callable[[socket.socket], None]


def request(url: str, **change: object) -> HttpRequest:
    values: dict[str, object] = {
        "op": "stat",
        "path": "a/b",
        "method": "GET",
        "url": url,
        "headers": {"Authorization": "c2VjcmV0"},
        "body": None,
        "connect_timeout_s": 5.0,
        "silence_timeout_s": 10.0,
    }
    return HttpRequest(**{**values, **change})  # type: ignore[arg-type]


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    made = HttpTransport(OPTIONS, proxies=NO_PROXIES)
    yield made
    made.close()


def fetch(transport: HttpTransport, wanted: HttpRequest) -> tuple[int, bytes]:
    stream = transport.open(wanted)
    try:
        return stream.status, read_body(stream, 1 << 24)
    finally:
        stream.close()


def test_connections_are_reused(transport: HttpTransport) -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []
    with capture(http_reply(b"hello"), seen) as server:
        for _ in range(5):
            assert fetch(transport, request(f"{server.url}/x?op=stat")) == (200, b"hello")
        transport.close()
        assert server.connections == 1
    line, headers, _ = seen[0]
    assert line == "GET /x?op=stat HTTP/1.1"
    assert headers["accept-encoding"] == "identity"
    assert headers["authorization"] == "c2VjcmV0"
    assert headers["host"] == f"127.0.0.1:{server.port}"


def test_an_empty_body_and_a_head_leave_the_connection_usable(transport: HttpTransport) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    replies = [http_reply(b""), b"HTTP/1.1 204 No Content\r\n\r\n", head, http_reply(b"x")]
    with SocketServer(answers(*replies)) as server:
        assert fetch(transport, request(server.url)) == (200, b"")
        assert fetch(transport, request(server.url)) == (204, b"")
        assert fetch(transport, request(server.url, method="HEAD")) == (200, b"")
        assert fetch(transport, request(server.url)) == (200, b"x")
        assert server.connections == 1


def test_the_url_goes_out_as_it_is(transport: HttpTransport) -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []
    path = "/files/%E6%B5%8B%21%27%28%29%2A~/...x%2F/%3F?dest_fileid=%2Fa+b%2B&sign=a%2Bb%2F%3D"
    with capture(http_reply(b""), seen) as server:
        fetch(transport, request(server.url + path))
        transport.close()
    assert seen[0][0] == f"GET {path} HTTP/1.1"


def test_a_post_without_a_body_has_a_length(transport: HttpTransport) -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []
    with capture(http_reply(b""), seen) as server:
        fetch(transport, request(server.url, method="POST"))
        transport.close()
    assert seen[0][1]["content-length"] == "0"


def test_an_explicit_host_is_sent(transport: HttpTransport) -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []
    with capture(http_reply(b""), seen) as server:
        fetch(transport, request(server.url, headers={"Host": "b-1.cossh.myqcloud.com"}))
        transport.close()
    assert seen[0][1]["host"] == "b-1.cossh.myqcloud.com"


def test_nothing_is_followed_decoded_or_remembered(transport: HttpTransport) -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []
    headers = ["Location: http://127.0.0.1:1/", "Set-Cookie: a=b", "Content-Encoding: gzip"]
    with capture(http_reply(b"not gzip", "302 Found", headers), seen) as server:
        assert fetch(transport, request(server.url)) == (302, b"not gzip")
        assert fetch(transport, request(server.url)) == (302, b"not gzip")
        transport.close()
    assert len(seen) == 2
    assert "cookie" not in seen[1][1]


def test_settings_of_other_programs_do_not_matter(
    transport: HttpTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing"))
    seen: list[tuple[str, dict[str, str], bytes]] = []
    with capture(http_reply(b""), seen) as server:
        fetch(transport, request(server.url, headers={}))
        transport.close()
    assert "authorization" not in seen[0][1]


def test_chunked_and_unbounded_bodies(transport: HttpTransport) -> None:
    chunked = CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    until_the_end = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcdef"
    with SocketServer(answers(chunked, until_the_end)) as server:
        assert fetch(transport, request(server.url)) == (200, b"abcde")
        assert fetch(transport, request(server.url)) == (200, b"abcdef")


def test_a_body_goes_into_the_callers_memory(transport: HttpTransport) -> None:
    content = bytes(range(256)) * 4096
    with SocketServer(answers(http_reply(content))) as server:
        stream = transport.open(request(server.url, op="download"))
        buffer = bytearray(len(content))
        done = 0
        with memoryview(buffer) as view:
            while done < len(content):
                done += stream.readinto(view[done : done + 300_000])
        assert stream.readinto(memoryview(bytearray(5))) == 0
        stream.close()
        stream.close()
    assert buffer == content
    assert transport.counters() == {"download": OpCount(1, 0, len(content))}


def test_an_unread_body_drops_the_connection(transport: HttpTransport) -> None:
    reply = http_reply(b"x" * 1000)
    with SocketServer(answers(reply, reply)) as server:
        stream = transport.open(request(server.url))
        stream.readinto(memoryview(bytearray(10)))
        stream.close()
        assert stream.readinto(memoryview(bytearray(10))) == 0
        assert fetch(transport, request(server.url)) == (200, b"x" * 1000)
        transport.close()
        assert server.connections == 2


def test_a_longer_text_than_allowed_is_refused(transport: HttpTransport) -> None:
    with SocketServer(answers(http_reply(b"x" * 1000))) as server:
        stream = transport.open(request(server.url))
        with pytest.raises(errors.MalformedReply):
            read_body(stream, 999)
        stream.close()


# Failures ----------------------------------------------------------------------------------------


def failure(transport: HttpTransport, wanted: HttpRequest) -> StoreError:
    with pytest.raises(StoreError) as caught:
        fetch(transport, wanted)
    assert caught.value.path == "a/b"
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    return caught.value


def test_nobody_listens(transport: HttpTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    found = failure(transport, request(f"http://127.0.0.1:{port}/?sign=secret"))
    assert type(found) is errors.ConnectFailed
    assert "Connection refused" in str(found)
    assert "sign" not in str(found)


def test_an_unknown_host(transport: HttpTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    found = failure(transport, request("http://nowhere.invalid/"))
    assert type(found) is errors.ConnectFailed
    assert "the host name is unknown" in str(found)


def test_an_address_that_never_answers(
    transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(self: socket.socket, address: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket.socket, "connect", connect)
    found = failure(transport, request("http://127.0.0.1:9/"))
    assert type(found) is errors.ConnectFailed
    assert "timed out" in str(found)


def reset(connection: socket.socket) -> None:
    """Close with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang_up(connection: socket.socket) -> None:
    read_request(connection)


def hang_up_hard(connection: socket.socket) -> None:
    read_request(connection)
    reset(connection)


def say(text: bytes) -> Handler:
    return answers(text)


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (hang_up, errors.ConnectionLost),
        (hang_up_hard, errors.ConnectionLost),
        (say(b"HTTP/1.1 2"), errors.ConnectionLost),
        (say(b"what?\r\n\r\n"), errors.ConnectionLost),
        (say(b"HTTP/1.1 200 OK\r\nContent-Len"), errors.ConnectionLost),
        (say(http_reply(b"x" * 1000)[:-1]), errors.TruncatedBody),
        (say(http_reply(b"x")[:-1]), errors.TruncatedBody),
        (say(CHUNKED), errors.TruncatedBody),
        (say(CHUNKED + b"5\r\nabc"), errors.TruncatedBody),
        (say(CHUNKED + b"3\r\nabc\r\n"), errors.TruncatedBody),
        (say(CHUNKED + b"zz\r\n"), errors.TruncatedBody),
    ],
)
def test_a_broken_connection(
    transport: HttpTransport, handler: Handler, kind: type[StoreError]
) -> None:
    with SocketServer(handler) as server:
        assert type(failure(transport, request(f"{server.url}/?sign=secret"))) is kind


def test_a_server_that_says_nothing(transport: HttpTransport) -> None:
    done = threading.Event()

    def silent(connection: socket.socket) -> None:
        read_request(connection)
        done.wait(10)

    with SocketServer(silent) as server:
        found = failure(transport, request(server.url, silence_timeout_s=0.05))
        done.set()
    assert type(found) is errors.RequestTimeout


def test_a_body_that_stops_coming(transport: HttpTransport) -> None:
    done = threading.Event()

    def stalls(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(http_reply(b"x" * 1000)[:-500])
        done.wait(10)

    with SocketServer(stalls) as server:
        found = failure(transport, request(server.url, silence_timeout_s=0.05))
        done.set()
    assert type(found) is errors.RequestTimeout


def test_a_server_that_does_not_read() -> None:
    done = threading.Event()
    transport = HttpTransport(NetworkOptions(timeout_s=0.1), proxies=NO_PROXIES)
    body = b"x" * (64 << 20)

    def busy(connection: socket.socket) -> None:
        done.wait(10)

    with SocketServer(busy) as server:
        found = failure(transport, request(server.url, method="POST", body=body))
        done.set()
    assert type(found) is errors.RequestTimeout
    transport.close()


def test_an_answer_before_the_body_was_read_is_an_answer(transport: HttpTransport) -> None:
    def early(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(http_reply(b"too large", "413 Payload Too Large"))
        while connection.recv(1 << 20):
            continue

    body = b"x" * (4 << 20)
    with SocketServer(early) as server:
        reply = fetch(transport, request(server.url, method="POST", body=body))
        transport.close()
    assert reply == (413, b"too large")


# Uploads -----------------------------------------------------------------------------------------


class Watched:
    """A source that keeps what was asked of it."""

    def __init__(self, size: int, fails_at: int | None = None, ends_at: int | None = None) -> None:
        self.size = size
        self.asked: list[int] = []
        self.fails_at = fails_at
        self.ends_at = ends_at

    def read_at(self, offset: int, length: int) -> bytes:
        self.asked.append(length)
        if self.fails_at is not None and offset >= self.fails_at:
            raise OSError(5, "Input/output error")
        if self.ends_at is not None:
            length = max(0, min(length, self.ends_at - offset))
        return bytes((offset + index) % 251 for index in range(length))


def test_an_upload_is_streamed(transport: HttpTransport) -> None:
    source = Watched(1_000_000)
    moved: list[None] = []
    body = MultipartBody(
        "frontier", [("op", "upload")], SourcePart("filecontent", source, 7, 900_000),
        lambda: moved.append(None),
    )  # fmt: skip
    seen: list[tuple[str, dict[str, str], bytes]] = []
    with capture(http_reply(b""), seen) as server:
        fetch(transport, request(server.url, op="upload", method="POST", body=body))
        transport.close()
    _, headers, received = seen[0]
    assert headers["content-length"] == str(len(body)) == str(len(received))
    assert "transfer-encoding" not in headers
    expected = bytes((7 + index) % 251 for index in range(900_000))
    assert received == (
        b"--frontier\r\nContent-Disposition: form-data; name=\"op\"; filename=\"op\"\r\n\r\nupload"
        b"\r\n--frontier\r\nContent-Disposition: form-data; name=\"filecontent\";"
        b" filename=\"filecontent\"\r\n\r\n" + expected + b"\r\n--frontier--\r\n"
    )
    assert max(source.asked) == 256 * 1024, "neither the whole nor crumbs"
    assert len(moved) >= 4
    assert transport.counters()["upload"].bytes_sent == len(body)


@pytest.mark.parametrize(
    "source", [Watched(1 << 20, fails_at=600_000), Watched(1 << 20, ends_at=9)]
)
def test_a_source_that_fails_is_not_the_connections_fault(
    transport: HttpTransport, source: Watched
) -> None:
    body = MultipartBody("frontier", [], SourcePart("filecontent", source, 0, source.size))
    with SocketServer(answers(http_reply(b""))) as server:
        with pytest.raises(errors.SourceFailed):
            fetch(transport, request(server.url, method="POST", body=body))
        assert fetch(transport, request(server.url)) == (200, b"")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000, -1])
def test_a_form_is_the_same_in_pieces_of_any_size(size: int) -> None:
    def make() -> MultipartBody:
        part = SourcePart("filecontent", Watched(300), 0, 300)
        return MultipartBody("frontier", [("a", "ü"), ("b", "")], part)

    body, pieces = make(), []
    while piece := body.read(size):
        pieces.append(piece)
    assert b"".join(pieces) == make().read()
    assert sum(map(len, pieces)) == len(body)


# TLS ---------------------------------------------------------------------------------------------


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, str]:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_text(CERTIFICATE)
    key.write_text(KEY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, str(certificate)


def test_a_certificate_that_signs_itself_is_refused(
    transport: HttpTransport, tls: tuple[ssl.SSLContext, str]
) -> None:
    with SocketServer(answers(http_reply(b"secret")), tls[0]) as server:
        found = failure(transport, request(f"{server.url}/?sign=secret"))
    assert type(found) is errors.TlsRefused
    assert "self-signed certificate" in str(found)


def test_a_certificate_that_is_trusted_is_good(tls: tuple[ssl.SSLContext, str]) -> None:
    transport = HttpTransport(OPTIONS, proxies=NO_PROXIES, ca_file=tls[1])
    with SocketServer(answers(http_reply(b"hello")), tls[0]) as server:
        assert fetch(transport, request(server.url)) == (200, b"hello")
        transport.close()


def test_a_certificate_for_another_name_is_refused(
    tls: tuple[ssl.SSLContext, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = HttpTransport(OPTIONS, proxies=NO_PROXIES, ca_file=tls[1])
    real = socket.getaddrinfo

    def home(host: str, *args: object, **kwargs: object) -> object:
        return real("127.0.0.1", *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", home)
    with SocketServer(answers(http_reply(b"secret")), tls[0]) as server:
        found = failure(transport, request(f"https://cos.example:{server.port}/"))
    assert type(found) is errors.TlsRefused
    transport.close()


def test_a_server_without_tls_is_refused(transport: HttpTransport) -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(http_reply(b"", "400 Bad Request"))

    with SocketServer(plain) as server:
        found = failure(transport, request(f"https://127.0.0.1:{server.port}/"))
    assert type(found) is errors.TlsRefused


# Proxies -----------------------------------------------------------------------------------------


def test_the_proxy_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []
    with capture(http_reply(b"by proxy"), seen) as server:
        monkeypatch.setenv("http_proxy", server.url)
        monkeypatch.setenv("no_proxy", "direct.example")
        transport = HttpTransport(OPTIONS)
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        assert fetch(transport, request("http://cos.example/x?sign=a%2B")) == (200, b"by proxy")
        transport.close()
    assert seen[0][0] == "GET http://cos.example/x?sign=a%2B HTTP/1.1"


def test_a_proxy_set_later_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = HttpTransport(OPTIONS)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with SocketServer(answers(http_reply(b"direct"))) as server:
        assert fetch(transport, request(server.url)) == (200, b"direct")
        transport.close()


def test_a_dead_proxy_is_no_connection() -> None:
    proxies = Proxies({"http": "http://user:pass@127.0.0.1:1", "https": "http://127.0.0.1:1"})
    transport = HttpTransport(OPTIONS, proxies=proxies)
    for url in ("http://cos.example/", "https://cos.example/"):
        found = failure(transport, request(url))
        assert type(found) is errors.ConnectFailed
        assert "proxy" in str(found) and "pass" not in str(found)


def test_a_proxy_that_refuses_is_no_connection() -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []
    with capture(http_reply(b"", "407 Proxy Authentication Required"), seen) as server:
        transport = HttpTransport(OPTIONS, proxies=Proxies({"all": server.url}))
        found = failure(transport, request("https://cos.example/x?sign=secret"))
        transport.close()
    assert type(found) is errors.ConnectFailed
    assert seen[0][0].startswith("CONNECT cos.example:443 ")
    assert "authorization" not in seen[0][1]


@pytest.mark.parametrize(
    ("url", "is_direct"),
    [
        ("http://cos.example/", False),
        ("http://direct.example/", True),
        ("http://deep.direct.example/", True),
        ("http://indirect.example/", False),
        ("http://dotted.example/", True),
        ("http://x.dotted.example/", True),
        ("http://x.star.example/", True),
        ("http://ported.example:8080/", True),
        ("http://ported.example/", False),
        ("http://127.0.0.1:80/", True),
        ("http://10.1.2.3/", True),
        ("http://11.1.2.3/", False),
        ("http://[::1]/", True),
        ("http://DIRECT.example/", True),
    ],
)
def test_who_is_reached_directly(url: str, is_direct: bool) -> None:
    proxies = Proxies(
        {
            "http": "proxy.example:3128",
            "no": "direct.example, .dotted.example,*.star.example, ported.example:8080,127.0.0.1,"
            "10.0.0.0/8,::1,,not/a/network",
        }
    )
    assert proxies.for_url(url) == ({} if is_direct else {"http": "http://proxy.example:3128"})
    assert proxies.for_url(url.replace("http:", "https:")) == {}


def test_nobody_needs_a_proxy() -> None:
    assert Proxies({"all": "http://p", "no": "*"}).for_url("https://cos.example/") == {}


@pytest.mark.parametrize("url", ["socks5://x:1", "http:///", "http://x:port", "ftp://x"])
def test_a_proxy_that_cannot_be(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Proxies({"https": url})
    assert url not in str(caught.value)


# Logs and counters -------------------------------------------------------------------------------


def test_the_librarys_log_shows_no_signature(
    transport: HttpTransport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with SocketServer(answers(http_reply(b""))) as server:
        fetch(transport, request(f"{server.url}/a?sign=c2VjcmV0"))
        transport.close()
    assert "/a?sign=..." in caplog.text
    assert "c2VjcmV0" not in caplog.text


def test_more_threads_than_connections_are_no_reason_for_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = HttpTransport(NetworkOptions(pool_size=1), proxies=NO_PROXIES)
    logger = logging.getLogger("urllib3.connectionpool")
    logger.warning("Connection pool is full, discarding connection: %s", "host")
    logger.warning("something else: %s", "/a?sign=c2VjcmV0")
    transport.close()
    assert [record.getMessage() for record in caplog.records] == ["something else: /a?sign=..."]


def test_counting_is_exact_across_threads(transport: HttpTransport) -> None:
    def work() -> None:
        for _ in range(500):
            transport._count("stat", requests=1, bytes_received=3)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert transport.counters()["stat"] == OpCount(4000, 0, 12000)


def test_failed_attempts_are_counted(transport: HttpTransport) -> None:
    with SocketServer(hang_up) as server:
        failure(transport, request(server.url))
    assert transport.counters() == {"stat": OpCount(1, 0, 0)}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://h/a?sign=abc%2B", "http://h/a?sign=..."),
        ("/a?sign=abc+/=&x=1", "/a?sign=...&x=1"),
        ("/a?x=1&SIGN=abc x", "/a?x=1&SIGN=... x"),
        ("nothing", "nothing"),
    ],
)
def test_without_signature(text: str, shown: str) -> None:
    assert without_signature(text) == shown
