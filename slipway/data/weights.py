"""The weights of rows: numbers, 0 or more; a row of weight 0 counts nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from slipway.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PROBLEMS = ("missing", "NaN", "infinite", "negative")


def bad_weights(values: pa.ChunkedArray) -> dict[str, NDArray[np.int64]]:
    """The rows of each of `PROBLEMS` that there is."""
    numbers = _numbers(values)
    missing = np.asarray(values.is_null())
    found = (missing, np.isnan(numbers) & ~missing, np.isinf(numbers), (numbers < 0) & np.isfinite(numbers))
    return {word: np.flatnonzero(one) for word, one in zip(PROBLEMS, found, strict=True) if one.any()}


def read_weights(values: pa.ChunkedArray, name: str) -> Floats:
    """The weights of some rows.

    Raises:
        DataError: one is missing, NaN, infinite or negative; the message names column and row.
    """
    for word, rows in bad_weights(values).items():
        raise DataError(
            f"label.weight {name!r} is {word} in {len(rows):,} of {len(values):,} rows, the first is row "
            f"{rows[0] + 1:,}: weights are numbers, 0 or more"
        )
    return _numbers(values)


def _numbers(values: pa.ChunkedArray) -> Floats:
    return np.asarray(values.cast(pa.float64()).fill_null(float("nan")), np.float64)
