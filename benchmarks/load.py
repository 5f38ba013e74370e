"""Closed-loop clients in a process of their own: each sends its next request when it has the answer to the last one.

Prints JSON: requests a second, rows a second, and percentiles of the latency in milliseconds. A request that is not
answered well ends the run: a rate over failures says nothing.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

MODEL = "bench"
WARM_UP_SECONDS = 1.0

Send = Callable[[], None]


def main() -> None:
    """Sends for a while, and prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", choices=["grpc", "rest", "flask"])
    parser.add_argument("address")
    parser.add_argument("golden", type=Path, help="the SavedModel, for its golden requests")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    examples = _examples(arguments.golden, arguments.batch)
    connect = {"grpc": connect_grpc, "rest": connect_rest, "flask": connect_flask}[arguments.protocol]
    print(json.dumps(measure(lambda: connect(arguments.address, examples), arguments)))


def measure(connect: Callable[[], Send], arguments: argparse.Namespace) -> dict[str, float]:
    """Throughput and latency of `clients` at a time, after a second to warm up."""
    begin = time.perf_counter() + WARM_UP_SECONDS
    end = begin + arguments.seconds
    latencies: list[float] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            send, mine = connect(), []
            while (started := time.perf_counter()) < end and not failures:
                send()
                if started >= begin:
                    mine.append(time.perf_counter() - started)
            latencies.extend(mine)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(arguments.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    rate = len(latencies) / arguments.seconds
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
    return {"requests_per_second": rate, "rows_per_second": rate * arguments.batch, "p50_ms": p50, "p99_ms": p99}


def connect_grpc(address: str, examples: list[bytes]) -> Send:
    """Predict over gRPC; the request is serialized once, as the server's work is what is measured."""
    import grpc

    from serving.runtime.protos import predict_pb2
    from serving.runtime.tensor_protos import tensor_proto

    request = predict_pb2.PredictRequest(model_spec={"name": MODEL})
    request.inputs["examples"].CopyFrom(tensor_proto(np.array(examples, object)))
    content = request.SerializeToString()
    # Channels to one address share a connection otherwise: these are to be eight clients.
    channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    return lambda: call(content)


def connect_rest(address: str, examples: list[bytes]) -> Send:
    """Predict over REST, in the row format."""
    return _connect_http(address, f"/v1/models/{MODEL}:predict", examples)


def connect_flask(address: str, examples: list[bytes]) -> Send:
    """The same body to the Flask app."""
    return _connect_http(address, "/predict", examples)


def _connect_http(address: str, path: str, examples: list[bytes]) -> Send:
    body = json.dumps({"instances": [{"b64": base64.b64encode(example).decode()} for example in examples]}).encode()
    connection = http.client.HTTPConnection(address)

    def send() -> None:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}: {content[:200]!r}")

    return send


def _examples(model_path: Path, count: int) -> list[bytes]:
    from slipway.golden import read_golden

    examples = read_golden(model_path).serialized()
    return [examples[index % len(examples)] for index in range(count)]


if __name__ == "__main__":
    main()
