"""The command: first line, credentials, refusals, log."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import cosfs.server
from cosfs.server.command import build_parser, main
from cosfs.server.running import ServerProcess
from tests.server.wire import Wire

COMMAND = [sys.executable, "-m", "cosfs.server"]


def _run(*arguments: str, lines: int) -> tuple[list[str], str]:
    """Run the command until it has printed some lines; return them and its standard error."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    printed = [process.stdout.readline().rstrip("\n") for _ in range(lines)]
    process.terminate()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    return printed, errors


def test_made_up_credentials_are_kept(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first, _ = _run("--data", str(data), "--port", "0", lines=8)
    assert first[0].startswith("listening on http://127.0.0.1:")
    url = first[0].split()[-1]
    settings = dict(line.removeprefix("export ").split("=", 1) for line in first[3:])
    assert settings["COSFS_ENDPOINT"] == settings["COSFS_DOWNLOAD_ENDPOINT"] == url
    kept = json.loads((data / "credentials.json").read_text())
    assert kept == {
        "appid": settings["COSFS_APPID"],
        "secret_id": settings["COSFS_SECRET_ID"],
        "secret_key": settings["COSFS_SECRET_KEY"],
    }
    assert (data / "credentials.json").stat().st_mode & 0o777 == 0o600
    second, _ = _run("--data", str(data), "--port", "0", "--bucket", "b", lines=8)
    assert second[3:6] == first[3:6]
    assert second[1].endswith("buckets: b, demo")


def test_given_credentials_are_not_printed(tmp_path: Path) -> None:
    arguments = ["--appid", "1250000000", "--secret-id", "public-id", "--secret-key", "hush-hush"]
    data = str(tmp_path / "data")
    printed, errors = _run("--data", data, "--port", "0", *arguments, lines=2)
    assert "hush-hush" not in "".join(printed) + errors
    assert not (tmp_path / "data" / "credentials.json").exists()


def test_access_log_holds_no_signature(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as stream:
        server = ServerProcess(tmp_path / "data", ["--log"], stderr=stream)
        with server:
            wire = Wire(server)
            wire.put("/a b", b"x")
            sign = wire.sign()
            assert wire.download("/a b", sign=sign).body == b"x"
            wrong = wire.sign(secret_key="x")
            wire.get("/a b", sign=wrong, op="stat")
            wire.control("GET", "stats")
            wire.close()
    text = log.read_text()
    assert "POST /files/v2/1250000000/mybucket/a%20b upload 200 0" in text
    assert "GET /a%20b download 200 0" in text
    assert "stat 403 -97" in text and "wrong HMAC over" in text
    for secret in (server.secret_key, sign, wrong, sign[:20], "_server"):
        assert secret not in text


UNREADABLE = [
    b"GET http://h:bad/x?sign=HUSH HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /x?sign=HUSH\0 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /x HTTP/1.1\r\nHost: h\r\nAuthorization: HUSH\0\r\n\r\n",
]


def test_what_is_not_http_is_not_quoted_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as stream:
        with ServerProcess(tmp_path / "data", ["--log"], stderr=stream) as server:
            host, _, port = server.url.removeprefix("http://").partition(":")
            for request in UNREADABLE:
                with socket.create_connection((host, int(port)), timeout=10) as connection:
                    connection.sendall(request)
                    answer = connection.makefile("rb").read()
                assert answer.startswith(b"HTTP/1.0 400 ") and b"text/plain" in answer
            wire = Wire(server)
            assert wire.control("GET", "stats").json["requests"]["total"] == 0
            wire.close()
    text = log.read_text()
    assert "HUSH" not in text and "Traceback" not in text
    assert text.count("Error handling request from 127.0.0.1: ") == len(UNREADABLE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "needs --appid, --secret-id and --secret-key"),
        (["--host", "::"], "needs --appid, --secret-id and --secret-key"),
        (["--host", "example.com"], "needs --appid"),
        (["--secret-id", "x"], "go together"),
        (["--appid", "x", "--secret-id", "x", "--secret-key", "x"], "no appid"),
        (["--bucket", "Not_A_Name"], "no bucket name"),
        (["--port", "70000"], "no port"),
        (["--page-size", "0"], "--page-size is 1 to 1000"),
        (["--list-delay", "-1"], "--list-delay is not negative"),
        (["--nonsense"], "unrecognized arguments"),
    ],
)
def test_wrong_usage(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(tmp_path), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_data_folder_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ServerProcess(tmp_path):
        assert main(["--data", str(tmp_path), "--port", "0"]) == 4
    assert "another server" in capsys.readouterr().err


def test_port_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ServerProcess(tmp_path / "a") as server:
        port = server.url.rpartition(":")[2]
        assert main(["--data", str(tmp_path / "b"), "--port", port]) == 4
    assert "cannot run" in capsys.readouterr().err


def test_damaged_credentials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "credentials.json").write_text("{")
    assert main(["--data", str(tmp_path)]) == 2
    assert "damaged" in capsys.readouterr().err


def test_without_aiohttp(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "cosfs.server.app", raising=False)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    for name in ("door", "sending"):
        monkeypatch.delitem(sys.modules, f"cosfs.server.{name}", raising=False)
    assert main(["--data", str(tmp_path)]) == 2
    assert "pip install 'cosfs[server]'" in capsys.readouterr().err


def test_every_option_is_documented() -> None:
    page = (Path(cosfs.server.__file__).parent.parent / "docs" / "server.md").read_text()
    options = [text for action in build_parser()._actions for text in action.option_strings]
    assert len(options) > 25
    for option in options:
        assert option in ("-h", "--help") or f"{option}" in page, option
