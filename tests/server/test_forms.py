"""Reading forms, addresses and SHA-1 states: the parts that need no server."""

from __future__ import annotations

import ast
import random
import time
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cosfs.server
from cosfs.server.addresses import normalise_path, parse_query, parse_target
from cosfs.server.assembly import Assembly
from cosfs.server.codes import Refusal
from cosfs.server.multipart import MAX_NAME_BYTES, MAX_PARTS, MultipartError, MultipartParser
from cosfs.server.sha1 import HAS_STATES, new_sha1
from tests.server.test_slices import PARTS
from tests.server.wire import MIB, Wire, build_form, pattern, sha1


def parse(body: bytes, cuts: list[int], boundary: bytes = b"c0ffee") -> list[tuple[str, bytes]]:
    parser = MultipartParser(boundary)
    parts: list[tuple[str, bytes]] = []
    positions = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    for start, end in zip(positions, positions[1:]):
        for event in parser.feed(body[start:end]):
            if event.kind == "begin":
                parts.append((event.name, b""))
            elif event.kind == "data":
                parts[-1] = (parts[-1][0], parts[-1][1] + bytes(event.data))
    assert parser.is_complete
    return parts


_PIECES = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n", b"--", b"-", b"--c0ffee", b"\r\n--c0ffe", b"x", b"\0"]),
    max_size=8,
).map(b"".join)


@given(
    values=st.lists(_PIECES.filter(lambda piece: b"\r\n--c0ffee" not in b"\r\n" + piece)),
    cuts=st.lists(st.integers(0, 10_000), max_size=20),
)
def test_a_form_is_read_however_it_is_cut(values: list[bytes], cuts: list[int]) -> None:
    fields: dict[str, object] = {f"f{number}": value for number, value in enumerate(values)}
    if not fields:
        return
    body, _ = build_form(fields)
    assert parse(body, cuts) == list(fields.items())


def test_a_form_byte_by_byte() -> None:
    body, _ = build_form({"a": b"\r\n--c0ffe\r\n", "b": b""})
    assert parse(body, list(range(len(body)))) == [("a", b"\r\n--c0ffe\r\n"), ("b", b"")]


@pytest.mark.parametrize(
    "body",
    [
        b"nonsense that is long enough",
        b"--c0ffee\r\n\r\nno head\r\n--c0ffee--",
        b"--c0ffee\r\nContent-Type: text/plain\r\n\r\nno name\r\n--c0ffee--",
        b'--c0ffee\r\nContent-Disposition: form-data; filename="name"\r\n\r\n\r\n--c0ffee--',
        b"--c0ffeeXX\r\n\r\n",
        b"--c0ffee\r\n" + b"x" * 20_000,
    ],
)
def test_what_is_no_form(body: bytes) -> None:
    with pytest.raises(MultipartError):
        list(MultipartParser(b"c0ffee").feed(body))


def _head(name: str) -> bytes:
    return f'--c0ffee\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n\r\n'.encode()


def test_names_and_parts_have_a_limit() -> None:
    fields: dict[str, object] = {f"f{number}": "" for number in range(MAX_PARTS)}
    body, _ = build_form(fields)
    assert len(parse(body, [])) == MAX_PARTS
    body, _ = build_form({**fields, "more": ""})
    with pytest.raises(MultipartError, match="parts"):
        parse(body, [])
    assert parse(_head("n" * MAX_NAME_BYTES) + b"--c0ffee--", [])
    with pytest.raises(MultipartError, match="name"):
        parse(_head("n" * (MAX_NAME_BYTES + 1)) + b"--c0ffee--", [])
    with pytest.raises(MultipartError, match="head"):
        parse(_head("n" * 20_000) + b"--c0ffee--", [])


def test_many_long_names_are_refused_at_once(wire: Wire) -> None:
    body = b"".join(_head(f"{number}" + "n" * 15_000) for number in range(2_000)) + b"--c0ffee--"
    headers = {"Content-Type": "multipart/form-data; boundary=c0ffee"}
    signed = {**headers, "Authorization": wire.sign()}
    began = time.monotonic()
    assert wire.request("POST", wire.url_path("/a"), headers, body).code == -81
    assert wire.request("POST", wire.url_path("/a"), signed, body).code == -5993
    assert time.monotonic() - began < 2


def test_many_fields_are_refused() -> None:
    assert len(parse_query("&".join(f"f{number}=" for number in range(1000)))) == 1000
    with pytest.raises(Refusal) as caught:
        parse_query("a&" * 1_000_000)
    assert caught.value.code.number == -5999


