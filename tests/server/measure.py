"""Measures the server: ``python -m tests.server.measure``. Needs curl.

Prints MB/s down and up (curl, loopback) and requests a second (raw sockets, several processes).
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cosfs.server.running import ServerProcess
from tests.server.wire import MIB, Wire

ROUNDS = 5


def curl(*arguments: str, rate: str) -> list[float]:
    """Run curl once; return MB/s of each of its transfers."""
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{" + rate + "}\\n"]
    output = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
    rates = []
    for line in output.stdout.splitlines():
        status, speed = line.split()
        assert status == "200", line
        rates.append(float(speed) / 1e6)
    return rates


def ask(port: int, request: bytes, times: int) -> None:
    """Send one request again and again on one connection."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(times):
            connection.sendall(request)
            reply = connection.recv(1 << 20)
            assert reply.startswith(b"HTTP/1.1 200"), reply
            head, _, body = reply.partition(b"\r\n\r\n")
            length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
            missing = length - len(body)
            while missing > 0:
                missing -= len(connection.recv(1 << 20))


def requests_per_second(wire: Wire, target: str, connections: int, times: int) -> float:
    head = f"GET {target} HTTP/1.1\r\nHost: {wire.netloc}\r\nAuthorization: {wire.sign()}\r\n\r\n"
    port = int(wire.netloc.split(":")[1])
    arguments = (port, head.encode(), times // connections)
    workers = [
        multiprocessing.Process(target=ask, args=arguments) for _ in range(connections)
    ]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    return times / (time.monotonic() - began)


def show(what: str, rates: list[float], unit: str) -> None:
    ordered = sorted(rates)
    print(f"{what:34} median {ordered[len(ordered) // 2]:7.0f}  best {ordered[-1]:7.0f} {unit}")
    sys.stdout.flush()


def measure(wire: Wire, folder: Path) -> None:
    content = folder / "content"
    content.write_bytes(os.urandom(20 * MIB))
    form = ["-H", f"Authorization: {wire.sign()}", "-F", "op=upload", "-F", "insertOnly=0"]
    form += ["-F", f"filecontent=@{content}", f"{wire.address.url}{wire.url_path('/')}up[1-20]"]
    rates = [rate for _ in range(ROUNDS) for rate in curl(*form, rate="speed_upload")]
    show("up, 20 MiB, same content", rates, "MB/s")
    rates = []
    for number in range(20):
        content.write_bytes(os.urandom(20 * MIB))
        form[-1] = f"{wire.address.url}{wire.url_path('/')}new{number}"
        rates += curl(*form, rate="speed_upload")
    show("up, 20 MiB, new content", rates, "MB/s")
    size = 512 * MIB
    session = wire.slice_init("/big", size).data["session"]
    piece = os.urandom(MIB)
    began = time.monotonic()
    for offset in range(0, size, MIB):
        assert wire.slice_data("/big", session, offset, piece).code == 0
    assert wire.slice_finish("/big", session, size).code == 0
    rate = size / 1e6 / (time.monotonic() - began)
    show("up, 1 MiB slices, one connection", [rate], "MB/s")
    sign = ["-H", f"Authorization: {wire.sign()}"]
    url = f"{wire.address.url}/mybucket-{wire.address.appid}"
    rates = [curl(*sign, f"{url}/big", rate="speed_download")[0] for _ in range(ROUNDS)]
    show("down, 512 MiB", rates, "MB/s")
    rates = [curl(*sign, f"{url}/up1", rate="speed_download")[0] for _ in range(ROUNDS)]
    show("down, 20 MiB", rates, "MB/s")
    wire.put("/d/f0000", b"x" * 1000)
    for number in range(1, 1000):
        wire.post_json("/d/f0000", op="copy", dest_fileid=f"f{number:04}")
    for what, target, times in (
        ("stat", wire.url_path("/d/f0000") + "?op=stat", 10_000),
        ("download of 1000 bytes", "/mybucket-1250000000/d/f0000", 10_000),
        ("list of 1000", wire.url_path("/d/") + "?op=list&num=1000", 300),
    ):
        for connections in (1, 4, 8):
            rate = requests_per_second(wire, target, connections, times)
            show(f"{what}, {connections} connections", [rate], "/s")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ServerProcess(folder / "data") as server:
            wire = Wire(server)
            measure(wire, folder)
            wire.close()


if __name__ == "__main__":
    main()
