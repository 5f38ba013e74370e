"""The real command in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from serving.client.rows import table_of
from serving.protocol.protos import predict_pb2
from serving.protocol.tensor_protos import tensor_proto
from slipway.data.tensors import serialize_examples
from slipway.errors import SlipwayError
from slipway.evaluation.golden import Golden, write_golden
from slipway.lineage import Lineage
from slipway.stores.model_store import LocalModelStore, Provenance
from tests.conformance.grpc_calls import Calls
from tests.served_models import TinyModel, read_inputs, write_saved_model

SLIPWAY = Path(sys.executable).parent / "slipway"
ROWS = 2_000_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose store has one model with two versions; the first is promoted."""
    home = tmp_path_factory.mktemp("home")
    store = LocalModelStore(home / "models")
    for classification in (True, False):
        model = write_saved_model(home / f"model-{classification}", TinyModel(classification))
        provenance = Provenance(model="tiny", lineage=Lineage(run="r", module="tiny", module_digest="d", data_uri="d"))
        version = store.push(model, provenance).version
        if classification:
            store.promote("tiny", version.number)
    return home


class Serving:
    """A running `slipway serve` on free ports, and what it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.output = ""
        assert process.stdout
        for line in process.stdout:
            self.output += line
            if line.startswith("For laptops"):
                break
        found = re.search(r"gRPC +(\S+)", self.output)
        assert found, f"it did not start: {self.output}{process.stderr and process.stderr.read()}"
        self.calls = Calls(found[1])


@contextmanager
def serving(home: Path, *arguments: str) -> Iterator[Serving]:
    command = [str(SLIPWAY), "serve", "--port", "0", "--rest-api-port", "0", *arguments]
    environment = {**os.environ, "SLIPWAY_HOME": str(home)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            running = Serving(process)
            yield running
            running.calls.channel.close()
        finally:
            process.kill()


def refused(home: Path, *arguments: str) -> str:
    """The error of a command that ends at once, run in this process."""
    ended = CliRunner().invoke(app, ["serve", *arguments], env={"SLIPWAY_HOME": str(home)})
    assert isinstance(ended.exception, SlipwayError), ended.output
    return str(ended.exception)


@pytest.mark.slow
def test_serve_follows_the_stores_pin(home: Path) -> None:
    store = LocalModelStore(home / "models")
    first, second = (version.number for version in store.versions("tiny"))
    with serving(home, "tiny", "--file_system_poll_wait_seconds", "0.05") as running:
        assert running.calls.predict(model="tiny").model_spec.version.value == first
        assert running.calls.predict(model="tiny", label="stable").model_spec.version.value == first
        assert "/v1/models/tiny:predict" in running.output
        assert "tensorflow/serving" in running.output
        store.mark_canary("tiny", second)
        until = time.monotonic() + 20
        while [each.state for each in running.calls.status(model="tiny").model_version_status] != [30, 30]:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert running.calls.predict(model="tiny", label="canary").model_spec.version.value == second
        assert running.calls.predict(model="tiny").model_spec.version.value == first
        store.promote("tiny", second)
        while running.calls.predict(model="tiny").model_spec.version.value != second:
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.mark.slow
def test_serve_gives_up_a_version_that_is_quarantined_while_it_serves(tmp_path: Path) -> None:
    """As TensorFlow Serving does with a version whose directory went: the one before it serves, or none."""
    store = LocalModelStore(tmp_path / "models")
    for name, classifications in (("tiny", (True, False)), ("other", (True,))):
        for number, classification in enumerate(classifications):
            model = write_saved_model(tmp_path / f"{name}-{number}", TinyModel(classification))
            lineage = Lineage(run="r", module=name, module_digest="d", data_uri="d")
            store.push(model, Provenance(model=name, lineage=lineage))
    first, second = (version.number for version in store.versions("tiny"))
    with serving(tmp_path, "--file_system_poll_wait_seconds", "0.05") as running:
        assert running.calls.predict(model="tiny").model_spec.version.value == second
        store.quarantine("tiny", second, why="it is wrong")
        until = time.monotonic() + 20
        while running.calls.predict(model="tiny").model_spec.version.value == second:
            assert time.monotonic() < until
        store.quarantine("tiny", first, why="this one, too")
        while any(each.state == 30 for each in running.calls.status(model="tiny").model_version_status):
            assert time.monotonic() < until
        with pytest.raises(grpc.RpcError) as refusal:
            running.calls.predict(model="tiny")
        assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
        running.calls.predict(model="other")
    with serving(tmp_path) as running:
        assert "/v1/models/other" in running.output
        assert "/v1/models/tiny" not in running.output
        [status] = running.calls.status(model="tiny").model_version_status
        assert f"{second} is quarantined" in status.status.error_message


@pytest.mark.slow
def test_serve_model_that_cannot_be_loaded_does_not_stop_the_others(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    write_saved_model(good / "1", TinyModel(True))
    (bad / "1").mkdir(parents=True)
    config = "".join(f'config {{ name: "{base.name}" base_path: "{base}" }}\n' for base in (good, bad))
    (tmp_path / "models.config").write_text(f"model_config_list {{\n{config}}}")
    with serving(tmp_path, "--model-config-file", str(tmp_path / "models.config")) as running:
        assert running.calls.predict(model="good").model_spec.version.value == 1
        assert running.calls.status(model="bad").model_version_status


@pytest.mark.slow
def test_serve_logs_names_of_folders_without_their_control_characters(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    write_saved_model(good / "1", TinyModel(True))
    (bad / "\x1b]0;pwned\x07").mkdir(parents=True)
    config = "".join(f'config {{ name: "{base.name}" base_path: "{base}" }}\n' for base in (good, bad))
    (tmp_path / "models.config").write_text(f"model_config_list {{\n{config}}}")
    with serving(tmp_path, "--model-config-file", str(tmp_path / "models.config")) as running:
        running.process.terminate()
        assert running.process.stderr
        logged = running.process.stderr.read()
    assert "\\u001b]0;pwned\\u0007" in logged
    assert "\x1b" not in logged


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_signal_lets_requests_in_flight_end(home: Path, number: signal.Signals) -> None:
    request = predict_pb2.PredictRequest(model_spec={"name": "tiny", "signature_name": "raw"})
    request.inputs["size"].CopyFrom(tensor_proto(np.zeros(ROWS, np.float32)))
    request.output_filter.append("predictions")
    answers: list[Any] = []
    with serving(home, "tiny") as running:
        slow = threading.Thread(target=lambda: answers.append(running.calls.predictions.Predict(request)))
        slow.start()
        # Sending takes a part of this; answering takes more than a second.
        time.sleep(0.4)
        running.process.send_signal(number)
        assert slow.is_alive()
        slow.join()
        assert running.process.wait(20) == 0
    assert len(answers[0].outputs["predictions"].float_val) == ROWS


def test_serve_taken_port_is_named(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [str(SLIPWAY), "serve", "--port", address.partition(":")[2]]
        ended = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "SLIPWAY_HOME": str(home)}, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: cannot listen on {address} for gRPC")


def test_serve_prints_a_request_that_a_shell_sends_as_it_is(tmp_path: Path) -> None:
    saved = write_saved_model(tmp_path / "model" / "1")
    rows = serialize_examples(
        table_of([{"size": 0.1, "rooms": 2, "town": 'it\'s $(id) `id` "quoted"'}], read_inputs(), "row"), read_inputs()
    )
    write_golden(Golden.of(rows, [0.5]), saved)
    with serving(tmp_path, "--model-base-path", str(tmp_path / "model")) as running:
        [line] = re.findall("try +(curl .*)", running.output)
        shell = subprocess.run(
            ["bash", "-c", "curl() { printf '%s\\0' \"$@\"; }; " + line], capture_output=True, text=True, check=True
        )
        _, body, url = shell.stdout.rstrip("\0").split("\0")
        answer = httpx.post(url, content=body)
    assert json.loads(body)["instances"] == [{"rooms": 2, "size": 0.1, "town": 'it\'s $(id) `id` "quoted"'}]
    assert answer.status_code == 200, answer.text


@pytest.mark.slow
def test_serve_base_path_takes_tensorflow_servings_flags(home: Path) -> None:
    base = home / "models" / "tiny"
    with serving(home, "--model_name=m", f"--model_base_path={base}", "--max-num-load-retries=0") as running:
        newest = max(int(path.name) for path in base.iterdir() if path.name.isdigit())
        assert running.calls.predict(model="m").model_spec.version.value == newest


def test_serve_takes_the_command_line_of_tensorflow_serving(home: Path) -> None:
    base = home / "models" / "tiny"
    flags = ["--enable_batching", "--rest_api_timeout_in_ms=5000", "--monitoring_config_file=/none"]
    switches = ["--rest_api_enable_cors_support=true", "--allow_version_labels_for_unavailable_models=false"]
    with serving(home, "--model_name=m", f"--model_base_path={base}", *flags, *switches) as running:
        found = re.search(r"REST +(\S+)", running.output)
        assert found
        url = f"{found[1]}/v1/models/m"
        answer = httpx.get(url)
        asked = httpx.options(url, headers={"origin": "https://page.example"})
        without = httpx.options(url)
        other = httpx.get(f"{found[1]}/monitoring/prometheus/metrics")
        running.process.terminate()
        assert running.process.stderr
        said = running.process.stderr.read()

    for one in (answer, asked, without):
        assert one.headers["access-control-allow-origin"] == "*"
        assert one.headers["access-control-allow-methods"] == "POST, GET"
    assert [one.status_code for one in (answer, asked, without, other)] == [200, 200, 400, 200]
    assert "access-control-allow-origin" not in other.headers
    for flag in ("--enable_batching", "--rest_api_timeout_in_ms", "--monitoring_config_file"):
        assert f"{flag} makes no difference here" in said


def test_serve_flag_that_would_decide_answers_is_not_left_out(home: Path) -> None:
    ended = CliRunner().invoke(app, ["serve", "--saved_model_tags=gpu"], env={"SLIPWAY_HOME": str(home)})
    assert ended.exit_code == 2
    assert "--saved-model-tags" in ended.output


def test_serve_wrong_use_is_explained(home: Path, tmp_path: Path) -> None:
    assert "there is no model 'other' in the store; models: tiny" in refused(home, "other")
    assert "`slipway run` trains and pushes a model" in refused(tmp_path)
    assert "give one of them" in refused(home, "tiny", "--model_base_path", str(tmp_path))
    nothing = tmp_path / "models.config"
    nothing.write_text("")
    assert "names no model: write `model_config_list" in refused(home, "--model_config_file", str(nothing))


@pytest.mark.parametrize("flag", ["--port", "--rest_api_port"])
@pytest.mark.parametrize("port", ["-1", "65536"])
def test_serve_port_that_is_none_is_wrong_usage(home: Path, flag: str, port: str) -> None:
    ended = CliRunner().invoke(app, ["serve", flag, port], env={"SLIPWAY_HOME": str(home)})
    assert ended.exit_code == 2
    assert f"Invalid value for '{flag.replace('_', '-')}'" in ended.output
