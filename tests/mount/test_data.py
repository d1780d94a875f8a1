"""Content and names on a real mount: what is copied in comes out after a remount."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cosfs.model import BytesSource
from cosfs.server.running import LocalServer
from tests.mount.bench import Bench, Mounted
from tests.mount.directly import opened

MIB = 1024 * 1024

NAMES = [
    "with space",
    " outer spaces ",
    "中文 文件.txt",
    "emoji 🐟🐠",
    "12:30?.log",
    'a*b|c\\d<e>f"g',
    "？ full width",
    "new\nline\tand tab",
    "-dash",
    "'quote'",
    "n" * 255,
    "日" * 85,
    os.fsdecode(b"latin-1 \xe9\xff"),
]


def standard_library(to: Path, *, part: str = "") -> tuple[int, int, int]:
    """Copy Python's standard library, or a folder of it, without site-packages.

    Returns the numbers of files, of folders, and of folders that hold an executable.
    """
    source = sysconfig.get_path("stdlib")
    subprocess.run(
        ["rsync", "-rL", "--exclude=site-packages", "--exclude=__pycache__"]
        + [f"{source}/{part}/", str(to)],
        check=True,
    )
    # Larger ones go in slices, which is another test's business.
    files = [file for file in to.rglob("*") if file.is_file()]
    for file in files:
        if file.stat().st_size > 20 * MIB:
            file.unlink()
            files.remove(file)
    executables = {file.parent for file in files if file.stat().st_mode & 0o111}
    folders = sum(1 for file in to.rglob("*") if file.is_dir()) + 1
    return len(files), folders, len(executables)


@pytest.mark.parametrize(
    ("part", "least"), [("encodings", 100), pytest.param("", 1400, marks=pytest.mark.long)]
)
def test_a_source_tree_is_the_same_after_a_remount(
    bench: Bench, tmp_path: Path, part: str, least: int
) -> None:
    files, folders, with_modes = standard_library(tmp_path / "stdlib", part=part)
    assert files > least
    with bench.mounted() as mount:
        bench.server.reset_stats()
        bench.sh(f"cp -r stdlib {mount.path}/")
        total = bench.server.stats()["requests"]["total"]
        mount.umount()
    print(f"{files} files, {folders} folders, {with_modes} with executables: {total} requests")
    # cp -r gives executables their mode: one mark for each folder that holds some.
    assert total <= files + folders + with_modes + 10
    with bench.mounted() as mount:
        assert bench.sh(f"diff -r stdlib {mount.path}/stdlib") == ""


@pytest.mark.parametrize("size", [0, 1, 20 * MIB - 1, 20 * MIB, 20 * MIB + 1, 100 * MIB])
def test_sizes_around_every_limit(bench: Bench, tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(os.urandom(size))
    with bench.mounted() as mount:
        bench.server.reset_stats()
        bench.sh(f"cp file {mount.path}/copy")
        mount.umount()
        slices = -(-size // MIB) if size > 20 * MIB else 0
        assert bench.requests("upload") == (0 if slices else 1)
        assert bench.requests("upload_slice_data") == slices
    with bench.mounted() as mount:
        bench.sh(f"cmp file {mount.path}/copy")
        assert mount.sh("ls -A").split() == ["copy"]


@pytest.mark.parametrize("rules", ["portable", "raw"])
def test_odd_names(bench: Bench, rules: str) -> None:
    with bench.mounted(f"names={rules}") as mount:
        for number, name in enumerate(NAMES):
            (mount.path / name).write_bytes(b"%d" % number)
            (mount.path / f"d{number}").mkdir()
            (mount.path / f"d{number}" / name).mkdir()
        mount.umount()
    with bench.mounted(f"names={rules}") as mount:
        assert sorted(os.listdir(mount.path)) == sorted(
            NAMES + [f"d{number}" for number in range(len(NAMES))]
        )
        for number, name in enumerate(NAMES):
            assert (mount.path / name).read_bytes() == b"%d" % number
            assert os.listdir(mount.path / f"d{number}") == [name]
            os.rename(mount.path / name, mount.path / f"d{number}" / name / name)
            assert os.listdir(mount.path / f"d{number}" / name) == [name]


def test_names_that_are_too_long(mounted: Mounted) -> None:
    with pytest.raises(OSError, match="File name too long"):
        (mounted.path / ("n" * 256)).write_bytes(b"")
    deep = mounted.path
    for _ in range(4):
        deep /= "d" * 200
        deep.mkdir()
    with pytest.raises(OSError, match="File name too long"):
        (deep / ("x" * 100)).mkdir()


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a server's data folder with 2,500 files in one folder that has a marker."""
    data = tmp_path_factory.mktemp("large") / "server"
    with LocalServer(data, buckets=["demo"]) as server, opened(server) as bucket:
        bucket.create_folder("folder/")

        def upload(number: int) -> None:
            sha = hashlib.sha1(b"x").hexdigest()
            bucket.upload(
                f"folder/file-{number:04}", BytesSource(b"x"), sha=sha, insert_only=True
            )

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(upload, range(2500)))
    return data


