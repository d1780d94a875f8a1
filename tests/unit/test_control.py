"""The socket of a running mount: who is answered, and what happens to nonsense."""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cosfs import control
from cosfs.ask import AskFailed, NotRunning, ask
from cosfs.control import NAME, QUESTION_MAX, ControlServer
from cosfs.errors import CosfsError, StoreError


class Mount:
    """What a mount answers, for tests."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go_on = threading.Event()

    def greet(self, name: str, loudly: bool = False) -> dict[str, str]:
        return {"hello": name.upper() if loudly else name}

    def refuse(self) -> None:
        raise StoreError("no room", path="/f\udcff")

    def fail(self) -> None:
        raise ZeroDivisionError("oh")

    def wait(self) -> str:
        self.began.set()
        assert self.go_on.wait(20)
        return "done"

    def commands(self) -> control.Commands:
        return {
            "greet": self.greet,
            "refuse": self.refuse,
            "fail": self.fail,
            "wait": self.wait,
        }


@pytest.fixture
def mount() -> Mount:
    return Mount()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Longer than the address of a socket may be, as real state folders are."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def server(folder: Path, mount: Mount) -> Iterator[ControlServer]:
    server = ControlServer(folder, mount.commands(), owner=os.geteuid())
    server.start()
    yield server
    mount.go_on.set()
    server.stop()


def connect(folder: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    with control.address(folder) as where:
        client.connect(where)
    return client


def say(folder: Path, raw: bytes) -> Any:
    """Send bytes as they are; return the reply, ``None`` if there is none."""
    with connect(folder) as client:
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as stream:
            reply = stream.read()
    assert reply.count(b"\n") == (1 if reply else 0)
    return json.loads(reply) if reply else None


@pytest.mark.usefixtures("server")
def test_a_question_and_its_answer(folder: Path) -> None:
    assert ask(folder, "greet", name="me") == {"hello": "me"}
    assert ask(folder, "greet", name="\udcff", loudly=True) == {"hello": "\udcff"}


@pytest.mark.usefixtures("server")
def test_a_refusal_is_one_sentence(folder: Path) -> None:
    with pytest.raises(AskFailed, match="no room") as caught:
        ask(folder, "refuse")
    assert isinstance(caught.value, CosfsError)


@pytest.mark.usefixtures("server")
def test_a_bug_is_told_and_logged_and_the_next_question_answered(
    folder: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("could not be answered")
    with pytest.raises(AskFailed, match="ZeroDivisionError: oh"):
        ask(folder, "fail")
    assert ask(folder, "greet", name="me") == {"hello": "me"}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"\n", "a question is one line"),
        (b"hello\n", "a question is one line"),
        (b"\xff\xfe\n", "a question is one line"),
        (b"[]\n", "a question is one line"),
        (b'"greet"\n', "a question is one line"),
        (b"{}\n", "a question is one line"),
        (b'{"command": "greet", "arguments": [1]}\n', "a question is one line"),
        (b'{"command": "greet", "arguments": null}\n', "a question is one line"),
        (b"[" * 30_000 + b"\n", "a question is one line"),
        (b'{"command": "nonsense"}\n', "no command 'nonsense'; there are: fail, greet"),
        (b'{"command": ["greet"]}\n', "no command"),
        (b'{"command": "greet"}\n', "missing a required argument: 'name'"),
        (b'{"command": "greet", "arguments": {"name": "a", "x": 1}}\n', "unexpected keyword"),
        (b'{"command": "__init__"}\n', "no command"),
        (b"x" * (QUESTION_MAX + 1), "a question is one line"),
    ],
)
@pytest.mark.usefixtures("server")
def test_nonsense_is_answered_with_what_is_wrong(folder: Path, raw: bytes, said: str) -> None:
    reply = say(folder, raw)
    assert list(reply) == ["error"] and said in reply["error"]
    assert ask(folder, "greet", name="me") == {"hello": "me"}


@pytest.mark.usefixtures("server")
def test_a_huge_line_is_not_read_to_its_end(folder: Path) -> None:
    sent = 0
    with connect(folder) as client:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while sent < 100 * QUESTION_MAX:
                sent += client.send(b"x" * QUESTION_MAX)
    assert sent < 50 * QUESTION_MAX
    assert ask(folder, "greet", name="me") == {"hello": "me"}


@pytest.mark.usefixtures("server")
def test_a_client_that_leaves_is_not_missed(folder: Path) -> None:
    assert say(folder, b'{"command": "gre') is None
    connect(folder).close()
    assert ask(folder, "greet", name="me") == {"hello": "me"}


@pytest.mark.usefixtures("server")
def test_a_slow_answer_does_not_keep_others_waiting(folder: Path, mount: Mount) -> None:
    answers: list[Any] = []
    slow = threading.Thread(target=lambda: answers.append(ask(folder, "wait")))
    slow.start()
    assert mount.began.wait(20)
    assert ask(folder, "greet", name="me") == {"hello": "me"}
    mount.go_on.set()
    slow.join()
    assert answers == ["done"]


def test_the_end_waits_for_answers_but_not_for_questions(
    folder: Path, mount: Mount, server: ControlServer
) -> None:
    answers: list[Any] = []
    slow = threading.Thread(target=lambda: answers.append(ask(folder, "wait")))
    slow.start()
    assert mount.began.wait(20)
    with connect(folder) as silent:
        end = threading.Thread(target=server.stop)
        end.start()
        assert silent.recv(1) == b""
        mount.go_on.set()
        end.join()
    slow.join()
    assert answers == ["done"]
    assert not (folder / NAME).exists()


def test_only_the_owner_may_even_connect(folder: Path, server: ControlServer) -> None:
    assert stat.S_IMODE((folder / NAME).stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_is_refused(
    mount: Mount, expect_log: Callable[[str], None]
) -> None:
    expect_log("user 65534 asked")
    # Open to everybody, so that only the check of the peer is left to refuse.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    server = ControlServer(folder, mount.commands(), owner=1234)
    server.start()
    try:
        (folder / NAME).chmod(0o666)
        script = (
            "import os, socket, sys; os.setgid(65534); os.setuid(65534);"
            "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(s.recv(999))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(folder / NAME)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "answers only the user who made it" in done.stdout
        assert ask(folder, "greet", name="root") == {"hello": "root"}
    finally:
        server.stop()
        folder.rmdir()


def test_what_a_killed_mount_left_is_replaced(folder: Path, mount: Mount) -> None:
    dead = socket.socket(socket.AF_UNIX)
    with control.address(folder) as where:
        dead.bind(where)
    dead.close()
    with pytest.raises(NotRunning):
        ask(folder, "greet", name="me")
    server = ControlServer(folder, mount.commands(), owner=os.geteuid())
    server.start()
    assert ask(folder, "greet", name="me") == {"hello": "me"}
    server.stop()
    server.stop()
    with pytest.raises(NotRunning):
        ask(folder, "greet", name="me")


def test_asking_where_nothing_is(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        ask(tmp_path / "nowhere", "greet", name="me")


@pytest.mark.parametrize("reply", [b"", b"{", b"[]\n", b'{"result": 1}'])
def test_a_reply_that_breaks_off(folder: Path, reply: bytes) -> None:
    listener = socket.socket(socket.AF_UNIX)
    with control.address(folder) as where:
        listener.bind(where)
    listener.listen()

    def answer() -> None:
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.sendall(reply)
        connection.close()

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(AskFailed, match="ended before"):
        ask(folder, "greet", name="me")
    thread.join()
    listener.close()


def test_a_mount_that_does_not_answer(folder: Path, mount: Mount, server: ControlServer) -> None:
    with pytest.raises(AskFailed, match="no answer within 0.05 s"):
        ask(folder, "wait", patience_s=0.05)


def test_credentials_are_what_the_kernel_says() -> None:
    here, there = socket.socketpair()
    with here, there:
        said = here.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    assert struct.unpack("3i", said) == (os.getpid(), os.geteuid(), os.getegid())
