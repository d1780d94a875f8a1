"""What a server may hold while programs make calls that are not all answered, and what it holds."""

from __future__ import annotations

import hashlib
import random
import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from cosfs.errors import NotFound
from cosfs.model import Attributes, Metadata
from cosfs.store.base import Store

#: A call, or a few that belong together: "op" says which, "path" whose; the rest goes with it.
Op = dict[str, Any]

FILE_MODE, FOLDER_MODE = 0o644, 0o755


@dataclass(frozen=True)
class Node:
    """One name: a file, a folder or a link, and what stands beside it."""

    kind: int
    mode: int
    data: bytes = field(default=b"", repr=False, compare=False)
    digest: str = ""
    uid: int = 0
    #: Only if it is stored.
    mtime_ns: int | None = None
    xattrs: Mapping[str, bytes] = field(default_factory=dict)

    def holding(self, data: bytes) -> Node:
        digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        return replace(self, data=data, digest=digest, mtime_ns=None)


#: What is in a folder, by path from there; the folder itself is "".
Tree = dict[str, Node]


def content(seed: int, size: int) -> bytes:
    """Return the bytes that ``seed`` stands for."""
    block = random.Random(seed).randbytes(min(size, 4096))
    return (block * (size // 4096 + 1))[:size]


def states(tree: Tree, op: Op) -> list[Tree]:
    """Return what an operation makes of ``tree`` step by step: first the tree as it was."""
    path, kind = op["path"], op["op"]
    if kind == "write":
        return _states_of_write(tree, op)
    if kind == "mkdir":
        made = Node(stat.S_IFDIR, FOLDER_MODE)
        # A folder's mode is sent after it.
        return [tree, {**tree, path: made}, {**tree, path: replace(made, mode=op["mode"])}]
    if kind == "symlink":
        return [tree, {**tree, path: Node(stat.S_IFLNK, 0o777).holding(op["target"].encode())}]
    if kind in ("unlink", "rmdir"):
        return [tree, {other: node for other, node in tree.items() if other != path}]
    if kind == "rename":
        return [tree, _renamed(tree, path, op["new"])]
    return [tree, {**tree, path: _changed(tree[path], op)}]


def _changed(node: Node, op: Op) -> Node:
    kind = op["op"]
    if kind == "truncate":
        return node.holding(node.data[: op["size"]].ljust(op["size"], b"\0"))
    if kind == "setxattr":
        return replace(node, xattrs={**node.xattrs, op["name"]: op["value"]})
    if kind == "removexattr":
        return replace(node, xattrs={k: v for k, v in node.xattrs.items() if k != op["name"]})
    key = {"chmod": "mode", "utime": "mtime_ns", "chown": "uid"}[kind]
    return replace(node, **{key: op[key]})


def _states_of_write(tree: Tree, op: Op) -> list[Tree]:
    path = op["path"]
    stored = tree.get(path)
    node = stored or Node(stat.S_IFREG, FILE_MODE)
    data = b"" if op["how"] == "w" else node.data
    at = len(data) if op["how"] == "a" else op["offset"]
    found = [tree]
    for number, piece in enumerate(op["pieces"]):
        new = content(*piece)
        data = data[:at].ljust(at, b"\0") + new + data[at + len(new) :]
        at += len(new)
        if op["sync"] and number == 0:
            node = stored = node.holding(data)
            found.append({**tree, path: stored})
    final = node.holding(data)
    for key in ("mode", "mtime_ns"):
        if key in op:
            final = replace(final, **{key: op[key]})
            if stored is not None:
                # What is stored already has it at once, whatever becomes of the new content.
                stored = replace(stored, **{key: op[key]})
            found.append(tree if stored is None else {**tree, path: stored})
    return [*found, {**tree, path: final}]


def _renamed(tree: Tree, old: str, new: str) -> Tree:
    moved = {path for path in tree if f"{path}/".startswith(f"{old}/")}
    stay = {path: node for path, node in tree.items() if path not in moved}
    return stay | {new + path[len(old) :]: tree[path] for path in moved}


def found_in(store: Store, folder: str, pool: ThreadPoolExecutor) -> Tree:
    """Return what the server holds in ``folder``, with attributes and metadata."""
    found = pool.map(lambda one: (one[0], _node(store, *one)), _walk(store, folder))
    return {path[len(folder) + 1 :]: node for path, node in found}


def _walk(store: Store, folder: str) -> Iterator[tuple[str, bool]]:
    yield folder, True
    cursor: str | None = ""
    while cursor is not None:
        page = store.list_page(folder, cursor=cursor)
        cursor = page.cursor
        for name, entry in page.entries.items():
            if entry.is_folder:
                yield from _walk(store, f"{folder}/{name}")
            else:
                yield f"{folder}/{name}", False


def _node(store: Store, path: str, is_folder: bool) -> Node:
    if is_folder:
        try:
            mark = store.stat_mark(path)
        except NotFound:
            mark = Metadata()
        return _with(Node(stat.S_IFDIR, FOLDER_MODE), mark.attributes, mark.properties)
    entry = store.stat_file(path)
    assert entry.metadata is not None
    attributes = entry.metadata.attributes
    kind = stat.S_IFREG if attributes.mode is None else stat.S_IFMT(attributes.mode)
    node = Node(kind, FILE_MODE, digest=entry.digest)
    return _with(node, attributes, entry.metadata.properties)


def _with(node: Node, given: Attributes, xattrs: Mapping[str, bytes]) -> Node:
    return replace(
        node,
        mode=node.mode if given.mode is None else stat.S_IMODE(given.mode),
        uid=given.uid or 0,
        mtime_ns=given.mtime_ns,
        xattrs=dict(xattrs),
    )


def differences(wanted: Tree, found: Tree) -> list[str]:
    """Return what is not as it should be, a line each; a time may be stored that nobody set."""
    lines = []
    for path in sorted(wanted.keys() | found.keys()):
        mine, theirs = wanted.get(path), found.get(path)
        if mine is not None and theirs is not None and mine.mtime_ns is None:
            mine = replace(mine, mtime_ns=theirs.mtime_ns)
        if mine != theirs:
            lines.append(f"{path!r}: wanted {mine}, found {theirs}")
    return lines
