"""The runtime over a real SavedModel; TensorFlow itself only writes it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import grpc
import numpy as np
import psutil
import pytest

from serving.protocol.errors import ServingError
from serving.runtime.saved_model import SavedModel
from tests.conformance.model import ECHOED, NAME


@pytest.fixture(scope="module")
def path(conformance_models: Path) -> Path:
    return conformance_models / NAME / "1"


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[SavedModel]:
    model = SavedModel(path)
    yield model
    model.close()


def ask(model: SavedModel, signature: str, **inputs: Any) -> dict[str, Any]:
    definition = model.signatures[signature]
    feeds = {definition.inputs[name].name: value for name, value in inputs.items()}
    outputs = list(definition.outputs)
    return dict(zip(outputs, model.run(feeds, [definition.outputs[name].name for name in outputs]), strict=True))


def refused(model: SavedModel, feeds: dict[str, Any], fetches: list[str]) -> ServingError:
    with pytest.raises(ServingError) as caught:
        model.run(feeds, fetches)
    return caught.value


def echoes(**given: Any) -> dict[str, Any]:
    inputs = {name: np.zeros(0, "float32" if name == "float" else name) for name in ECHOED if name != "string"}
    return inputs | {"string": np.array([], object)} | given


# Small strings are kept in place, large ones elsewhere: the limit is 22 bytes.
@pytest.mark.parametrize("length", [0, 1, 21, 22, 23, 24, 4096, 1 << 20])
def test_run_strings_of_any_length_come_back(model: SavedModel, length: int) -> None:
    strings = np.array([bytes(index % 256 for index in range(length)), b"", b"x" * length], object)

    assert ask(model, "echo", **echoes(string=strings))["string"].tolist() == strings.tolist()


@pytest.mark.parametrize(
    "values",
    [
        {"float": np.array([[1.5, np.nan], [np.inf, -0.0]], np.float32)},
        {"double": np.array(3.25)},
        {"int64": np.array([-(2**63), 2**63 - 1])},
        {"bool": np.array([True, False])},
        {"uint8": np.arange(256, dtype=np.uint8)},
        {"int32": np.arange(10, dtype=np.int32)[::3]},
        {"string": np.array([[b"a", b"b"], [b"c", b"d"]], object)},
    ],
    ids=lambda values: next(iter(values)),
)
def test_run_values_types_and_shapes_come_back(model: SavedModel, values: dict[str, Any]) -> None:
    (name, value), *_ = values.items()
    back = ask(model, "echo", **echoes(**values))[name]

    assert back.dtype == value.dtype
    np.testing.assert_array_equal(back, value)


def test_run_wrong_type_is_tensorflows_own_error(model: SavedModel) -> None:
    error = refused(model, {"matrix_x:0": np.array([b"x"], object)}, ["PartitionedCall_1:0"])

    assert (error.code, error.message) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "Expects arg[0] to be float but string is provided",
    )


def test_run_unknown_tensor_is_named(model: SavedModel) -> None:
    error = refused(model, {"nothing:0": np.zeros(1)}, ["PartitionedCall_1:0"])

    assert error.code == grpc.StatusCode.NOT_FOUND
    assert "nothing:0" in error.message


def test_run_what_no_tensor_holds_is_a_type_error(model: SavedModel) -> None:
    with pytest.raises(TypeError, match="cannot hold 1, a int"):
        ask(model, "echo", **echoes(string=np.array([1], object)))
    with pytest.raises(TypeError, match="complex128"):
        ask(model, "matrix", x=np.zeros((1, 2), complex))


def test_run_many_threads_get_their_own_answers(model: SavedModel) -> None:
    wrong = []

    def work(number: int) -> None:
        for count in range(1, 50):
            x = np.full((count, 2), number, np.float32)
            if ask(model, "matrix", x=x)["y"].tolist() != [[2.0 * number]] * count:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_run_memory_stays_flat_with_answers_and_with_errors(model: SavedModel) -> None:
    strings = np.array([b"no example" * 10_000] * 10, object)

    def work() -> None:
        for _ in range(50):
            ask(model, "echo", **echoes(string=strings))
            refused(model, {"serving_default_examples:0": strings[:1]}, ["StatefulPartitionedCall_2:0"])

    work()
    before = psutil.Process().memory_info().rss
    for _ in range(4):
        work()
    # Without any of the frees, 200 rounds of a megabyte in and out would stay.
    assert psutil.Process().memory_info().rss - before < 100 << 20


@pytest.mark.parametrize("broken", ["nothing", "empty"])
def test_saved_model_that_is_none_is_an_error(tmp_path: Path, broken: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ServingError, match="Could not find SavedModel"):
        SavedModel(tmp_path / broken)


def test_saved_model_path_may_hold_any_character(path: Path, tmp_path: Path) -> None:
    odd = tmp_path / "ein Modell, größer & 'besser'"
    odd.symlink_to(path)
    model = SavedModel(odd)
    assert ask(model, "version", x=np.zeros(1, np.float32))["version"].tolist() == [1.0]
    model.close()


@pytest.mark.slow
def test_saved_model_in_a_fork_of_a_process_with_tensorflow(path: Path) -> None:
    """The steps of a local run are such forks: they use the libraries that TensorFlow has mapped already."""
    run_python(f"""
        import os, sys, tensorflow
        import numpy as np
        if child := os.fork():
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        from serving.runtime.saved_model import SavedModel
        model = SavedModel({str(path)!r})
        definition = model.signatures["matrix"]
        feeds = {{definition.inputs["x"].name: np.array([[1, 2]], np.float32)}}
        assert model.run(feeds, [definition.outputs["y"].name])[0].tolist() == [[3.0]]
        model.close()
        os._exit(0)
    """)


def test_server_process_never_imports_tensorflow(path: Path) -> None:
    run_python(f"""
        import sys
        from pathlib import Path
        from serving.server.config import ServerConfig
        from serving.server.server import ModelServer
        from serving.server.model_sources import OneVersion
        with ModelServer(OneVersion("m", Path({str(path)!r})), ServerConfig(grpc_port=0, rest_port=0)):
            sys.exit("tensorflow" in sys.modules)
    """)


def run_python(code: str) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", dedent(code)], timeout=120, check=True)
