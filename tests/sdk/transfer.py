"""A program that moves one large file with the SDK and prints what it took, as JSON.

Usage: transfer.py SERVER OPERATION LOCAL_PATH COS_PATH [STOP_AT]

OPERATION is ``upload`` or ``download``. With STOP_AT (bytes) it says so when it is there, and then
waits to be killed.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from cosfs import (
    CosClient,
    CosConfig,
    DownloadFileRequest,
    StatFileRequest,
    UploadSliceFileRequest,
)
from cosfs.server.running import APPID, SECRET_ID, SECRET_KEY

BUCKET = "mybucket"
MAX_CON = 4


def memory(name: str) -> int:
    """Return a figure of this process's memory in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def main(server: str, operation: str, local_path: str, cos_path: str, stop_at: str = "") -> None:
    client = CosClient(int(APPID), SECRET_ID, SECRET_KEY)
    host = server.removeprefix("http://")
    client.set_config(CosConfig(60, hostname=host, download_hostname=host))
    client.stat_file(StatFileRequest(BUCKET, "/warm-up"))

    def watch(done: int, total: int) -> None:
        if stop_at and done >= int(stop_at):
            print(done, flush=True)
            threading.Event().wait()

    start = memory("VmRSS")
    if operation == "upload":
        upload = UploadSliceFileRequest(BUCKET, cos_path, local_path, max_con=MAX_CON)
        upload.enable_sha1 = True
        reply = client.upload_slice_file(upload, progress=watch)
    else:
        download = DownloadFileRequest(BUCKET, cos_path, local_path, max_con=MAX_CON)
        reply = client.download_file(download, progress=watch)
    print(json.dumps({"reply": reply, "start": start, "peak": memory("VmHWM")}))


if __name__ == "__main__":
    main(*sys.argv[1:])
