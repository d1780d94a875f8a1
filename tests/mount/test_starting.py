"""How a mount starts, and how it says that it cannot."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.bench import Bench, Mounted, wait_for_end


def refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """Check an exit code and the one sentence that goes with it."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("cosfs: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_a_mount_imports_nothing_that_only_others_need() -> None:
    program = (
        "import sys; from cosfs import cli, mount; mount._load_binding()\n"
        "print(*sys.modules, sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    # The server's libraries, the tests', and what takes long for next to nothing.
    foreign = {"aiohttp", "asyncio", "pytest", "hypothesis", "uuid"}
    imported = set(done.stdout.split())
    assert "cosfs.fuse.binding" in imported
    assert not [name for name in imported if name in foreign or name.startswith("cosfs.server")]


@pytest.fixture
def point(tmp_path: Path) -> Path:
    path = tmp_path / "mnt"
    path.mkdir()
    return path


@pytest.fixture
def deaf_server() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def swallowing_server() -> Iterator[str]:
    """An address that does not even take connections: its queue is full, so SYNs are dropped."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for filler in fillers:
            filler.close()


def mount(bench: Bench, point: Path, *options: str, **environ: str) -> (
    subprocess.CompletedProcess[str]
):
    """Try to mount, within the 15 seconds that a failure may take."""
    arguments = ["mount", "demo", str(point), *(part for o in options for part in ("-o", o))]
    merged = {name: text for name, text in {**bench.environ, **environ}.items() if text}
    return subprocess.run(
        [sys.executable, "-m", "cosfs", *arguments],
        env=merged,
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )


class TestRefusals:
    def test_wrong_secret(self, bench: Bench, point: Path) -> None:
        done = mount(bench, point, COSFS_SECRET_KEY="wrong")
        refused(done, 3, bench.server.url, "does not accept the credentials", "check")

    def test_unknown_appid(self, bench: Bench, point: Path) -> None:
        refused(mount(bench, point, COSFS_APPID="1250000009"), 3, "1250000009")

    def test_no_credentials(self, bench: Bench, point: Path) -> None:
        done = mount(bench, point, COSFS_SECRET_KEY="")
        refused(done, 3, "secret_key", "COSFS_SECRET_KEY", "~/.config/cosfs/credentials")

    def test_credentials_file_that_others_can_read(self, bench: Bench, point: Path) -> None:
        file = bench.folder / "credentials"
        file.write_text("[default]\nsecret_key = HUSH\n")
        file.chmod(0o644)
        done = mount(bench, point, f"passwd_file={file}")
        refused(done, 3, f"chmod 600 {file}")
        assert "HUSH" not in done.stderr

    def test_unknown_bucket(self, bench: Bench, point: Path) -> None:
        done = bench.cosfs("mount", "nobucket", str(point))
        refused(done, 4, "there is no bucket nobucket", "check its name")

    def test_dead_server(self, bench: Bench, point: Path) -> None:
        bench.server.stop()
        refused(mount(bench, point), 4, bench.server.url, "cannot be reached")

    def test_address_that_never_answers(
        self, bench: Bench, point: Path, deaf_server: str
    ) -> None:
        done = mount(bench, point, f"endpoint={deaf_server}")
        refused(done, 4, deaf_server, "cannot be reached", "check the endpoint")

    def test_address_that_never_connects(
        self, bench: Bench, point: Path, swallowing_server: str
    ) -> None:
        done = mount(bench, point, f"endpoint={swallowing_server}")
        refused(done, 4, swallowing_server, "cannot be reached")

    def test_host_that_does_not_exist(self, bench: Bench, point: Path) -> None:
        done = mount(bench, point, "endpoint=http://no-such-host.invalid")
        refused(done, 4, "no-such-host.invalid", "cannot be reached")

    def test_missing_mount_point(self, bench: Bench, point: Path) -> None:
        point.rmdir()
        refused(mount(bench, point), 2, "does not exist", f"mkdir -p {point}")

    def test_mount_point_that_is_a_file(self, bench: Bench, point: Path) -> None:
        point.rmdir()
        point.touch()
        refused(mount(bench, point), 2, "not a directory")

    def test_mount_point_that_is_not_empty(self, bench: Bench, point: Path) -> None:
        (point / "precious").touch()
        refused(mount(bench, point), 2, "not empty", "-o nonempty")

    def test_unknown_option(self, bench: Bench, point: Path) -> None:
        refused(mount(bench, point, "tll=3"), 2, "'tll'", "did you mean ttl?")

    def test_secret_as_option(self, bench: Bench, point: Path) -> None:
        done = mount(bench, point, "secret_key=HUSH")
        refused(done, 2, "COSFS_SECRET_KEY")
        assert "HUSH" not in done.stderr

    def test_no_mount_point(self, bench: Bench) -> None:
        refused(bench.cosfs("mount", "demo"), 2, "MOUNTPOINT")

    def test_missing_libfuse(self, bench: Bench, point: Path) -> None:
        done = mount(bench, point, FUSE_LIBRARY_PATH="/nowhere/libfuse.so.2")
        refused(done, 5, "libfuse 2", "apt-get install libfuse2")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide /dev/fuse")
    def test_missing_device(self, bench: Bench, point: Path) -> None:
        hide = "mount -t tmpfs none /dev && exec "
        command = f"{hide} {sys.executable} -m cosfs mount demo {point}"
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", command],
            env=bench.environ,
            capture_output=True,
            text=True,
            timeout=15,
            check=False,
        )
        refused(done, 5, "/dev/fuse is missing", "modprobe fuse")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop privileges")
    def test_a_mount_that_the_kernel_refuses(self, bench: Bench, point: Path) -> None:
        done = subprocess.run(
            ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--no-new-privs"]
            + [sys.executable, "-m", "cosfs", "mount", "demo", str(point)],
            env=bench.environ,
            capture_output=True,
            text=True,
            timeout=15,
            check=False,
        )
        refused(done, 5, "ermitted")

    def test_log_file_that_cannot_be_written(self, bench: Bench, point: Path) -> None:
        done = mount(bench, point, "log_file=/nowhere/at/all.log")
        refused(done, 2, "/nowhere/at/all.log")

    def test_state_directory_of_somebody_else(self, bench: Bench, point: Path) -> None:
        state = bench.folder / "state"
        state.mkdir()
        (state / "cosfs").symlink_to(bench.folder)
        refused(mount(bench, point), 2, "not a directory of yours")

    def test_nothing_is_left_mounted(self, bench: Bench, point: Path) -> None:
        mount(bench, point, COSFS_SECRET_KEY="wrong")
        assert not Mounted(bench, point).is_mounted
        assert not any(point.iterdir())


class TestAgain:
    def test_mounted_already(self, mounted: Mounted) -> None:
        done = mounted.bench.cosfs("mount", "demo", str(mounted.path))
        refused(done, 2, "cosfs:demo is already mounted", f"cosfs umount {mounted.path}")
        mounted.sh("ls")

    def test_through_a_symbolic_link(self, mounted: Mounted) -> None:
        link = mounted.bench.folder / "link"
        link.symlink_to(mounted.path)
        refused(mounted.bench.cosfs("mount", "demo", str(link)), 2, "already mounted")

    def test_on_a_dead_mount(self, mounted: Mounted) -> None:
        os.kill(mounted.pid, signal.SIGKILL)
        wait_for_end(mounted.pid)
        done = mounted.bench.cosfs("mount", "demo", str(mounted.path))
        refused(done, 2, "a dead mount of cosfs:demo is left", "fusermount -u")
        assert mounted.bench.cosfs("umount", str(mounted.path)).returncode == 0
        assert not mounted.is_mounted
        assert mounted.bench.cosfs("mount", "demo", str(mounted.path)).returncode == 0


class TestMounted:
    def test_it_answers_at_once(self, mounted: Mounted) -> None:
        mounted.sh("echo hi > file; cat file; test -d .")

    def test_how_it_looks_in_the_table(self, bench: Bench) -> None:
        with bench.mounted("noexec,noatime,_netdev,x-mine", source="demo:/a, b") as mount:
            lines = Path("/proc/mounts").read_text().splitlines()
            (line,) = [line for line in lines if str(mount.path) in line]
            source, _, kind, options = line.split(" ")[:4]
            assert source == "cosfs:demo/a,\\040b" and kind == "fuse.cosfs"
            assert {"noexec", "nosuid", "nodev", "noatime", "default_permissions"} <= set(
                options.split(",")
            )

    def test_read_only(self, bench: Bench) -> None:
        with bench.mounted("ro") as mount:
            assert "Read-only file system" in mount.sh("touch file 2>&1 || true")

    def test_prefix(self, bench: Bench) -> None:
        with bench.mounted() as whole, bench.mounted(source="demo:/a/b", name="part") as part:
            part.sh("mkdir c; echo hi > c/file")
            assert whole.sh("cat a/b/c/file") == "hi\n"

    def test_owner_and_modes(self, bench: Bench) -> None:
        with bench.mounted() as mount:
            mount.sh("echo hi > file; mkdir folder")
        with bench.mounted("uid=7,gid=daemon,umask=027") as mount:
            assert mount.sh("stat -c '%a %u %g' . file folder").split("\n")[:3] == [
                "750 7 1",
                "640 7 1",
                "750 7 1",
            ]

    def test_no_secret_in_the_process_list(self, mounted: Mounted) -> None:
        command = Path(f"/proc/{mounted.pid}/cmdline").read_bytes()
        assert mounted.bench.environ["COSFS_SECRET_KEY"].encode() not in command

    def test_the_state_directory_is_private(self, mounted: Mounted) -> None:
        for path in [mounted.bench.state_root, *mounted.bench.state_root.rglob("*")]:
            assert path.stat().st_mode & 0o077 == 0, path

    def test_it_keeps_nothing_of_the_terminal(self, mounted: Mounted) -> None:
        process = Path(f"/proc/{mounted.pid}")
        assert (process / "cwd").readlink() == Path("/")
        assert [os.readlink(process / f"fd/{fd}") for fd in (0, 1, 2)] == ["/dev/null"] * 3
        session = int((process / "stat").read_text().rsplit(") ", 1)[1].split()[3])
        assert session == mounted.pid

    def test_log_file(self, bench: Bench) -> None:
        log = bench.folder / "my.log"
        with bench.mounted(f"log_file={log},log_level=debug") as mount:
            mount.sh("cat missing 2>/dev/null || true")
        assert "is mounted on" in log.read_text() and "ENOENT" in log.read_text()

    def test_as_mount8_calls_it(self, bench: Bench, point: Path) -> None:
        done = bench.cosfs("demo:/", str(point), "-o", "rw,dev,suid")
        assert done.returncode == 0, done.stderr
        Mounted(bench, point).umount()
