"""Owns the exit codes and how a failure becomes one sentence; must not know what was tried."""

from __future__ import annotations

import enum

from cosfs.config import CredentialsError
from cosfs.errors import (
    AccessDenied,
    BadCredentials,
    ConfigError,
    CosfsError,
    FuseUnavailable,
    StoreError,
)


class ExitCode(enum.IntEnum):
    """What ``cosfs`` tells the shell."""

    OK = 0
    #: Not everything could be stored, something is pending or not cached, or a mount is busy.
    FAILED = 1
    #: The command line asks for what cannot be.
    USAGE = 2
    CREDENTIALS = 3
    #: The bucket does not exist, or the network does not lead to it.
    BUCKET_OR_NETWORK = 4
    FUSE = 5


class Failure(Exception):
    """A command ends here, with this code and this sentence for the user."""

    def __init__(self, code: ExitCode, sentence: str) -> None:
        self.code = code
        self.sentence = sentence
        super().__init__(sentence)


_CODES: tuple[tuple[type[CosfsError], ExitCode], ...] = (
    (CredentialsError, ExitCode.CREDENTIALS),
    (BadCredentials, ExitCode.CREDENTIALS),
    (AccessDenied, ExitCode.CREDENTIALS),
    (ConfigError, ExitCode.USAGE),
    (FuseUnavailable, ExitCode.FUSE),
    (StoreError, ExitCode.BUCKET_OR_NETWORK),
)


def failure_of(error: CosfsError, advice: str = "") -> Failure:
    """Return how a command ends that ``error`` stopped; ``advice`` is what the user may do."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)
    sentence = " ".join(str(error).split())
    return Failure(code, f"{sentence}: {advice}" if advice else sentence)
