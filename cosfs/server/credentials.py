"""Made-up credentials.

Owns making random ones once and keeping them in the data folder; must not know how they are used.
"""

import json
import os
import secrets
import string
from pathlib import Path

from cosfs.server.signatures import Account

_FILE = "credentials.json"
_LETTERS = string.ascii_letters + string.digits


def load_or_make_account(data_dir: Path) -> Account:
    """Return the account kept in a data folder; make one the first time (mode 0600).

    Raises:
        ValueError: the file is damaged.
    """
    path = data_dir / _FILE
    try:
        text = path.read_text()
    except FileNotFoundError:
        return _make(path)
    try:
        value = json.loads(text)
        return Account(value["appid"], value["secret_id"], value["secret_key"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is damaged; remove it to have new credentials made") from None


def _make(path: Path) -> Account:
    account = Account(
        appid=str(1250000000 + secrets.randbelow(50_000_000)),
        secret_id="AKID" + _random_text(32),
        secret_key=_random_text(32),
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    value = {
        "appid": account.appid,
        "secret_id": account.secret_id,
        "secret_key": account.secret_key,
    }
    hidden = path.with_name(f".{_FILE}.{os.getpid()}")
    fd = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "w") as stream:
        json.dump(value, stream)
    os.rename(hidden, path)
    return account


def _random_text(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))
