"""What real tools cost in requests, by the server's counters, for both page sizes (design 9).

The least possible is written down with each; counts include what is sent after the program's end.
The same work is counted without a mount, and so to the last request, in ``tests/vfs/test_prices``.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cosfs.server.running import LocalServer
from tests.mount.bench import Bench, Mounted, wait_until

#: A file younger than this is moved without storing its time.
FRESH_S = 2


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalServer]:
    """A server with the parameter's page size."""
    size = getattr(request, "param", 1000)
    with LocalServer(tmp_path / "server", buckets=["demo"], page_size=size) as running:
        yield running


page_sizes = pytest.mark.parametrize("server", [199, 1000], indirect=True)


@pytest.fixture
def mount(bench: Bench) -> Iterator[Mounted]:
    """A mount whose root was listed, as by a shell's completion."""
    with bench.mounted() as mount:
        mount.sh("ls")
        yield mount


@pytest.fixture
def source(bench: Bench) -> None:
    """200 files of 3,000 bytes in 10 folders and their top, older than what a mount calls fresh."""
    for number in range(200):
        file = bench.folder / "source" / f"d{number % 10}" / f"f{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(3000))
    bench.sh("find source -exec touch -d '2024-01-01 00:00:00.123456789 UTC' {} +")


def near(least: int) -> int:
    """Return what may be spent where ``least`` is possible: 5 % or 3 requests more."""
    return max(int(least * 1.05), least + 3)


def wait_until_old(path: Path) -> None:
    """Return once the newest file in a folder is no longer fresh."""
    newest = max(os.stat(path / name).st_mtime for name in os.listdir(path))
    wait_until(lambda: time.time() > newest + FRESH_S + 0.1)


@page_sizes
@pytest.mark.usefixtures("source")
class TestTrees:
    def test_cp_ls_cat_rm(self, bench: Bench) -> None:
        read = "find copy -type f -exec cat {} + | sha1sum"
        with bench.mounted() as mount:
            assert mount.cost("cp -r ../source copy") <= near(211)
            assert mount.cost("ls -lR copy") == 0
            mount.umount()
        with bench.mounted() as mount:
            # A page of each folder and the root's; the top is found by its name.
            assert mount.cost("ls -lR copy") <= near(13)
            # Beside the contents the root's listing, as find opens the folder it begins in.
            assert mount.cost(read) <= near(200)
            assert mount.cost(read) == 0
            assert mount.cost("rm -r copy") == 211
            mount.umount()

    def test_cp_preserving(self, bench: Bench) -> None:
        with bench.mounted() as mount:
            # For each folder one request more makes its mark, and one stores its time at the end.
            assert mount.cost("cp -rp ../source kept") <= near(233)
            assert mount.cost("ls -lR kept") == 0
            mount.umount()
        with bench.mounted() as mount:
            # One for each name besides the pages, as attributes are not in them.
            assert mount.cost("ls -lR kept") <= near(224)
            assert mount.cost("ls -lR kept") == 0
            assert mount.sh("find kept ! -newermt 2023-12-31 -o -newermt 2024-01-02") == ""
            mount.umount()

    def test_tar(self, bench: Bench, mount: Mounted) -> None:
        bench.sh("tar cf source.tar source")
        assert mount.cost("tar xpf ../source.tar") <= near(233)
        assert mount.sh("diff -r source ../source") == ""

    def test_rsync(self, mount: Mounted) -> None:
        # The content under a temporary name, its attributes, its name; a folder as with cp -rp.
        assert mount.cost("rsync -a ../source/ synced") <= near(3 * 200 + 3 * 11)
        assert mount.cost("rsync -a ../source/ synced") == 0
        mount.umount()
        with mount.bench.mounted() as again:
            again.bench.server.reset_stats()
            assert again.sh("rsync -ai ../source/ synced") == ""
            assert again.bench.requests("upload") == again.bench.requests("download") == 0


