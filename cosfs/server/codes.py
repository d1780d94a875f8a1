"""The codes the server answers with.

Owns the numbers, their symbolic names and their HTTP statuses, and the one exception that carries
them; must not know requests, files or the index.

Source: sections 2.5, 4 and 6.5 of the protocol notes. A name is empty where no source gives one:
the envelope then carries the detail of the refusal, and clients never look at it.
"""

from typing import NamedTuple


class Code(NamedTuple):
    """One row of the code table."""

    number: int
    status: int
    name: str = ""


# Signatures (2.5).
SIGN_EMPTY = Code(-81, 403, "ERROR_PROXY_AUTH_SIGN_EMPTY")
SIGN_MALFORMED = Code(-5998, 403, "ERROR_CGI_AUTHORIZATION")
SIGN_APPID_DIFFERS = Code(-70, 403, "ERROR_PROXY_APPID_USERID_NOTMATCH")
SIGN_APPID_UNSERVED = Code(-62, 403, "ERROR_PROXY_AUTH_APPID")
SIGN_SECRET_ID_UNKNOWN = Code(-47, 403)
SIGN_WRONG = Code(-97, 403, "ERROR_PROXY_AUTH_FAILED")
SIGN_BUCKET_DIFFERS = Code(-61, 403, "ERROR_PROXY_SIGN_BUCKET_NOTMATCH")
SIGN_EXPIRED = Code(-96, 403, "ERROR_PROXY_AUTH_EXPIRED")
SIGN_EXPIRED_NEWEST = Code(-59, 403)
SIGN_ONCE_WITHOUT_FILE = Code(-76, 403, "ERROR_PROXY_AUTH_ONCESIGN_NOFILEID")
SIGN_FILE_DIFFERS = Code(-63, 403, "ERROR_PROXY_FILEID_NOTMATCH")
SIGN_REPLAYED = Code(-77, 403, "ERROR_PROXY_AUTH_REPLAY_ATTACH")
SIGN_KIND = Code(-75, 403, "ERROR_PROXY_AUTH_UNSUPPORTED_OP")
SIGN_EXPIRY_EMPTY = Code(-74, 403, "ERROR_PROXY_AUTH_MULTISIGN_EXPIREDEMPTY")

# The request itself (3.0).
NO_OP = Code(-5980, 400)
UNKNOWN_OP = Code(-5972, 400, "ERROR_CGI_UNSUPPORTED_METHOD")
BAD_JSON = Code(-5975, 400)
BAD_METHOD = Code(-5996, 400)
BAD_FORM = Code(-5993, 400)
BAD_URL = Code(-5994, 400)
BAD_PARAMETER = Code(-5999, 400)
BODY_TOO_LARGE = Code(-5995, 413)
TOO_MANY_REQUESTS = Code(-71, 503, "ERROR_PROXY_FREQ_CONTROL")
UNKNOWN_FAILURE = Code(-9999, 500)

# Paths.
PATH_NOT_UTF8 = Code(-147, 400)
PATH_SURPLUS_SLASH = Code(-160, 400)
PATH_WITHOUT_SLASH = Code(-161, 400)
PATH_INVALID = Code(-180, 400)
PATH_TOO_LONG = Code(-199, 400)

# Buckets, folders, listings.
NO_BUCKET = Code(-133, 404, "ERROR_CMD_BUCKET_NOTEXIST")
FOLDER_EXISTS = Code(-178, 409, "ERROR_CMD_COS_PATH_CONFLICT")
FOLDER_NOT_EMPTY = Code(-173, 409, "ERROR_CMD_COS_DIR_NOT_EMPTY")
LIST_NUM_TOO_SMALL = Code(-157, 400, "ERROR_CMD_COS_MIN_NUM")
LIST_NUM_TOO_LARGE = Code(-165, 400, "ERROR_CMD_COS_MAX_NUM")
LIST_NUM_INVALID = Code(-170, 400, "ERROR_CMD_COS_INVALID_LIST_NUM")

# Files.
NO_FILE = Code(-197, 404, "ERROR_CMD_FILE_NOTEXIST")
FILE_EXISTS = Code(-177, 409, "ERROR_CMD_COS_FILE_EXIST")
SAME_FILE_EXISTS = Code(-4018, 409, "ERROR_SAME_FILE_UPLOAD")
ACROSS_BUCKETS = Code(-5973, 400)
WRITE_FORBIDDEN = Code(-289, 403)
STORAGE_ERROR = Code(-181, 500)

# Uploads.
NO_CONTENT = Code(-5990, 400, "MISSING_FILECONTENT")
FILE_TOO_LARGE = Code(-285, 413, "FILE_TOO_LARGE")
INVALID_SHA = Code(-168, 400)
SHA_DIFFERS = Code(-4016, 409)
UNFINISHED_SAME_SHA = Code(-4019, 409, "_ERROR_FILE_NOT_FINISH_UPLOAD")
UNFINISHED_OTHER_SHA = Code(-4020, 409)
NO_FILESIZE = Code(-5971, 400)
NO_SHA = Code(-5979, 400)
WRONG_SLICE_SIZE = Code(-284, 400, "WRONG_SLICE_SIZE")
BAD_UPLOADPARTS = Code(-5965, 400)
BAD_SESSION = Code(-286, 400)
BAD_OFFSET = Code(-4005, 400)
SLICE_TOO_LONG = Code(-5991, 413)
SLICE_TOO_SHORT = Code(-283, 400)
FILESIZE_DIFFERS = Code(-175, 400)
FINISH_WITHOUT_SHA = Code(-29094, 400)

# Downloads (4.6); the statuses are what clients may rely on.
DOWNLOAD_NO_FILE = Code(-46628, 404)
DOWNLOAD_REFUSED = Code(-46618, 403)
DOWNLOAD_EXPIRED = Code(-46619, 403)
DOWNLOAD_UNFINISHED = Code(-46614, 404)
DOWNLOAD_NO_BUCKET = Code(-46152, 404)
DOWNLOAD_NO_APPID = Code(-46154, 403)
DOWNLOAD_BAD_RANGE = Code(-29033, 416)
DOWNLOAD_BAD_METHOD = Code(-5996, 405)


class Refusal(Exception):
    """A request that is answered with a code instead of a result.

    Args:
        code: the row of the table above.
        detail: for the log and for people; never holds a secret or a whole signature.
    """

    def __init__(self, code: Code, detail: str = "") -> None:
        super().__init__(f"{code.number} {detail or code.name}")
        self.code = code
        self.detail = detail

    @property
    def message(self) -> str:
        """The text of the envelope: the symbolic name, or the detail where there is no name."""
        return self.code.name or self.detail or "ERROR"
