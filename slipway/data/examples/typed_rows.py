"""Rows whose types are decided."""

from __future__ import annotations

from dataclasses import dataclass

from slipway.data.examples.column_types import Conversion
from slipway.data.examples.rows import RawRows


@dataclass(frozen=True)
class TypedRows:
    """Rows, and the conversion of each column to its type.

    `can_fail` names the columns whose conversion may fail. A `trusted` source was not checked: if a conversion
    fails, or DuckDB skips a row, it has to be read carefully. `joined` are the columns of shared features.
    """

    rows: RawRows
    conversions: list[Conversion]
    can_fail: frozenset[str]
    trusted: bool = False
    joined: tuple[str, ...] = ()
