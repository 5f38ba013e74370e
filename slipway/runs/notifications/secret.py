"""Reads the value of a secret when it is needed; it is stored nowhere."""

import base64
import os
from pathlib import Path

from slipway.errors import NotificationError
from slipway.remote import google_login

SECRET_MANAGER = "https://secretmanager.googleapis.com"  # noqa: S105 - an address


def read_secret(reference: str, timeout_seconds: float) -> str:
    """The value of a `slipway.references.SecretReference`, without surrounding white space.

    Raises:
        NotificationError: there is none; the message names the reference, never a value.
    """
    kind, _, name = reference.partition(":")
    empty = f"{name or reference} is empty"
    if kind == "env":
        value = os.environ.get(name, "")
        empty = f"the variable {name} is not set where the notification is sent from"
    elif kind == "file":
        try:
            value = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise NotificationError(f"the secret's file {name} cannot be read: {type(error).__name__}") from None
    else:
        value = _access(reference, timeout_seconds)
    if not value.strip():
        raise NotificationError(empty)
    return value.strip()


def _access(name: str, timeout_seconds: float) -> str:
    """One version of a secret, with Google's default credentials.

    https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access
    """
    from google.auth.exceptions import GoogleAuthError
    from requests import RequestException

    try:
        with google_login.session() as session:
            url = f"{SECRET_MANAGER}/v1/{name}:access"
            answer = session.get(url, timeout=timeout_seconds, max_allowed_time=timeout_seconds)
    except (GoogleAuthError, RequestException) as error:
        raise NotificationError(f"Secret Manager cannot be asked for {name}: {type(error).__name__}") from None
    if answer.status_code != 200:
        fix = {403: ": grant this account roles/secretmanager.secretAccessor on it", 404: ": there is no such secret"}
        raise NotificationError(
            f"Secret Manager answers {answer.status_code} for {name}{fix.get(answer.status_code, '')}"
        )
    try:
        return base64.b64decode(answer.json()["payload"]["data"]).decode()
    except (ValueError, KeyError, TypeError):
        raise NotificationError(f"Secret Manager's answer for {name} holds no text") from None
