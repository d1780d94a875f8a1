"""Owns SHA-1 with its inner state, to be read and to be set; must not know what is digested.

``hashlib`` hides the chaining state, so libcrypto is asked through ctypes: ``SHA1_Update`` at
hashlib's speed (about 1.9 GB/s), the lock of the interpreter released. Where libcrypto is missing,
has other structures or no SHA-1, ``available`` is false and nothing here is used.

The spelling of a state is the protocol's: reference 3.8; pinned by its vectors in
``tests/unit/test_digests.py``.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import struct
from collections.abc import Iterator

#: Bytes that SHA-1 digests at once: the state is whole only on such boundaries.
BLOCK_SIZE = 64


class _Context(ctypes.Structure):
    """``SHA_CTX`` of OpenSSL's sha.h: h0..h4, the length, one block of data, its fill."""

    _fields_ = [
        ("h", ctypes.c_uint * 5),
        ("length", ctypes.c_uint * 2),
        ("data", ctypes.c_uint * 16),
        ("num", ctypes.c_uint),
    ]


def available() -> bool:
    """Tell whether the inner state can be had on this machine."""
    return _library() is not None


class Sha1:
    """A SHA-1 that shows its state. Not thread-safe.

    Raises:
        RuntimeError: when made where ``available()`` is false.
    """

    def __init__(self, state: str = "", size: int = 0) -> None:
        """Begin, or go on after ``size`` bytes (whole blocks) with the ``inner_state`` of then."""
        library = _library()
        if library is None:
            raise RuntimeError("libcrypto's SHA-1 is not available")
        self._library = library
        self._context = _Context()
        self._size = size
        library.SHA1_Init(ctypes.byref(self._context))
        if state:
            self._context.h[:] = struct.unpack("<5I", bytes.fromhex(state))
            bits = size * 8
            self._context.length[:] = bits & 0xFFFFFFFF, bits >> 32

    def update(self, data: bytes) -> None:
        """Absorb ``data``."""
        self._library.SHA1_Update(ctypes.byref(self._context), data, len(data))
        self._size += len(data)

    def inner_state(self) -> str:
        """Return the state after all bytes up to now: h0..h4, each least significant byte first.

        Raises:
            ValueError: the bytes up to now are no multiple of ``BLOCK_SIZE``.
        """
        if self._size % BLOCK_SIZE:
            raise ValueError(f"{self._size} bytes are no whole blocks")
        return struct.pack("<5I", *self._context.h).hex()

    def hexdigest(self) -> str:
        """Return the ordinary digest of all bytes up to now; more may follow."""
        copy = _Context.from_buffer_copy(self._context)
        digest = ctypes.create_string_buffer(20)
        self._library.SHA1_Final(digest, ctypes.byref(copy))
        return digest.raw.hex()


@functools.cache
def _library() -> ctypes.CDLL | None:
    for name in _names():
        library = _load(name)
        if library is not None and _is_sound(library):
            return library
    return None


def _names() -> Iterator[str]:
    yield from ("libcrypto.so.3", "libcrypto.so.1.1", "libcrypto.so")
    found = ctypes.util.find_library("crypto")  # runs programs: last
    if found is not None:
        yield found


def _load(name: str) -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(name)
        context = ctypes.POINTER(_Context)
        library.SHA1_Init.argtypes = [context]
        library.SHA1_Update.argtypes = [context, ctypes.c_char_p, ctypes.c_size_t]
        library.SHA1_Final.argtypes = [ctypes.c_char_p, context]
    except (OSError, AttributeError):
        return None
    return library


def _is_sound(library: ctypes.CDLL) -> bool:
    """Tell whether the structure is laid out as assumed: by the state after one known block."""
    context = _Context()
    library.SHA1_Init(ctypes.byref(context))
    if list(context.h) != [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0]:
        return False
    library.SHA1_Update(ctypes.byref(context), b"a" * BLOCK_SIZE, BLOCK_SIZE)
    return struct.pack(">5I", *context.h).hex() == "da4968eb2e377c1f884e8f5283524bebe74ebdbd"
