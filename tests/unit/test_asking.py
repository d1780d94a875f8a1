"""``cosfs status``, ``pending`` and ``refresh``, with a mount in this process or none.

There is no kernel in it: a file system on a store in memory, its state folder and its socket.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cosfs import mounts, pending, refresh, status
from cosfs.answers import Answers
from cosfs.cli import main
from cosfs.config import CacheOptions, DataOptions, ViewOptions
from cosfs.control import ControlServer
from cosfs.errors import AccessDenied, ConnectFailed, NotFound, StoreFailed
from cosfs.exits import ExitCode, Failure
from cosfs.jsonapi.replies import OpCount
from cosfs.model import Attributes
from cosfs.mountopts import MountOptions
from cosfs.pending import Wish
from cosfs.statedir import Info, MountState
from cosfs.store.faulty import Fault, FaultPlan, FaultyStore
from cosfs.store.memory import MemoryStore
from cosfs.vfs.filesystem import FileSystem
from cosfs.vfs.journal import AttributeJournal, Journal
from tests.fakeclock import FakeClock
from tests.vfs.programs import append, write_file, write_unseen

ExpectLog = Callable[[str], None]


class SharedStore(FaultyStore):
    """Outlives the mounts of it."""

    def close(self) -> None:
        pass


class Machine:
    """A machine with one bucket and a place to mount it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.memory = MemoryStore(clock=self.clock)
        self.plan = FaultPlan()
        self.where = str(folder / "mnt")
        self.environ = {"XDG_STATE_HOME": str(folder / "state")}
        self.shown: list[str] = []
        self.said: list[str] = []

    @property
    def state(self) -> MountState:
        return MountState.of(self.folder / "state" / "cosfs", self.where, "demo", "a")

    def pending(self, *, everywhere: bool = False, **wish: Any) -> ExitCode:
        self.shown.clear()
        self.said.clear()
        return pending.run(
            None if everywhere else self.where,
            Wish(**wish),
            environ=self.environ,
            home=self.folder,
            clock=self.clock,
            show=self.shown.append,
            say=self.said.append,
        )

    def status(self, *, as_json: bool = False) -> str:
        lines: list[str] = []
        code = status.run(
            self.where,
            as_json=as_json,
            environ=self.environ,
            home=self.folder,
            show=lines.append,
        )
        assert code == 0
        return "\n".join(lines)

    def watched(self, intervals: int, mount: Mount, *, as_json: bool) -> list[str]:
        """Watch ``mount``, which does the same in each of so many intervals, and then ends."""
        lines: list[str] = []
        machine, left = self, iter(range(intervals))

        class Clock(FakeClock):
            def sleep(self, seconds: float) -> None:
                machine.clock.advance(seconds)
                if next(left, None) is None:
                    mount.end()
                    return
                old = mount.counts["upload"]
                mount.counts["upload"] = replace(
                    old, requests=old.requests + 2, bytes_sent=old.bytes_sent + 2**20
                )

        code = status.watch(
            self.where,
            interval_s=2.0,
            as_json=as_json,
            environ=self.environ,
            home=self.folder,
            clock=Clock(),
            show=lines.append,
        )
        assert code == 0
        return lines


class Mount:
    """A mount of it, from its start to its end or death."""

    def __init__(self, machine: Machine, options: MountOptions, where: str) -> None:
        self.machine = machine
        root = machine.folder / "state" / "cosfs"
        self.state = MountState.of(root, where, "demo", "a")
        self.state.acquire(machine.clock, patience_s=0)
        info = Info(os.getpid(), where, "demo", "a", machine.clock.wall())
        self.state.begin(info)
        self.fs = FileSystem(
            SharedStore(machine.memory, machine.plan),
            clock=machine.clock,
            cache=CacheOptions(),
            view=ViewOptions(uid=7, gid=8),
            data=DataOptions(),
            spool_dir=self.state.spool,
            journal_file=self.state.journal,
        )
        self.fs.start()
        self.counts = {"stat": OpCount(2, 10, 2000), "upload": OpCount(1, 5_000_000, 100)}
        self.answers = Answers(
            self.fs, info, options, lambda: self.counts, machine.clock, machine.clock.monotonic()
        )
        self.control = ControlServer(
            self.state.folder, self.answers.commands(), owner=os.geteuid()
        )
        self.control.start()

    def end(self) -> None:
        self.control.stop()
        self.fs.stop()
        self.state.release()

    def fail_to_write(self, path: str, data: bytes, write: Any = write_file) -> None:
        try:
            self.fs.getattr(path)
        except NotFound:
            pass
        fault = self.machine.plan.add(Fault(error=lambda: ConnectFailed("no route")))
        with pytest.raises(StoreFailed):
            write(self.fs, path, data)
        fault.error = None


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


