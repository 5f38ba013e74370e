"""Replaces a served model again and again while clients ask for predictions, and counts what fails.

A server follows the pin of a model store. Versions are pushed and promoted one after the other; a broken one is
offered as a canary on the way, and one promotion is rolled back. Closed-loop clients without retries, in processes of
their own, ask all the time, over gRPC and over REST.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MODEL = "taxi"
PROTOCOLS = ("grpc", "rest")
CLIENTS = 2
LOADED_WITHIN_SECONDS = 30.0


@dataclass(frozen=True)
class Load:
    """What closed-loop clients of one protocol saw; latencies are milliseconds."""

    protocol: str
    answered: int
    failures: list[str]
    versions: int
    p50: float
    p99: float
    largest: float


def swap_under_load(saved_model: Path, work: Path, swaps: int) -> list[Load]:
    """Promotes `swaps` versions of a SavedModel while it is asked.

    Args:
        saved_model: What every version is a copy of.
        work: An empty directory.
        swaps: How many promotions; a broken canary comes after a third of them, a rollback after two thirds.

    Raises:
        TimeoutError: the server did not follow.
    """
    from serving.server.config import ServerConfig
    from serving.server.model_sources import StoreModels
    from serving.server.server import ModelServer
    from slipway.stores.model_store import LocalModelStore

    store = LocalModelStore(work / "store")
    first = _push(store, saved_model, work, 0)
    store.promote(MODEL, first, why="first")
    config = ServerConfig(grpc_port=0, rest_port=0, poll_seconds=0.05, max_load_retries=0)
    with ModelServer(StoreModels(store, [MODEL], work / "cache"), config) as server:
        clients = [_start(protocol, port, saved_model) for protocol, port in
                   zip(PROTOCOLS, (server.grpc_port, server.rest_port), strict=True)]  # fmt: skip
        try:
            for turn in range(1, swaps + 1):
                number = _push(store, saved_model, work, turn)
                store.promote(MODEL, number, why=f"swap {turn}")
                _wait_for_default(server.grpc_port, number)
                if turn == swaps // 3:
                    _offer_broken_canary(store, saved_model, work, server.grpc_port)
                if turn == 2 * swaps // 3:
                    _wait_for_default(server.grpc_port, store.rollback(MODEL, why="a rehearsal").version)
        finally:
            loads = [_stop(client) for client in clients]
    return loads


def _push(store: Any, saved_model: Path, work: Path, turn: int) -> int:
    """A version with bytes of its own, so that the store takes it for a new one."""
    from slipway.lineage import Lineage
    from slipway.stores.model_store import Provenance

    copy = work / "copies" / str(turn)
    shutil.copytree(saved_model, copy)
    (copy / "assets.extra" / "turn").write_text(str(turn))
    lineage = Lineage(run=f"swap-{turn}", module=MODEL, module_digest="", data_uri="")
    number: int = store.push(copy, Provenance(model=MODEL, lineage=lineage)).version.number
    shutil.rmtree(copy)
    return number


def _offer_broken_canary(store: Any, saved_model: Path, work: Path, port: int) -> None:
    broken = work / "broken"
    shutil.copytree(saved_model, broken)
    (broken / "variables" / "variables.index").unlink()
    number = _push(store, broken, work, -1)
    store.mark_canary(MODEL, number, why="broken on purpose")
    _wait(lambda: _states(port).get(number) == "END", f"the broken version {number} to be given up")
    store.quarantine(MODEL, number, why="it cannot be loaded")


def _wait_for_default(port: int, number: int) -> None:
    _wait(lambda: _default(port) == number, f"version {number} to be served")


def _default(port: int) -> int:
    """The version that answers a request which names none."""
    import grpc

    from serving.protocol.protos import get_model_metadata_pb2, prediction_service_pb2_grpc

    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = MODEL
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata(request, timeout=10)
    version: int = answer.model_spec.version.value
    return version


def _states(port: int) -> dict[int, str]:
    from serving.client import connect

    with connect(f"localhost:{port}", MODEL) as client:
        return client.states()


def _wait(done: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + LOADED_WITHIN_SECONDS
    while not done():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {LOADED_WITHIN_SECONDS:g} s for {what}")
        time.sleep(0.02)


def _start(protocol: str, port: int | None, saved_model: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.swap", "--load", protocol, str(port), "--model", str(saved_model)]
    client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert client.stdout
    client.stdout.readline()  # it says when it has had its first answer
    return client


def _stop(client: subprocess.Popen[str]) -> Load:
    output, _ = client.communicate(timeout=60)  # closes its standard input
    return Load(**json.loads(output))


def load(protocol: str, port: int, saved_model: Path) -> Load:
    """Asks until standard input ends; one request after the other on each connection, no retries."""
    from slipway.evaluation.golden import read_golden

    example = read_golden(saved_model).serialized()[0]
    ask = (_grpc_asker if protocol == "grpc" else _rest_asker)(port, example)
    print(f"first answer from version {ask()}", flush=True)
    stop, latencies, failures, versions = threading.Event(), list[float](), list[str](), set[int]()

    def client() -> None:
        mine = (_grpc_asker if protocol == "grpc" else _rest_asker)(port, example)
        while not stop.is_set():
            started = time.perf_counter()
            try:
                versions.add(mine())
            except Exception as error:
                failures.append(f"{type(error).__name__}: {error}")
            latencies.append((time.perf_counter() - started) * 1e3)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    ordered = sorted(latencies)
    p50, p99 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
    return Load(protocol, len(ordered) - len(failures), failures[:10], len(versions), p50, p99, ordered[-1])


def _grpc_asker(port: int, example: bytes) -> Callable[[], int]:
    import grpc
    import numpy as np

    from serving.protocol.protos import predict_pb2, prediction_service_pb2_grpc
    from serving.protocol.tensor_protos import tensor_proto

    options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    predict = prediction_service_pb2_grpc.PredictionServiceStub(
        grpc.insecure_channel(f"localhost:{port}", options)
    ).Predict
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = MODEL, "serving_default"
    request.inputs["examples"].CopyFrom(tensor_proto(np.array([example], object)))

    def ask() -> int:
        version: int = predict(request, timeout=30).model_spec.version.value
        return version

    return ask


def _rest_asker(port: int, example: bytes) -> Callable[[], int]:
    import base64
    import http.client

    connection = http.client.HTTPConnection("localhost", port, timeout=30)
    body = json.dumps({"instances": [{"b64": base64.b64encode(example).decode()}]})

    def ask() -> int:
        connection.request("POST", f"/v1/models/{MODEL}:predict", body)
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {answer[:200]!r}")
        return len(json.loads(answer)["predictions"])  # REST does not say which version answered

    return ask


def main() -> None:
    """Runs the rehearsal, or one protocol's clients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a SavedModel that Slipway exported")
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--load", nargs=2, metavar=("PROTOCOL", "PORT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        print(json.dumps(asdict(load(arguments.load[0], int(arguments.load[1]), arguments.model))))
        return
    with tempfile.TemporaryDirectory(prefix="slipway-swap-") as folder:
        for seen in swap_under_load(arguments.model, Path(folder), arguments.swaps):
            print(seen)


if __name__ == "__main__":
    main()
