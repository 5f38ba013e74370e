"""Values of settings that name a secret or a place, and never hold a secret."""

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

# Of a secret that Kubeflow mounts: it calls the volume so.
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/.+|projects/[^/]+/secrets/[^/]+/versions/[^/]+")
# Error type for values that may be the secret itself: messages leave such a value out.
SECRET_ERROR = "secret_reference"  # noqa: S105 - a name


def _refer(text: str) -> str:
    if text and not _REFERENCE.fullmatch(text):
        forms = "env:VARIABLE, file:/PATH or projects/PROJECT/secrets/NAME/versions/latest"
        raise PydanticCustomError(SECRET_ERROR, f"this refers to a secret and must not contain it: write {forms}")
    return text


def _name_secret(text: str) -> str:
    if text and not _LABEL.fullmatch(text):
        form = "at most 63 lower-case letters, digits and -, with a letter or digit at both ends"
        raise PydanticCustomError(SECRET_ERROR, f"this names a secret of Kubernetes and must not contain it: {form}")
    return text


def _without_credentials(url: str) -> str:
    if "@" in url.rpartition("://")[2].partition("/")[0]:
        raise PydanticCustomError(
            SECRET_ERROR, "this address holds a user or a password, which logs would show; leave them out"
        )
    return url


SecretReference = Annotated[str, AfterValidator(_refer)]
SecretName = Annotated[str, AfterValidator(_name_secret)]
WebAddress = Annotated[str, AfterValidator(_without_credentials)]
