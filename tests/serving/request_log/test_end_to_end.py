"""A real model behind the local server: built in, and behind the sidecar; over both protocols."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from serving.protocol.protos import prediction_service_pb2_grpc
from serving.protocol.tensor_protos import array_of
from serving.request_log import LogOptions, RequestLog, is_sampled
from serving.server.config import ServerConfig
from serving.server.model_sources import BasePaths
from serving.server.server import ModelServer
from tests.serving.request_log.calls import example, features_of, predict_request, read_log, strings
from tests.serving.request_log.upstream import sidecar

FREE = ServerConfig(grpc_port=0, rest_port=0)
ROWS = [{"size": 1.5, "rooms": 3, "town": "Ulm"}, {"size": -0.25, "rooms": 2, "town": "Köln"}]
FEATURES = [{name: [value] for name, value in row.items()} for row in ROWS]
EXAMPLES = [example(size=[row["size"]], rooms=[row["rooms"]], town=[str(row["town"]).encode()]).SerializeToString()
            for row in ROWS]  # fmt: skip


@pytest.fixture(scope="module")
def base(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("models")
    (base / "17").symlink_to(tiny_model)
    return base


@contextmanager
def served(how: str, base: Path, options: LogOptions, registry: CollectorRegistry) -> Iterator[tuple[int, int]]:
    """Ports of REST and gRPC; the log is complete when the block is left."""
    source = BasePaths.single("tiny", base)
    if how == "built in":
        with RequestLog(options, registry) as log, ModelServer(source, FREE, log) as server:
            assert server.rest_port
            yield server.rest_port, server.grpc_port
        return
    with ModelServer(source, FREE) as server:
        addresses = f"127.0.0.1:{server.rest_port}", f"127.0.0.1:{server.grpc_port}"
        with sidecar(*addresses, options).running() as ports:
            yield ports.rest_port, ports.grpc_port


def post(port: int, target: str, document: Any, request_id: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", f"/v1/models/tiny{target}", json.dumps(document), {"x-request-id": request_id})
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    assert response.status == 200, answer
    return answer


def send_every_form(rest_port: int, grpc_port: int) -> dict[str, list[float]]:
    """The same rows in each form, and what was answered."""
    b64 = [{"b64": base64.b64encode(each).decode()} for each in EXAMPLES]
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    classified = post(rest_port, ":classify", {"signature_name": "classify", "examples": ROWS}, "classify")
    by_column = post(rest_port, "/versions/17:predict", {"signature_name": "raw", "inputs": columns}, "columns")
    answers = {
        "rows": post(rest_port, ":predict", {"signature_name": "raw", "instances": ROWS}, "rows")["predictions"],
        "columns": by_column["outputs"],
        "b64": post(rest_port, ":predict", {"instances": b64}, "b64")["predictions"],
        "classify": [dict(row)["yes"] for row in classified["results"]],
    }
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        tensors = {
            "size": np.array(columns["size"], np.float32),
            "rooms": np.array(columns["rooms"]),
            "town": strings(*(str(town).encode() for town in columns["town"])),
        }
        for name, request in {
            "tensors": predict_request(tensors, "raw", "tiny"),
            "examples": predict_request({"examples": strings(*EXAMPLES)}, "", "tiny"),
        }.items():
            answer = stub.Predict(request, metadata=(("x-request-id", name),))
            answers[name] = array_of(answer.outputs["predictions"]).tolist()
    return answers


@pytest.mark.parametrize("how", ["built in", "sidecar"])
def test_every_form_is_logged_alike(how: str, base: Path, tmp_path: Path) -> None:
    options = LogOptions(str(tmp_path), fields=("size", "rooms", "town"))
    with served(how, base, options, CollectorRegistry()) as ports:
        answers = send_every_form(*ports)
    by_id: dict[str, list[dict[str, Any]]] = {}
    for row in read_log(tmp_path):
        by_id.setdefault(row["request_id"], []).append(row)
    assert by_id.keys() == answers.keys()
    for name, logged in by_id.items():
        assert [features_of(row) for row in logged] == FEATURES, name
        assert [row["scores"][-1] for row in logged] == pytest.approx(answers[name], rel=1e-6), name
        assert {(row["model"], row["version"], row["instance"]) for row in logged} == {("tiny", 17, 0), ("tiny", 17, 1)}
    assert by_id["classify"][0]["classes"] == ["no", "yes"]
    assert {name: logged[0]["signature"] for name, logged in by_id.items()} == {
        "rows": "raw", "columns": "raw", "tensors": "raw", "classify": "classify",
        "b64": "serving_default", "examples": "serving_default",
    }  # fmt: skip


@pytest.mark.parametrize("how", ["built in", "sidecar"])
def test_sample_is_the_same_over_both_protocols_and_places(how: str, base: Path, tmp_path: Path) -> None:
    with served(how, base, LogOptions(str(tmp_path), sample=0.4), CollectorRegistry()) as (rest_port, grpc_port):
        for number in range(30):
            post(rest_port, ":predict", {"signature_name": "raw", "instances": ROWS[:1]}, f"rest-{number}")
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            for number in range(30):
                request = predict_request({"examples": strings(EXAMPLES[0])}, "", "tiny")
                stub.Predict(request, metadata=(("x-request-id", f"grpc-{number}"),))
    sent = {f"{protocol}-{number}" for protocol in ("rest", "grpc") for number in range(30)}
    assert {row["request_id"] for row in read_log(tmp_path)} == {each for each in sent if is_sampled(each, 0.4)}


@pytest.mark.parametrize("how", ["built in", "sidecar"])
def test_requests_that_fail_are_logged_with_their_code_and_nothing_else(how: str, base: Path, tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with served(how, base, LogOptions(str(tmp_path), fields=("*",)), registry) as (rest_port, grpc_port):
        for body in ("{", '{"instances": [{"size": "text"}]}', '{"signature_name": "none", "instances": [1]}'):
            connection = http.client.HTTPConnection("127.0.0.1", rest_port, timeout=20)
            connection.request("POST", "/v1/models/tiny:predict", body)
            assert connection.getresponse().status == 400
            connection.close()
        for target in ("none:predict", "none/versions/3:predict", "tiny/versions/3:predict"):
            connection = http.client.HTTPConnection("127.0.0.1", rest_port, timeout=20)
            connection.request("POST", f"/v1/models/{target}", "{")
            assert connection.getresponse().status in (400, 404)
            connection.close()
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            for model in ("tiny", "none"):
                with pytest.raises(grpc.RpcError):
                    stub.Predict(predict_request({}, "none", model))
    rows = [row for row in read_log(tmp_path) if row["signature"] == ""]
    assert {row["protocol"] for row in rows} == {"rest", "grpc"}
    assert {(row["model"], row["version"]) for row in rows} == {("tiny", 17)}
    assert {row["error"] for row in rows} == {"INVALID_ARGUMENT", "FAILED_PRECONDITION"}
    assert not any(row["features"] or row["scores"] for row in rows)
    assert len(rows) >= 4
