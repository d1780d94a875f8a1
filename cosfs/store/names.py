"""Owns how the names of a path are spelt as a key of the JSON store; must not know the server.

Clients of the JSON API refuse ``? * : | \\ < > "``, control characters and outer blanks in a key,
and JSON carries text alone, while a Linux name is any bytes but ``/`` and NUL. So such characters
travel as substitutes, and ``‛`` (U+201B, written Q here) quotes what would be taken for one:

=========================================  ==========================  ==========================
name                                       key                         example
=========================================  ==========================  ==========================
a raw character                            its substitute              ``a?`` - ``a？``
n times Q, a substitute                    n + 1 times Q, the same     ``a？`` - ``a‛？``
n + 1 times Q, a raw character             n times Q, the same         ``a‛?`` - ``a?``
n times Q, a byte that is not UTF-8        2n + 1 times Q, two digits  ``\\xff`` - ``‛FF``
n times Q (n > 0), two digits of a byte    2n times Q, the same        ``‛FF`` - ``‛‛FF``
anything else, Q included                  the same                    ``a‛b`` - ``a‛b``
=========================================  ==========================  ==========================

The third row shows the key of another tool that holds such a character raw. Digits are ``80`` to
``FF``, upper case. Each row pairs its left column with its right column one to one, and the right
columns are disjoint as the left ones are, so the spelling is a bijection: name -> key -> name and
key -> name -> key are identities. A run of Q belongs to what follows it, and nothing but the end
of a name leaves a run without: so the pieces of a name are spelt one by one.

A space is a raw character (substitute U+2420) only when it, with the run of Q before it, begins or
ends the name; the piece of the key begins or ends the key likewise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from cosfs import paths
from cosfs.errors import ConfigError, InvalidName, NameTooLong

#: The longest key in bytes of UTF-8 (reference 6.1).
KEY_MAX = 850

#: Names that stores keep for themselves: one in any folder, one at the root.
MARKER_NAME = ".cosfs"
WORK_FOLDER = ".cosfs-work"

QUOTE = "\u201b"

_SPACE, _SPACE_SIGN = " ", "\u2420"
_CONTROLS = {chr(code): chr(0x2400 + code) for code in range(1, 0x20)} | {"\x7f": "\u2421"}
#: What clients of the JSON API refuse (reference 5.4), with the full-width forms.
_REFUSED = {char: chr(ord(char) + 0xFEE0) for char in '?*:|\\<>"'}

_BYTES = "\udc80-\udcff"
_DIGITS = "[89A-F][0-9A-F]"
_IN_NO_SEGMENT = re.compile(r"[\0/\ud800-\udfff]")


class NameRules:
    """One way to spell names: ``portable`` or ``raw``. Immutable."""

    def __init__(self, label: str, substitutes: Mapping[str, str], *, outer_spaces: bool) -> None:
        self.label = label
        both = "".join(re.escape(char) for pair in substitutes.items() for char in pair)
        odd = f"[{both}{QUOTE}/\0\ud800-\udfff]"
        pieces = [f"{QUOTE}*[{both}{_BYTES}]", f"{QUOTE}+{_DIGITS}"]
        # What the rest of a name could change the spelling of: see safe_prefix.
        open_end = f"{QUOTE}*(?:{QUOTE}[89A-F])?"
        if outer_spaces:
            space = f"[{_SPACE}{_SPACE_SIGN}]"
            odd += rf"|\A{space}|{space}\Z"
            pieces += [rf"\A{QUOTE}*{space}", rf"{QUOTE}*{space}\Z"]
            open_end = f"[{QUOTE}{_SPACE}{_SPACE_SIGN}]*(?:{QUOTE}[89A-F])?"
            substitutes = {**substitutes, _SPACE: _SPACE_SIGN}
        self._odd = re.compile(odd)
        self._piece = re.compile("|".join(pieces))
        self._open_end = re.compile(rf"(?:{open_end})\Z")
        self._substitute = dict(substitutes)
        self._raw = {sign: char for char, sign in substitutes.items()}

    def __repr__(self) -> str:
        return f"NameRules({self.label!r})"

    def to_segment(self, name: str) -> str:
        """Return the part of a key that stands for ``name``.

        Raises:
            InvalidName: no Linux file can have this name.
            NameTooLong: it has more than 255 bytes.
        """
        if self._is_usual(name):
            return name
        _check_name(name)
        return self._piece.sub(self._spell, name)

    def to_name(self, segment: str) -> str | None:
        """Return the name that a part of a key is shown under; ``None`` if it cannot be a name."""
        if self._is_usual(segment):
            return segment
        if _IN_NO_SEGMENT.search(segment):
            return None
        name = self._piece.sub(self._show, segment)
        try:
            _check_name(name)
        except (InvalidName, NameTooLong):
            return None
        return name

    def safe_prefix(self, prefix: str) -> str:
        """Return a prefix of the segments of all names that begin with ``prefix``.

        It may match others too, as the end of ``prefix`` may be spelt otherwise once more follows.
        """
        closed = self._open_end.sub("", prefix, count=1)
        return self._piece.sub(self._spell, closed)

    def _is_usual(self, text: str) -> bool:
        """Tell quickly whether ``text`` is a name and a part of a key at once, as most are."""
        short = 0 < len(text) * 4 <= paths.NAME_MAX
        return short and not self._odd.search(text) and text not in (".", "..")

    def _spell(self, match: re.Match[str]) -> str:
        quotes, bare = _unquote(match)
        if bare in self._substitute:
            return QUOTE * (quotes - 1) + bare if quotes else self._substitute[bare]
        if bare in self._raw:
            return QUOTE * (quotes + 1) + bare
        if len(bare) == 2:
            return QUOTE * (2 * quotes) + bare
        return QUOTE * (2 * quotes + 1) + f"{ord(bare) - 0xDC00:02X}"

    def _show(self, match: re.Match[str]) -> str:
        quotes, bare = _unquote(match)
        if bare in self._raw:
            return QUOTE * (quotes - 1) + bare if quotes else self._raw[bare]
        if bare in self._substitute:
            return QUOTE * (quotes + 1) + bare
        if quotes % 2 == 0:
            return QUOTE * (quotes // 2) + bare
        return QUOTE * (quotes // 2) + chr(0xDC00 + int(bare, 16))


def _unquote(match: re.Match[str]) -> tuple[int, str]:
    bare = match[0].lstrip(QUOTE)
    return len(match[0]) - len(bare), bare


def _check_name(name: str) -> None:
    """Refuse what no directory of Linux can hold, spelt as ``os.fsdecode`` would spell it."""
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise InvalidName(name)
    try:
        encoded = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidName(name) from None
    # Escaped bytes that together are UTF-8 after all would be another spelling of the same name.
    if encoded.decode("utf-8", "surrogateescape") != name:
        raise InvalidName(name)
    if len(encoded) > paths.NAME_MAX:
        raise NameTooLong(name)


#: What other clients of the JSON API can use too.
PORTABLE = NameRules("portable", {**_REFUSED, **_CONTROLS}, outer_spaces=True)
#: Only what cannot travel is substituted: the real server takes the rest (reference 6.1).
RAW = NameRules("raw", _CONTROLS, outer_spaces=False)


def rules_of(option: str) -> NameRules:
    """Return the rules that the mount option ``names=`` asks for. Raises ``ConfigError``."""
    for rules in (PORTABLE, RAW):
        if rules.label == option:
            return rules
    raise ConfigError(f"names must be portable or raw, not {option!r}")


def is_reserved(name: str, *, at_root: bool) -> bool:
    """Tell whether ``name`` is one that stores keep for themselves and do not show."""
    return name == MARKER_NAME or (at_root and name == WORK_FOLDER)


class KeySpace:
    """The keys of the paths below one prefix of a bucket. Immutable.

    ``prefix`` is itself a key, as the server spells it; slashes at its ends do not matter.
    """

    def __init__(self, prefix: str, rules: NameRules) -> None:
        bare = prefix.strip("/")
        self.root = f"{bare}/" if bare else ""
        self.rules = rules

    def file(self, path: str) -> str:
        """Return the key of the file at ``path``. Raises ``InvalidName``, ``NameTooLong``."""
        return self._checked(path, self._joined(path))

    def folder(self, path: str) -> str:
        """Return the key of the folder at ``path``; "" for the root of the bucket."""
        if path == paths.ROOT:
            return self.root
        return self._checked(path, self._joined(path) + "/")

    def mark(self, path: str) -> str:
        """Return the key of the mark of the folder at ``path``."""
        return self._checked(path, f"{self.folder(path)}{MARKER_NAME}/")

    def _joined(self, path: str) -> str:
        if not path.startswith("/") or path == paths.ROOT:
            raise InvalidName(path)
        try:
            return self.root + "/".join(map(self.rules.to_segment, paths.parts(path)))
        except InvalidName:
            raise InvalidName(path) from None
        except NameTooLong:
            raise NameTooLong(path, hint=f"a name has at most {paths.NAME_MAX} bytes") from None

    def _checked(self, path: str, key: str) -> str:
        if len(key) * 4 > KEY_MAX and len(key.encode()) > KEY_MAX:
            raise NameTooLong(path, hint=f"its key would have over {KEY_MAX} bytes")
        return key
