"""Encodes label values as the numbers for training and evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slipway.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from slipway.module_api import Task

_FALSE_TRUE = {"0": 0, "1": 1, "false": 0, "true": 1}


def encode_labels(
    values: pa.Array | pa.ChunkedArray | NDArray[Any] | Sequence[Any], task: Task, class_names: Sequence[str]
) -> NDArray[Any]:
    """Labels as numbers, shape `[N]`.

    Float32 of 0 and 1 for binary, int64 class indices for multiclass, float32 for regression. A label is one of
    `class_names`, in any type: the string, or a number or boolean that reads like it ("3" is also 3 and 3.0).
    A binary label may also be a boolean or 0 and 1 whatever its classes are called, unless the classes are
    numbers themselves.

    Raises:
        DataError: a value is missing, not a class, or not finite; the message names it.
    """
    column = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
    if column.null_count:
        raise DataError(f"{column.null_count} of {len(column)} labels are missing: leave these rows out")
    if task == "regression":
        return _numbers(column)
    distinct = column.unique()
    found = label_codes(distinct.to_pylist(), task, class_names)
    unknown = [value for value, code in found if code is None]
    if unknown:
        raise DataError(
            f"label value {', '.join(map(repr, unknown[:3]))} is none of the classes {', '.join(class_names)}: "
            "add it to classes in module.yaml, or correct the data"
        )
    indices: NDArray[Any] = np.array([code for _, code in found], np.int64)
    indices = indices[pc.index_in(column, value_set=distinct).to_numpy()]
    return indices.astype(np.float32) if task == "binary" else indices


def label_codes(values: Iterable[Any], task: Task, class_names: Sequence[str]) -> list[tuple[Any, int | None]]:
    """Each value with the index of its class, None where it is none of the classes."""
    codes = {name: index for index, name in enumerate(class_names)}
    if task == "binary" and not any(_is_number(name) for name in class_names):
        codes = _FALSE_TRUE | codes
    return [(value, codes.get(_name(value))) for value in values]


def _name(value: Any) -> str:
    """The class name that a label value spells."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _numbers(column: Any) -> NDArray[np.float32]:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)):
        raise DataError(f"the label of a regression is a number; this one is {column.type}")
    numbers: NDArray[np.float32] = np.asarray(column.cast(pa.float64()).to_numpy()).astype(np.float32)
    bad = ~np.isfinite(numbers)
    if bad.any():
        raise DataError(f"{int(bad.sum())} of {len(numbers)} labels are NaN or infinite: leave these rows out")
    return numbers
