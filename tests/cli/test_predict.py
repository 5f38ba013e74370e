"""`slipway predict` against a real server in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from csv import DictReader
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from serving.server.config import ServerConfig
from serving.server.model_sources import OneVersion
from serving.server.server import ModelServer
from slipway.errors import ConfigError, DataError
from slipway.evaluation.golden import read_golden
from slipway.lineage import Lineage
from slipway.stores.model_store import LocalModelStore, Provenance

ROWS = '{"size": 1.0, "rooms": 2, "town": "Ulm"}\n{"town": "Bonn"}\n'


@pytest.fixture(scope="module")
def server(tiny_model: Path) -> Iterator[ModelServer]:
    with ModelServer(OneVersion("tiny", tiny_model), ServerConfig(grpc_port=0, rest_port=0)) as server:
        yield server


@pytest.fixture(params=["--grpc", "--rest"])
def where(request: pytest.FixtureRequest, server: ModelServer) -> list[str]:
    port = server.grpc_port if request.param == "--grpc" else server.rest_port
    return ["tiny", request.param, "--address", f"localhost:{port}"]


def predict(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["predict", *arguments])


@pytest.mark.parametrize("batch", ["1", "256"])
def test_predict_rows_of_json_prints_classes_and_scores(where: list[str], tmp_path: Path, batch: str) -> None:
    file = tmp_path / "rows.json"
    file.write_text(ROWS)
    result = predict(*where, "--instances", str(file), "--json-lines", "--batch", batch)

    assert result.exit_code == 0, result.output
    answers = [json.loads(line) for line in result.output.splitlines()]
    assert [each["class"] for each in answers] == ["yes", "yes"]
    assert [each["scores"]["yes"] for each in answers] == pytest.approx([0.549834, 0.598688], abs=1e-6)


def test_predict_json_is_an_output_and_in_its_old_place_an_input(where: list[str], tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text(ROWS)
    answers = json.loads(predict(*where, "--instances", str(file), "--json").output)
    assert [each["class"] for each in answers] == ["yes", "yes"]
    old = ["--model", where[0], *where[1:], "--json", str(file)]
    assert [json.loads(line) for line in predict(*old, "--json-lines").output.splitlines()] == answers
    assert "Bonn" in predict(*old).output
    assert "Bonn" in predict(*where, f"--json={file}").output


@pytest.mark.parametrize("signature", ["raw", "serving_default"])
def test_predict_table_shows_rows_beside_answers(where: list[str], tmp_path: Path, signature: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("town,size,rooms,note\nUlm,1.0,2,x\nBonn,,,y\n")
    result = predict(*where, "--csv", str(file), "--signature", signature)

    assert result.exit_code == 0, result.output
    assert [line.split() for line in result.output.splitlines() if "0." in line] == [
        ["Ulm", "1", "2", "x", "0.5498"],
        ["Bonn", "y", "0.5987"],
    ]


def test_predict_records_of_the_wrong_kind_are_named(where: list[str], tmp_path: Path) -> None:
    from tests.served_models import write_warmup

    empty, other = tmp_path / "empty.tfrecord", tmp_path / "assets.extra/tf_serving_warmup_requests"
    empty.touch()
    write_warmup(tmp_path, b"\xff\xff")
    for file, problem in ((empty, "no records"), (tmp_path / "none", "No such file"), (other, "not a tf.Example")):
        result = predict(*where, "--examples", str(file))
        assert isinstance(result.exception, DataError)
        assert problem in str(result.exception)


def test_predict_signature_that_is_not_there_is_named(where: list[str], tmp_path: Path) -> None:
    result = predict(*where, "--signature", "regress")

    assert isinstance(result.exception, ConfigError)
    assert "the served model has classify, raw, serving_default, transform_features" in str(result.exception)


@pytest.mark.parametrize("signature", ["raw", "classify"])
def test_predict_without_a_file_takes_rows_of_training(
    where: list[str], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signature: str
) -> None:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    nothing = predict(*where)
    assert isinstance(nothing.exception, ConfigError)
    assert "--csv, --instances or --examples" in str(nothing.exception)

    lineage = Lineage(run="r", module="tiny", module_digest="d", data_uri="d")
    LocalModelStore(tmp_path / "models").push(tiny_model, Provenance(model="tiny", lineage=lineage))
    answers = json.loads(predict(*where, "--signature", signature, "--json").output)
    scores = [each["predictions"] if signature == "raw" else each["scores"]["yes"] for each in answers]
    assert scores == pytest.approx(read_golden(tiny_model).predictions[:3], abs=1e-6)


def test_predict_writes_rows_and_predictions_as_csv(where: list[str], tmp_path: Path) -> None:
    file, output = tmp_path / "rows.csv", tmp_path / "answers.csv"
    file.write_text("id,town,size,rooms,class\n7,Ulm,1.0,2,x\n8,Bonn,,,y\n")
    result = predict(*where, "--csv", str(file), "--output", str(output))

    assert result.exit_code == 0, result.output
    rows = list(DictReader(output.read_text().splitlines()))
    assert [(row["id"], row["class"], row["rooms"], row["predicted_class"]) for row in rows] == [
        ("7", "x", "2", "yes"),
        ("8", "y", "", "yes"),
    ]
    assert [float(row["score_yes"]) for row in rows] == pytest.approx([0.549834, 0.598688], abs=1e-6)


CONFIG = """
contract: 1
task: binary
label: {column: sold}
ingestion: {delimiter: ";", decimal: ",", missing_values: ["NA"], ignore: [id], times: seconds}
"""


def test_predict_reads_csv_as_the_module_says(
    where: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "modules" / "tiny"
    module.mkdir(parents=True)
    (module / "module.yaml").write_text(CONFIG)
    monkeypatch.setenv("SLIPWAY_MODULES", str(module.parent))
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    file, output = tmp_path / "rows.csv", tmp_path / "answers.csv"
    file.write_text("id;rooms;size;town\n7;2;1,0;Ulm\n8;NA;NA;Bonn\n")
    result = predict(*where, "--csv", str(file), "--output", str(output))
    assert result.exit_code == 0, result.output
    rows = list(DictReader(output.read_text().splitlines()))
    assert [(row["id"], row["size"], row["rooms"]) for row in rows] == [("7", "1.0", "2"), ("8", "", "")]
    assert [float(row["score_yes"]) for row in rows] == pytest.approx([0.549834, 0.598688], abs=1e-6)

    for text, said in (
        ("rooms;town\nmany;Ulm\n", "row 1: rooms: 'many'"),
        ("rooms;town\n1;Ulm;x\n", "rows.csv:2: "),
        ("colour\nred\n", "has no column of the model"),
    ):
        file.write_text(text)
        assert said in str(predict(*where, "--csv", str(file)).exception)