@page_sizes
class TestFiles:
    def test_appending(self, mount: Mounted) -> None:
        script = "echo 0 > log; for i in $(seq 20); do echo $i >> log; done"
        assert mount.cost(script) <= near(21)

    def test_renaming_files(self, mount: Mounted) -> None:
        mount.sh("mkdir d; for i in $(seq 10); do echo $i > d/a$i; done")
        assert mount.cost("cd d; for i in $(seq 10); do mv a$i b$i; done") <= near(10)
        wait_until_old(mount.path / "d")
        assert mount.cost("cd d; for i in $(seq 10); do mv b$i c$i; done") <= near(20)
        # A time is stored once.
        assert mount.cost("cd d; for i in $(seq 10); do mv c$i d$i; done") <= near(10)

    def test_renaming_a_folder(self, mount: Mounted) -> None:
        mount.sh("mkdir d; for i in $(seq 20); do echo $i > d/$i; done")
        wait_until_old(mount.path / "d")
        assert mount.cost("mv d e") <= near(43)

    def test_a_missing_name(self, bench: Bench) -> None:
        with bench.mounted() as mount:
            script = "for i in $(seq 20); do ! stat missing 2> ../said; done"
            assert mount.cost(script) <= near(2)

    def test_install(self, bench: Bench, mount: Mounted) -> None:
        (bench.folder / "tool").write_bytes(b"t" * 3000)
        assert mount.cost("install -m 755 ../tool tool") <= near(2)
        assert mount.sh("stat -c %a tool") == "755\n"


class TestPrograms:
    """No least is known of these; the bounds are what is explained, and must not be passed."""

    def test_sed_in_place(self, mount: Mounted) -> None:
        mount.sh("echo one > f")
        # The new content under a temporary name, and that name; once the mark of the folder, as sed
        # sets the mode of its temporary file.
        assert mount.cost("sed -i s/one/two/ f") <= 2 + 1
        assert mount.cost("sed -i s/two/three/ f") <= 2
        mount.umount()
        with mount.bench.mounted() as again:
            # The old name and the temporary one are looked for, by a stat and a listing side by
            # side; and the old content is read.
            assert again.cost("sed -i s/three/four/ f") <= 2 + 2 + 2 + 1

    @pytest.mark.skipif(shutil.which("vim.tiny") is None, reason="vim.tiny is not installed")
    def test_vim(self, mount: Mounted) -> None:
        mount.sh("echo one > f")
        # To try out names, vim makes two empty files and removes them at once: each is stored and
        # deleted, and moved between the two if its close is still under way. The swap file is
        # stored by its fsync and removed in the same way, the text is stored by its fsync too. The
        # mode of the swap file costs a mark, and a request if it is sent before the end.
        assert mount.cost("vim.tiny -u NONE -es -c s/one/two/ -c wq f") <= 3 * 3 + 1 + 2
        assert mount.sh("cat f") == "two\n"

    @pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
    def test_git(self, bench: Bench, mount: Mounted) -> None:
        bench.environ |= {
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_NAME": "me" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "me@here" for who in ("AUTHOR", "COMMITTER")},
        }
        bench.sh(
            "git init -q -b main origin; cd origin; for i in $(seq 20); do echo $i >> log;"
            " echo $i > f$i; git add .; git commit -qm $i; done"
        )
        origin = bench.folder / "origin" / ".git"
        objects = [path for path in (origin / "objects").rglob("*") if path.is_file()]
        folders = {path.parent for path in objects}
        # Of each object the content and the time that git copies; of each of their folders the
        # marker and, as objects are read-only, the mark. The rest is the working tree, and about
        # 80 files and folders of git's own: hooks, configuration, references and their logs,
        # most of them written as NAME.lock and renamed.
        least = 2 * len(objects) + 2 * len(folders) + 21
        print(f"{len(objects)} objects in {len(folders)} folders: {least} and git's own")
        assert mount.cost("git clone -q ../origin repo") <= least + 120
        # The lock of the index, made and removed: stored, moved if its close is under way, deleted.
        assert mount.cost("git -C repo status --porcelain") <= 3
        # Objects of the file, the tree and the commit: a temporary name and the real one, in a
        # folder that may be new and marked (3 x 4); index, reference and HEAD's log (2 + 2 + 1),
        # the message, its lock and what hooks look for.
        assert mount.cost("cd repo; echo 1 > g; git add g; git commit -qm g") <= 35
        assert mount.sh("cd repo; git status --porcelain; git fsck; git log --oneline | wc -l") == (
            "21\n"
        )