def test_padding_after_a_boundary_and_other_heads() -> None:
    body = (
        b"--c0ffee  \r\nContent-Type: text/plain\r\n"
        b'content-disposition: form-data; filename="; name=\\"x"; name=op\r\n\r\n'
        b"stat\r\n--c0ffee--"
    )
    assert parse(body, []) == [("op", b"stat")]


@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_query_values(name: str, value: str) -> None:
    query = f"n={quote_plus(name)}&v={quote_plus(value)}&sign=a+b%2Bc%3D="
    assert parse_query(query) == {"n": name, "v": value, "sign": "a+b+c=="}


@pytest.mark.parametrize(
    ("path", "host", "expected"),
    [
        ("/files/v2/125/b/a%20b", "h", ("api", "125", "b", "/a b")),
        ("/files/v2/125/b//a///b/", "h", ("api", "125", "b", "/a/b/")),
        ("/files/v2/125/b", "h", ("api", "125", "b", "/")),
        ("/files/v2/125//", "h", ("buckets", "125", "", "/")),
        ("/b-125/x", "h", ("download", "125", "b", "/x")),
        ("/a-b-125/x", "h", ("download", "125", "a-b", "/x")),
        ("/b-125", "h", ("download", "125", "b", "/")),
        ("/x/y", "b-125.cossh.myqcloud.com", ("download", "125", "b", "/x/y")),
        ("/files/v2/125/b/x", "b-125.c", ("download", "125", "b", "/files/v2/125/b/x")),
        ("/files/v2/125/b/x", "node-7.lan", ("api", "125", "b", "/x")),
        ("/_server/stats", "127.0.0.1:1", ("control", "", "", "/_server/stats")),
        ("/favicon.ico", "h", ("nowhere", "", "", "/favicon.ico")),
    ],
)
def test_targets(path: str, host: str, expected: tuple[str, ...]) -> None:
    target = parse_target(path, host, "125")
    assert (target.kind, target.appid, target.bucket, target.path) == expected


def test_one_normal_form_of_paths() -> None:
    assert normalise_path("//a///b/") == "/a/b/"
    with pytest.raises(Refusal) as caught:
        normalise_path("/a\x1b")
    assert caught.value.code.number == -180


@given(st.binary(max_size=30))
def test_any_path_is_read_or_refused(raw: bytes) -> None:
    text = "/files/v2/125/b/" + "".join(f"%{byte:02X}" for byte in raw)
    try:
        target = parse_target(text, "", "125")
    except Refusal as refusal:
        assert refusal.code.number in (-147, -180)
    else:
        assert b"//" not in target.path.encode()


@pytest.mark.skipif(not HAS_STATES, reason="libcrypto is not installed")
@pytest.mark.parametrize("size", PARTS)
def test_states_are_those_of_the_vectors(size: int) -> None:
    content = pattern(size)
    running = new_sha1()
    for offset, length, datasha in PARTS[size]:
        running.update(content[offset : offset + length])
        if offset + length < size:
            assert running.state() == datasha
    assert running.hexdigest() == PARTS[size][-1][2] == sha1(content)
    assert running.hexdigest() == sha1(content)


def test_without_libcrypto_there_is_no_state() -> None:
    running = new_sha1(plain=True)
    running.update(bytes(64))
    assert running.state() is None and running.hexdigest() == sha1(bytes(64))


def test_an_assembly_that_lost_its_hashes_reads_the_file_again(tmp_path: Path) -> None:
    content = pattern(3 * MIB)
    path = tmp_path / "part"
    first = Assembly(str(path), len(content), MIB, [])
    first.store(MIB, [content[MIB : 2 * MIB]])
    first.store(0, [content[:MIB]])
    second = Assembly(str(path), len(content), MIB, [0, MIB])
    assert second.complete() is None
    second.store(2 * MIB, [content[2 * MIB :]])
    found = second.complete()
    assert found is not None and found.sha1 == sha1(content)


@pytest.mark.parametrize("seed", range(8))
def test_an_assembly_has_the_digest_of_its_last_slices(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    path = tmp_path / "part"
    count = 20  # more than are hashed from memory
    assembly = Assembly(str(path), count * MIB, MIB, [])
    slices = {}
    for number in [*rng.sample(range(count), count), *rng.choices(range(count), k=6)]:
        data = slices[number] = rng.randbytes(16) * (MIB // 16)
        assembly.store(number * MIB, [data[:100], memoryview(data)[100:]])
        if rng.random() < 0.7:
            assembly.hash_ahead()
    found = assembly.complete()
    content = b"".join(slices[number] for number in range(count))
    assert found is not None and found.sha1 == sha1(content) and path.read_bytes() == content


def test_the_server_imports_nothing_else_of_cosfs() -> None:
    folder = Path(cosfs.server.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            for name in names:
                assert not name.startswith("cosfs") or name.startswith("cosfs.server"), path
