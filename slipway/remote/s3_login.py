"""Where S3 is and who asks, from the variables that AWS's own programs read; nothing of it stands in a URI."""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from slipway.errors import StoreError
from slipway.remote.address import Address, endpoint_of_variables

if TYPE_CHECKING:
    from obstore.store import ClientConfig

_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
HOW_TO_LOG_IN = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, if they are temporary), in a cluster by a "
    "secret; or give the pod a role (IRSA, EKS Pod Identity); a profile's: `eval \"$(aws configure export-credentials "
    '--format env)"`'
)


@dataclass(frozen=True)
class Login:
    """What obstore is told: `options` of the store and of its HTTP client."""

    endpoint: str  # URL; empty for AWS
    account: str
    options: dict[str, Any] = field(repr=False)
    client_options: ClientConfig = field(repr=False)
    authority: str = ""  # file of the CA


def find_login(address: Address) -> Login:
    """Endpoint, region, CA and account for an address.

    obstore itself reads AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; a web identity (IRSA:
    AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE); the credentials of a container and of a machine on AWS.

    Raises:
        StoreError: a variable has a value that cannot be meant, or the account is in a profile.
    """
    if not address.anonymous and _only_in_a_profile():
        raise StoreError(
            f"{address.below('')}: AWS_PROFILE = {os.environ['AWS_PROFILE']}: profiles are not read here, and the "
            'requests would be made as another account. Run `eval "$(aws configure export-credentials --format env)"`, '
            "or unset AWS_PROFILE"
        )
    if not address.anonymous:
        _check_variables()
    endpoint = address.endpoint or endpoint_of_variables()
    region = address.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    options: dict[str, Any] = {"region": region, "virtual_hosted_style_request": address.virtual_host}
    if endpoint:
        scheme, _, host = endpoint.rstrip("/").partition("://")
        if scheme not in ("http", "https") or not host:
            raise StoreError(
                f"the endpoint of S3 is {endpoint}, and must be https://HOST:PORT or http://HOST:PORT; correct "
                "AWS_ENDPOINT_URL, or the URI"
            )
        options["endpoint"] = f"{scheme}://{address.bucket}.{host}" if address.virtual_host else endpoint
    if address.anonymous:
        options["skip_signature"] = True
    client: ClientConfig = {"allow_http": endpoint.startswith("http://")}
    authority = os.environ.get("AWS_CA_BUNDLE", "")
    if authority:
        try:
            ssl.create_default_context(cafile=authority)
            client["root_certificate"] = Path(authority).read_text(errors="replace")
        except OSError as error:
            raise StoreError(
                f"AWS_CA_BUNDLE = {authority}: {error.strerror}; name a file of your CA, in PEM"
            ) from error
    account = "" if address.anonymous else os.environ.get("AWS_ROLE_ARN") or os.environ.get("AWS_ACCESS_KEY_ID", "")
    return Login(endpoint, account, options, client, authority)


def _check_variables() -> None:
    """Refuses what obstore would take for another account, or end the process for."""
    for name in (*_KEYS, "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL"):
        value = os.environ.get(name, "")
        if value != value.strip() or not value.isprintable():
            raise StoreError(
                f"{name}: its value has a space or a line break at an end, or one in it, as a secret has that was made "
                "of a file; set it without"
            )
    missing = [name for name in _KEYS if not os.environ.get(name)]
    if len(missing) == 1:
        raise StoreError(f"no valid S3 credentials: {missing[0]} is not set; {HOW_TO_LOG_IN}")


def _only_in_a_profile() -> bool:
    """Whether AWS's own programs would take the account from a file of profiles."""
    others = ("AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN")
    return bool(os.environ.get("AWS_PROFILE")) and not any(os.environ.get(name) for name in others)


def server_name(login: Login) -> str:
    """What the store calls itself: the header `Server` of any answer."""
    url = urlsplit(login.endpoint or "https://s3.amazonaws.com")
    host = url.netloc
    if url.scheme == "https":
        trusted = ssl.create_default_context(cafile=login.authority or None)
        connection: HTTPConnection = HTTPSConnection(host, timeout=5, context=trusted)
    else:
        connection = HTTPConnection(host, timeout=5)
    name = ""
    with suppress(OSError, HTTPException):
        connection.request("HEAD", "/")
        name = connection.getresponse().getheader("Server") or ""
    connection.close()
    return name or "it does not tell its name"
