"""Push and fetch of a large model beside the plain clients of S3, on the MinIO that SLIPWAY_S3_SERVER names."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import obstore
from obstore.store import S3Store

from slipway.lineage import Lineage
from slipway.stores.model_store import Provenance, open_store
from slipway.stores.model_store.fetch import fetch_version
from tests.fakes.s3_server import BUCKET, VARIABLES, S3Server

HEADER = ("round", "client", "upload s", "download s")
MEBIBYTES, SHARDS, ROUNDS = 500, 4, 2


def compare_clients(work: Path) -> Iterator[tuple[str, ...]]:
    """The same files by each client, one after the other, in one process; the first round also warms the machine."""
    if not (program := os.environ.get("SLIPWAY_S3_SERVER")):
        raise SystemExit("SLIPWAY_S3_SERVER is not set: go install github.com/minio/minio@latest, and name the program")
    model = _write_model(work / "model")
    with S3Server(program) as server:
        os.environ |= {**VARIABLES, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}"}
        for number in range(1, ROUNDS + 1):
            for client, send, receive in _clients(model, work / "copy"):
                yield str(number), client, _seconds(send), _seconds(receive)
                shutil.rmtree(work / "copy")
                server.clear()


def _clients(model: Path, copy: Path) -> list[tuple[str, Callable[[], object], Callable[[], object]]]:
    """Name, upload of the model and download to `copy`."""
    names = [path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()]
    store = open_store(f"s3://{BUCKET}/store")
    plain = S3Store(BUCKET, endpoint=os.environ["AWS_ENDPOINT_URL"], client_options={"allow_http": True})
    boto: Any = boto3.client("s3")
    lineage = Lineage(run="run", module="large", module_digest="d", data_uri="d")

    def get(name: str) -> None:
        with _open(copy / name) as file:
            for part in obstore.get(plain, name).stream(min_chunk_size=1 << 20):
                file.write(part)

    def download(name: str) -> None:
        with _open(copy / name) as file:
            boto.download_fileobj(BUCKET, name, file)

    return [
        (
            "slipway push, fetch",
            lambda: store.push(model, Provenance(model="large", lineage=lineage)),
            lambda: fetch_version(store.versions("large")[-1], copy),
        ),
        (
            "obstore put, get",
            lambda: [obstore.put(plain, name, model / name) for name in names],
            lambda: list(map(get, names)),
        ),
        (
            "boto3 upload, download",
            lambda: [boto.upload_file(str(model / name), BUCKET, name) for name in names],
            lambda: list(map(download, names)),
        ),
    ]


def _open(path: Path) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("wb")


def _seconds(call: Callable[[], object]) -> str:
    began = time.monotonic()
    call()
    return f"{time.monotonic() - began:.1f}"


def _write_model(folder: Path) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(os.urandom(100_000))
    for shard in range(SHARDS):
        with (folder / "variables" / f"variables.data-{shard:05}-of-{SHARDS:05}").open("wb") as file:
            for _ in range(MEBIBYTES // SHARDS):
                file.write(os.urandom(1 << 20))
    return folder
