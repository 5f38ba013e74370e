"""What must be true of a SavedModel's files before it is loaded.

TensorFlow Serving's C++ loader accepts a model without variables and fails at the first request, when the good
version is gone already; Python's loader would hide that.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from serving.protocol.protos import saved_model_pb2
from serving.protocol.signatures import CLASSIFY, CLASSIFY_METHOD, RAW, SERVING_DEFAULT, TRANSFORM
from slipway.evaluation.serving_checks import ServingCheck

PREDICTION_SIGNATURES = (RAW, SERVING_DEFAULT)
REQUIRED_SIGNATURES = (*PREDICTION_SIGNATURES, TRANSFORM)


def check_files(model_path: Path) -> list[ServingCheck]:
    """Complete files, and signatures as TensorFlow Serving reads them."""
    complete = _check_complete(model_path)
    return [complete, _check_signatures(model_path)] if complete.passed else [complete]


def read_signatures(model_path: Path) -> dict[str, Any]:
    """`SignatureDef`s by name, of the graph that is served.

    Raises:
        ValueError: saved_model.pb is no SavedModel, or has no graph tagged `serve`.
    """
    try:
        saved = saved_model_pb2.SavedModel.FromString((model_path / "saved_model.pb").read_bytes())
    except DecodeError as error:
        raise ValueError(f"saved_model.pb cannot be parsed: {error}") from error
    for graph in saved.meta_graphs:
        if "serve" in graph.meta_info_def.tags:
            return dict(graph.signature_def)
    raise ValueError("saved_model.pb has no graph tagged `serve`")


def _check_complete(model_path: Path) -> ServingCheck:
    problems = [f"{name} is missing" for name in _expected_files(model_path) if not (model_path / name).is_file()]
    files = [path for path in model_path.rglob("*") if path.is_file()]
    problems += [f"{path.relative_to(model_path)} is empty" for path in files
                 if path.parent in (model_path, model_path / "variables") and not path.stat().st_size]  # fmt: skip
    size = sum(path.stat().st_size for path in files)
    return ServingCheck(
        name="files", passed=not problems, detail="; ".join(problems) or f"{len(files)} files, {size:,} bytes"
    )


def _expected_files(model_path: Path) -> list[str]:
    expected = ["saved_model.pb", "variables/variables.index"]
    shards = [path.name for path in model_path.glob("variables/variables.data-*-of-*")]
    counted = re.search(r"-of-(\d{5})$", shards[0]) if shards else None
    count = int(counted.group(1)) if counted else 1
    return expected + [f"variables/variables.data-{shard:05d}-of-{count:05d}" for shard in range(count)]


def _check_signatures(model_path: Path) -> ServingCheck:
    try:
        signatures = read_signatures(model_path)
    except ValueError as error:
        return ServingCheck(name="signatures", passed=False, detail=str(error))
    there = sorted(name for name in signatures if not name.startswith("__"))
    problems = [f"{name!r} is missing" for name in REQUIRED_SIGNATURES if name not in signatures]
    if CLASSIFY in signatures and signatures[CLASSIFY].method_name != CLASSIFY_METHOD:
        problems.append(f"{CLASSIFY!r} has the method {signatures[CLASSIFY].method_name!r}, not {CLASSIFY_METHOD!r}")
    if RAW in signatures:
        raw = signatures[RAW]
        required = [name for name in raw.inputs if name not in raw.defaults]
        if required:
            problems.append(f"{RAW!r} has no default for {', '.join(sorted(required))}, so it cannot be left out")
    detail = "; ".join(problems) + f"; there are {', '.join(there) or 'none'}" if problems else ", ".join(there)
    return ServingCheck(name="signatures", passed=not problems, detail=detail)
