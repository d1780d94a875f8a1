"""Every example of ``cosfs/docs/sdk.md`` runs, in its order, and there is one for each method."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from cosfs.server.running import LocalServer
from tests.sdk.test_public_names import METHODS

PAGE = resources.files("cosfs").joinpath("docs/sdk.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMAND = re.search(r"^ +cosfs serve (.*)$", PAGE, re.MULTILINE)


def test_every_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert COMMAND is not None
    words = COMMAND[1].split()
    options = {name[2:].replace("-", "_"): value for name, value in zip(words[::2], words[1::2])}
    buckets = [options.pop("bucket")]
    with LocalServer(buckets=buckets, **options) as server:
        address = server.url.removeprefix("http://")
        names: dict[str, Any] = {}
        for number, example in enumerate(EXAMPLES):
            source = example.replace("127.0.0.1:8500", address)
            exec(compile(source, f"sdk.md, example {number}", "exec"), names)
        names["client"].close()


@pytest.mark.parametrize("method", METHODS)
def test_there_is_an_example_of_every_method(method: str) -> None:
    assert sum(f"client.{method}(" in example for example in EXAMPLES) >= 1
    assert f"import {METHODS[method]}" in "".join(EXAMPLES)


def test_lines_of_examples_fit_the_page() -> None:
    for example in EXAMPLES:
        assert all(len(line) <= 100 for line in example.splitlines())


def test_links_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= anchors
