"""What google-cloud-storage raises, in our words: which object, what is wrong, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from slipway.errors import StoreError

Action = Literal["list", "read", "write", "delete"]

NO_CREDENTIALS = (
    "no valid Google credentials; `gcloud auth application-default login`, or Workload Identity in a cluster"
)
# https://cloud.google.com/storage/docs/access-control/iam-json; to replace an object is to delete one.
_PERMISSIONS: dict[Action, str] = {
    "list": "storage.objects.list",
    "read": "storage.objects.get",
    "write": "storage.objects.create or storage.objects.delete",
    "delete": "storage.objects.delete",
}


@contextmanager
def told(action: Action, bucket: str, uri: str, seconds: float) -> Iterator[None]:
    """Turns the library's errors in its block into `StoreError`s.

    Args:
        action: What the block does.
        bucket: The bucket's name.
        uri: The object or folder that it does it to.
        seconds: For how long it is retried.
    """
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption

    what = f"{uri}: cannot {action}"
    try:
        yield
    except exceptions.NotFound as error:
        gone = "the object is gone" if action == "read" else f"there is no bucket {bucket!r}; create it"
        raise StoreError(f"{what}: {gone}, or mend the URI") from error
    except exceptions.Forbidden as error:
        raise StoreError(
            f"{what}: the account lacks {_PERMISSIONS[action]}: {_message(error)}. "
            f"Give it roles/storage.objectUser on the bucket {bucket}"
        ) from error
    except (exceptions.Unauthorized, GoogleAuthError) as error:
        raise StoreError(f"{what}: {NO_CREDENTIALS}: {_message(error)}") from error
    except DataCorruption as error:
        raise StoreError(f"{what}: the bytes that came are not those that are stored: {error}") from error
    except (exceptions.GoogleAPIError, OSError) as error:  # requests' errors are OSErrors
        raise StoreError(
            f"{what}, tried for {seconds:g} s: {_message(error)}. Google Cloud Storage is down or out of reach; "
            "check the network and the URI, then run again"
        ) from error


def _message(error: Exception) -> str:
    """The shortest text that says what happened: of a retry, its last error; of an answer, its body."""
    cause = getattr(error, "cause", None) or error
    response = getattr(cause, "response", None)
    text = getattr(cause, "message", None) or (response is not None and f"{response.status_code} {response.text}")
    return " ".join(str(text or cause).split())[:500]
