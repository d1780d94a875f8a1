"""Content that outlives a mount in ``cache_dir``, and trees that are fetched ahead."""

from __future__ import annotations

import json
import shutil

from tests.mount.bench import Bench

READ = "find . -type f | sort | xargs sha1sum; tail -c 4M big | head -c 100 | sha1sum"


def test_the_next_mount_downloads_nothing(bench: Bench) -> None:
    cache = bench.folder / "cache"
    options = f"cache_dir={cache},cache_size=64M"
    with bench.mounted() as mount:
        mount.sh("mkdir d; for n in 1 2 3; do echo $n > d/$n; done; head -c 9M /dev/urandom > big")
    with bench.mounted(options) as mount:
        first = mount.sh(READ)
    bench.server.reset_stats()
    with bench.mounted(options) as mount:
        assert mount.sh(READ) == first
        told = json.loads(bench.cosfs("status", str(mount.path), "--json").stdout)["disk"]
        assert told["hits"] > 3 and told["bytes"] > 9 << 20 and told["limit"] == 64 << 20
        assert "in cache_dir" in bench.cosfs("status", str(mount.path)).stdout
        assert bench.requests("download") == 0
        shutil.rmtree(cache)
        assert mount.sh(READ) == first
    with bench.mounted(options) as mount:
        assert mount.sh(READ) == first


def test_folders_that_are_refused(bench: Bench) -> None:
    shared = bench.folder / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    mountpoint = bench.folder / "mnt"
    mountpoint.mkdir()
    for folder, why in ((shared, "must be yours"), (mountpoint / "c", "in the mount itself")):
        done = bench.cosfs("mount", "demo", str(mountpoint), "-o", f"cache_dir={folder}")
        assert done.returncode == 2 and why in done.stderr


TREE = """
mkdir -p a/b c
for n in $(seq 20); do echo $n > a/$n; done
head -c 6M /dev/urandom > a/b/large
: > c/empty
echo x > c/mode; chmod 711 c/mode; ln -s mode c/link
"""

READ_ALL = "ls -lR; find . -type f | xargs cat | sha1sum; cat c/link"


def test_a_warm_tree_costs_no_request(bench: Bench) -> None:
    with bench.mounted() as mount:
        mount.sh(TREE)
    with bench.mounted() as mount:
        done = bench.cosfs("warm", str(mount.path))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("24 of 24 files in 4 folders, 6.0 MiB,")
        assert mount.cost(READ_ALL) == 0
        # What is here is not fetched again.
        bench.server.reset_stats()
        assert bench.cosfs("warm", str(mount.path / "a" / "b")).returncode == 0
        assert bench.server.stats()["requests"]["total"] == 0


def test_warming_a_disk_larger_than_the_memory(bench: Bench) -> None:
    with bench.mounted() as mount:
        mount.sh(TREE + "for n in 1 2 3 4; do head -c 9M /dev/urandom > c/$n; done")
    options = f"memory=16,cache_dir={bench.folder / 'cache'}"
    with bench.mounted(options) as mount:
        done = bench.cosfs("warm", str(mount.path))
        assert (done.returncode, done.stderr) == (0, "")
        assert mount.cost(READ_ALL) == 0
    with bench.mounted(options) as mount:
        mount.sh(READ_ALL)
        assert bench.requests("download") == 0


def test_warm_says_what_it_could_not_do(bench: Bench) -> None:
    with bench.mounted("memory=16") as mount:
        mount.sh("echo 1 > 1; head -c 17M /dev/urandom > 2")
        bench.cosfs("refresh", str(mount.path))
        done = bench.cosfs("warm", str(mount.path))
        assert done.returncode == 1 and "2 files in 1 folders" in done.stdout
        assert "1 files (17 MiB) found no room" in done.stderr
        done = bench.cosfs("warm", str(mount.path / "absent"))
        assert done.returncode == 1 and "no such file" in done.stderr
    done = bench.cosfs("warm", str(bench.folder))
    assert done.returncode == 2 and "not in a mount" in done.stderr
