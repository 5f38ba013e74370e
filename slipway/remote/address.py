"""The one parser of URIs of remote objects: `gs://bucket/path` and `s3://bucket/path`.

The query names an emulator or another endpoint, in pyarrow's words, and `anonymous@` requests without credentials:
`gs://anonymous@bucket/path?scheme=http&endpoint_override=localhost:9023&retry_limit_seconds=2`. S3's also takes
`region`, and `force_virtual_addressing=true` for a store that wants the bucket in its host's name. Where the query
says nothing, the variables do that AWS's own programs read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, quote

from slipway.errors import StoreError

SCHEMES = ("gs", "s3")
# Kubeflow's name, in URIs of artifacts, for an S3 whose address its own settings hold.
_OTHER_NAMES = {"minio": "s3"}
RETRY_SECONDS = 60.0
_QUERY = ("scheme", "endpoint_override", "region", "force_virtual_addressing", "retry_limit_seconds")


@dataclass(frozen=True)
class Address:
    """A folder or an object in a bucket."""

    scheme: str
    bucket: str
    path: str  # without a slash at its ends; empty for the whole bucket
    anonymous: bool  # whether requests carry no credentials
    endpoint: str  # URL of the service; empty for the public one
    retry_seconds: float  # for one operation
    region: str = ""  # S3's; empty for that of the variables
    virtual_host: bool = False  # whether the bucket is a part of the host's name

    def below(self, name: str) -> str:
        """URI of an object below this address, without account and query, for messages."""
        return f"{self.scheme}://{'/'.join(filter(None, (self.bucket, self.path, name)))}"

    def split(self) -> tuple[Address, str]:
        """The address of the folder that holds an object, and the object's name in it."""
        folder, _, name = self.path.rpartition("/")
        return replace(self, path=folder), name


def is_remote(uri: str) -> bool:
    """Whether a URI names a remote object rather than a local path; StoreError for an unsupported scheme."""
    scheme, separator, _ = uri.partition("://")
    if not separator or scheme == "file":
        return False
    if _OTHER_NAMES.get(scheme, scheme) not in SCHEMES:
        supported = ", ".join(f"{one}://" for one in ("file", *SCHEMES))
        raise StoreError(f"{uri}: {scheme}:// is not supported; use a local path, or one of {supported}")
    return True


def in_bucket(uri: str) -> bool:
    """Whether a URI is of a scheme that `is_remote` supports; no other one is refused."""
    scheme, separator, _ = uri.partition("://")
    return bool(separator) and _OTHER_NAMES.get(scheme, scheme) in SCHEMES


def parse(uri: str) -> Address:
    """The address that a remote URI names; StoreError if it is incomplete, or names an account."""
    scheme, _, rest = uri.partition("://")
    scheme = _OTHER_NAMES.get(scheme, scheme)
    located, _, query = rest.partition("?")
    host, _, inside = located.partition("/")
    account, _, bucket = host.rpartition("@")
    if account not in ("", "anonymous") or ":" in bucket:  # a secret, maybe, which has a slash, maybe
        raise StoreError(
            f"{scheme}://…: an account stands before the bucket; only `anonymous` may, keep secrets out of URIs"
        )
    if not bucket:
        raise StoreError(f"{uri}: the bucket's name is missing; write {scheme}://bucket/path")
    given = dict(parse_qsl(query))
    if unknown := sorted(given.keys() - _QUERY):
        raise StoreError(
            f"{scheme}://{located}: the query has {', '.join(unknown)}, and may have {', '.join(_QUERY)}; credentials "
            "are in variables"
        )
    seconds = given.get("retry_limit_seconds", RETRY_SECONDS)
    try:
        retry_seconds = float(seconds)
    except ValueError:
        raise StoreError(f"{uri}: retry_limit_seconds = {seconds!r} is not a number of seconds") from None
    override = given.get("endpoint_override")
    endpoint = f"{given.get('scheme', 'https')}://{override}" if override else ""
    virtual_host = given.get("force_virtual_addressing", "").lower() == "true"
    region = given.get("region", "")
    return Address(scheme, bucket, inside.strip("/"), bool(account), endpoint, retry_seconds, region, virtual_host)


def shown(uri: str) -> str:
    """A URI as messages have it: a remote one without account and query."""
    return parse(uri).below("") if in_bucket(uri) else uri


def browser_link(uri: str, *, folder: bool) -> str:
    """Where a browser shows an object or a folder with its user's own login; empty on this machine and on emulators."""
    if not is_remote(uri) or (address := parse(uri)).endpoint:
        return ""
    if address.scheme == "s3":
        if endpoint_of_variables():
            return ""
        kind = "buckets" if folder else "object"
        return f"https://console.aws.amazon.com/s3/{kind}/{address.bucket}?prefix={quote(address.path)}{'/' * folder}"
    site = "console.cloud.google.com/storage/browser" if folder else "storage.cloud.google.com"
    return f"https://{site}/{quote(f'{address.bucket}/{address.path}')}"


def endpoint_of_variables() -> str:
    """The URL of S3 as AWS's own programs find it; empty for AWS."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
