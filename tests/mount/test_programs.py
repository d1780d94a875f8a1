"""Programs people use, on a real mount: they succeed, and all is there after a remount."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.bench import Bench, Mounted

COMMITS = 300

SHARED = "allow_other,umask=000"

#: Everything of a tree that a copy keeps. Folders have sizes of their own on each file system.
LIST_TREE = (
    "find . -mindepth 1 -type d -printf '%P %y %m %U %G %T@\\n' | sort;"
    " find . ! -type d -printf '%P %y %m %U %G %s %T@ %l\\n' | sort;"
    r" getfattr -Rhd -m '^user\.(note|bin)$' ."
)


@pytest.fixture(autouse=True)
def identity(bench: Bench) -> None:
    bench.environ |= {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "me", "GIT_AUTHOR_EMAIL": "me@here",
        "GIT_COMMITTER_NAME": "me", "GIT_COMMITTER_EMAIL": "me@here",
    }  # fmt: skip


@pytest.fixture
def source(bench: Bench) -> Path:
    """A small tree with everything that copies may lose."""
    top = bench.folder / "source"
    bench.sh(
        """
        mkdir -p source/sub/deep source/empty; cd source
        echo text > text; printf '#!/bin/sh\\n' > tool; chmod 755 tool
        head -c 300000 /dev/urandom > sub/binary; chmod 600 sub/binary; : > sub/nothing
        ln -s sub/binary link; ln -s nowhere sub/dangling; mkfifo sub/fifo
        chmod 2750 sub/deep; echo odd > 'sub/deep/a name: odd?'
        setfattr -n user.note -v hello text; setfattr -n user.bin -v 0x00ff tool
        [ "$(id -u)" != 0 ] || chown 1234:5678 tool
        find . -depth -exec touch -h -d '2021-02-03 04:05:06.123456789 UTC' {} +
        """
    )
    return top


def remounted(bench: Bench, mount: Mounted, *options: str) -> Mounted:
    """Unmount, so that nothing is known any more, and mount again in the same place."""
    mount.umount()
    done = bench.cosfs("mount", "demo", str(mount.path), *options)
    assert done.returncode == 0, done.stderr
    return mount


def history(bench: Bench) -> None:
    """Make a repository ``origin`` with many commits in no time."""
    lines = []
    for number in range(COMMITS):
        text = f"{number}\n" * 20
        lines += [
            "commit refs/heads/main", f"mark :{number + 1}",
            f"committer me <me@here> {1_600_000_000 + number} +0000", "data 1\nc",
            *([f"from :{number}"] if number else []),
            f"M 644 inline d{number % 7}/f{number % 40}", f"data {len(text)}\n{text}",
        ]  # fmt: skip
    subprocess.run(["git", "init", "-q", "-b", "main", bench.folder / "origin"], check=True)
    subprocess.run(
        ["git", "-C", bench.folder / "origin", "fast-import", "--quiet"],
        input="\n".join(lines).encode(),
        check=True,
    )


def test_git(bench: Bench, mounted: Mounted) -> None:
    history(bench)
    mounted.sh(
        """
        git clone -q --no-local ../origin repo; cd repo
        test "$(git rev-list --count HEAD)" = COMMITS
        git checkout -q -b topic HEAD~20; echo mine > mine; git add mine; git commit -qm mine
        git rebase -q main; git checkout -q main; git merge -q --ff-only topic
        git gc -q; git fsck --full 2>&1
        """.replace("COMMITS", str(COMMITS))
    )
    again = remounted(bench, mounted)
    assert again.sh(
        "cd repo; git fsck --full; git status --porcelain; git rev-list --count main; cat mine"
    ) == f"{COMMITS + 1}\nmine\n"
    assert again.sh("git -C repo log -1 --format=%s topic") == "mine\n"


def test_tar_out_and_in(bench: Bench, mounted: Mounted, source: Path) -> None:
    bench.sh("tar --xattrs --xattrs-include='user.*' -cpf source.tar source")
    mounted.sh("tar --xattrs --xattrs-include='user.*' -xpf ../source.tar")
    again = remounted(bench, mounted)
    assert again.sh("tar --compare -f ../source.tar") == ""
    assert bench.sh(LIST_TREE, cwd=mounted.path / "source") == bench.sh(LIST_TREE, cwd=source)
    again.sh("tar --xattrs --xattrs-include='user.*' -cpf ../back.tar source")
    assert bench.sh("tar --compare -f back.tar") == ""


def test_cp_a(bench: Bench, mounted: Mounted, source: Path) -> None:
    mounted.sh("cp -a ../source copied")
    again = remounted(bench, mounted)
    assert bench.sh(LIST_TREE, cwd=again.path / "copied") == bench.sh(LIST_TREE, cwd=source)
    bench.sh(f"diff -r --no-dereference -x fifo source {again.path}/copied")
    # And from the mount to the mount.
    again.sh("cp -a copied twice")
    assert bench.sh(LIST_TREE, cwd=again.path / "twice") == bench.sh(LIST_TREE, cwd=source)


def test_rsync(bench: Bench, mounted: Mounted, source: Path) -> None:
    mounted.sh("rsync -a ../source/ synced")
    again = remounted(bench, mounted)
    assert again.sh("rsync -ai ../source/ synced") == ""
    assert again.sh("rsync -ai --checksum ../source/ synced") == ""
    bench.sh("printf XX | dd of=source/sub/binary bs=1 seek=100000 conv=notrunc status=none")
    changed = again.sh("rsync -ai --inplace --no-whole-file ../source/ synced")
    assert changed.split()[1:] == ["sub/binary"]
    again = remounted(bench, again)
    assert again.sh("rsync -ai --checksum ../source/ synced") == ""


def test_vim_keeps_a_backup(bench: Bench, mounted: Mounted) -> None:
    mounted.sh("echo one > f; chmod 640 f")
    options = "set backup writebackup backupskip= backupcopy="
    for copies, text in (("no", "two"), ("yes", "three")):
        mounted.sh(f"vim.tiny -u NONE -es -c '{options}{copies}' -c '%s/.*/{text}/' -c wq f")
    again = remounted(bench, mounted)
    assert again.sh("cat f f~; stat -c %a f; ls -A") == "three\ntwo\n640\nf\nf~\n"


def test_make_rebuilds_what_changed(bench: Bench, mounted: Mounted) -> None:
    (mounted.path / "Makefile").write_text(
        "all: a.out b.out\n%.out: %.in\n\t@echo making $@\n\t@cp $< $@\n"
    )
    mounted.sh("touch -d '1 hour ago' a.in b.in")
    assert mounted.sh("make -s") == "making a.out\nmaking b.out\n"
    assert mounted.sh("make -s") == ""
    again = remounted(bench, mounted)
    assert again.sh("make -s") == ""
    assert again.sh("touch -d '1 hour' b.in; make -s; find . -newer a.out -name '*.in'") == (
        "making b.out\n./b.in\n"
    )


def test_a_virtual_environment(bench: Bench, mounted: Mounted) -> None:
    package = bench.folder / "package"
    package.mkdir()
    (package / "mine.py").write_text("ANSWER = 42\n")
    mounted.sh(f"{sys.executable} -m venv --without-pip env")
    folder = mounted.sh(
        "env/bin/python -c \"import sysconfig; print(sysconfig.get_path('purelib'))\""
    ).strip()
    # What pip does, without the network: the wheel's files and their record, compiled.
    mounted.sh(f"cp ../package/mine.py {folder}/; env/bin/python -m compileall -q {folder}")
    again = remounted(bench, mounted)
    script = "import mine; print(mine.ANSWER, mine.__cached__.startswith(mine.__file__[:-7]))"
    assert again.sh(f'env/bin/python -c "{script}"') == "42 True\n"


def test_files_by_size_and_time(bench: Bench, mounted: Mounted) -> None:
    mounted.sh(
        """
        touch -d '2020-01-02 03:04:05.5 UTC' old; : > new
        head -c 10000 /dev/zero > big; truncate -s 5000 big; truncate -s +100 big
        printf end | dd of=big bs=1 seek=6000 conv=notrunc status=none
        mkdir d; head -c 100000 /dev/zero > d/f
        """
    )
    again = remounted(bench, mounted)
    assert again.sh("find . -type f -newer old | sort") == "./big\n./d/f\n./new\n"
    assert again.sh("stat -c '%y' old").startswith("2020-01-02 03:04:05.500000000")
    assert again.sh("stat -c %s big; tail -c 3 big; du -sb --apparent-size d | cut -f1") == (
        "6003\nend100000\n"
    )
    assert again.sh("df --output=fstype . | tail -1; df -i . > ../df") == "fuse.cosfs\n"


def test_logs_that_are_rotated(bench: Bench, mounted: Mounted) -> None:
    mounted.sh(
        """
        exec 3>> log; echo one >&3; mv log log.1
        # As long as the program is not told, it goes on writing to the old file.
        echo two >&3; exec 3>> log; echo three >&3
        cp log log.2; : > log; echo four >&3; exec 3>&-
        """
    )
    again = remounted(bench, mounted)
    assert again.sh("head log log.1 log.2") == (
        "==> log <==\nfour\n\n==> log.1 <==\none\ntwo\n\n==> log.2 <==\nthree\n"
    )


SQLITE = """
import sqlite3, sys
mode, synchronous = sys.argv[1:]
db = sqlite3.connect(mode + ".db", isolation_level=None)
assert db.execute("PRAGMA journal_mode=" + mode).fetchone() == (mode,)
db.execute("PRAGMA synchronous=" + synchronous)
db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, text)")
for number in range(300):
    db.execute("BEGIN")
    db.execute("INSERT INTO t VALUES (?, ?)", (number, "x" * 100))
    db.execute("UPDATE t SET text = 'changed' WHERE n = ?", (number // 2,))
    db.execute("COMMIT")
db.close()
"""

CHECK = "PRAGMA integrity_check; SELECT count(*), sum(text = 'changed') FROM t"


# Every commit of a journal that is deleted or truncated is some requests, so the disk's sync is
# left out where it costs most; "wal" keeps its index in a shared mapping.
@pytest.mark.parametrize(
    ("mode", "synchronous"),
    [("delete", "OFF"), pytest.param("truncate", "OFF", marks=pytest.mark.long),
     pytest.param("persist", "OFF", marks=pytest.mark.long), ("memory", "OFF"),
     pytest.param("off", "OFF", marks=pytest.mark.long), ("wal", "NORMAL")],
)  # fmt: skip
def test_sqlite(bench: Bench, mounted: Mounted, mode: str, synchronous: str) -> None:
    (bench.folder / "script.py").write_text(SQLITE)
    mounted.sh(f"{sys.executable} ../script.py {mode} {synchronous}")
    again = remounted(bench, mounted)
    check = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1])\n" + "\n".join(
        f"print(*db.execute({part!r}).fetchone())" for part in CHECK.split("; ")
    )
    (bench.folder / "check.py").write_text(check)
    assert again.sh(f"{sys.executable} ../check.py {mode}.db") == "ok\n300 150\n"


@pytest.fixture
def shared(bench: Bench) -> Iterator[Mounted]:
    if os.geteuid() != 0:
        pytest.skip("only root can be other users")
    # Other users must reach the mount point.
    for folder in bench.folder.parents:
        if folder.stat().st_uid == os.geteuid() and folder.stat().st_mode & 0o001 == 0:
            folder.chmod(folder.stat().st_mode | 0o011)
    bench.folder.chmod(0o755)
    with bench.mounted(SHARED) as mount:
        yield mount


def test_two_users(bench: Bench, shared: Mounted) -> None:
    def as_user(uid: int, script: str) -> str:
        return shared.sh(f"setpriv --reuid {uid} --regid {uid} --clear-groups sh -euc '{script}'")

    as_user(1001, "umask 077; echo secret > mine; mkdir private; echo x > private/x")
    as_user(1001, "umask 022; mkdir public; echo hello > public/f")
    as_user(1002, "! cat mine 2>&1; ! ls private 2>&1; cat public/f")
    as_user(1002, "! touch public/mine 2>&1; ! chmod 777 public 2>&1; ! chown 1002 mine 2>&1")
    as_user(1002, "! setfattr -n user.a -v b public/f 2>&1; echo theirs > theirs")
    shared.sh("mkdir sticky; chmod 1777 sticky")
    as_user(1001, "echo x > sticky/of-1001")
    as_user(1002, "! rm -f sticky/of-1001 2>&1")
    again = remounted(bench, shared, "-o", SHARED)
    assert again.sh("stat -c '%n %u %g %a' mine private public/f theirs sticky") == (
        "mine 1001 1001 600\nprivate 1001 1001 700\npublic/f 1001 1001 644\n"
        "theirs 1002 1002 644\nsticky 0 0 1777\n"
    )
    as_user(1002, "! cat mine 2>&1; cat theirs")
