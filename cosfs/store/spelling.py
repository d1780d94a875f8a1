"""Owns how the metadata of one object stands on the server: properties and attributes together.

A **file** whose owner has set no ``biz_attr`` has its attributes there, as an envelope; once there
is a text of the owner, it stands plain and the attributes are in headers. Whoever reads takes both,
and where there is an envelope, headers do not count: an object of another tool may have them.

A **folder** has its ``biz_attr`` as its text. All else that it has is one document in the text of
its mark, a marker of its own that stands in the folder under a reserved name::

    {"cosfs":1,"mode":16877,"properties":{"comment":"a note","x-cos-meta-a":"1"}}

Names and values that are no text stand there in the form of ``properties``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

from cosfs.errors import AttributesTooLarge, InvalidArgument
from cosfs.model import Attributes, Metadata
from cosfs.store import attributes, properties
from cosfs.store.properties import BIZ_ATTR, BIZ_ATTR_MAX, Spelling


def spell(path: str, metadata: Metadata, *, nonce: str = "") -> Spelling:
    """Return how the server is to hold the metadata of a file, whatever its length.

    ``nonce`` goes into the envelope; where there is none, as there is a text of the owner, it is
    left out.

    Raises:
        InvalidArgument: a value cannot stand where it belongs.
    """
    spelling = properties.spell(path, metadata.properties)
    _check_range(path, metadata.attributes)
    if not spelling.biz_attr:
        return replace(spelling, biz_attr=attributes.to_envelope(metadata.attributes, nonce))
    headers = {**spelling.headers, **attributes.to_headers(metadata.attributes)}
    return replace(spelling, headers=headers)


def read(spelling: Spelling) -> Metadata:
    """Return the metadata that the server holds as ``spelling``, without facts. Never fails."""
    held = attributes.from_envelope(spelling.biz_attr)
    if held is None:
        held = attributes.from_headers(spelling.headers)
    return Metadata(MappingProxyType(properties.read(spelling)), None, held)


def has_envelope(spelling: Spelling) -> bool:
    """Tell whether the attributes of a file stand in its text."""
    return attributes.from_envelope(spelling.biz_attr) is not None


@dataclass(frozen=True, slots=True)
class FolderSpelling:
    """The metadata of one folder as the server holds it: its own text, and that of its mark."""

    text: str = ""
    mark: str = ""


def spell_folder(
    path: str, metadata: Metadata, known: Metadata | None = None
) -> FolderSpelling:
    """Return how the server is to hold the metadata of a folder.

    ``known`` is what it was seen to hold, which may be as long as it is.

    Raises:
        InvalidArgument: a name or an attribute cannot be.
        AttributesTooLarge: more than the server takes.
    """
    wanted = _spell_folder(path, metadata)
    held = FolderSpelling() if known is None else _spell_folder(path, known)
    for what, text, before in (
        (BIZ_ATTR, wanted.text, held.text),
        ("what a folder has beside biz_attr", wanted.mark, held.mark),
    ):
        length = properties.text_size(text)
        if length > max(BIZ_ATTR_MAX, properties.text_size(before)):
            raise AttributesTooLarge(path, hint=f"{what}: {length} bytes, {BIZ_ATTR_MAX} allowed")
    return wanted


def _spell_folder(path: str, metadata: Metadata) -> FolderSpelling:
    _check_range(path, metadata.attributes)
    fields: dict[str, object] = {**attributes.to_fields(metadata.attributes)}
    kept = properties.settled(metadata.properties)
    text = properties.to_plain(kept.pop(BIZ_ATTR, b""))
    named = {_name_to_text(path, name): properties.to_plain(kept[name]) for name in sorted(kept)}
    if named:
        fields["properties"] = named
    return FolderSpelling(text, attributes.to_json(fields))


def read_folder(text: str) -> Metadata:
    """Return what a folder with this text has, but for its mark. Never fails."""
    own = {BIZ_ATTR: properties.from_plain(text)} if text else {}
    return Metadata(MappingProxyType(own), MappingProxyType({}))


def read_mark(text: str) -> Metadata:
    """Return what a mark with this text holds; nothing if it is not ours. Never fails."""
    fields = attributes.from_json(text) or {}
    named = fields.get("properties")
    held = {}
    for name, value in named.items() if isinstance(named, dict) else ():
        raw = properties.from_plain(name)
        if raw and 0 not in raw and isinstance(value, str):
            held[raw.decode("utf-8", "surrogateescape")] = properties.from_plain(value)
    return Metadata(
        MappingProxyType(held), MappingProxyType({}), attributes.from_fields(fields)
    )


def held(path: str, metadata: Metadata, *, is_folder: bool = False) -> Metadata:
    """Return what is left of ``metadata`` once a server holds it, without facts.

    Raises:
        InvalidArgument: a value cannot be.
        AttributesTooLarge: more than a server takes where there was nothing before.
    """
    if is_folder:
        spell_folder(path, metadata)
        kept = properties.settled(metadata.properties)
    elif not metadata.properties:
        # Attributes alone always fit, and stay as they are.
        _check_range(path, metadata.attributes)
        kept = {}
    else:
        spelling = spell(path, metadata)
        properties.check_size(path, spelling)
        kept = properties.read(spelling)
    return Metadata(MappingProxyType(kept), attributes=metadata.attributes)


def split(metadata: Metadata) -> tuple[Metadata, Metadata]:
    """Return what a folder has itself, its ``biz_attr``, and what its mark has."""
    text = metadata.properties.get(BIZ_ATTR)
    own = Metadata().with_property(BIZ_ATTR, text)
    return own, metadata.with_property(BIZ_ATTR, None)


def _name_to_text(path: str, name: str) -> str:
    return properties.to_plain(properties.raw_name(path, name))


def _check_range(path: str, given: Attributes) -> None:
    if not _is_in_range(given):
        raise InvalidArgument(path, hint=f"no file can have {given}")


@lru_cache(maxsize=256)
def _is_in_range(given: Attributes) -> bool:
    return attributes.from_fields(attributes.to_fields(given)) == given