MakeMount = Callable[..., Mount]


@pytest.fixture
def make_mount(machine: Machine) -> Iterator[MakeMount]:
    made: list[Mount] = []

    def make(options: MountOptions = MountOptions(), name: str = "mnt") -> Mount:  # noqa: B008
        made.append(Mount(machine, options, str(machine.folder / name)))
        return made[-1]

    yield make
    for mount in made:
        mount.end()


@pytest.fixture
def mount(make_mount: MakeMount) -> Mount:
    return make_mount()


@pytest.fixture
def lost(expect_log: ExpectLog) -> None:
    """There are lines in the log about content that is not stored."""
    expect_log("not stored|cannot be stored|dropped, unstored|not sent yet|cannot be sent")


class TestStatus:
    def test_json(self, machine: Machine, mount: Mount) -> None:
        machine.clock.advance(100)
        told = json.loads(machine.status(as_json=True))
        assert told["bucket"] == "demo" and told["prefix"] == "a"
        assert told["mountpoint"] == machine.where and told["pid"] == os.getpid()
        assert told["uptime_s"] == 100
        assert told["requests"]["requests"] == 3
        assert told["requests"]["by_op"]["upload"] == {
            "requests": 1,
            "bytes_sent": 5_000_000,
            "bytes_received": 100,
        }
        assert told["process"]["threads"] > 0 and told["process"]["rss_bytes"] > 2**20

    def test_the_keys_that_are_documented(self, machine: Machine, mount: Mount) -> None:
        told = json.loads(machine.status(as_json=True))
        page = (Path(status.__file__).parent / "docs" / "mount.md").read_text()
        groups = ("requests", "cache", "content", "files", "pending", "process")
        keys = [*told, *(key for group in groups for key in told[group])]
        assert [key for key in keys if f"`{key}`" not in page] == []
        assert set(groups) < set(told) and told["disk"] is None

    def test_for_people(self, machine: Machine, make_mount: MakeMount, lost: None) -> None:
        options = MountOptions(account={"appid": "125"}, nonempty=True)
        mount = make_mount(replace(options, data=DataOptions(excl="open")))
        machine.clock.advance(7380)
        assert "pending  nothing" in machine.status()
        mount.fail_to_write("/f", b"x" * 2048)
        page = machine.status()
        assert page.startswith(f"demo:/a on {machine.where}, process {os.getpid()}, up 2 h 3 min")
        assert f"1 files (2.0 KiB): see cosfs pending {machine.where}" in page
        assert "  upload       1  4.8 MiB     100 B\n" in page
        assert "  in all       3  4.8 MiB   2.1 KiB\n" in page
        assert "options   appid=125 ttl=60 excl=open nonempty" in page
        assert max(map(len, page.splitlines()[1:])) < 150

    def test_a_process_of_another_version(self, machine: Machine, mount: Mount) -> None:
        mount.control.stop()
        answers = {"status": lambda: {"version": "0.0"}, "pending": lambda: [{"name": "x"}]}
        other = ControlServer(mount.state.folder, answers, owner=os.geteuid())
        other.start()
        assert json.loads(machine.status(as_json=True)) == {"version": "0.0"}
        with pytest.raises(Failure, match="another version"):
            machine.status()
        assert machine.pending() == 0
        other.stop()

    def test_watching(self, machine: Machine, mount: Mount) -> None:
        lines = machine.watched(3, mount, as_json=False)
        assert lines[0].split()[:2] == ["up", "requests/s"]
        # Two seconds an interval, two requests and a MiB in each.
        shown = [line.split() for line in lines[1:]]
        assert [row[:7] for row in shown] == [
            [str(up), "s", "1.0", "512", "KiB", "0", "B"] for up in (2, 4, 6)
        ]
        assert len({len(line) for line in lines}) == 1

    def test_watching_for_programs(self, machine: Machine, mount: Mount) -> None:
        told = [json.loads(line) for line in machine.watched(2, mount, as_json=True)]
        assert [one["requests"]["requests"] for one in told] == [5, 7]

    def test_watching_goes_on_with_the_next_mount(self) -> None:
        counts = {"requests": 100, "bytes_sent": 0, "bytes_received": 0}
        files, pending = {"files": 0, "dirty_bytes": 0}, {"files": 0, "attributes": 0}
        before = {"pid": 1, "uptime_s": 1000.0, "requests": counts, "files": files,
                  "pending": pending, "process": {"rss_bytes": 0}}  # fmt: skip
        now = {**before, "pid": 2, "uptime_s": 2.0, "requests": {**counts, "requests": 4}}
        assert status.interval_line(before, now).split()[:3] == ["2", "s", "2.0"]

    def test_nobody_is_there(self, machine: Machine, mount: Mount) -> None:
        mount.end()
        with pytest.raises(Failure, match="nothing is mounted on"):
            machine.status()
        with pytest.raises(Failure, match="nothing is mounted on"):
            machine.watched(1, mount, as_json=False)

    def test_it_does_not_answer(
        self, machine: Machine, mount: Mount, expect_log: ExpectLog
    ) -> None:
        expect_log("could not be answered")
        mount.answers.fs.leftovers.usage = lambda: 1 / 0  # type: ignore[method-assign]
        with pytest.raises(Failure, match="ZeroDivisionError") as caught:
            machine.status()
        assert caught.value.code == ExitCode.FAILED


