"""Signatures.

Owns parsing and verifying them, rule by rule as section 2.5 of the protocol notes numbers them;
must not know HTTP or how spent signatures are remembered (it is handed functions for that).
"""

import base64
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from cosfs.server import codes
from cosfs.server.addresses import Target
from cosfs.server.codes import Refusal
from cosfs.server.switches import Switches

_DIGEST_SIZE = 20
_FIELDS = frozenset(b"a k e t r f b".split())
_DAY_S = 86400
_SLASHES = re.compile(rb"/{2,}")


@dataclass(frozen=True)
class Account:
    """The one account a server knows; the key never shows in a repr."""

    appid: str
    secret_id: str
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signature:
    """A parsed signature; nothing about it is verified yet."""

    digest: bytes
    plain: bytes
    appid: str
    secret_id: str
    expires: int
    signed_at: str
    file_id: bytes
    bucket: str

    @property
    def is_once(self) -> bool:
        """Whether it may be used a single time, for a single file."""
        return self.expires == 0

    def iter_file_ids(self) -> list[bytes]:
        """Decode `f` once and twice: PHP encodes it twice for move and copy (1.3)."""
        once = _SLASHES.sub(b"/", unquote_to_bytes(self.file_id))
        return [once, _SLASHES.sub(b"/", unquote_to_bytes(once))]


def parse_signature(text: str) -> Signature:
    """Parse rules 1 and 2: there is one, it is base64, every field is there.

    The order of the fields is free. Unknown fields are not.

    Raises:
        Refusal: -81, -5998, or -74 for an expiry that is empty.
    """
    if not text:
        raise Refusal(codes.SIGN_EMPTY, "the request has no signature")
    try:
        raw = base64.b64decode(text.replace(" ", "+"), validate=True)
    except ValueError:
        raise Refusal(codes.SIGN_MALFORMED, "the signature is not base64") from None
    digest, plain = raw[:_DIGEST_SIZE], raw[_DIGEST_SIZE:]
    fields: dict[bytes, bytes] = {}
    for piece in plain.split(b"&"):
        name, equals, value = piece.partition(b"=")
        if not equals or name in fields or name not in _FIELDS:
            raise Refusal(codes.SIGN_MALFORMED, "the signed text is not a=..&k=..&e=.. and so on")
        fields[name] = value
    if len(fields) != len(_FIELDS):
        raise Refusal(codes.SIGN_MALFORMED, "the signed text lacks a field")
    if not fields[b"e"]:
        raise Refusal(codes.SIGN_EXPIRY_EMPTY, "the expiry is empty")
    for name in (b"a", b"e", b"t", b"r"):
        if not fields[name].isdigit() or len(fields[name]) > 20:
            raise Refusal(codes.SIGN_MALFORMED, f"{name.decode()} is not a number")
    try:
        return Signature(
            digest=digest,
            plain=plain,
            appid=fields[b"a"].decode(),
            secret_id=fields[b"k"].decode(),
            expires=int(fields[b"e"]),
            signed_at=fields[b"t"].decode(),
            file_id=fields[b"f"],
            bucket=fields[b"b"].decode(),
        )
    except UnicodeDecodeError:
        raise Refusal(codes.SIGN_MALFORMED, "the signed text is not UTF-8") from None


class Verifier:
    """Checks rules 3 to 12. Rule 13 needs the operation: see `require_once`.

    Thread safety: as that of the functions it is given; it has no state of its own.
    """

    def __init__(
        self,
        account: Account,
        switches: Switches,
        has_bucket: Callable[[str], bool],
        spend: Callable[[bytes], bool],
    ) -> None:
        """Remember what to compare with.

        Args:
            has_bucket: tells whether a bucket exists.
            spend: remembers a single-use signature and tells whether it was new.
        """
        self._account = account
        self._key = account.secret_key.encode()
        self._switches = switches
        self._has_bucket = has_bucket
        self._spend = spend

    def verify(self, text: str, target: Target, now: float) -> Signature:
        """Verify a signature for a target; a single-use one is spent when all is right.

        Raises:
            Refusal: the code of the first rule that is broken, in the order of the notes.
        """
        signature = parse_signature(text)
        if signature.appid != target.appid:
            raise Refusal(codes.SIGN_APPID_DIFFERS, "signed for another appid")
        if signature.secret_id != self._account.secret_id:
            raise Refusal(codes.SIGN_SECRET_ID_UNKNOWN, "the secret id is not known here")
        digest = hmac.digest(self._key, signature.plain, "sha1")
        if not hmac.compare_digest(digest, signature.digest):
            raise Refusal(codes.SIGN_WRONG, f"wrong HMAC over {signature.plain!r}")
        if signature.appid != self._account.appid:
            raise Refusal(codes.SIGN_APPID_UNSERVED, "the appid is not served here")
        if target.kind != "buckets" and not self._has_bucket(target.bucket):
            raise Refusal(codes.NO_BUCKET, "no such bucket")
        if signature.bucket != target.bucket:
            raise Refusal(codes.SIGN_BUCKET_DIFFERS, "signed for another bucket")
        if signature.is_once:
            self._check_once(signature, target)
        else:
            self._check_multi(signature, target, now)
        return signature

    def _check_once(self, signature: Signature, target: Target) -> None:
        if not signature.file_id:
            raise Refusal(codes.SIGN_ONCE_WITHOUT_FILE, "a single-use signature names no file")
        if not any(file_id in _spellings(target) for file_id in signature.iter_file_ids()):
            raise Refusal(codes.SIGN_FILE_DIFFERS, f"signed for {signature.file_id!r}")
        if not self._spend(signature.digest + signature.plain) and not self._switches.accept_replay:
            raise Refusal(codes.SIGN_REPLAYED, "the single-use signature was used before")

    def _check_multi(self, signature: Signature, target: Target, now: float) -> None:
        expired = now > signature.expires
        days = self._switches.max_sign_days
        if days and signature.expires - int(signature.signed_at) > days * _DAY_S:
            expired = True
        if expired:
            newest = self._switches.expired_code_newest
            code = codes.SIGN_EXPIRED_NEWEST if newest else codes.SIGN_EXPIRED
            raise Refusal(code, f"expired at {signature.expires}")
        if not signature.file_id:
            return
        for file_id in signature.iter_file_ids():
            # By text, as 6.5 decides: /pic covers /pictures.
            if any(path.startswith(file_id) for path in _spellings(target)):
                return
        raise Refusal(codes.SIGN_FILE_DIFFERS, f"signed for {signature.file_id!r}")


def _spellings(target: Target) -> list[bytes]:
    """The texts `f` may be compared with: downloads are signed with the bare path, too."""
    full = target.full_path.encode()
    return [target.path.encode(), full] if target.kind == "download" else [full]
