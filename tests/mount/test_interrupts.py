"""Programs that wait for a slow server can be ended at once, and nothing they wrote is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mount.bench import Bench, Mounted, wait_until

#: How long the server takes for everything; and what a busy machine may take to end a program.
LATENCY_MS = 30_000
AT_ONCE_S = 10

#: The kernel goes on waiting for pages of a file, whoever wanted them: so each reads its own.
QUESTIONS = ["getfattr -d f", "ls d", "cat f{}"]

#: Each in a folder of its own, as the kernel changes one folder for one program at a time.
CHANGES = [
    "mkdir a/new",
    "rm b/gone",
    "mv c/old c/renamed",
    "dd if=/dev/zero of=d/written bs=1000 count=1 status=none",
]

#: The kernel closes the file of a process that dies.
DIES_WRITING = """
import os, signal
fd = os.open("dying", os.O_WRONLY | os.O_CREAT)
os.write(fd, b"last words")
os.kill(os.getpid(), signal.SIGKILL)
"""

#: No signal handler of Python runs before the call has returned.
MAKES_FOLDER_AMID_ALARMS = """
import ctypes, os, signal
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
libc = ctypes.CDLL(None, use_errno=True)
result = libc.mkdir(b"new", 0o755), ctypes.get_errno()
signal.setitimer(signal.ITIMER_REAL, 0)
print(*result)
"""

CATCHES_THE_SIGNAL = """
import os
try:
    os.getxattr("f", "user.cos.sha")
except KeyboardInterrupt:
    print("caught")
"""


def start(mount: Mounted, script: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(script.split(), cwd=mount.path, stdout=subprocess.DEVNULL)


def wait_for_requests(bench: Bench, number: int) -> None:
    """Return once so many have arrived. Which operation they ask for shows after the latency."""
    wait_until(lambda: bench.server.stats()["requests"]["total"] >= number)


@pytest.fixture
def filled(bench: Bench) -> Bench:
    with bench.mounted() as mount:
        mount.sh("mkdir a b c d; echo gone > b/gone; echo old > c/old")
        mount.sh("echo f > f; for i in 2 9 15; do echo $i > f$i; done")
        mount.umount()
    return bench


def test_who_asks_something_can_be_ended(filled: Bench) -> None:
    with filled.mounted() as mount:
        mount.sh("ls")
        filled.server.reset_stats()
        filled.server.set_faults({"latency_ms": LATENCY_MS})
        asked = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            for script in QUESTIONS:
                with start(mount, script.format(int(number))) as program:
                    asked += 1
                    wait_for_requests(filled, asked)
                    program.send_signal(number)
                    assert program.wait(AT_ONCE_S) == -number
        # What nobody waits for any more must not keep the mount from answering others.
        assert mount.sh("ls").split() == ["a", "b", "c", "d", "f", "f15", "f2", "f9"]
        filled.server.stop()
        filled.server.start()
        mount.umount()


def test_who_changes_something_can_be_ended_and_it_is_done_all_the_same(filled: Bench) -> None:
    with filled.mounted() as mount:
        mount.sh("ls -R")
        filled.server.reset_stats()
        filled.server.set_faults({"latency_ms": 3000})
        programs = [start(mount, script) for script in CHANGES]
        wait_for_requests(filled, len(CHANGES))
        for program in programs:
            program.terminate()
            with program:
                assert program.wait(AT_ONCE_S) == -signal.SIGTERM
        # It is still on its way to the server.
        assert list(mount.state.glob("spool/*.data"))
        mount.umount()
    filled.server.clear_faults()
    with filled.mounted() as mount:
        assert mount.sh("ls a b c; cat c/renamed; stat -c %s d/written").split() == [
            "a:", "new", "b:", "c:", "renamed", "old", "1000",
        ]  # fmt: skip


def test_a_killed_writer_dies_at_once_and_what_it_wrote_is_stored(filled: Bench) -> None:
    with filled.mounted() as mount:
        mount.sh("ls")
        filled.server.set_faults({"latency_ms": 3000})
        with subprocess.Popen([sys.executable, "-c", DIES_WRITING], cwd=mount.path) as program:
            assert program.wait(AT_ONCE_S) == -signal.SIGKILL
        assert list(mount.state.glob("spool/*.data"))
        mount.umount()
    filled.server.clear_faults()
    with filled.mounted() as mount:
        assert mount.sh("cat dying") == "last words"


def test_a_timer_is_no_reason_to_give_up(filled: Bench) -> None:
    with filled.mounted() as mount:
        mount.sh("ls")
        filled.server.set_faults({"latency_ms": 500})
        script = Path(filled.folder / "script.py")
        script.write_text(MAKES_FOLDER_AMID_ALARMS)
        assert mount.sh(f"{sys.executable} {script}") == "0 0\n"


def test_a_program_that_catches_the_signal_gets_it_at_once(filled: Bench) -> None:
    with filled.mounted() as mount:
        mount.sh("ls")
        filled.server.reset_stats()
        filled.server.set_faults({"latency_ms": LATENCY_MS})
        with subprocess.Popen(
            [sys.executable, "-c", CATCHES_THE_SIGNAL], cwd=mount.path, stdout=subprocess.PIPE
        ) as program:
            wait_for_requests(filled, 1)
            program.send_signal(signal.SIGINT)
            assert program.communicate(timeout=AT_ONCE_S)[0] == b"caught\n"
        filled.server.stop()
        filled.server.start()
        mount.umount()
