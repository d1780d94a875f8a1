"""The command line, as far as it goes without a mount."""

from __future__ import annotations

import builtins
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cosfs import cli, mount
from cosfs.cli import main
from cosfs.config import CredentialsError
from cosfs.errors import (
    BadCredentials,
    BucketNotFound,
    ConfigError,
    ConnectFailed,
    CosfsError,
    FuseUnavailable,
    MalformedReply,
)
from cosfs.exits import ExitCode, Failure, failure_of
from cosfs.version import __version__


@pytest.mark.parametrize(
    "arguments",
    [[], ["frobnicate"], ["mount"], ["mount", "demo"], ["mount", "a", "b", "c"], ["umount"]],
)
def test_wrong_usage_is_one_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("cosfs: ") and said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (CredentialsError("x"), 3),
        (BadCredentials("x"), 3),
        (BucketNotFound("x"), 4),
        (ConnectFailed("x"), 4),
        (MalformedReply("x"), 4),
        (FuseUnavailable("x"), 5),
    ],
)
def test_exit_codes(
    error: CosfsError,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(mount, "make_plan", fail)
    assert main(["mount", "demo", "/mnt"]) == code
    assert capsys.readouterr().err == f"cosfs: {error}\n"


def test_a_failure_is_one_line() -> None:
    failure = failure_of(ConfigError("two\nlines"), "do this")
    assert (failure.code, failure.sentence) == (ExitCode.USAGE, "two lines: do this")


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mount, "make_plan", interrupt)
    assert main(["mount", "demo", "/mnt"]) == 130


@pytest.mark.parametrize(
    "arguments",
    [
        ["mount", "demo:/a", "/mnt", "-o", "ro,ttl=1", "-o", "rw", "--foreground"],
        ["mount", "-o", "ro,ttl=1", "-o", "rw", "-f", "demo:/a", "/mnt"],
        # mount -t fuse.cosfs demo:/a /mnt -o ...
        ["demo:/a", "/mnt", "-f", "-o", "ro,ttl=1", "-o", "rw"],
    ],
)
def test_mount_arguments(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def plan(*args: Any, environ: object, home: object) -> str:
        seen.extend(args)
        return "plan"

    def run(plan: str, *, foreground: bool) -> ExitCode:
        seen.append((plan, foreground))
        return ExitCode.OK

    monkeypatch.setattr(mount, "make_plan", plan)
    monkeypatch.setattr(mount, "run", run)
    assert main(arguments) == 0
    assert seen == ["demo:/a", "/mnt", ["ro,ttl=1", "rw"], ("plan", True)]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"cosfs {__version__}\n"


class TestHelp:
    def test_topics(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["help"]) == 0
        assert "cosfs mount BUCKET" in (said := capsys.readouterr().out)
        assert "mount" in said.rpartition("topics: ")[2]

    def test_every_page(self, capsys: pytest.CaptureFixture[str]) -> None:
        for page in (Path(cli.__file__).parent / "docs").glob("*.md"):
            assert main(["help", page.stem]) == 0
            assert capsys.readouterr().out == page.read_text()

    def test_no_such_page(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["help", "nonsense"]) == 2
        assert "no page 'nonsense'" in capsys.readouterr().err


class TestServe:
    def test_arguments_go_to_the_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from cosfs.server import command

        seen: list[list[str]] = []
        monkeypatch.setattr(command, "main", lambda argv: seen.append(argv) or 4)
        assert main(["serve", "--port", "0", "--help"]) == 4
        assert seen == [["--port", "0", "--help"]]

    def test_without_its_libraries(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        real = builtins.__import__

        def without(name: str, *args: Any, **kwargs: Any) -> Any:
            if name.startswith("cosfs.server"):
                raise ModuleNotFoundError("No module named 'aiohttp'", name="aiohttp")
            return real(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)
        assert main(["serve"]) == 2
        assert "aiohttp: run pip install 'cosfs[server]'" in capsys.readouterr().err


def test_help_needs_neither_libfuse_nor_the_network_libraries() -> None:
    script = (
        "import sys; from cosfs.cli import main; main(['help']);"
        "sys.exit(bool({'fuse', 'requests', 'aiohttp', 'cosfs.mount'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cosfs", "umount", "/proc"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "type proc" in done.stderr


def test_the_server_may_not_have_a_bug_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def broken(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("cosfs.server"):
            raise ModuleNotFoundError("No module named 'cosfs.oops'", name="cosfs.oops")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(ModuleNotFoundError):
        main(["serve"])


def test_failure_carries_its_code() -> None:
    assert Failure(ExitCode.FUSE, "x").code == 5
