"""The one login to Google: application default credentials."""

from typing import Any

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
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
