"""SHA-1 with its inner state.

Owns the digest `uploadparts` needs: the chaining state after a whole number of blocks, which
hashlib does not give; must not know uploads.

Source: section 3.8 of the protocol notes; its vectors are tested. libcrypto's `SHA1_Update` through
ctypes is as fast as hashlib. Where libcrypto is missing the state is None, and whoever wanted to
verify it cannot: `HAS_STATES` tells.
"""

import ctypes
import hashlib
import logging
from typing import Protocol

logger = logging.getLogger(__name__)

_BLOCK = 64


class _Context(ctypes.Structure):
    """The `SHA_CTX` of libcrypto: state, length in bits, the rest of a block."""

    _fields_ = [
        ("state", ctypes.c_uint32 * 5),
        ("low", ctypes.c_uint32),
        ("high", ctypes.c_uint32),
        ("data", ctypes.c_uint32 * 16),
        ("count", ctypes.c_uint),
    ]


def _load() -> ctypes.CDLL | None:
    for name in ("libcrypto.so.3", "libcrypto.so.1.1", "libcrypto.so"):
        try:
            library = ctypes.CDLL(name)
            for function in (library.SHA1_Init, library.SHA1_Update, library.SHA1_Final):
                function.restype = ctypes.c_int
        except (OSError, AttributeError):
            continue
        library.SHA1_Update.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
        library.SHA1_Final.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
        library.SHA1_Init.argtypes = [ctypes.c_void_p]
        return library
    return None


_LIBRARY = _load()
HAS_STATES = _LIBRARY is not None


class Sha1(Protocol):
    """A running SHA-1. Not for several threads at once; `update` lets others run meanwhile."""

    def update(self, data: bytes) -> None:
        """Take in some bytes."""

    def state(self) -> str | None:
        """Return the state as `datasha` spells it, None when it cannot be had.

        Only right after a whole number of 64-byte blocks.
        """

    def hexdigest(self) -> str:
        """Return the ordinary digest of what was taken in so far."""


class _LibcryptoSha1:
    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._context = _Context()
        self._library.SHA1_Init(ctypes.byref(self._context))

    def update(self, data: bytes) -> None:
        self._library.SHA1_Update(ctypes.byref(self._context), data, len(data))

    def state(self) -> str | None:
        # Each word with its least significant byte first.
        return b"".join(word.to_bytes(4, "little") for word in self._context.state).hex()

    def hexdigest(self) -> str:
        copy = _Context.from_buffer_copy(self._context)
        digest = ctypes.create_string_buffer(20)
        self._library.SHA1_Final(digest, ctypes.byref(copy))
        return digest.raw.hex()


class _PlainSha1:
    def __init__(self) -> None:
        self._hash = hashlib.sha1(usedforsecurity=False)

    def update(self, data: bytes) -> None:
        self._hash.update(data)

    def state(self) -> str | None:
        return None

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def new_sha1(*, plain: bool = False) -> Sha1:
    """Return a new SHA-1; `plain` forces the one without states."""
    return _PlainSha1() if plain or _LIBRARY is None else _LibcryptoSha1(_LIBRARY)
