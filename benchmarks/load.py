"""Closed-loop clients in a process of their own: each sends its next request when it has the answer to the last one.

Prints JSON: requests a second, rows a second, and percentiles of the latency in milliseconds. A request that is not
answered well ends the run: a rate over failures says nothing.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

MODEL = "bench"
WARM_UP_SECONDS = 1.0

Send = Callable[[], None]
_LENGTH = re.compile(rb"(?is)content-length: *(\d+).*?\r\n\r\n")


def main() -> None:
    """Sends for a while, and prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", choices=list(CONNECT))
    parser.add_argument("address")
    parser.add_argument("golden", type=Path, help="the SavedModel, for its golden requests")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    examples = _examples(arguments.golden, arguments.batch)
    connect = CONNECT[arguments.protocol]
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

    from serving.protocol.protos import predict_pb2
    from serving.protocol.tensor_protos import tensor_proto

    request = predict_pb2.PredictRequest(model_spec={"name": MODEL})
    request.inputs["examples"].CopyFrom(tensor_proto(np.array(examples, object)))
    content = request.SerializeToString()
    # Channels to one address share a connection otherwise: these are to be eight clients.
    channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    return lambda: call(content)


def connect_rest(address: str, examples: list[bytes]) -> Send:
    """Predict over REST, in the row format, with serialized examples."""
    return _connect_http(address, f"/v1/models/{MODEL}:predict", _encoded(examples))


def connect_rows(address: str, examples: list[bytes]) -> Send:
    """Predict over REST, in the row format, with named tensors."""
    body = {"signature_name": "raw", "instances": _rows(examples)}
    return _connect_http(address, f"/v1/models/{MODEL}:predict", body)


def connect_columns(address: str, examples: list[bytes]) -> Send:
    """Predict over REST, in the column format, with named tensors."""
    rows = _rows(examples)
    body = {"signature_name": "raw", "inputs": {name: [row[name] for row in rows] for name in rows[0]}}
    return _connect_http(address, f"/v1/models/{MODEL}:predict", body)


def connect_flask(address: str, examples: list[bytes]) -> Send:
    """The body of `connect_rest` to the Flask app."""
    return _connect_http(address, "/predict", _encoded(examples))


CONNECT: dict[str, Callable[[str, list[bytes]], Send]] = {
    "grpc": connect_grpc,
    "rest": connect_rest,
    "rest-rows": connect_rows,
    "rest-columns": connect_columns,
    "flask": connect_flask,
}


def _connect_http(address: str, path: str, document: object) -> Send:
    """The request is made once, and its answer only looked at: clients take little of the cores that they share."""
    body = json.dumps(document).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    host, _, port = address.rpartition(":")
    connection: socket.socket | None = None

    def send() -> None:
        nonlocal connection
        if connection is None:
            connection = socket.create_connection((host, int(port)))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request)
        answer = b""
        while not (match := _LENGTH.search(answer)) or len(answer) < match.end() + int(match[1]):
            received = connection.recv(1 << 18)
            if not received:
                raise RuntimeError(f"{path}: the server closed the connection after {answer[:200]!r}")
            answer += received
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"{path} answered {answer[:400]!r}")
        if b"\r\nConnection: close\r\n" in answer[: match.end()]:
            connection.close()
            connection = None

    return send


def _encoded(examples: list[bytes]) -> object:
    return {"instances": [{"b64": base64.b64encode(example).decode()} for example in examples]}


def _rows(examples: list[bytes]) -> list[dict[str, object]]:
    """Examples as rows that name the same features: those that have the first one's, over and over."""
    from serving.protocol.protos import example_pb2

    rows = []
    for example in examples:
        features = example_pb2.Example.FromString(example).features.feature
        lists = {name: getattr(feature, feature.WhichOneof("kind")).value for name, feature in features.items()}
        rows.append(
            {name: each[0].decode() if isinstance(each[0], bytes) else each[0] for name, each in lists.items() if each}
        )
    alike = [row for row in rows if row.keys() == rows[0].keys()]
    return [alike[index % len(alike)] for index in range(len(examples))]


def _examples(model_path: Path, count: int) -> list[bytes]:
    from slipway.evaluation.golden import read_golden

    examples = read_golden(model_path).serialized()
    return [examples[index % len(examples)] for index in range(count)]


if __name__ == "__main__":
    main()
