"""The arrows between the layers, as data; every import is held against them, wherever it stands.

Inside functions and under ``TYPE_CHECKING`` too: an arrow is an arrow.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "cosfs"

LEAVES = ("errors", "clock", "model", "paths", "config", "interrupts", "version", "digests")

#: Part -> what it may import of cosfs. A part is a module or a package; the longest name that fits
#: a module is its part (``*`` stands for any end), and a part may always import itself.
ARROWS: dict[str, tuple[str, ...]] = {
    "errors": (),
    "clock": (),
    "version": (),
    "model": ("errors",),
    "paths": ("errors",),
    "config": ("errors",),
    "sha1": (),
    "digests": ("errors", "model", "sha1"),
    "interrupts": ("errors",),
    # The protocol client knows no folders as a file system sees them.
    "jsonapi": LEAVES,
    "sdk": (*LEAVES, "jsonapi"),
    # The narrow interface, and its implementations that do not know each other.
    "store.base": LEAVES,
    "store": (*LEAVES, "store.base"),
    "store.json_*": (*LEAVES, "store.base", "store", "jsonapi"),
    # POSIX, without a protocol and without the binding.
    "vfs": (*LEAVES, "store.base"),
    # Translation.
    "fuse.errnos": ("errors",),
    "fuse": ("errors", "clock", "interrupts", "fuse.errnos", "vfs.filesystem", "vfs.types"),
    # The process around a mount.
    "mountopts": LEAVES,
    "exits": LEAVES,
    "logs": (),
    "mounts": LEAVES,
    "statedir": (*LEAVES, "vfs.types"),
    "daemon": ("exits",),
    "holders": (),
    "umount": (
        *LEAVES,
        "ask", "exits", "holders", "mounts", "statedir", "store.writeback.leftover", "units",
    ),
    # The socket of a running mount, which does not know what is asked, and asking it.
    "control": ("errors",),
    "ask": (*LEAVES, "control", "mounts", "statedir"),
    # What a mount answers is put together at the root; what a command does with it is its own.
    "answers": (
        *LEAVES,
        "control", "jsonapi.replies", "mountopts", "statedir",
        "store.writeback.leftover", "store.writeback.store", "vfs.filesystem", "vfs.types",
    ),
    "units": (),
    "status": ("ask", "clock", "exits", "mountopts", "mounts", "units"),
    "refresh": ("ask", "clock", "exits", "mounts", "status"),
    "flush": ("ask", "exits", "refresh", "status"),
    "warm": ("ask", "exits", "refresh", "status", "units"),
    "pending": (
        *LEAVES,
        "ask", "exits", "mounts", "statedir", "store.writeback.leftover", "units",
        "vfs.journal", "vfs.pending", "vfs.types",
    ),
    "mount": (
        *LEAVES,
        "answers", "control", "daemon", "exits", "fuse", "jsonapi.client", "jsonapi.replies",
        "logs", "mountopts", "mounts", "statedir",
        "store.base", "store.json_store", "store.names", "store.writeback", "units",
        "vfs.filesystem", "vfs.types",
    ),
    # The command line may start the local server, which is an island otherwise.
    "cli": (
        "clock", "errors", "exits", "version",
        "flush", "mount", "pending", "refresh", "server.command", "status", "umount", "warm",
    ),
    "__main__": ("cli",),
    "server": (),
    # The package itself shows what the SDK documents.
    "": (*LEAVES, "sdk"),
}  # fmt: skip

#: Library -> the parts that may import it.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "requests": ("jsonapi.transport",),
    "urllib3": ("jsonapi.transport",),
    "cachetools": ("vfs",),
    "fuse": ("fuse.binding", "fuse.callers", "fuse.pool"),
    "aiohttp": ("server",),
    # Clocks are injected; sleeping is the clock's business too.
    "time": ("clock", "server"),
    "datetime": ("jsonapi", "server", "units"),
    "argparse": ("cli", "server.command"),
    "subprocess": ("mounts", "server.running"),
}

#: Attribute -> the parts that may use it: what comes from outside comes in at one place.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "os.environ": ("cli", "server"),
    "os.getenv": (),
    "sys.argv": ("cli", "server"),
    "sys.exit": ("__main__", "server"),
    "logging.basicConfig": ("server",),
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, ast.parse(file.read_text(encoding="utf-8"), str(file))


MODULES = dict(modules())


def fits(name: str, part: str) -> bool:
    if part.endswith("*"):
        return name.startswith(part[:-1])
    return name == part or name.startswith(part + ".")


def part_of(name: str) -> str:
    return max((part for part in ARROWS if part and fits(name, part)), key=len, default="")


def imports(name: str, tree: ast.Module) -> Iterator[str]:
    """Yield what a module imports, ``from a import b`` as ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def as_module(imported: str) -> str | None:
    """Return the module of cosfs that ``imported`` is or is in; ``None`` if not of cosfs."""
    if imported != "cosfs" and not imported.startswith("cosfs."):
        return None
    name = imported.removeprefix("cosfs").removeprefix(".")
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def test_every_module_has_a_part() -> None:
    strangers = [name for name in MODULES if name and not part_of(name)]
    assert not strangers, "say in ARROWS what they may import"


@pytest.mark.parametrize("name", MODULES)
def test_arrows(name: str) -> None:
    part = part_of(name)
    for imported in imports(name, MODULES[name]):
        target = as_module(imported)
        if target is None:
            continue
        allowed = (part, *ARROWS[part])
        # An arrow to a whole part, or to one module of a part that is closed otherwise.
        assert part_of(target) in allowed or any(
            fits(target, other) for other in allowed if other not in ARROWS
        ), f"cosfs.{name} must not import {imported}"


@pytest.mark.parametrize("name", MODULES)
def test_libraries(name: str) -> None:
    for imported in imports(name, MODULES[name]):
        allowed = LIBRARIES.get(imported.split(".")[0])
        if allowed is not None:
            assert any(fits(name, part) for part in allowed), f"{name} must not import {imported}"


@pytest.mark.parametrize("name", MODULES)
def test_attributes(name: str) -> None:
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            allowed = ATTRIBUTES.get(f"{node.value.id}.{node.attr}")
            if allowed is not None:
                assert any(fits(name, part) for part in allowed), (
                    f"{name}:{node.lineno} must not use {node.value.id}.{node.attr}"
                )


@pytest.mark.parametrize("name", MODULES)
def test_the_command_line_alone_reaches_the_server_and_only_when_asked(name: str) -> None:
    if part_of(name) == "server":
        return
    tree = MODULES[name]
    at_top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    top = ast.Module(body=list(at_top), type_ignores=[])
    assert not [i for i in imports(name, top) if i.startswith("cosfs.server")]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_owns_and_is_not_long(name: str) -> None:
    tree = MODULES[name]
    text = ast.get_docstring(tree)
    assert text, f"{name} has no docstring"
    last = max((getattr(node, "end_lineno", 0) for node in tree.body), default=0)
    assert last <= 500, f"{name} has {last} lines"


def test_the_top_level() -> None:
    known = {"cosfs", "tests", "scripts", "setup.cfg", "setup.py", "README.md"}
    made = {"build", "dist", "cosfs.egg-info"}
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert found - made <= known
