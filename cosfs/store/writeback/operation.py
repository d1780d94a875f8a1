"""Owns one change that waits: what it is, and its spelling in the journal; must not know order."""

from __future__ import annotations

import base64
import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from cosfs import paths
from cosfs.errors import CosfsError
from cosfs.model import Attributes, Base, Entry
from cosfs.model import Kind as EntryKind
from cosfs.model import Metadata, Scope


class Kind(enum.Enum):
    """What a change does."""

    WRITE = "write"
    MOVE = "move"
    DELETE = "delete"
    #: Of a file, or of a folder and its mark.
    SET = "set"
    MAKE = "make"
    MARK = "mark"
    REMOVE = "remove"


class State(enum.Enum):
    """What becomes of a change."""

    WAITING = "waiting"
    #: A worker is making it.
    STARTED = "started"
    #: The server refused it: it is kept until somebody decides.
    FAILED = "failed"
    #: Made, folded or dropped: it waits no more.
    GONE = "gone"


@dataclass(eq=False)
class Operation:
    """One change.

    ``entry`` is what a write makes of its path, or what was known of it before metadata is set;
    ``metadata`` is what is to stand beside it. ``content`` names the local file of a write.
    ``exclusive``: nothing may be there (of a move: at ``new``). ``base`` is what the caller
    believed to be at ``path``. ``since`` is when its caller asked for it, in Unix seconds.
    """

    kind: Kind
    path: str
    new: str = ""
    entry: Entry | None = None
    metadata: Metadata = field(default_factory=Metadata)
    content: str = ""
    exclusive: bool = False
    marked: bool = False
    base: Base | None = None
    since: float = 0.0
    seq: int = 0
    state: State = State.WAITING
    #: Why the server refused it, and whether it did as somebody else's version is there.
    refusal: str = ""
    is_conflict: bool = False
    # What the journal does not hold.
    #: Whether it may have been made already: it was begun once, maybe by a mount that died.
    is_tried: bool = False
    is_replayed: bool = False
    #: Somebody waits for it: it is not held back.
    is_pressed: bool = False
    #: A program that waited for it was told that it was refused.
    is_told: bool = False
    due: float = 0.0
    error: CosfsError | None = None
    waits_for: set[Operation] = field(default_factory=set)
    awaited_by: set[Operation] = field(default_factory=set)
    #: What took its place.
    successor: Operation | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path, self.new) if self.kind is Kind.MOVE else (self.path,)

    def touches(self, path: str, scope: Scope) -> bool:
        """Tell whether one of its paths is ``path``, or what the scope includes."""
        return any(
            one == path
            or (scope is Scope.FOLDER and paths.parent(one) == path)
            or (scope is Scope.TREE and paths.is_inside(one, path))
            for one in self.paths
        )

    @property
    def covers_below(self) -> bool:
        """Whether what is done below its path waits for it.

        A folder's metadata may make its mark, before which no name in it may have attributes.
        """
        if self.kind is Kind.SET:
            return self.entry is not None and self.entry.is_folder
        return self.kind in (Kind.MAKE, Kind.MARK, Kind.REMOVE)

    @property
    def size(self) -> int:
        """The bytes that it sends."""
        return self.entry.size if self.kind is Kind.WRITE and self.entry is not None else 0

    @property
    def is_new(self) -> bool:
        """Whether its caller believed that nothing was at ``path``."""
        return self.base is not None and self.base.entry is None

    @property
    def is_open_to_change(self) -> bool:
        """Whether it was surely not made: it may be folded."""
        return self.state is State.FAILED or (self.state is State.WAITING and not self.is_tried)

    def to_record(self) -> str:
        """Return it as the journal's text."""
        return json.dumps(
            {
                "kind": self.kind.value,
                "path": self.path,
                "new": self.new,
                "entry": _entry_to_json(self.entry),
                "metadata": _metadata_to_json(self.metadata),
                "content": self.content,
                "exclusive": self.exclusive,
                "marked": self.marked,
                "base": None
                if self.base is None
                else [_entry_to_json(self.base.entry), self.base.is_needed],
                "since": self.since,
                "failed": self.state is State.FAILED,
                "refusal": self.refusal,
                "is_conflict": self.is_conflict,
            }
        )

    @classmethod
    def of_record(cls, seq: int, text: str) -> Operation:
        """Return what ``to_record`` wrote, as a mount before this one left it."""
        record = json.loads(text)
        base = record["base"]
        return cls(
            kind=Kind(record["kind"]),
            path=record["path"],
            new=record["new"],
            entry=_entry_of(record["entry"]),
            metadata=_metadata_of(record["metadata"]),
            content=record["content"],
            exclusive=record["exclusive"],
            marked=record["marked"],
            base=None if base is None else Base(_entry_of(base[0]), base[1]),
            since=record["since"],
            seq=seq,
            state=State.FAILED if record["failed"] else State.WAITING,
            refusal=record["refusal"],
            is_conflict=record["is_conflict"],
            is_tried=True,
            is_replayed=True,
        )


def _metadata_to_json(metadata: Metadata) -> dict[str, Any]:
    return {
        "properties": _bytes_to_json(metadata.properties),
        "attributes": {
            name: value
            for name in Attributes.__slots__
            if (value := getattr(metadata.attributes, name)) is not None
        },
    }


def _metadata_of(record: Mapping[str, Any]) -> Metadata:
    properties = {name: base64.b64decode(text) for name, text in record["properties"].items()}
    return Metadata(MappingProxyType(properties), attributes=Attributes(**record["attributes"]))


def _bytes_to_json(values: Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(value).decode("ascii") for name, value in values.items()}


def _entry_to_json(entry: Entry | None) -> list[Any] | None:
    if entry is None:
        return None
    metadata = None if entry.metadata is None else _metadata_to_json(entry.metadata)
    return [
        entry.kind.value,
        entry.size,
        entry.mtime_ns,
        entry.ctime_ns,
        entry.digest,
        entry.implied,
        metadata,
    ]


def _entry_of(record: list[Any] | None) -> Entry | None:
    if record is None:
        return None
    kind, size, mtime_ns, ctime_ns, digest, implied, metadata = record
    return Entry(
        EntryKind(kind),
        size,
        mtime_ns,
        ctime_ns,
        digest,
        implied,
        None if metadata is None else _metadata_of(metadata),
    )
