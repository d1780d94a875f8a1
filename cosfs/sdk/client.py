"""Owns ``CosClient``: the account, the settings and all methods together; must not know HTTP."""

from __future__ import annotations

from types import TracebackType

from cosfs.sdk.connection import Connection
from cosfs.sdk.downloads import DownloadMethods
from cosfs.sdk.files import FileMethods
from cosfs.sdk.folders import FolderMethods
from cosfs.sdk.settings import CosConfig, CredInfo
from cosfs.sdk.uploads import UploadMethods


class CosClient(FolderMethods, FileMethods, UploadMethods, DownloadMethods):
    """A client of the JSON API of COS for one account.

    Every method takes one request and answers with a dict: ``code``, 0 for success, ``message``,
    and ``data`` where there is something to tell. The server's answers are passed on as they came.
    Codes that are made here: -1 a parameter is bad and nothing was sent, -2 the server failed (HTTP
    5xx) and said nothing usable, -3 no answer was had or none that the protocol knows, 1 a download
    did not succeed. Methods raise ``TypeError`` for what is no request of theirs, and nothing else
    but what their description says.

    **Failures that pass.** A request that surely was not carried out, that only reads, or that the
    server was too busy for (-71), is sent up to four times in all, within ``timeout``. A change
    whose answer was lost is sent again too; if that is refused, or time runs out, the name is
    looked at, and the method answers 0 if the change is there. Such an answer was made here: it has
    no ``request_id``, ``message`` is ``SUCCESS``, and ``data`` is as documented for the method.

    Thread safety: any number of threads may use one client. Connections are opened when they are
    needed and kept; ``close`` or a ``with`` block closes them. Make it after a fork, not before.
    """

    def __init__(
        self, appid: int, secret_id: str, secret_key: str, region: str = "shanghai"
    ) -> None:
        """Make a client; nothing is sent, and the account is checked with every call.

        Raises:
            ValueError: ``region`` is ``None``.
        """
        self._cred = CredInfo(appid, secret_id, secret_key)
        self._config = CosConfig(region=region)
        self._connection = Connection()

    def set_config(self, config: CosConfig) -> None:
        """Take other settings from the next call on.

        Raises:
            TypeError: they are no ``CosConfig``.
        """
        if not isinstance(config, CosConfig):
            raise TypeError(f"this takes a CosConfig, not a {type(config).__name__}")
        self._config = config

    def get_config(self) -> CosConfig:
        """Return the settings; what is changed there works from the next call on."""
        return self._config

    def set_cred(self, cred: CredInfo) -> None:
        """Take another account from the next call on.

        Raises:
            TypeError: it is no ``CredInfo``.
        """
        if not isinstance(cred, CredInfo):
            raise TypeError(f"this takes a CredInfo, not a {type(cred).__name__}")
        self._cred = cred

    def get_cred(self) -> CredInfo:
        """Return the account."""
        return self._cred

    def close(self) -> None:
        """Close the connections that are not in use; the client can be used on."""
        self._connection.close()

    def __enter__(self) -> CosClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
