"""A policy of AWS's IAM before an S3: what it does not allow is answered with 403.

The actions of a request are those of https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html.
"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path

from tests.fakes.fault_proxy import Fault
from tests.fakes.s3_server import BUCKET

_ACTIONS = {
    "GET": "s3:GetObject",  # HEAD too
    "POST": "s3:PutObject",  # PUT, and the start of several parts
    "COMPLETE": "s3:PutObject",
    "DELETE": "s3:DeleteObject",
}


class Policy(Fault):
    """Befalls each request that the policy of a file does not allow; `used` are the actions of the others."""

    def __init__(self, file: Path) -> None:
        super().__init__("status", 403)
        self.used: set[str] = set()
        self.denied: list[str] = []
        self._statements = json.loads(file.read_text().replace("BUCKET", BUCKET))["Statement"]

    def befalls(self, request: str) -> bool:
        method, _, name = request.partition(" ")
        action, resource = (
            ("s3:ListBucket", f"arn:aws:s3:::{BUCKET}")
            if method == "GET" and name.startswith("?")
            else (_ACTIONS[method], f"arn:aws:s3:::{BUCKET}/{name}")
        )
        allowed = any(
            action in one["Action"] and any(fnmatchcase(resource, pattern) for pattern in one["Resource"])
            for one in self._statements
        )
        (self.used.add if allowed else self.denied.append)(action if allowed else f"{action} {name}")
        return not allowed
