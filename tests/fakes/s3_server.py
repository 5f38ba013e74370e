"""An S3 on this machine, for tests of s3:// URIs: moto's, or the real server that SLIPWAY_S3_SERVER names.

moto keeps If-None-Match and If-Match of PUT and GET as S3 does, but no signature; MinIO keeps both:
`SLIPWAY_S3_SERVER=~/go/bin/minio`, which `go install github.com/minio/minio@latest` builds.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from datetime import datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http.client import HTTPResponse
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fakes.fault_proxy import FaultProxy, Named

BUCKET = "bucket"
ACCESS_KEY, SECRET_KEY = "slipway-test", "not-a-secret"
VARIABLES = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "us-east-1"}
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList
CODES = {
    400: "InvalidRequest",
    401: "InvalidToken",
    403: "AccessDenied",
    404: "NoSuchBucket",
    409: "ConditionalRequestConflict",
    412: "PreconditionFailed",
    429: "SlowDown",
    503: "SlowDown",
}


class S3Server:
    """One bucket on loopback; `program` is a MinIO."""

    scheme = "s3"

    def __init__(self, program: str = "") -> None:
        self._program = program

    def __enter__(self) -> Self:
        import boto3

        if self._program:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
            self._folder = tempfile.mkdtemp(prefix="s3-")
            command = [self._program, "server", "--quiet", "--address", f"127.0.0.1:{self.port}", self._folder]
            variables = {**os.environ, "MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY}
            self._process = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL)
        else:
            from moto.server import ThreadedMotoServer

            logging.getLogger("werkzeug").setLevel(logging.ERROR)
            self._moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
            self._moto.start()
            self.port = self._moto.get_host_and_port()[1]
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
        )
        self._make_bucket()
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()
        if self._program:
            self._process.terminate()
            self._process.wait()
            shutil.rmtree(self._folder)
        else:
            self._moto.stop()

    def clear(self) -> None:
        """Deletes all objects."""
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            for found in page.get("Contents", ()):
                self.delete(found["Key"])

    def uri(self, path: str) -> str:
        """The URI of an object, with the server's address as Arrow wants it."""
        return self.proxied(self.port, path, 20)

    @staticmethod
    def proxied(port: int, path: str, retry_seconds: float) -> str:
        query = f"scheme=http&endpoint_override=127.0.0.1:{port}&retry_limit_seconds={retry_seconds:g}"
        return f"s3://{BUCKET}/{path}?{query}"

    def put(self, path: str, content: bytes) -> None:
        """Writes an object as others would: a name that ends with a slash makes the mark of a folder."""
        self._client.put_object(Bucket=BUCKET, Key=path, Body=content)

    def delete(self, path: str) -> None:
        """Deletes an object as others would."""
        self._client.delete_object(Bucket=BUCKET, Key=path)

    def content_type(self, path: str) -> str:
        """What a browser is told that an object is."""
        return str(self._client.head_object(Bucket=BUCKET, Key=path)["ContentType"])

    def _make_bucket(self) -> None:
        from botocore.exceptions import ClientError, EndpointConnectionError

        until = time.monotonic() + 30
        while True:  # a MinIO that starts answers 503 for a while
            try:
                self._client.create_bucket(Bucket=BUCKET)
            except (ClientError, EndpointConnectionError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
            else:
                return


class S3FaultProxy(FaultProxy):
    """The proxy before an S3, which keeps the preconditions itself.

    In `requests` a write is a POST, and a look at an object a GET, as they are on Google.
    """

    code = ""  # of refusals; without one, a usual one of their status
    ignores_conditions = False  # as a store does that knows none; only before moto, which checks no signature
    encrypts = False  # whether ETags are no MD5, as where a KMS encrypts

    def uri(self, path: str, retry_seconds: float = 2) -> str:
        return S3Server.proxied(self.port, path, retry_seconds)

    def named(self, method: str, path: str, body: bytes | None) -> Named:
        url = urlsplit(path)
        name = unquote(url.path).removeprefix(f"/{BUCKET}").removeprefix("/") or f"?{unquote(url.query)}"
        if "uploadId" in parse_qs(url.query, keep_blank_values=True) and method == "POST":
            method = "COMPLETE"
        return Named({"PUT": "POST", "HEAD": "GET"}.get(method, method), name, None)

    def forward(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[HTTPResponse, bytes]:
        if self.ignores_conditions:
            headers = {name: value for name, value in headers.items() if not name.lower().startswith("if-")}
        if self.encrypts:
            headers = {name: _turned(value) if name.lower() == "if-match" else value for name, value in headers.items()}
        response, content = super().forward(method, target, body, headers)
        if self.encrypts:
            if etag := response.headers["ETag"]:
                response.headers.replace_header("ETag", _turned(etag))
            content = re.sub(rb"<ETag>.*?</ETag>", lambda found: _turned(found[0].decode()).encode(), content)
        return response, content

    def refusal(self, status: int) -> tuple[str, bytes]:
        code = f"<Code>{self.code or CODES[status]}</Code><Message>the proxy says so</Message>"
        return "application/xml", f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{code}</Error>'.encode()

    def aged(self, name: str, response: HTTPResponse, content: bytes) -> bytes:
        written = response.headers["Last-Modified"]
        for pattern, seconds in self.ages if written else ():
            if re.search(pattern, name):
                older = parsedate_to_datetime(written) - timedelta(seconds=seconds)
                response.headers.replace_header("Last-Modified", format_datetime(older, usegmt=True))
        if not name.startswith("?"):
            return content
        return re.sub(r"<Contents>.*?</Contents>", self._aged_entry, content.decode(), flags=re.DOTALL).encode()

    def _aged_entry(self, entry: re.Match[str]) -> str:
        text = entry[0]
        name = re.search("<Key>(.*?)</Key>", text)
        written = re.search("<LastModified>(.*?)</LastModified>", text)
        assert name
        assert written
        for pattern, seconds in self.ages:
            if re.search(pattern, unquote(name[1])):
                older = datetime.fromisoformat(written[1]) - timedelta(seconds=seconds)
                text = text.replace(written[1], older.strftime("%Y-%m-%dT%H:%M:%S.000Z"))
        return text


def _turned(text: str) -> str:
    """The text with each MD5 in it written backwards."""
    return re.sub("[0-9a-f]{32}", lambda found: found[0][::-1], text)