class TestPendingOfAMountThatRuns:
    def test_nothing(self, machine: Machine, mount: Mount) -> None:
        assert machine.pending() == 0
        assert machine.shown == ["nothing is pending"]

    def test_list_then_retry(self, machine: Machine, mount: Mount, lost: None) -> None:
        mount.fail_to_write("/d\n/f", b"x" * 1536)
        assert machine.pending() == 1
        title, line = machine.shown
        assert title == f"demo:/a on {machine.where}"
        assert "1.5 KiB" in line and "/d\\n/f" in line and line.endswith("no route")
        assert machine.pending(retry=True) == 0
        assert machine.shown == ["stored /d\\n/f", "nothing is pending"]
        assert machine.memory.files() == {"/d\n/f": b"x" * 1536}

    def test_conflict_and_force(self, machine: Machine, mount: Mount, lost: None) -> None:
        for name in "ab":
            mount.fail_to_write(f"/{name}", b"mine")
            write_unseen(machine.memory, f"/{name}", b"theirs")
        assert machine.pending(retry=True) == 1
        assert all("another version is there now" in line for line in machine.shown[1:])
        code = machine.pending(retry=True, force=True, only=(f"{machine.where}/b",))
        assert code == 1 and machine.shown[0] == "stored /b"
        assert machine.memory.files() == {"/a": b"theirs", "/b": b"mine"}

    def test_drop(self, machine: Machine, mount: Mount, lost: None) -> None:
        for name in "ab":
            mount.fail_to_write(f"/{name}", b"xyz")
        assert machine.pending(drop=("/b",)) == 1
        assert machine.shown[0].startswith("dropping /b, 3 B, since ")
        assert [one.path for one in mount.fs.leftovers.all()] == ["/a"]
        (one,) = mount.fs.leftovers.all()
        assert machine.pending(drop=(Path(one.file).stem,)) == 0
        assert list(mount.state.spool.iterdir()) == []

    def test_a_name_that_is_not_pending(
        self, machine: Machine, mount: Mount, lost: None
    ) -> None:
        mount.fail_to_write("/a", b"xyz")
        for wish in ({"drop": ("/b",)}, {"retry": True, "only": ("/a", "/b")}):
            with pytest.raises(Failure, match="nothing of the name '/b'") as caught:
                machine.pending(**wish)
            assert caught.value.code == ExitCode.USAGE
        assert machine.pending() == 1

    def test_read_only(self, machine: Machine, make_mount: MakeMount, lost: None) -> None:
        mount = make_mount()
        mount.fail_to_write("/a", b"x")
        mount.end()
        make_mount(replace(MountOptions(), view=ViewOptions(read_only=True)))
        with pytest.raises(Failure, match="read-only"):
            machine.pending(retry=True)

    def test_export(self, machine: Machine, mount: Mount, lost: None) -> None:
        write_unseen(machine.memory, "/d/log", b"beginning")
        mount.fail_to_write("/d/f", b"first")
        mount.fail_to_write("/d/f", b"second")
        mount.fail_to_write("/d/log", b", end", append)
        out = machine.folder / "out"
        assert machine.pending(export=out) == 1
        found = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}
        assert found == {
            "d/f": b"first",
            "d/f.2": b"second",
            "d/log.incomplete": b"\0" * 9 + b", end",
        }
        assert "9 B missing" in machine.shown[-1]
        machine.pending(export=out, only=("/d/log",))
        assert (out / "d/log.incomplete.2").exists() and not (out / "d/f.3").exists()

    def test_export_follows_no_link(
        self, machine: Machine, mount: Mount, lost: None
    ) -> None:
        mount.fail_to_write("/f", b"x")
        out, elsewhere = machine.folder / "out", machine.folder / "elsewhere"
        out.mkdir()
        (out / "f").symlink_to(elsewhere)
        machine.pending(export=out)
        assert not elsewhere.exists() and (out / "f.2").read_bytes() == b"x"

    def test_export_to_where_nothing_can_be_made(
        self, machine: Machine, mount: Mount, lost: None
    ) -> None:
        mount.fail_to_write("/f", b"x")
        out = machine.folder / "out"
        out.touch()
        with pytest.raises(Failure, match="/f cannot be exported: .*Not a directory|File exists"):
            machine.pending(export=out)

    def test_attributes(self, machine: Machine, mount: Mount, lost: None) -> None:
        write_file(mount.fs, "/f", b"x")
        machine.plan.add(Fault("set_metadata", error=lambda: AccessDenied("not you")))
        mount.fs.chmod("/f", 0o600)
        assert machine.pending(retry=True) == 1
        assert machine.shown[-1].endswith("attributes of /f  not you")
        assert machine.pending(drop=("/f",)) == 0

    def test_all_of_several_mounts(
        self, machine: Machine, make_mount: MakeMount, lost: None
    ) -> None:
        one, two = make_mount(), make_mount(name="other")
        make_mount(name="third")
        one.fail_to_write("/f", b"one")
        two.fail_to_write("/g", b"two")
        two.end()
        assert machine.pending(everywhere=True, export=machine.folder / "out") == 1
        titles = [line for line in machine.shown if line.startswith("demo:/a on ")]
        assert titles == [
            f"demo:/a on {machine.where}",
            f"demo:/a on {machine.folder / 'other'}, not mounted",
        ]
        exported = {path.name for path in (machine.folder / "out").glob("*/*")}
        assert exported == {"f", "g"}
        assert machine.pending(everywhere=True, retry=True) == 1
        assert machine.shown[0] == "stored /f"
        assert "mount it" in machine.said[0] and machine.memory.files() == {"/f": b"one"}

    def test_a_mount_that_does_not_answer_has_written_down_what_is_pending(
        self, machine: Machine, mount: Mount, lost: None
    ) -> None:
        mount.fail_to_write("/f", b"one")
        mount.control.stop()
        assert machine.pending() == 1
        assert machine.shown[0] == f"demo:/a on {machine.where}"
        with pytest.raises(Failure, match="no mount process answers"):
            machine.pending(retry=True)


