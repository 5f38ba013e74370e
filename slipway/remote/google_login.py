"""The one login to Google: application default credentials."""

import json
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
# What a token is for: https://developers.google.com/identity/protocols/oauth2; people's credentials hold no e-mail.
WHOSE = "https://oauth2.googleapis.com/tokeninfo"
HOW_TO_LOG_IN = (
    "run `gcloud auth application-default login`; in CI, log in by workload identity federation; in a cluster, bind "
    "the pod's account to a Google service account"
)


def credentials(*, anonymous: bool = False) -> Any:
    """Application default credentials, or none for an emulator; raises GoogleAuthError if this machine has none."""
    import google.auth
    from google.auth.credentials import AnonymousCredentials

    if anonymous:
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    return google.auth.default(scopes=[SCOPE])[0]


def session(*, anonymous: bool = False) -> Any:
    """A session of requests that carries the credentials; raises as `credentials` does."""
    from google.auth.transport.requests import AuthorizedSession

    return AuthorizedSession(credentials(anonymous=anonymous))  # type: ignore[no-untyped-call]


def access_token() -> str:
    """A fresh access token; raises as `credentials` does."""
    from google.auth.transport.requests import Request

    found = credentials()
    found.refresh(Request())
    return str(found.token)


def email(found: Any) -> str:
    """The e-mail of the account of these credentials, which Google is asked for; empty if it is not told in 5 s."""
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    with suppress(GoogleAuthError, OSError, ValueError):
        request = Request()
        if not found.valid:
            found.refresh(request)
        mail = str(getattr(found, "service_account_email", ""))
        if "@" not in mail and found.token:
            body = urlencode({"access_token": found.token}).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = request(WHOSE, "POST", body, headers, timeout=5)
            mail = str(json.loads(answer.data).get("email", ""))
        return mail if "@" in mail else ""
    return ""
