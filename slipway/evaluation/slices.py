"""Slices: the rows that share the values of some columns."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from slipway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

SliceValues = tuple[str | None, ...]


@dataclass(frozen=True)
class Slicing:
    """A partition of the rows by columns: `codes[row]` is the index of a slice, `values[slice]` the columns' values.

    Without columns all rows are one slice. None is a missing value: null, NaN or an empty string.
    """

    columns: tuple[str, ...]
    codes: NDArray[np.int64]
    values: list[SliceValues]


def slice_rows(table: pa.Table, specs: Iterable[tuple[str, ...]]) -> list[Slicing]:
    """One partition of the rows for each tuple of columns; a slice without rows does not exist.

    Raises:
        ConfigError: a column is not in the data, or holds lists.
    """
    encoded: dict[str, tuple[NDArray[np.int64], list[str | None]]] = {}
    slicings = []
    for columns in specs:
        joint = np.zeros(table.num_rows, np.int64)
        for name in columns:
            if name not in encoded:
                encoded[name] = encode_column(table, name)
            codes, values = encoded[name]
            joint = joint * len(values) + codes
        present, compact = np.unique(joint, return_inverse=True)
        parts: list[list[str | None]] = []
        for _, values in (encoded[name] for name in reversed(columns)):
            present, codes = np.divmod(present, len(values))
            parts.insert(0, [values[code] for code in codes])
        found: list[SliceValues] = list(zip(*parts, strict=True)) if columns else [()]
        slicings.append(Slicing(columns, compact.astype(np.int64), found))
    return slicings


def check_columns(names: Iterable[str], schema: pa.Schema) -> None:
    """Refuses a slice column that cannot be sliced on.

    Raises:
        ConfigError: it is not in the data, or holds lists; the message names the nearest column.
    """
    for name in names:
        if name not in schema.names:
            near = difflib.get_close_matches(name, schema.names, n=1, cutoff=0)
            hint = f"did you mean {near[0]!r}?" if near else "the data has no columns"
            raise ConfigError(
                f"slice column {name!r} is not in the data; {hint} Correct slices or thresholds in module.yaml"
            )
        if pa.types.is_nested(schema.field(name).type):
            raise ConfigError(f"slice column {name!r} holds lists; slice on a column with one value a row")


def encode_column(table: pa.Table, name: str) -> tuple[NDArray[np.int64], list[str | None]]:
    """A column as slice values: one code a row, and what the codes stand for."""
    check_columns([name], table.schema)
    encoded = table[name].combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    texts: list[str | None] = [_text(value) for value in encoded.dictionary.to_pylist()]
    values = list(dict.fromkeys([*texts, None]))
    index = {text: code for code, text in enumerate(values)}
    recode = np.array([index[text] for text in texts] + [index[None]], dtype=np.int64)
    codes = encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
    return recode[codes], values


def _text(value: Any) -> str | None:
    if value is None or value != value:  # NaN alone differs from itself
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value).lower() if isinstance(value, bool) else str(value) or None
