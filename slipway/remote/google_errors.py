"""Translates errors of google-cloud-storage into `StoreError`: which object, what is wrong, what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from slipway.errors import StoreError
from slipway.remote.address import Address
from slipway.remote.google_login import HOW_TO_LOG_IN
from slipway.remote.interface import Action

# https://cloud.google.com/storage/docs/access-control/iam-json; replacing an object also deletes one.
_PERMISSIONS: dict[Action, str] = {
    "list": "storage.objects.list",
    "read": "storage.objects.get",
    "write": "storage.objects.create or storage.objects.delete",
    "delete": "storage.objects.delete",
}
# Errors of a write to a local file, which name no file; those of opening one do.
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


@contextmanager
def translated(action: Action, address: Address, name: str) -> Iterator[None]:
    """Turns errors of the library in its block into `StoreError`; `name` is an object or folder below the address."""
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption

    what = f"{address.below(name)}: cannot {action}"
    try:
        yield
    except exceptions.NotFound as error:
        missing = "there is no such file" if action == "read" else f"there is no bucket {address.bucket!r}; create it"
        raise StoreError(f"{what}: {missing}, or correct the URI") from error
    except exceptions.PreconditionFailed as error:
        raise StoreError(f"{what}: it was replaced meanwhile; run again") from error
    except exceptions.Forbidden as error:
        raise StoreError(
            f"{what}: the account lacks {_PERMISSIONS[action]}: {_message(error)}. "
            f"Give it roles/storage.objectUser on the bucket {address.bucket}"
        ) from error
    except (exceptions.Unauthorized, GoogleAuthError) as error:
        raise StoreError(f"{what}: no valid Google credentials: {_message(error)}; {HOW_TO_LOG_IN}") from error
    except DataCorruption as error:
        raise StoreError(f"{what}: the received bytes differ from the stored ones: {error}; run again") from error
    except (exceptions.GoogleAPIError, OSError) as error:  # requests' errors are OSErrors
        if isinstance(error, OSError) and (error.filename or error.errno in _DISK):
            raise StoreError(
                f"{what}: on this machine: {error}; make room, or correct the path or its permissions"
            ) from error
        raise StoreError(
            f"{what}, tried for {address.retry_seconds:g} s: {_message(error)}. Google Cloud Storage is down or out of "
            "reach; check the network and the URI, then run again"
        ) from error


def _message(error: Exception) -> str:
    """The shortest text that says what happened: the last error of a retry, the body of a response."""
    cause = getattr(error, "cause", None) or error
    response = getattr(cause, "response", None)
    text = getattr(cause, "message", None) or (response is not None and f"{response.status_code} {response.text}")
    # requests wraps the reason of a failed connection in its whole request.
    return " ".join(str(text or cause).rpartition("(Caused by ")[2].split())[:500].rstrip(".")
