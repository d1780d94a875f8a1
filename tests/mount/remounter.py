"""Runs ``cosfs`` commands, one JSON array a line, each in a fork of a process that is warm.

So a mount costs a tenth of what it costs to start an interpreter. Contents from 1 MiB on go by
slices, so that few bytes make a large file. Each command is answered with its exit code.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

from cosfs import cli
from cosfs.store import json_upload

#: What a command imports late.
LATE = ("cosfs.mount", "cosfs.fuse.binding")


def main() -> None:
    json_upload.UPLOAD_LIMIT = 1024 * 1024
    for module in LATE:
        importlib.import_module(module)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os._exit(cli.main(json.loads(line)))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
