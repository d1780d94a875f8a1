"""Every example of ``cosfs/docs/semantics.md`` prints what the page says, in the page's order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from tests.mount.bench import Bench

PAGE = resources.files("cosfs").joinpath("docs/semantics.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

#: Printed by a shell after each command.
DONE = "=== done ==="


class Shell:
    """A shell that goes on from command to command, as a person's does."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        environ = {**bench.environ, "LC_ALL": "C", "QUOTING_STYLE": "shell-escape"}
        environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
        self._process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{command}\necho '{DONE}'\n")
        self._process.stdin.flush()
        lines = iter(self._process.stdout.readline, f"{DONE}\n")
        printed = ""
        for line in lines:
            assert line, f"the shell ended after {command}"
            printed += line
        return printed

    def close(self) -> None:
        with self._process as process:
            process.communicate("exit\n", timeout=60)


@pytest.fixture
def shells(bench: Bench) -> Iterator[dict[str, Shell]]:
    with bench.mounted() as mount, bench.mounted("ttl=0", name="other") as other:
        both = {"$": Shell(bench, mount.path), "other$": Shell(bench, other.path)}
        try:
            yield both
        finally:
            for shell in both.values():
                shell.close()
        other.umount()
        mount.umount()


def steps(example: str) -> Iterator[tuple[str, str, str]]:
    """Yield prompt, command and what is printed."""
    prompt = command = printed = ""
    for line in example.splitlines():
        begins = re.match(r"((?:other)?\$) (.*)", line)
        if begins is None:
            printed += f"{line}\n"
            continue
        if prompt:
            yield prompt, command, printed
        prompt, command, printed = begins[1], begins[2], ""
    yield prompt, command, printed


def test_every_example_prints_what_the_page_says(shells: dict[str, Shell]) -> None:
    assert len(EXAMPLES) >= 10
    for example in EXAMPLES:
        for prompt, command, printed in steps(example):
            found = shells[prompt].run(command)
            if printed != "...\n":
                assert found == printed, f"{prompt} {command}"
