"""A bounded sample of rows that have a key: which rows are in it depends on their keys alone.

So requests with the same key, in whichever file of the log, are kept together. An AUC of 100,000 rows is known to
0.002.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import pyarrow as pa

LIMIT = 200_000  # rows


class Sample:
    """Tables of rows, `LIMIT` rows at most; `share` of the keys are in it.

    Args:
        key: The column by which rows are drawn.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self.share = 1.0
        self._parts: list[pa.Table] = []

    def add(self, rows: pa.Table) -> None:
        """Takes those of the rows that belong to the sample, and halves it until it is small enough."""
        self._parts.append(drawn(rows, self.key, self.share))
        while sum(one.num_rows for one in self._parts) > LIMIT:
            self.share /= 2
            self._parts = [drawn(one, self.key, self.share) for one in self._parts]

    @property
    def rows(self) -> pa.Table:
        """The rows."""
        return concatenated(self._parts)


def concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """All rows, with columns of a common type: text where one table has texts and another numbers."""
    types: dict[str, set[pa.DataType]] = {}
    for table in tables:
        for field in table.schema:
            types.setdefault(field.name, set()).add(field.type)
    mixed = {name for name, its in types.items() if pa.string() in its and its - {pa.string(), pa.null()}}
    schemas = (
        pa.schema([one.with_type(pa.string()) if one.name in mixed else one for one in table.schema])
        for table in tables
    )
    alike = [table.cast(schema) for table, schema in zip(tables, schemas, strict=True)]
    return pa.concat_tables(alike, promote_options="permissive")


def drawn(rows: pa.Table, key: str, share: float) -> pa.Table:
    """The rows whose key belongs to a sample of this share; a smaller sample is part of a larger."""
    if share >= 1 or key not in rows.column_names:
        return rows
    texts = rows[key].cast(pa.string()).to_pylist()
    bound = share * 2**32
    return rows.filter(
        np.fromiter(
            (
                text is not None and int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big") < bound
                for text in texts
            ),
            bool,
            len(texts),
        )
    )