class TestPendingOfAMountThatDoesNotRun:
    def test_it_is_listed_and_can_be_dropped(
        self, machine: Machine, mount: Mount, lost: None
    ) -> None:
        mount.fail_to_write("/f", b"x")
        mount.fail_to_write("/g", b"x")
        mount.end()
        assert machine.pending() == 1
        assert machine.shown[0] == f"demo:/a on {machine.where}, not mounted"
        assert machine.pending(retry=True) == 1
        assert machine.memory.files() == {}
        assert machine.pending(drop=("/f",)) == 1
        assert machine.pending(drop=("/g",)) == 0
        assert list(mount.state.spool.iterdir()) == []

    def test_what_the_next_mount_will_finish(self, machine: Machine, mount: Mount) -> None:
        mount.end()
        journal = Journal(machine.state.journal)
        AttributeJournal(journal).note("/a", Attributes(mode=0o100600), 1.0)
        journal.put("renames", "/old", {"new": "/new"})
        journal.put("overwrites", "/o", {})
        journal.close()
        assert machine.pending() == 1
        lines = [line.partition("ago")[2].split("  ", 2)[1:] for line in machine.shown[1:]]
        assert [[cell.strip() for cell in line] for line in lines] == [
            ["attributes of /a", "not sent yet"],
            ["rename of /old", "to /new: the next mount does it"],
            ["metadata of /o", "to be put back: the next mount does it"],
        ]
        assert machine.pending(drop=("/a", "/old", "/o")) == 0

    def test_what_was_being_written_is_unfinished(
        self, machine: Machine, mount: Mount, make_mount: MakeMount
    ) -> None:
        (mount.state.spool / "abc.data").write_bytes(b"half of it")
        mount.end()
        assert machine.pending() == 1
        assert "unfinished" in machine.shown[1] and "10 B" in machine.shown[1]
        make_mount()
        out = machine.folder / "out"
        assert machine.pending(export=out, retry=True) == 1, "still, with a mount that runs"
        assert (out / "unfinished" / "abc").read_bytes() == b"half of it"
        assert machine.pending(drop=("abc",)) == 0
        assert not list(mount.state.folder.glob("left-*"))

    def test_a_mount_that_starts_meanwhile_is_not_disturbed(
        self,
        machine: Machine,
        mount: Mount,
        make_mount: MakeMount,
        lost: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        mount.fail_to_write("/f", b"x")
        mount.end()
        make_mount()
        with monkeypatch.context() as patched:
            patched.setattr(MountState, "is_alive", lambda _state: False)
            with pytest.raises(Failure, match="still busy"):
                machine.pending(drop=("/f",))
        assert machine.pending() == 1

    def test_nothing_was_ever_mounted(self, machine: Machine) -> None:
        with pytest.raises(Failure, match="nothing is known of a mount on"):
            machine.pending()
        assert machine.pending(everywhere=True) == 0

    def test_a_journal_that_cannot_be_read(self, machine: Machine, mount: Mount) -> None:
        mount.end()
        machine.state.journal.write_bytes(b"nonsense" * 1000)
        with pytest.raises(Failure, match="journal.sqlite cannot be read"):
            machine.pending()


class TestRefresh:
    def test_paths(
        self, machine: Machine, mount: Mount, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[str] = []
        monkeypatch.setattr(mount.fs, "refresh", seen.append)
        table = [mounts.Mounted("/", "ext4", "/dev/sda", None)]
        table.append(mounts.Mounted(machine.where, mounts.TYPE, "cosfs:demo", os.geteuid()))
        monkeypatch.setattr(mounts, "parse_table", lambda _text: table)
        link = machine.folder / "link"
        link.symlink_to(machine.where)
        deep = f"{machine.where}/d/f\udcff"
        for path in (machine.where, f"{machine.where}/", deep, f"{link}/x/../y", str(link)):
            before = machine.clock.monotonic()
            code = refresh.run(
                path, environ=machine.environ, home=machine.folder, clock=machine.clock
            )
            assert code == 0 and machine.clock.monotonic() == before + 1
        assert seen == ["/", "/", "/d/f\udcff", "/y", "/"]

    def test_elsewhere(self, machine: Machine) -> None:
        with pytest.raises(Failure, match="not in a mount of cosfs"):
            refresh.run(
                str(machine.folder),
                environ=machine.environ,
                home=machine.folder,
                clock=machine.clock,
            )

    def test_the_deepest_mount_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        table = [
            mounts.Mounted(point, kind, source, None)
            for point, kind, source in (
                ("/", "ext4", "root"),
                ("/m", mounts.TYPE, "below"),
                ("/m", mounts.TYPE, "outer"),
                ("/m/in", "tmpfs", "inner"),
            )
        ]
        monkeypatch.setattr(mounts, "parse_table", lambda _text: table)
        found = {path: mounts.holding(path) for path in ("/m", "/m/x", "/mm", "/m/in/x")}
        sources = {path: mount and mount.source for path, mount in found.items()}
        assert sources == {"/m": "outer", "/m/x": "outer", "/mm": None, "/m/in/x": None}


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("retry", {"names": "abc", "force": False}),
        ("retry", {"names": [1], "force": False}),
        ("drop", {"names": []}),
        ("drop", {"names": None}),
        ("refresh", {"path": "relative"}),
        ("refresh", {"path": 7}),
    ],
)
def test_questions_that_make_no_sense(
    mount: Mount, command: str, arguments: dict[str, Any]
) -> None:
    from cosfs.ask import AskFailed, ask

    with pytest.raises(AskFailed, match="names are|say what|a path begins"):
        ask(mount.state.folder, command, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["pending"],
        ["pending", "/mnt", "--all"],
        ["pending", "/mnt", "--force"],
        ["pending", "/mnt", "--only", "x"],
        ["pending", "--all", "--drop", "x"],
        ["refresh"],
        ["refresh", "/proc"],
        ["status", "/proc"],
    ],
)
def test_wrong_usage_is_one_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/nonexistent")
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("cosfs: ") and said.err.count("\n") == 1
