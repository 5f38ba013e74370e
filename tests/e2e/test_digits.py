"""The digits module from nothing to served predictions: images over both protocols, and what the report shows of them.

The tests of this file share a home, whose model the first run trains.
"""

from __future__ import annotations

import io
import json
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from serving.client import connect
from slipway.data.examples.read import read_rows
from slipway.errors import RequestError
from slipway.module_api import Ingestion
from tests.e2e.served import Served, serve
from tests.e2e.workspace import Workspace, make_workspace

pytestmark = pytest.mark.slow

Drawn = tuple[list[list[int]], list[int]]
# Fewer epochs than the module's are quick, and do for drawn digits.
EASY = ("--set", "training.epochs=6", "--set", "thresholds=[{metric: accuracy, min: 0.8}]")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_workspace(tmp_path_factory.mktemp("digits"), "digits")
    workspace.slipway("run", "digits", *EASY)
    return workspace


@pytest.fixture(scope="module")
def served(workspace: Workspace) -> Iterator[Served]:
    with serve(workspace) as where:
        yield where


@pytest.fixture(scope="module")
def drawn(workspace: Workspace) -> Drawn:
    """Pixels and labels of the first drawn digits."""
    (images,) = workspace.home.glob("samples/*/digits/*images-idx3-ubyte.gz")
    rows = read_rows(str(images), Ingestion(), 40)
    return rows["image"].to_pylist(), rows["label"].to_pylist()


def png(pixels: list[int], mode: str = "L", form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.array(pixels, np.uint8).reshape(28, 28)).convert(mode).save(buffer, form)
    return buffer.getvalue()


def post(served: Served, body: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"http://{served.rest}/v1/models/digits:predict", json=body)


def base64(content: bytes) -> dict[str, str]:
    return {"b64": b64encode(content).decode()}


def test_a_run_from_nothing_pushes_a_model(workspace: Workspace) -> None:
    run = workspace.last_run()
    assert run["verdict"] == "pushed", run["reasons"]
    assert run["rows"]["read"] == 6_000
    assert run["metrics"]["accuracy"] > 0.9


def test_png_and_nested_lists_get_the_same_predictions(served: Served, drawn: Drawn) -> None:
    pixels, labels = drawn
    encoded = post(served, {"instances": [base64(png(each)) for each in pixels]})
    nested = np.array(pixels).reshape(-1, 28, 28, 1).tolist()
    listed = post(served, {"signature_name": "raw", "instances": [{"image": each} for each in nested]})
    assert encoded.status_code == listed.status_code == 200, encoded.text + listed.text
    predictions = np.array(encoded.json()["predictions"])
    assert np.abs(predictions - np.array(listed.json()["predictions"])).max() < 1e-6
    assert (predictions.argmax(axis=1) == labels).mean() > 0.8
    with connect(served.grpc, "digits") as client:
        over_grpc = client.predict({"examples": np.array([png(each) for each in pixels], object)}, "serving_default")
    assert np.abs(over_grpc["predictions"] - predictions).max() < 1e-6


@pytest.mark.parametrize(("mode", "form"), [("RGB", "PNG"), ("RGBA", "PNG"), ("L", "JPEG"), ("RGB", "JPEG")])
def test_other_files_of_the_same_image_get_the_same_prediction(
    served: Served, drawn: Drawn, mode: str, form: str
) -> None:
    files = [base64(png(drawn[0][0])), base64(png(drawn[0][0], mode, form))]
    one, other = post(served, {"instances": files}).json()["predictions"]
    assert np.abs(np.array(one) - np.array(other)).max() < 0.05


@pytest.mark.parametrize("content", [b"no image at all", png([0] * 784)[:60], b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused(served: Served, content: bytes) -> None:
    answer = post(served, {"instances": [base64(content)]})
    assert answer.status_code == 400
    assert post(served, {"instances": [base64(png([0] * 784))]}).status_code == 200


def test_an_image_of_another_size_is_refused_with_both_sizes(served: Served) -> None:
    buffer = io.BytesIO()
    Image.new("L", (32, 20)).save(buffer, "PNG")
    answer = post(served, {"instances": [base64(buffer.getvalue())]})
    assert answer.status_code == 400
    assert "[20,32,1]" in answer.text
    assert "[28,28,1]" in answer.text
    nested = post(served, {"signature_name": "raw", "instances": [{"image": [[[0]] * 32] * 20}]})
    assert nested.status_code == 400
    with connect(served.grpc, "digits") as client, pytest.raises(RequestError):
        client.predict({"image": np.zeros((1, 20, 32, 1), np.int64)}, "raw")


def test_the_line_of_serve_is_a_request_for_a_shell(
    workspace: Workspace, served: Served, drawn: Drawn, tmp_path: Path
) -> None:
    (tmp_path / "IMAGE.png").write_bytes(png(drawn[0][0]))
    said = subprocess.run(
        ["sh", "-c", served.line], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30
    ).stdout
    assert len(json.loads(said)["predictions"][0]) == 10


def test_predict_takes_image_files_and_the_sample(
    workspace: Workspace, served: Served, drawn: Drawn, tmp_path: Path
) -> None:
    files = []
    for index, pixels in enumerate(drawn[0][:3]):
        (tmp_path / f"{index}.png").write_bytes(png(pixels))
        files += ["--images", str(tmp_path / f"{index}.png")]
    for protocol, where in (("--grpc", served.grpc), ("--rest", served.rest)):
        printed = workspace.slipway("predict", "digits", protocol, "--address", where, *files, "--json").stdout
        chosen = [int(np.argmax(row["predictions"])) for row in json.loads(printed)]
        sample = workspace.slipway("predict", "digits", protocol, "--address", where, "--json").stdout
        assert [int(row["class"]) for row in json.loads(sample)] == chosen
    assert "0.png" in workspace.slipway("predict", "digits", "--address", served.grpc, *files).stdout


def test_parity_of_the_pushed_model_holds(workspace: Workspace, served: Served) -> None:
    said = workspace.slipway("parity", "digits", "--grpc", served.grpc, "--rest", served.rest, "--json").stdout
    assert all(each["agrees"] for each in json.loads(said))


def test_the_report_shows_mistakes_and_mean_images_in_one_file(workspace: Workspace) -> None:
    page = Path(workspace.last_run()["report"]).read_text()
    (written,) = workspace.home.glob("artifacts/*/evaluate-model/evaluation/evaluation.json")
    evaluation = json.loads(written.read_text())
    assert bool(evaluation["mistakes"]) == (evaluation["overall"]["candidate"]["accuracy"] < 1), "drawn digits are easy"
    for mistake in evaluation["mistakes"]:
        assert mistake["label"] != mistake["prediction"]
        assert mistake["label_probability"] <= mistake["probability"]
        assert mistake["picture"] in page
    worst = [mistake["label_probability"] for mistake in evaluation["mistakes"]]
    assert worst == sorted(worst)
    assert page.count("data:image/png;base64,") >= len(worst) + 11
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_server_that_answers_grpc_knows_the_type_of_an_image(served: Served) -> None:
    with connect(served.grpc, "digits") as client:
        (image,) = client.signatures()["raw"].inputs.values()
    assert [dim.size for dim in image.tensor_shape.dim] == [-1, 28, 28, 1]
