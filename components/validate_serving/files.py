"""Checks of a SavedModel's files before it is loaded.

TensorFlow Serving's C++ loader accepts a model without variables and fails at the first request, when the good
version is gone already; Python's loader would hide that.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from components.validate_serving.operations import check_operations
from serving.protocol.protos import saved_model_pb2
from serving.protocol.signatures import CLASSIFY, CLASSIFY_METHOD, RAW, SERVING_DEFAULT, TRANSFORM
from serving.server.warmup import FILE as WARMUP
from serving.server.warmup import MAX_RECORDS
from slipway.data.tfrecord import read_records
from slipway.errors import DataError
from slipway.evaluation.serving_checks import ServingCheck, first_line


def check_files(model_path: Path) -> list[ServingCheck]:
    """Complete files, and signatures and operations as TensorFlow Serving reads them."""
    expected = ["saved_model.pb", "variables/variables.index"]
    shards = [path.name for path in model_path.glob("variables/variables.data-*-of-*")]
    counted = re.search(r"-of-(\d{5})$", shards[0]) if shards else None
    count = int(counted.group(1)) if counted else 1
    expected += [f"variables/variables.data-{shard:05d}-of-{count:05d}" for shard in range(count)]
    problems = [f"{name} is missing" for name in expected if not (model_path / name).is_file()]
    files = [path for path in model_path.rglob("*") if path.is_file()]
    problems += [f"{path.relative_to(model_path)} is empty" for path in files
                 if path.parent in (model_path, model_path / "variables") and not path.stat().st_size]  # fmt: skip
    size = sum(path.stat().st_size for path in files)
    complete = ServingCheck.of("files", problems, f"{len(files)} files, {size:,} bytes")
    return [complete, *_check_graph(model_path)] if complete.passed else [complete]


def _check_graph(model_path: Path) -> list[ServingCheck]:
    """The graph that is served."""
    try:
        saved = saved_model_pb2.SavedModel.FromString((model_path / "saved_model.pb").read_bytes())
    except DecodeError as error:
        return [ServingCheck.of("signatures", [f"saved_model.pb cannot be parsed: {error}"])]
    graphs = [graph for graph in saved.meta_graphs if "serve" in graph.meta_info_def.tags]
    if not graphs:
        return [ServingCheck.of("signatures", ["saved_model.pb has no graph tagged `serve`"])]
    return [_check_signatures(graphs[0].signature_def), check_operations(graphs[0].graph_def)]


def _check_signatures(signatures: Any) -> ServingCheck:
    """`SignatureDef`s by name."""
    there = ", ".join(sorted(name for name in signatures if not name.startswith("__"))) or "none"
    problems = [f"{name!r} is missing" for name in (RAW, SERVING_DEFAULT, TRANSFORM) if name not in signatures]
    if CLASSIFY in signatures and signatures[CLASSIFY].method_name != CLASSIFY_METHOD:
        problems.append(f"{CLASSIFY!r} has the method {signatures[CLASSIFY].method_name!r}, not {CLASSIFY_METHOD!r}")
    required = sorted(signatures[RAW].inputs.keys() - signatures[RAW].defaults.keys()) if RAW in signatures else []
    if required:
        problems.append(f"{RAW!r} has no default for {', '.join(required)}, so it cannot be left out")
    return ServingCheck.of("signatures", problems and [*problems, f"there are {there}"], there)


def check_warmup(model_path: Path) -> ServingCheck:
    """There are warm-up requests, which the server replays when it loads the model."""
    try:
        count = len(read_records(model_path / WARMUP))
    except FileNotFoundError:
        return ServingCheck.of("warm-up requests", [f"{WARMUP} is missing"])
    except DataError as error:
        return ServingCheck.of("warm-up requests", [first_line(error)])
    detail = f"{count} records, 1 to {MAX_RECORDS} allowed"
    return ServingCheck(name="warm-up requests", passed=0 < count <= MAX_RECORDS, detail=detail)
