"""What the state machine found, each as small as it became."""

from __future__ import annotations

from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
from tests.fakeclock import FakeClock
from tests.vfs.conftest import ME
from tests.vfs.programs import write_file

LONG_AGO = 1_234_567_890_123_456_789


def test_the_time_of_a_folder_moves_though_a_program_has_set_it(
    fs: FileSystem, clock: FakeClock
) -> None:
    fs.mkdir("/d", 0o755, ME)
    fs.utimens("/d", None, LONG_AGO)
    assert fs.getattr("/d").mtime_ns == LONG_AGO
    clock.advance(1)
    write_file(fs, "/d/f", b"1")
    assert fs.getattr("/d").mtime_ns == clock.wall_ns()
    fs.utimens("/d", None, LONG_AGO)
    assert fs.getattr("/d").mtime_ns == LONG_AGO


def test_emptying_an_empty_file_moves_its_time(
    fs: FileSystem, store: MemoryStore, clock: FakeClock
) -> None:
    write_file(fs, "/stamp", b"")
    clock.advance(10)
    write_file(fs, "/stamp", b"")
    assert fs.getattr("/stamp").mtime_ns == clock.wall_ns()
    with store.unseen():
        assert store.stat_file("/stamp").mtime_ns == clock.wall_ns() // 10**9 * 10**9
