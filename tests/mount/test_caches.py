"""Content that outlives a mount in ``cache_dir``."""

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
