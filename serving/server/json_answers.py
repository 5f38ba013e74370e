"""Writes the JSON of an answer, as `util/json_tensor.cc` does."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from serving.protocol.errors import ServingError, invalid_argument

_BYTES_SUFFIX = "_bytes"
_NON_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
# numeric_limits::max_digits10
_FULL = {np.dtype(np.float32): "%.9g", np.dtype(np.float64): "%.17g"}


def write_outputs(outputs: Mapping[str, NDArray[Any]], row_format: bool) -> bytes:
    """The answer to a predict request; a single output has no name."""
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    if row_format:
        sizes = {name: array.shape[:1] for name, array in outputs.items()}
        if () in sizes.values() or len(set(sizes.values())) > 1:
            raise invalid_argument(f"Row format needs outputs with one batch size. Got: {sizes}; use 'inputs' instead")
    columns = {name: _nested(_texts(array, name), array.shape) for name, array in sorted(outputs.items())}
    if not row_format:
        wholes = [f"[{', '.join(texts)}]" if outputs[name].shape else texts[0] for name, texts in columns.items()]
        if len(wholes) == 1:
            return f'{{"outputs": {wholes[0]}}}'.encode()
        named = ", ".join(f"{_quoted(name)}: {text}" for name, text in zip(columns, wholes, strict=True))
        return f'{{"outputs": {{{named}}}}}'.encode()
    rows = next(iter(columns.values()))
    if len(columns) > 1:
        names = list(map(_quoted, columns))
        # One format for all rows: names first, a hole for each value.
        pattern = "{" + ", ".join(f"{name.replace('%', '%%')}: %s" for name in names) + "}"
        rows = [pattern % row for row in zip(*columns.values(), strict=True)]
    return f'{{"predictions": [{", ".join(rows)}]}}'.encode()


def write_classes(labels: NDArray[Any] | None, scores: NDArray[np.float32] | None) -> bytes:
    """The answer to a classify request: for each example a list of `[label, score]`."""
    shaped = labels if labels is not None else scores
    if shaped is None or not len(shaped):
        raise invalid_argument("Cannot convert empty ClassificationResults to JSON")
    count = shaped.size
    label_texts = ['""'] * count if labels is None else _texts(labels, "")
    score_texts = ["0.0"] * count if scores is None else _texts(scores, "")
    pairs = [f"[{label}, {score}]" for label, score in zip(label_texts, score_texts, strict=True)]
    return f'{{"results": [{", ".join(_nested(pairs, shaped.shape))}]}}'.encode()


def write_values(values: NDArray[np.float32]) -> bytes:
    """The answer to a regress request: a value for each example."""
    if not len(values):
        raise invalid_argument("Cannot convert empty RegressionResults to JSON")
    return f'{{"results": [{", ".join(_texts(values, ""))}]}}'.encode()


def write_error(error: ServingError) -> bytes:
    """`{"error": "…"}`."""
    # A text may quote half a surrogate pair, which UTF-8 cannot write.
    return orjson.dumps({"error": error.message.encode(errors="replace").decode()})


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()


def _nested(texts: list[str], shape: tuple[int, ...]) -> list[str]:
    """Texts of the elements along the first axis."""
    for axis in range(len(shape) - 1, 0, -1):
        size = shape[axis]
        if size:
            texts = [f"[{', '.join(texts[at : at + size])}]" for at in range(0, len(texts), size)]
        else:
            texts = ["[]"] * math.prod(shape[:axis])
    return texts


def _texts(array: NDArray[Any], name: str) -> list[str]:
    """JSON of each value; the last axis varies fastest."""
    dtype = array.dtype
    if dtype in _FULL:
        return _decimals(array.ravel())
    if dtype.kind == "O":
        values = array.ravel().tolist()
        if name.endswith(_BYTES_SUFFIX):
            return [f'{{"b64": "{b64encode(value).decode()}"}}' for value in values]
        return [_quoted(value.decode(errors="replace")) for value in values]
    if dtype.kind == "b":
        return ["true" if value else "false" for value in array.ravel().tolist()]
    if dtype.kind in "iu":
        return list(map(str, array.ravel().tolist()))
    raise invalid_argument(f"Failed to write JSON value for tensor type: {dtype}")


def _decimals(values: NDArray[Any]) -> list[str]:
    """Six digits if they are exact, else nine for a float, 17 for a double; whole numbers with `.0`."""
    numbers = values.tolist()
    short = _formatted("%g", numbers)
    with np.errstate(over="ignore"):
        exact = (np.array(list(map(float, short)), values.dtype) == values).tolist()
    full = short if all(exact) else _formatted(_FULL[values.dtype], numbers)
    texts = [short[at] if is_exact else full[at] for at, is_exact in enumerate(exact)]
    return [text if "." in text or "e" in text else _NON_FINITE.get(text) or f"{text}.0" for text in texts]


def _formatted(pattern: str, numbers: list[float]) -> list[str]:
    """Formats all numbers in one go, which takes half as long as one by one."""
    return (" ".join([pattern] * len(numbers)) % tuple(numbers)).split()
