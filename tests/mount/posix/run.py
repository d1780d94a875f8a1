"""Runs the tables in a folder and prints the results, one JSON list a line.

    python -m tests.mount.posix.run FOLDER [FAMILY...]

A process of its own, as it changes its user, and as the server that a mount talks to may live in
the process that started it.
"""

from __future__ import annotations

import json
import os
import sys

from tests.mount.posix.families import FAMILIES
from tests.mount.posix.tester import ROOT, Tester, become


def main(folder: str, families: list[str]) -> None:
    os.umask(0o022)
    os.chdir(folder)
    become(ROOT)
    tester = Tester()
    for name in families or list(FAMILIES):
        with tester.scenario(name):
            FAMILIES[name](tester)
    for result in tester.results:
        print(json.dumps([result.identity, result.expected, result.got]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
