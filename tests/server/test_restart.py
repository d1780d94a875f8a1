"""What survives the end of the process: a stop, and a kill in the middle of anything."""

from __future__ import annotations

import hashlib
import http.client
import io
import multiprocessing
import os
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from cosfs.server.command import main
from cosfs.server.running import APPID, SECRET_ID, SECRET_KEY, LocalServer, ServerProcess
from tests.server.wire import Address, Wire, pattern

Start = Callable[..., Wire]


def test_everything_survives_a_restart(start: Start, tmp_path: Path) -> None:
    wire = start(tmp_path)
    wire.create("/d/", "备注")
    wire.upload("/d/a", pattern(100_000), biz_attr="x")
    wire.update("/d/a", custom_headers={"x-cos-meta-a": "1"}, authority="eWPrivateRPublic")
    wire.put("/d/empty")
    before = [wire.stat("/d/a").data, wire.stat("/d/").data, wire.names("/d/")]
    wire.restart()
    assert [wire.stat("/d/a").data, wire.stat("/d/").data, wire.names("/d/")] == before
    assert wire.download("/d/a", sign="").body == pattern(100_000)


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    from cosfs.server.state import DataFolderInUse

    with LocalServer(tmp_path), pytest.raises(DataFolderInUse):
        LocalServer(tmp_path).start()


def test_the_scrub_removes_leftovers_and_nothing_else(start: Start, tmp_path: Path) -> None:
    wire = start(tmp_path)
    wire.put("/a", b"kept")
    session = wire.slice_init("/s", 5).data["session"]
    wire.slice_data("/s", session, 0, b"12345")
    orphan = tmp_path / "objects" / "ab" / ("ab" + "0" * 62)
    leftovers = [tmp_path / "tmp" / "123-4", tmp_path / "parts" / "old", orphan]
    for path in leftovers:
        path.write_bytes(b"left over")
    wire.restart()
    assert not any(path.exists() for path in leftovers)
    assert wire.download("/a").body == b"kept"
    assert wire.slice_finish("/s", session, 5).code == 0
    assert wire.download("/s").body == b"12345"


