"""How often what happens, with which arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.vfs.machine.bench import IN_FOLDER, NONSENSE, THERE, USERS
from tests.vfs.machine.files import HOW

#: How often each thing happens beside the others, and what its arguments may be.
Rules = Mapping[str, tuple[int, Mapping[str, Sequence[Any]]]]

#: What mounts there are.
MOUNTS: Mapping[str, Sequence[Any]] = {
    "ttl_s": (60.0, 0.0),
    "lag_s": (0.0, 5.0),
    "page_size": (1000, 3),
    "excl": ("close", "open"),
}

SIZES = (0, 1, 3, 8, 9, 20)
WHO = range(len(USERS))
FEW = range(4)
#: Numbers of paths: for making names, for what needs one, and for both.
NEW = range(THERE.start + 2)
OLD = range(IN_FOLDER.stop - 4, THERE.stop + len(NONSENSE))
ANY = range(THERE.stop)

#: All that can happen.
RULES: Rules = {
    "mkdir": (6, {"path": NEW, "mode": FEW, "who": WHO}),
    "rmdir": (2, {"path": OLD}),
    "unlink": (4, {"path": OLD}),
    "symlink": (1, {"path": NEW, "who": WHO}),
    "mknod": (1, {"path": NEW, "mode": FEW, "who": WHO}),
    "rename": (7, {"path": OLD, "to": ANY}),
    "chmod": (4, {"path": OLD, "mode": FEW}),
    "chown": (2, {"path": OLD, "uid": range(3), "gid": range(3)}),
    "utimens": (3, {"path": OLD, "when": FEW}),
    "setxattr": (4, {"path": OLD, "name": range(3), "flag": range(3)}),
    "removexattr": (1, {"path": OLD, "name": range(3)}),
    "stat": (4, {"path": ANY}),
    "listdir": (4, {"path": OLD}),
    "readlink": (1, {"path": OLD}),
    "getxattrs": (2, {"path": OLD}),
    "read_file": (3, {"path": OLD}),
    "audit": (1, {}),
    "open": (16, {"path": ANY, "how": range(len(HOW)), "mode": FEW, "who": WHO}),
    "read": (4, {"fd": FEW, "offset": SIZES, "size": SIZES}),
    "write": (8, {"fd": FEW, "offset": SIZES, "size": SIZES}),
    "ftruncate": (3, {"fd": FEW, "length": SIZES}),
    "fstat": (3, {"fd": FEW, "by_handle": range(2)}),
    "fchmod": (2, {"fd": FEW, "mode": FEW}),
    "futimens": (2, {"fd": FEW, "when": FEW}),
    "fsetxattr": (2, {"fd": FEW, "name": range(3)}),
    "truncate": (2, {"path": OLD, "length": SIZES, "who": WHO}),
    "fsync": (3, {"fd": FEW}),
    "dup": (2, {"fd": FEW, "who": WHO}),
    "close": (8, {"fd": FEW, "holder": FEW, "thread": range(2)}),
    "write_after_close": (1, {"fd": FEW, "offset": SIZES, "size": SIZES}),
    "write_file": (8, {"path": ANY, "size": SIZES, "who": WHO}),
    "exit": (1, {"who": WHO}),
    "advance": (6, {"seconds": (0.25, 1.5, 4.0, 61.0)}),
    "send": (4, {}),
    "trouble": (5, {"changes": range(2), "nth": (1, 2, 3), "error": FEW, "lasting": (0, 0, 1)}),
    "lose_answer": (3, {"nth": (1, 2, 3)}),
    "write_elsewhere": (3, {"path": ANY}),
    "delete_elsewhere": (1, {"path": OLD}),
    "retry": (3, {"which": range(2)}),
    "kill_at": (2, {"changes": range(2), "nth": (1, 2, 3), "after": range(2), "again": FEW}),
    "remount": (1, {"offline": range(2)}),
    "kill": (1, {}),
}

#: With a store that makes changes later: so long at least.
MOUNTS_BEHIND: Mapping[str, Sequence[Any]] = {**MOUNTS, "delay_s": (0.0, 2.0)}
#: What happens there: nobody else changes anything.
RULES_BEHIND: Rules = {
    "make": (8, {"changes": (1, 2, 5, 1000)}),
    **{name: rule for name, rule in RULES.items() if not name.endswith("_elsewhere")},
}
