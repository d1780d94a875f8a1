"""What a user asks a running mount, with the real commands: status, pending, refresh, df."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cosfs.jsonapi.bucket import BucketClient
from cosfs.model import BytesSource
from tests.mount.bench import Bench, Mounted, wait_for_end, wait_until
from tests.mount.directly import opened

#: The account is full: nothing that is tried again at once, so that a close fails quickly.
FULL = {"rules": [{"op": "upload", "action": "status", "status": 200, "code": -172}]}

#: Writes two files, and closes them once it is told to.
WRITE_TWO = """
import os
fds = [os.open("d/f", os.O_WRONLY | os.O_APPEND), os.open("d/new", os.O_WRONLY | os.O_CREAT)]
os.write(fds[0], b"more")
os.write(fds[1], b"new")
print("ready", flush=True)
input()
for fd in fds:
    try:
        os.close(fd)
    except OSError as error:
        print(error.strerror)
"""


def status(mount: Mounted) -> dict[str, Any]:
    done = mount.bench.cosfs("status", str(mount.path), "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def pending(mount: Mounted, *arguments: str, code: int) -> str:
    done = mount.bench.cosfs("pending", str(mount.path), *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def copy_in_vain(mount: Mounted, name: str, text: str) -> None:
    """Let ``cp`` fail, as the server refuses uploads; return when its content is kept."""
    (mount.bench.folder / "source").write_text(text)
    records = len(list(mount.state.glob("spool/*.json")))
    mount.bench.server.set_faults(FULL)
    done = subprocess.run(
        ["cp", str(mount.bench.folder / "source"), str(mount.path / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "Disk quota exceeded" in done.stderr, done.stderr
    # The release that keeps the content may come after cp has ended.
    wait_until(lambda: len(list(mount.state.glob("spool/*.json"))) > records)
    mount.bench.server.clear_faults()


def put(bench: Bench, name: str, text: str) -> None:
    """Write as somebody else."""
    with opened(bench.server) as bucket:
        source = BytesSource(text.encode())
        sha = hashlib.sha1(source.data).hexdigest()
        bucket.upload(name, source, sha=sha, insert_only=False)


def content(bench: Bench, name: str) -> str:
    """Read past any mount."""
    with opened(bench.server) as bucket:
        return _read(bucket, name)


def _read(bucket: BucketClient, name: str) -> str:
    data = bytearray(bucket.stat_file(name).filesize)
    bucket.download(name, 0, memoryview(data))
    return data.decode()


class TestPending:
    def test_a_failed_close_is_listed_and_healed_when_the_server_is_back(
        self, bench: Bench
    ) -> None:
        with bench.mounted("timeout=2") as mount:
            assert "nothing is pending" in pending(mount, code=0)
            mount.sh("mkdir d; echo before > d/f; setfattr -n user.biz_attr -v demo d/f")
            writer = subprocess.Popen(
                [sys.executable, "-c", WRITE_TWO],
                cwd=mount.path,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            with writer:
                assert writer.stdout is not None
                assert writer.stdout.readline() == "ready\n"
                bench.server.stop()
                assert writer.communicate("\n")[0] == "Host is down\n" * 2
            wait_until(lambda: len(list(mount.state.glob("spool/*.json"))) == 2)
            listed = pending(mount, code=1)
            assert "/d/f" in listed and "/d/new" in listed and "Connection refused" in listed
            assert bench.cosfs("pending", "--all").stdout == listed
            assert status(mount)["pending"]["files"] == 2
            assert "Connection refused" in pending(mount, "--retry", code=1)

            bench.server.start()
            healed = pending(mount, "--retry", code=0)
            assert healed.splitlines() == ["stored /d/f", "stored /d/new", "nothing is pending"]
            assert "nothing is pending" in pending(mount, code=0)
            assert content(bench, "d/f") == "before\nmore"
            assert content(bench, "d/new") == "new"
            assert mount.sh("cat d/f d/new") == "before\nmorenew"
            assert mount.sh("getfattr --only-values -n user.biz_attr d/f") == "demo"
            mount.umount()

    def test_a_version_of_somebody_else_is_not_replaced_unless_forced(
        self, mounted: Mounted
    ) -> None:
        mounted.sh("echo before > f")
        copy_in_vain(mounted, "f", "mine")
        put(mounted.bench, "f", "theirs")
        assert "another version is there now" in pending(mounted, "--retry", code=1)
        assert content(mounted.bench, "f") == "theirs"
        assert "stored /f" in pending(mounted, "--retry", "--force", code=0)
        assert content(mounted.bench, "f") == "mine"

    def test_export_and_drop(self, mounted: Mounted) -> None:
        copy_in_vain(mounted, "f", "mine")
        copy_in_vain(mounted, "g", "too")
        out = mounted.bench.folder / "out"
        pending(mounted, "--export", str(out), code=1)
        assert {file.name: file.read_text() for file in out.iterdir()} == {"f": "mine", "g": "too"}
        assert "dropping /f, 4 B" in pending(mounted, "--drop", "/f", code=1)
        assert "dropping /g" in pending(mounted, "--drop", str(mounted.path / "g"), code=0)
        assert mounted.sh("ls") == ""

    def test_newer_content_ends_what_was_pending(self, mounted: Mounted) -> None:
        copy_in_vain(mounted, "f", "first")
        mounted.sh("echo second > f")
        assert "nothing is pending" in pending(mounted, code=0)

    def test_attributes_that_the_server_refuses(self, mounted: Mounted) -> None:
        mounted.sh("echo hi > f")
        refuse = [{"op": op, "action": "status", "status": 200, "code": -64}
                  for op in ("update", "create")]  # fmt: skip
        mounted.bench.server.set_faults({"rules": refuse})
        mounted.sh("chmod 600 f")
        assert "attributes of /f" in pending(mounted, "--retry", code=1)
        mounted.bench.server.clear_faults()
        pending(mounted, "--retry", code=0)

    def test_umount_says_it_and_the_next_mount_has_it(self, bench: Bench) -> None:
        with bench.mounted() as mount:
            copy_in_vain(mount, "f", "mine")
            done = bench.cosfs("umount", str(mount.path))
            assert done.returncode == 1 and "1 files are NOT STORED:\n  /f: " in done.stderr
            assert "not mounted" in (listed := pending(mount, code=1)) and "/f" in listed
            assert "mount it" in pending(mount, "--retry", code=1)
        with bench.mounted() as again:
            assert "1 files of a mount before this one are not stored" in again.log
            pending(again, "--retry", code=0)
            assert again.sh("cat f") == "mine"
            again.umount()

    def test_after_a_killed_mount_promised_and_unfinished_content_are_told_apart(
        self, bench: Bench
    ) -> None:
        with bench.mounted() as mount:
            copy_in_vain(mount, "f", "mine")
            writer = subprocess.Popen(
                ["sh", "-c", "exec 3>open; printf half >&3; echo ready; read x"],
                cwd=mount.path,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            with writer:
                assert writer.stdout is not None
                assert writer.stdout.readline() == b"ready\n"
                os.kill(mount.pid, signal.SIGKILL)
                wait_for_end(mount.pid)
                writer.kill()
            bench.cosfs("umount", str(mount.path))
            listed = pending(mount, code=1)
            assert "/f" in listed and "unfinished" in listed and "4 B" in listed
        with bench.mounted() as again:
            left = pending(again, "--retry", code=1)
            assert "stored /f" in left and "unfinished" in left
            (unfinished,) = re.findall(r"^  (\S+) .*unfinished", left, re.MULTILINE)
            out = bench.folder / "out"
            pending(again, "--export", str(out), code=1)
            assert (out / "unfinished" / unfinished).read_bytes() == b"half"
            pending(again, "--drop", unfinished, code=0)
            assert content(bench, "f") == "mine"


class TestRefresh:
    def test_a_foreign_change_is_seen_before_the_ttl(self, bench: Bench) -> None:
        with bench.mounted("ttl=600") as mount:
            mount.sh("mkdir d; echo mine > d/f; ls -l d; cat d/f; ! test -e d/new")
            put(bench, "d/f", "theirs")
            put(bench, "d/new", "theirs")
            assert mount.sh("cat d/f; ls d") == "mine\nf\n"
            done = bench.cosfs("refresh", str(mount.path / "d"))
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
            assert mount.sh("cat d/f d/new; ls d") == "theirstheirsf\nnew\n"

    def test_from_within_a_program(self, bench: Bench) -> None:
        with bench.mounted("ttl=600") as mount:
            mount.sh("echo mine > f; cat f")
            put(bench, "f", "theirs")
            before = bench.server.stats()["requests"]["total"]
            mount.sh("setfattr -n user.cos.refresh -v 1 f")
            assert bench.server.stats()["requests"]["total"] == before
            wait_until(lambda: mount.sh("cat f") == "theirs")

    def test_a_name_that_does_not_exist_and_one_that_is_elsewhere(self, mounted: Mounted) -> None:
        bench = mounted.bench
        mounted.sh("! cat new/f")
        put(bench, "new/f", "theirs")
        assert bench.cosfs("refresh", str(mounted.path / "new" / "f")).returncode == 0
        assert mounted.sh("cat new/f") == "theirs"
        done = bench.cosfs("refresh", str(bench.folder))
        assert done.returncode == 2 and "not in a mount of cosfs" in done.stderr


class TestStatus:
    def test_requests_are_those_that_the_server_counted(self, mounted: Mounted) -> None:
        mounted.sh(
            "mkdir d; for i in $(seq 20); do head -c 3000 /dev/urandom > d/$i; done;"
            "ls -lR; cat d/*; cp -rp d e; chmod 600 d/1; mv d/1 d/one; rm d/2; rm -r e;"
            "setfattr -n user.x-cos-meta-a -v b d/3; getfattr -d d/3; ! cat d/missing"
        )
        mounted.sh("head -c 30000000 /dev/zero > large; sync large; echo x >> large")
        busy = {"op": "*", "action": "status", "status": 200, "code": -71, "times": 2}
        mounted.bench.server.set_faults({"rules": [busy]})
        mounted.sh("echo again > d/again")
        wait_until(lambda: status(mounted)["pending"]["attributes"] == 0)

        told, counted = status(mounted), mounted.bench.server.stats()
        requests = told["requests"]
        assert {op: count["requests"] for op, count in requests["by_op"].items()} == {
            op: number for op, number in counted["requests"]["by_op"].items() if number
        }
        assert requests["requests"] == counted["requests"]["total"]
        assert requests["bytes_sent"] == counted["bytes_in"]
        assert requests["bytes_received"] == counted["bytes_out"]

    def test_what_it_holds(self, mounted: Mounted) -> None:
        mounted.sh("echo hi > f; cat f")
        told = status(mounted)
        assert told["pid"] == mounted.pid and told["mountpoint"] == str(mounted.path)
        assert told["options"]["ttl"] == 60 and told["options"]["size"] == 1 << 50
        assert told["files"] == dict.fromkeys(told["files"], 0)
        with (mounted.path / "open").open("w") as file:
            file.write("x" * 5000)
            file.flush()
            files = status(mounted)["files"]
            assert files["descriptors"] == files["dirty_files"] == 1
            assert files["dirty_bytes"] == 5000
        assert "SECRET" not in json.dumps(told) and "secret" not in json.dumps(told)

    def test_it_answers_while_the_server_does_not(self, bench: Bench) -> None:
        with bench.mounted() as mount:
            bench.server.set_faults({"rules": [{"op": "upload", "action": "hang"}]})
            writer = subprocess.Popen(["sh", "-c", f"echo hi > {mount.path}/f"])
            wait_until(lambda: bench.requests("upload") > 0)
            page = bench.cosfs("status", str(mount.path))
            assert page.returncode == 0
            assert "1 written and not stored yet (3 B)" in page.stdout
            bench.server.clear_faults()
            bench.server.stop()
            bench.server.start()
            assert writer.wait(60) == 0

    def test_who_may_ask(self, bench: Bench) -> None:
        with bench.mounted() as mount:
            control = mount.state / "control"
            assert stat.S_ISSOCK(control.stat().st_mode)
            assert stat.S_IMODE(control.stat().st_mode) == 0o600
            mount.umount()
            assert not control.exists()
            done = bench.cosfs("status", str(mount.path))
            assert done.returncode == 2 and "nothing is mounted on" in done.stderr

    def test_a_mount_without_a_socket_still_mounts(self, bench: Bench) -> None:
        with bench.mounted() as mount:
            state = mount.state
            mount.umount()
        (state / "control").mkdir()
        with bench.mounted() as again:
            again.sh("echo hi > f")
            assert "no socket" in again.log
            done = bench.cosfs("status", str(again.path))
            assert done.returncode == 2 and "does not answer you" in done.stderr
            again.umount()

    def test_after_a_killed_mount(self, bench: Bench) -> None:
        with bench.mounted() as mount:
            os.kill(mount.pid, signal.SIGKILL)
            wait_for_end(mount.pid)
            done = bench.cosfs("status", str(mount.path))
            assert done.returncode == 2 and "does not answer you" in done.stderr
            bench.cosfs("umount", str(mount.path))
        with bench.mounted() as again:
            status(again)


class TestOptions:
    def test_size(self, bench: Bench) -> None:
        with bench.mounted("size=1T") as mount:
            mount.sh("head -c 1000000 /dev/zero > f; ls")

            def shown() -> list[int]:
                line = mount.sh("df -B 4096 --output=size,used,avail . | tail -1")
                return [int(number) for number in line.split()]

            # An answer is given again for some seconds.
            wait_until(lambda: shown() == [1 << 28, 245, (1 << 28) - 245])
            assert " 1.0T" in mount.sh("df -h .")

    def test_without_a_size_it_is_a_petabyte(self, mounted: Mounted) -> None:
        assert mounted.sh("df -B 1 --output=size . | tail -1").strip() == str(1 << 50)

    def test_content_type(self, bench: Bench) -> None:
        with bench.mounted("content_type=auto") as mount:
            mount.sh("echo x > a.png; echo x > b.nothing-known")
            assert (bench.requests("upload"), bench.requests("update")) == (2, 1)
            assert mount.sh("getfattr --only-values -n user.content_type a.png") == "image/png"
            mount.sh("! getfattr -n user.content_type b.nothing-known 2>/dev/null")
            with opened(bench.server) as bucket:
                headers = bucket.stat_file("a.png").custom_headers
            assert {name.lower(): value for name, value in headers.items()} == {
                "content-type": "image/png"
            }

    @pytest.mark.parametrize("soft", [64, 1024])
    def test_all_descriptors_are_taken(self, bench: Bench, soft: int) -> None:
        path = bench.folder / "mnt"
        path.mkdir()
        hard = 4096
        arguments = ["mount", "demo", str(path)]
        script = f"ulimit -Sn {soft}; ulimit -Hn {hard}; exec \"$0\" -m cosfs \"$@\""
        subprocess.run(
            ["bash", "-c", script, sys.executable, *arguments],
            env=bench.environ,
            cwd=bench.folder,
            check=True,
        )
        mount = Mounted(bench, path)
        limits = Path(f"/proc/{mount.pid}/limits").read_text()
        mount.umount()
        (line,) = re.findall(r"Max open files\s+(\d+)\s+(\d+)", limits)
        assert line == (str(hard), str(hard))