def test_lost_content_is_reported_and_may_come_back(
    start: Start, tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("its file is missing")
    wire = start(tmp_path)
    wire.put("/a", b"content")
    (content,) = (tmp_path / "objects").glob("*/*")
    content.unlink()
    wire.restart()
    wire.put("/b", b"content")
    assert wire.download("/a").body == wire.download("/b").body == b"content"


def test_content_is_kept_once_and_only_while_it_is_used(start: Start, tmp_path: Path) -> None:
    wire = start(tmp_path)

    def contents() -> int:
        return len(list((tmp_path / "objects").glob("*/*")))

    wire.put("/a", b"same")
    wire.put("/b", b"same")
    wire.copy("/a", "c")
    assert contents() == 1
    wire.put("/a", b"other")
    assert contents() == 2
    for path in ("/a", "/b", "/c"):
        wire.delete(path)
    assert contents() == 0


def test_a_data_folder_of_another_version(tmp_path: Path) -> None:
    LocalServer(tmp_path).start().stop()
    database = sqlite3.connect(tmp_path / "index.sqlite3")
    database.execute("UPDATE meta SET value = '999'")
    database.commit()
    database.close()
    with pytest.raises(ValueError, match="another version"):
        LocalServer(tmp_path).start()


def test_data_is_for_its_owner_only(start: Start, tmp_path: Path) -> None:
    wire = start(tmp_path / "data")
    wire.put("/a", b"secret")
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


# kill -9 in the middle of a mixed load.

KILLS = 50
WORKERS = 4
TIME_S = 12
SLICE = 65536


@dataclass
class _Begun:
    """A slice upload that is under way."""

    name: str
    session: str
    content: bytes
    answered: set[int] = field(default_factory=set)


@dataclass
class _Worker:
    """Does random things in a folder of its own and remembers what was answered.

    A change whose answer did not come may have happened or not: then `unsure` holds both.
    """

    server: Address
    number: int
    random: random.Random
    # Key -> content that was answered; None: answered that it is gone.
    known: dict[str, bytes | None] = field(default_factory=dict)
    unsure: dict[str, set[bytes | None]] = field(default_factory=dict)
    begun: "_Begun | None" = None
    changes: int = 0

    def path(self, name: str) -> str:
        return f"/w{self.number}/{name}"

    def run(self) -> None:
        """Work until the server is gone."""
        wire = Wire(self.server)
        try:
            while True:
                self._do_something(wire)
                self.changes += 1
        except (http.client.HTTPException, OSError):
            pass
        finally:
            wire.close()

    def _do_something(self, wire: Wire) -> None:
        name = f"f{self.random.randrange(6)}"
        kind = self.random.choice(["upload", "upload", "delete", "move", "slices"])
        if kind == "upload":
            content = self.random.randbytes(self.random.choice([0, 10, 70_000, 1_200_000]))
            self._expect(name, content)
            code = wire.upload(self.path(name), content, insertOnly="0").code
            assert code == 0, code
            self._settle(name, content)
        elif kind == "delete":
            self._expect(name, None)
            code = wire.delete(self.path(name)).code
            assert code == (0 if self.known.get(name) is not None else -197), code
            self._settle(name, None)
        elif kind == "move":
            self._move(wire, name, f"f{self.random.randrange(6)}")
        else:
            # Names of their own: what is unfinished occupies its path.
            self._upload_in_slices(wire, f"s{self.random.randrange(2)}")

    def _move(self, wire: Wire, name: str, target: str) -> None:
        content = self.known.get(name)
        if content is None or name == target:
            return
        self._expect(name, None)
        self._expect(target, content)
        code = wire.move(self.path(name), self.path(target), 1).code
        assert code == 0, code
        self._settle(name, None)
        self._settle(target, content)

    def _upload_in_slices(self, wire: Wire, name: str) -> None:
        path = self.path(name)
        content = self.random.randbytes(3 * SLICE + 9)
        session = wire.slice_init(path, len(content), SLICE, insertOnly="0").data["session"]
        self.begun = _Begun(name, session, content)
        self._send_slices(wire, self.begun)

    def _send_slices(self, wire: Wire, begun: "_Begun") -> None:
        path, content = self.path(begun.name), begun.content
        for offset in range(0, len(content), SLICE):
            if offset not in begun.answered:
                piece = content[offset : offset + SLICE]
                assert wire.slice_data(path, begun.session, offset, piece).code == 0
                begun.answered.add(offset)
        self._expect(begun.name, content)
        assert wire.slice_finish(path, begun.session, len(content)).code == 0
        self._settle(begun.name, content)
        self.begun = None

    def _expect(self, name: str, content: bytes | None) -> None:
        self.unsure[name] = {self.known.get(name), content}

    def _settle(self, name: str, content: bytes | None) -> None:
        self.known[name] = content
        del self.unsure[name]

    def check(self, wire: Wire) -> None:
        """Compare the server with what was answered; afterwards nothing is unsure."""
        self._resume(wire)
        for name in {*self.known, *self.unsure}:
            answer = wire.download(self.path(name))
            content = answer.body if answer.status == 200 else None
            assert answer.status in (200, 404), answer
            possible = self.unsure.get(name, {self.known.get(name)})
            assert content in possible, (name, answer.status, len(answer.body))
            self.known[name] = content
        self.unsure.clear()

    def _resume(self, wire: Wire) -> None:
        """Finish an upload that was cut off, with the slices that were answered."""
        begun, self.begun = self.begun, None
        if begun is None:
            return
        answer = wire.slice_list(self.path(begun.name))
        if answer.status == 200 and answer.data.get("session") == begun.session:
            stored = {part["offset"] for part in answer.data["listparts"]}
            assert begun.answered <= stored, (begun.answered, stored)
            begun.answered = stored
            self._send_slices(wire, begun)


def check_files(data_dir: Path) -> None:
    """Compare the index with the content files, byte for byte."""
    database = sqlite3.connect(f"file:{data_dir}/index.sqlite3?mode=ro", uri=True)
    try:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        contents = dict(database.execute("SELECT name, size FROM contents"))
        used = {row[0] for row in database.execute("SELECT content FROM objects")} - {None}
    finally:
        database.close()
    assert used == set(contents)
    for name, size in contents.items():
        data = (data_dir / "objects" / name[:2] / name).read_bytes()
        assert len(data) == size and hashlib.sha256(data).hexdigest() == name


class _Sender(io.TextIOBase):
    """A standard output that sends what is printed to the parent."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def write(self, text: str) -> int:
        self._connection.send(text)
        return len(text)


def _serve(argv: list[str], connection: Connection) -> None:
    sys.stdout = _Sender(connection)
    sys.exit(main(argv))


class _ForkedServer:
    """A server process that starts in a moment: its parent has imported everything already."""

    def __init__(self, data_dir: Path) -> None:
        self.appid, self.secret_id, self.secret_key = APPID, SECRET_ID, SECRET_KEY
        self.url = ""
        self._arguments = ["--data", str(data_dir), "--bucket", "mybucket", "--appid", APPID]
        self._arguments += ["--secret-id", SECRET_ID, "--secret-key", SECRET_KEY]
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["cosfs.server.app", "tests.server.test_restart"])
        self._process: ForkServerProcess | None = None

    def start(self) -> None:
        port = self.url.rpartition(":")[2] or "0"
        reader, writer = self._context.Pipe(duplex=False)
        argv = [*self._arguments, "--port", port]
        self._process = self._context.Process(target=_serve, args=(argv, writer))
        self._process.start()
        writer.close()
        assert reader.poll(30)
        self.url = reader.recv().splitlines()[0].split()[-1]
        self._reader = reader

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
            self._process = None
            self._reader.close()


@pytest.fixture
def forked(tmp_path: Path) -> Iterator[_ForkedServer]:
    server = _ForkedServer(tmp_path / "data")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data") as running:
        yield running


def test_kill_at_random_moments_loses_no_answered_write(
    forked: _ForkedServer, tmp_path: Path
) -> None:
    seed = int(os.environ.get("SEED", time.time_ns() % 10**6))
    print(f"repeat with SEED={seed}")
    chance = random.Random(seed)
    workers = [_Worker(forked, n, random.Random(seed + n)) for n in range(WORKERS)]
    deadline = time.monotonic() + TIME_S
    kills = 0
    for _ in range(KILLS):
        if time.monotonic() > deadline:
            break
        threads = [threading.Thread(target=worker.run) for worker in workers]
        for thread in threads:
            thread.start()
        # The moment of the kill is the point of the test: nothing to wait for.
        threading.Event().wait(chance.uniform(0.0, 0.25))
        forked.kill()
        for thread in threads:
            thread.join()
        forked.start()
        kills += 1
        wire = Wire(forked)
        for worker in workers:
            worker.check(wire)
        wire.close()
        check_files(tmp_path / "data")
    print(f"{kills} kills, {sum(worker.changes for worker in workers)} answered changes")
    assert kills >= 20
    assert sum(worker.changes for worker in workers) > kills


def test_sigterm_lets_a_request_end(process: ServerProcess) -> None:
    wire = Wire(process)
    wire.put("/big", pattern(4 << 20))
    wire.control("PUT", "faults", {"bytes_per_second_per_connection": 8 << 20})
    bodies: list[bytes] = []
    started = threading.Event()

    def load() -> None:
        connection = http.client.HTTPConnection(wire.netloc, timeout=30)
        connection.request(
            "GET", "/mybucket-1250000000/big", headers={"Authorization": wire.sign()}
        )
        response = connection.getresponse()
        started.set()
        bodies.append(response.read())
        connection.close()

    thread = threading.Thread(target=load)
    thread.start()
    assert started.wait(10)
    wire.close()
    assert process.stop() == 0
    thread.join()
    assert bodies == [pattern(4 << 20)]
