"""Owns who asks and where: ``CredInfo`` and ``CosConfig``; must not know how questions are sent."""

from __future__ import annotations

from cosfs.config import REGION_ALIASES
from cosfs.sdk import checks

#: Path of the API below its host.
API_PATH = "/files/v2"

USER_AGENT = "cos-python-sdk-v4"


class CredInfo:
    """An account: appid, secret id and secret key."""

    def __init__(self, appid: int, secret_id: str, secret_key: str) -> None:
        """Remember them; they are checked when they are used."""
        self._appid = appid
        self._secret_id = secret_id
        self._secret_key = secret_key
        self._err_tips: str | None = None

    def get_appid(self) -> int:
        return self._appid

    def get_secret_id(self) -> str:
        return self._secret_id

    def get_secret_key(self) -> str:
        return self._secret_key

    def check_params_valid(self) -> bool:
        """Tell whether the types are right; ``get_err_tips`` says what is not."""
        problem = checks.integer("appid", self._appid)
        problem = problem or checks.text("secret_id", self._secret_id)
        self._err_tips = problem or checks.text("secret_key", self._secret_key)
        return self._err_tips is None

    def get_err_tips(self) -> str | None:
        """Return what the last ``check_params_valid`` found wrong, ``None`` if nothing."""
        return self._err_tips


class CosConfig:
    """Where the servers are and how long things may take.

    A client looks at it with every call: a change works from the next call on. Not to be changed
    by one thread while another one changes it.
    """

    def __init__(
        self,
        timeout: float | None = 300,
        sign_expired: int = 300,
        enable_https: bool = False,
        region: str | None = None,
        hostname: str | None = None,
        download_hostname: str | None = None,
        *,
        ca_file: str = "",
    ) -> None:
        """Remember the settings.

        Args:
            timeout: seconds that one call may spend without a byte moving, its repetitions
                included; ``None`` is a day.
            sign_expired: seconds that a signature is good for.
            enable_https: encrypt API calls and downloads.
            region: ``sh``, ``gz``, ``tj``, ``sgp``, their long names, or any other code. With it
                the host names are not looked at.
            hostname: of the API, with the port if need be.
            download_hostname: what follows ``<bucket>-<appid>.`` in the host of downloads. An
                address, or ``localhost``, is connected to as it is, as it has no names below it.
            ca_file: certificates to trust instead of the public ones.
        Raises:
            ValueError: neither a region nor both host names.
        """
        if region is not None:
            code = REGION_ALIASES.get(region, region)
            hostname, download_hostname = f"{code}.file.myqcloud.com", f"cos{code}.myqcloud.com"
        if not hostname or not download_hostname:
            raise ValueError(
                "region or [hostname, download_hostname] must be set,"
                " and region should be sh/gz/tj/sgp"
            )
        self._hostname = hostname
        self._download_hostname = download_hostname
        self._timeout = timeout
        self._sign_expired = sign_expired
        self._enable_https = enable_https
        self._ca_file = ca_file

    def get_endpoint(self) -> str:
        """Return the URL that all API calls begin with: ``<scheme>://<host>/files/v2``."""
        return f"{self.get_scheme()}://{self._hostname}{API_PATH}"

    def get_download_hostname(self) -> str:
        return self._download_hostname

    def get_user_agent(self) -> str:
        return USER_AGENT

    def get_scheme(self) -> str:
        """Return ``http`` or ``https``."""
        return "https" if self._enable_https else "http"

    def get_ca_file(self) -> str:
        return self._ca_file

    def set_timeout(self, time_out: float) -> None:
        """Set the seconds a call may spend without progress.

        Raises:
            TypeError: it is no number.
        """
        if not isinstance(time_out, (int, float)):
            raise TypeError("time_out must be a number of seconds")
        self._timeout = time_out

    def get_timeout(self) -> float | None:
        return self._timeout

    def set_sign_expired(self, expired: int) -> None:
        """Set the seconds that a signature is good for.

        Raises:
            TypeError: it is no int.
        """
        if not isinstance(expired, int):
            raise TypeError("expired must be an int of seconds")
        self._sign_expired = expired

    def get_sign_expired(self) -> int:
        return self._sign_expired

    @property
    def enable_https(self) -> bool:
        return self._enable_https

    @enable_https.setter
    def enable_https(self, val: bool) -> None:
        self._enable_https = val
