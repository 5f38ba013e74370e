from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components.validate_serving.files import check_files
from components.validate_serving.operations import check_operations
from serving.release import IMAGE, read_release
from slipway.evaluation.serving_checks import ServingCheck


def saved(model: Path) -> Any:
    return saved_model_pb2.SavedModel.FromString((model / "saved_model.pb").read_bytes())


def without(operation: str, attribute: str = "") -> Any:
    release, known = read_release(), dict(read_release().operations)
    known[operation] = known[operation] - {attribute}
    if not attribute:
        del known[operation]
    return release._replace(operations=known)


def operations_of(model: Path) -> ServingCheck:
    return next(check for check in check_files(model) if check.name == "operations")


def test_operations_of_a_whole_model_are_known(tiny_model: Path) -> None:
    check = operations_of(tiny_model)

    assert check.passed, check.detail
    assert IMAGE in check.detail


def test_operation_that_the_release_lacks_is_named_with_its_place(tiny_model: Path) -> None:
    check = check_operations(saved(tiny_model).meta_graphs[0].graph_def, without("StringLength"))

    assert not check.passed
    assert all(part in check.detail for part in ("StringLength", "in the function __inference_", IMAGE))
    assert ";" not in check.detail  # several functions have it: it is named once


def test_attribute_that_the_release_lacks_is_named(tiny_model: Path) -> None:
    check = check_operations(saved(tiny_model).meta_graphs[0].graph_def, without("StringLength", "unit"))
    assert check.passed, check.detail  # it has its default value, which saving strips

    check = check_operations(saved(tiny_model).meta_graphs[0].graph_def, without("MatMul", "transpose_b"))
    assert check.passed, check.detail

    check = check_operations(saved(tiny_model).meta_graphs[0].graph_def, without("MatMul", "T"))
    assert not check.passed
    assert "attribute T of the operation MatMul" in check.detail


@pytest.fixture
def custom_model(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model with an operation of TensorFlow Text."""
    model = tmp_path / "custom"
    model.mkdir()
    for path in tiny_model.rglob("*"):
        target = model / path.relative_to(tiny_model)
        target.mkdir(parents=True, exist_ok=True) if path.is_dir() else target.write_bytes(path.read_bytes())
    content = saved(model)
    for function in content.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            if node.op == "StringLength":
                node.op = "CaseFoldUTF8"
    (model / "saved_model.pb").write_bytes(content.SerializeToString())
    return model


def test_custom_operation_stops_the_model_before_it_is_loaded(custom_model: Path) -> None:
    check = operations_of(custom_model)

    assert not check.passed
    assert "CaseFoldUTF8" in check.detail


def test_python_code_in_a_model_is_named(tmp_path: Path) -> None:
    class Model(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def double(self, x: Any) -> Any:
            return tf.py_function(lambda value: value * 2, [x], tf.float32)

    model = Model()
    tf.saved_model.save(model, str(tmp_path), signatures=model.double)

    check = check_operations(saved(tmp_path).meta_graphs[0].graph_def)
    assert not check.passed
    assert "EagerPyFunc, which calls Python" in check.detail


def test_function_that_is_not_served_is_not_checked(tmp_path: Path) -> None:
    class Model(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def serve(self, x: Any) -> Any:
            return x + 1

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def train(self, x: Any) -> Any:
            return tf.math.erf(x)

    model = Model()
    tf.saved_model.save(model, str(tmp_path), signatures=model.serve)

    graph = saved(tmp_path).meta_graphs[0].graph_def
    assert any(node.op == "Erf" for function in graph.library.function for node in function.node_def)
    assert check_operations(graph, without("Erf")).passed


def test_graph_for_newer_consumers_only_is_refused(tiny_model: Path) -> None:
    graph = saved(tiny_model).meta_graphs[0].graph_def
    newest = read_release().graph_version
    graph.versions.min_consumer = newest
    assert check_operations(graph).passed

    graph.versions.min_consumer = newest + 1
    check = check_operations(graph)
    assert not check.passed
    assert str(newest + 1) in check.detail
