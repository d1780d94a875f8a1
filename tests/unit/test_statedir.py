"""The folder that a mount keeps: private, locked, and nothing in it gets lost."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from cosfs.errors import ConfigError
from cosfs.statedir import (
    Info,
    MountState,
    Report,
    StillRunning,
    all_mounts,
    default_root,
    find_mounts,
)
from cosfs.vfs.types import NotStored
from tests.fakeclock import FakeClock

INFO = Info(pid=123, mountpoint="/mnt", bucket="demo", prefix="a", started=1_700_000_000.25)


@pytest.fixture
def state(tmp_path: Path) -> MountState:
    return MountState.of(tmp_path / "cosfs", "/mnt", "demo", "a")


@pytest.fixture
def held(state: MountState) -> MountState:
    state.acquire(FakeClock(), patience_s=0)
    return state


@pytest.mark.parametrize(
    ("environ", "uid", "root"),
    [
        ({}, 0, "/var/lib/cosfs"),
        ({}, 1000, "/home/me/.local/state/cosfs"),
        ({"XDG_STATE_HOME": "/s"}, 1000, "/s/cosfs"),
        ({"XDG_STATE_HOME": "/s"}, 0, "/s/cosfs"),
        ({"XDG_STATE_HOME": "relative"}, 1000, "/home/me/.local/state/cosfs"),
    ],
)
def test_where(environ: dict[str, str], uid: int, root: str) -> None:
    assert default_root(environ, uid, Path("/home/me")) == Path(root)


def test_one_folder_for_each_mount_point_and_source(tmp_path: Path) -> None:
    mounts = [("/mnt", "demo", ""), ("/mnt", "demo", "a"), ("/b/mnt", "demo", "")]
    folders = {MountState.of(tmp_path, *mount).folder for mount in mounts}
    assert len(folders) == 3
    assert MountState.of(tmp_path, "/a\udcff b", "demo", "").folder.parent == tmp_path


def test_it_is_private(held: MountState) -> None:
    held.begin(INFO)
    held.finish(123, [])
    for path in [held.folder.parent, held.folder, *held.folder.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_folder_that_others_could_read_is_closed(state: MountState) -> None:
    state.folder.mkdir(parents=True, mode=0o755)
    state.acquire(FakeClock(), patience_s=0)
    assert state.folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_somebody_else_is_refused(state: MountState, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cosfs").symlink_to("elsewhere")
    with pytest.raises(ConfigError, match="not a directory of yours"):
        state.acquire(FakeClock(), patience_s=0)


def test_a_second_process_waits_and_gives_up(held: MountState) -> None:
    held.begin(INFO)
    clock = FakeClock()
    began = clock.monotonic()
    with pytest.raises(StillRunning, match="123.*demo:/a on /mnt"):
        MountState(held.folder).acquire(clock, patience_s=3)
    assert 3 <= clock.monotonic() - began < 4
    assert held.is_alive()


def test_a_second_process_gets_it_once_it_is_free(state: MountState) -> None:
    state.folder.mkdir(parents=True)
    lock = os.open(state.folder / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)

    class Freeing(FakeClock):
        def sleep(self, seconds: float) -> None:
            os.close(lock)

    state.acquire(Freeing(), patience_s=3)
    assert state.is_alive()


def test_nobody_is_alive_in_a_folder_that_is_not_there(state: MountState) -> None:
    assert not state.is_alive()


def test_info_and_report_are_read_back(held: MountState) -> None:
    assert held.info() is None and held.report() is None
    assert held.begin(INFO) is None
    assert held.info() == INFO
    lost = NotStored("/odd\udcff", "no route", "/s/x.data")
    held.finish(123, [lost])
    assert held.report() == Report(123, (lost,))
    held.begin(INFO)
    assert held.report() is None, "a report is about the process before"


def test_damaged_files_are_as_good_as_none(held: MountState) -> None:
    (held.folder / "info.json").write_text("{")
    (held.folder / "report.json").write_text('{"pid": 1}')
    assert held.info() is None and held.report() is None


def test_what_a_dead_mount_was_writing_is_put_aside_and_what_it_recorded_stays(
    held: MountState,
) -> None:
    held.begin(INFO)
    (held.spool / "a.data").write_bytes(b"precious")
    (held.spool / "empty.data").touch()
    (held.spool / "kept.data").touch()
    (held.spool / "kept.json").write_text("{}")
    (held.spool / "gone.json").write_text("{}")
    (held.spool / "half.new").write_text("{")
    left = held.begin(INFO)
    assert left is not None
    assert [file.name for file in left.iterdir()] == ["a.data"]
    assert (left / "a.data").read_bytes() == b"precious"
    assert {file.name for file in held.spool.iterdir()} == {"kept.data", "kept.json"}


def test_unfinished_content_is_found_whether_a_mount_came_since_or_not(
    state: MountState,
) -> None:
    state.spool.mkdir(parents=True)
    for name in ("a.data", "b.data", "kept.data", "kept.json"):
        (state.spool / name).write_bytes(b"x")
    (state.spool / "empty.data").touch()
    assert [file.name for file in state.unfinished()] == ["a.data", "b.data"]
    state.acquire(FakeClock(), patience_s=0)
    left = state.begin(INFO)
    (state.spool / "new.data").write_bytes(b"being written")
    assert left is not None
    assert state.unfinished() == [left / "a.data", left / "b.data"]
    state.remove_unfinished(left / "a.data")
    assert state.unfinished() == [left / "b.data"]
    state.remove_unfinished(left / "b.data")
    assert not left.exists()


def test_unused_spool_files_are_removed(held: MountState) -> None:
    held.begin(INFO)
    (held.spool / "empty.data").touch()
    assert held.begin(INFO) is None
    assert held.spooled() == []


def test_finding_mounts_newest_first(tmp_path: Path) -> None:
    for bucket, started in (("old", 1.0), ("new", 2.0), ("other", 3.0)):
        state = MountState.of(tmp_path, "/mnt", bucket, "")
        state.acquire(FakeClock(), patience_s=0)
        where = "/elsewhere" if bucket == "other" else "/mnt"
        state.begin(Info(1, where, bucket, "", started))
    (tmp_path / "stray").mkdir()
    assert [info.bucket for _, info in find_mounts(tmp_path, "/mnt")] == ["new", "old"]
    assert list(find_mounts(tmp_path / "nowhere", "/mnt")) == []
    assert [info.bucket for _, info in all_mounts(tmp_path)] == ["other", "new", "old"]
