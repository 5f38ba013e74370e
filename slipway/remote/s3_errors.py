"""Translates errors of obstore into `StoreError`: which object, what is wrong, what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape

from slipway.errors import StoreError
from slipway.remote.address import Address
from slipway.remote.interface import Action
from slipway.remote.retries import TRANSIENT_STATUSES
from slipway.remote.s3_login import HOW_TO_LOG_IN

NO_SUCH_BUCKET = "<Code>NoSuchBucket</Code>"

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/security_iam_service-with-iam.html
_ACTIONS: dict[Action, str] = {
    "list": "s3:ListBucket",
    "read": "s3:GetObject",
    "write": "s3:PutObject",
    "delete": "s3:DeleteObject",
}
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList
_UNKNOWN_CALLER = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidIdentityToken",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
_FULL = {"QuotaExceeded", "StorageFull", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull"}
_WRONG_REGION = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
# What obstore says of a redirect to another region, which names no address.
_REDIRECT = "redirect without LOCATION"
# And of a listing with a name that it cannot read: `a//b`, `..`, control characters.
_WRONG_NAME = "object with invalid path"
_RENAME = "rename or remove it, or correct the URI"
# Where obstore looks last for credentials: the metadata of a machine on AWS.
_METADATA = "169.254.169.254"
# obstore's errors end in a dump of Rust's, the only place that has the reason of a failed connection.
_DUMP = "\n\nDebug source:"
_REASONS = re.compile(
    r'(?:message|error): "((?:[^"\\]|\\.)+)"|(InvalidCertificate\(.*?\)|InvalidMessage\(.*?\))', re.DOTALL
)


@contextmanager
def translated(action: Action, address: Address, name: str) -> Iterator[None]:
    """Turns errors of obstore in its block into `StoreError`; `name` is an object or folder below the address."""
    from obstore.exceptions import BaseError, PreconditionError

    what = f"{address.below(name)}: cannot {action}"
    try:
        yield
    except PreconditionError as error:
        raise StoreError(f"{what}: it was replaced meanwhile; run again") from error
    except OSError as error:
        if error.errno is not None or error.filename:
            raise StoreError(
                f"{what}: on this machine: {error}; make room, or correct the path or its permissions"
            ) from error
        bucket = f"there is no bucket {address.bucket!r}; create it"
        missing = "there is no such file" if action == "read" and NO_SUCH_BUCKET not in str(error) else bucket
        raise StoreError(f"{what}: {missing}, or correct the URI") from error
    except BaseError as error:
        raise StoreError(f"{what}{_explained(action, address, error)}") from error
    except ValueError as error:  # of names
        raise StoreError(f"{what}: {str(error).partition(chr(10))[0]}; {_RENAME}") from error


def may_pass(error: BaseException) -> bool:
    """Whether an error of obstore may be gone the next time: no answer, or one that says so."""
    from obstore.exceptions import AlreadyExistsError, GenericError

    if isinstance(error, AlreadyExistsError):  # so obstore calls each 409
        return "<Code>ConditionalRequestConflict</Code>" in str(error)
    if not isinstance(error, GenericError) or _REDIRECT in str(error) or _WRONG_NAME in str(error):
        return False
    return _status(error) is None or _status(error) in TRANSIENT_STATUSES


def _explained(action: Action, address: Address, error: Exception) -> str:
    """What an error says, and the fix, from the colon on."""
    code, message = _answer(error)
    text = str(error).partition(_DUMP)[0]
    if _WRONG_NAME in text:
        return f": {message}; {_RENAME}"
    if code == "RequestTimeTooSkewed":
        return f": the clock of this machine and that of the store differ too much: {message}. Set this one (NTP)"
    if _METADATA in text or code in _UNKNOWN_CALLER or _status(error) == 401:
        return f": no valid S3 credentials: {message}; {HOW_TO_LOG_IN}"
    if code == "NoSuchBucket" or (action == "list" and _status(error) == 404):
        return f": there is no bucket {address.bucket!r}; create it, or correct the URI"
    if code in _WRONG_REGION or _REDIRECT in text:
        return f": the bucket is in another region: {message}. Set AWS_REGION, or add ?region=… to the URI"
    if code in _FULL or _status(error) == 507:
        return f": the store is full: {message}. Make room, or raise the bucket's quota"
    if _status(error) == 403:
        return (
            f": the account lacks {_ACTIONS[action]}: {message}. Give it this action on the bucket {address.bucket}; "
            "docs/s3.md has them all"
        )
    if (_status(error) or 500) < 500 and _status(error) not in TRANSIENT_STATUSES:
        return f": the store refuses it: {message}; correct the URI or the store's settings"
    if "CaUsedAsEndEntity" in message:
        return (
            ": the store shows the certificate of a CA as its own, which TLS refuses here. Give it a certificate that "
            "the CA signed (basicConstraints CA:FALSE), and name the file of the CA in AWS_CA_BUNDLE"
        )
    if "InvalidCertificate" in message:
        return (
            f": the store's certificate is not trusted: {message}. Name the file of the CA that signed it in "
            "AWS_CA_BUNDLE"
        )
    return (
        f", tried for {address.retry_seconds:g} s: {message}. The store is down or out of reach; check the network, "
        "AWS_ENDPOINT_URL and the URI, then run again"
    )


def _status(error: BaseException) -> int | None:
    found = re.search(r"status code: (\d{3})", str(error))
    return int(found[1]) if found else None


def _answer(error: Exception) -> tuple[str, str]:
    """Code and message of S3's answer; without one, the reason why there is none."""
    text, _, dump = str(error).partition(_DUMP)
    code, message = (re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("Code", "Message"))
    if code:
        return code[1], f"{code[1]}: {unescape(message[1]) if message else ''}".rstrip(" .:")
    reasons = [" ".join((one or other).split()) for one, other in _REASONS.findall(dump)]
    last = text.rpartition(" - ")[2]
    return "", ": ".join([" ".join(last.split())[:500], *reasons]).rstrip(" .:")
