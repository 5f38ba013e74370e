"""`slipway parity`: compares a model's answers with those of training."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options
from cli.output import echo, print_json, print_table
from delivery.environment import open_environment
from serving.server.config import ServerConfig
from slipway.errors import GateError, StoreError
from slipway.evaluation.golden import read_golden
from slipway.stores.model_store import Version

if TYPE_CHECKING:
    from serving.parity import Askable


def parity(
    model: options.Model = options.TAXI,
    version: Annotated[int | None, typer.Option(help="A version; the one in production by default.")] = None,
    grpc: Annotated[str | None, typer.Option(help="HOST:PORT of a server; one is started without it.")] = None,
    rest: Annotated[str | None, typer.Option(help="HOST:PORT of a server; one is started without it.")] = None,
    env: options.Env = None,
    as_json: options.Json = False,
) -> None:
    """Compare answers in this process, over gRPC and over REST with those of training, for the same rows."""
    from serving.parity import TOLERANCE, compare_with_training

    options.silence_tensorflow()
    store = open_environment(env).store()
    found = store.version(model, version) if version else store.production(model)
    if found is None:
        raise StoreError(f"the store has no version of {model!r}; `slipway run {model}` trains and pushes one")
    with ExitStack() as stack:
        path = store.fetch(found, Path(stack.enter_context(TemporaryDirectory(prefix="slipway-parity-"))))
        golden = read_golden(path)
        differences = compare_with_training(golden, _ways(stack, found, path, grpc, rest))
    if as_json:
        print_json([asdict(each) | {"agrees": each.agrees} for each in differences])
    else:
        echo(f"{model} version {found.number}: {len(golden.examples)} rows that training recorded\n")
        rows = [
            [each.way, each.signature, f"{each.largest:.2g}", str(each.row), str(each.rows)] for each in differences
        ]
        print_table(["asked", "signature", "largest difference", "in row", "of"], rows, numbers=["in row", "of"])
    if not all(each.agrees for each in differences):
        raise GateError(f"{model} version {found.number} differs from training by more than {TOLERANCE:g}")


def _ways(stack: ExitStack, version: Version, path: Path, grpc: str | None, rest: str | None) -> dict[str, Askable]:
    from serving.client import connect
    from serving.parity import InProcess
    from serving.server.model_sources import OneVersion
    from serving.server.server import ModelServer

    if not (grpc and rest):
        source = OneVersion(version.model, path, version.number)
        server = stack.enter_context(ModelServer(source, ServerConfig(grpc_port=0, rest_port=0)))
        grpc, rest = grpc or f"localhost:{server.grpc_port}", rest or f"localhost:{server.rest_port}"
    asked = {
        f"gRPC {grpc}": connect(grpc, version.model, protocol="grpc", version=version.number),
        f"REST {rest}": connect(rest, version.model, protocol="rest", version=version.number),
    }
    return {"this process": InProcess(path)} | {name: stack.enter_context(client) for name, client in asked.items()}