@pytest.mark.parametrize("page_size", [1000, 199])
@pytest.mark.parametrize("marker_slot", [True, False])
def test_a_large_folder_lists_completely(
    large_folder: Path, tmp_path: Path, page_size: int, marker_slot: bool
) -> None:
    switches = {"page_size": page_size, "marker_slot": marker_slot}
    with LocalServer(large_folder, buckets=["demo"], **switches) as server:
        with Bench(server, tmp_path).mounted() as mount:
            server.reset_stats()
            assert len(os.listdir(mount.path / "folder")) == 2500
            assert mount.sh("ls -l folder | grep -c file-").strip() == "2500"
            # The pages, one attempt more where the server wants smaller ones, and what the lookup
            # of the folder costs.
            pages = -(-2501 // page_size) + (page_size < 1000)
            assert server.stats()["requests"]["total"] <= pages + 3


def test_two_mounts_of_one_bucket(bench: Bench) -> None:
    with (
        bench.mounted(name="writer") as writer,
        bench.mounted("ttl=2", name="patient") as patient,
        bench.mounted("ttl=0", name="eager") as eager,
    ):
        (writer.path / "f").write_text("one")
        for reader in (patient, eager):
            assert (reader.path / "f").read_text() == "one"
            assert os.listdir(reader.path) == ["f"]
        (writer.path / "f").write_text("second")
        (writer.path / "g").write_text("new")
        assert (eager.path / "f").read_text() == "second"
        assert sorted(os.listdir(eager.path)) == ["f", "g"]
        bench.sh("sleep 2.1")
        assert (patient.path / "f").read_text() == "second"
        assert sorted(os.listdir(patient.path)) == ["f", "g"]
        (writer.path / "f").unlink()
        with pytest.raises(FileNotFoundError):
            (eager.path / "f").read_text()


def test_a_prefix_is_a_root_of_its_own(bench: Bench) -> None:
    with bench.mounted() as whole:
        whole.sh("mkdir -p a/b; echo hi > a/b/f; echo top > top")
        whole.umount()
    with bench.mounted(source="demo:/a", name="part") as part:
        assert part.sh("ls; cat b/f") == "b\nhi\n"
        part.sh("echo new > g")
        part.umount()
    with bench.mounted() as whole:
        assert whole.sh("cat a/g") == "new\n"


def test_a_read_only_mount(bench: Bench) -> None:
    with bench.mounted() as mount:
        mount.sh("echo hi > f")
        mount.umount()
    with bench.mounted("ro") as mount:
        assert mount.sh("cat f") == "hi\n"
        with pytest.raises(OSError, match="Read-only file system"):
            (mount.path / "g").write_text("no")
