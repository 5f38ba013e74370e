"""The SQL that turns raw rows into examples: types, label, and the reason why a row is unusable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import duckdb
import pyarrow as pa

from slipway.data.database import identifier
from slipway.data.examples.column_types import convert
from slipway.data.examples.columns import missing_column, no_such_column, taken_columns
from slipway.data.examples.csv_files import has_rejects
from slipway.data.examples.label_sql import columns_of, missing_where_nan
from slipway.data.examples.rows import BATCH, FILE, KEPT, LINE, UnsoundRowsError, describe
from slipway.data.examples.split_rows import UNREADABLE, refuse_unreadable, spelt_column, time_columns
from slipway.data.examples.typed_rows import TypedRows
from slipway.errors import ConfigError, DataError
from slipway.module_api import (
    ColumnSplit,
    GroupSplit,
    HashSplit,
    Ingestion,
    Label,
    Split,
    Task,
    TimeSplit,
    needed_columns,
)

SUSPECTS = 1000
REASON, RAW = "__slipway_reason", "__slipway_raw"


class RowQuery:
    """One query over the rows of a source.

    It selects the data's columns, the label, the row's file and line, and for an unusable row the reason and the raw
    text. `example_columns` are those of an example, the label last. Rows that are predicted have no label; columns of
    theirs that are `kept` as the data has them are called `KEPT` and their name.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        typed: TypedRows,
        label: Label | None,
        split: Split,
        task: Task,
        ingestion: Ingestion,
        name: str,
        kept: Sequence[str] = (),
    ) -> None:
        self._connection = connection
        self._ignored = taken_columns(HashSplit(), ingestion)
        self._typed = typed
        self._name = name
        self.data_columns = list(typed.rows.types)
        self.own_columns = [column for column in self.data_columns if column not in typed.joined]
        dropped = split.column if isinstance(split, ColumnSplit) else None
        labels = [label.column] if label else []
        self.example_columns = [column for column in self.data_columns if column not in (dropped, *labels)] + labels
        if label:
            self._check_columns(label, split)
        self._expression, self._split = label.expression if label else None, split
        self._times = split if isinstance(split, TimeSplit) else None
        self._doubts = [REASON, UNREADABLE] if self._times else [REASON]
        extra = time_columns(connection, typed, self._times) if self._times else ""
        if isinstance(split, ColumnSplit):
            extra = spelt_column(split)
        as_it_is = (f"{identifier(column)} AS {identifier(KEPT + column)}" for column in kept)
        self._inner = _typed_sql(typed, "".join(f", {one}" for one in (extra, *as_it_is) if one))
        self._sql = self._with_label(self._inner, label, task) if label else self._inner

    def batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        """The result in batches of about `rows` rows.

        Raises:
            UnsoundRowsError: the source was trusted wrongly; the batches so far are void.
        """
        trusted = self._typed.trusted
        try:
            for batch in self._answers(rows):
                if trusted and any(batch.column(name).null_count < batch.num_rows for name in self._doubts):
                    raise UnsoundRowsError
                if self._times and not trusted:
                    refuse_unreadable(batch.filter(batch.column(REASON).is_null()), self._times)
                yield batch
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            if trusted:
                raise UnsoundRowsError from error
            if self._expression is not None and isinstance(error, duckdb.Error):
                self._blame_label(self._expression, error)
            raise
        if trusted and has_rejects(self._connection):
            raise UnsoundRowsError

    def empty(self) -> pa.RecordBatch:
        """The result without rows."""
        columns = self._connection.sql(f"{self._sql} LIMIT 0").to_arrow_table().schema
        return pa.RecordBatch.from_arrays([pa.nulls(0, one.type) for one in columns], schema=columns)

    def _answers(self, rows: int) -> Iterator[pa.RecordBatch]:
        batches = self._typed.rows.batches
        if batches is None:
            yield from self._connection.sql(self._sql).to_arrow_reader(rows)
            return
        with closing(batches):  # an error of the query leaves its file open otherwise
            for batch in batches:
                self._connection.register(BATCH, pa.Table.from_batches([batch]))
                yield from self._connection.sql(self._sql).to_arrow_table().to_batches()

    def _blame_label(self, expression: str, error: duckdb.Error) -> None:
        """A DataError with the values of a row on which the expression fails; nothing if there is none."""
        named = columns_of(self._connection, expression)
        types = describe(self._connection, f"({self._inner})")
        used = [column for column in self.data_columns if column.lower() in named]
        chosen, value = ", ".join(map(identifier, used)) or "1", f"(\n{expression}\n)"
        try:
            suspects = f"SELECT DISTINCT {chosen} FROM ({self._inner}) WHERE TRY({value}) IS NULL LIMIT {SUSPECTS}"  # noqa: S608
            rows = self._connection.execute(suspects).fetchall()
        except duckdb.Error:  # TRY takes no subquery
            rows = self._connection.execute(f"SELECT {chosen} FROM ({self._inner}) LIMIT {SUSPECTS}").fetchall()  # noqa: S608
        given = ", ".join(f"CAST(? AS {types[column]}) AS {identifier(column)}" for column in used) or "1"
        for row in rows:
            try:
                self._connection.execute(f"SELECT {value} FROM (SELECT {given})", row if used else []).fetchall()  # noqa: S608
            except duckdb.Error as failed:
                said = str(failed).partition("\n")[0].partition(". Use TRY")[0]
                shown = ", ".join(f"{column} = {found!r}" for column, found in zip(used, row, strict=True))
                raise DataError(
                    f"label.expression of module.yaml, `{expression}`, fails on a row of {self._name} with {shown}: "
                    f"{said}. Write TRY(…), TRY_CAST(…) or nullif(…, 0) there to give such rows no label"
                ) from error

    def _check_columns(self, label: Label, split: Split) -> None:
        """Refuses a missing column that the module names: a misspelt `training_only` would leak the outcome."""
        for column, key in needed_columns(label, split):
            if column not in self.data_columns:
                raise DataError(f"{key} of module.yaml is {column!r}, but {self._why_not(column)}")

    def _why_not(self, column: str) -> str:
        return no_such_column(column, self.data_columns, self._name, self._ignored)

    def _with_label(self, inner: str, label: Label, task: Task) -> str:
        """The rows with the label, evaluated and converted to a type of the examples."""
        column, labelled = identifier(label.column), inner
        try:
            if label.expression is not None:
                # Checked first as the module wrote it, so that DuckDB's message quotes that text.
                describe(self._connection, f"({self._with(inner, label.column, label.expression)})")
                labelled = self._with(inner, label.column, missing_where_nan(self._connection, label.expression))
            types = describe(self._connection, f"({labelled})")
        except duckdb.Error as error:
            missing = missing_column(error)
            said = self._why_not(missing) if missing else str(error).partition("\n")[0]
            what = f"uses {missing!r}, but " if missing else "cannot be evaluated: "
            raise DataError(f"label.expression of module.yaml, `{label.expression}`, {what}{said}") from error
        kind = types[label.column]
        if kind.endswith("]") or (task == "regression" and kind == "VARCHAR"):
            needed = "a number" if task == "regression" else "one value a row"
            raise ConfigError(f"label {label.column!r} is {kind}; {task} needs {needed}")
        if label.weight and types[label.weight] not in ("BIGINT", "DOUBLE"):
            raise ConfigError(
                f"label.weight of module.yaml is {label.weight!r}, which holds {types[label.weight]}; a weight is a "
                "number, 0 or more"
            )
        if isinstance(self._split, GroupSplit) and types[self._split.column].endswith("]"):
            raise ConfigError(
                f"split.column of module.yaml is {self._split.column!r}, which holds {types[self._split.column]}; a "
                "group is one value a row"
            )
        value = convert(label.column, kind, None).value
        return f"SELECT * REPLACE ({value} AS {column}) FROM ({labelled})"  # noqa: S608

    def _with(self, inner: str, column: str, value: str) -> str:
        named = f"(\n{value}\n) AS {identifier(column)}"  # lines of its own: a comment ends where SQL ends it
        kept = f"* REPLACE ({named})" if column in self.data_columns else f"*, {named}"
        return f"SELECT {kept} FROM ({inner})"  # noqa: S608


def _typed_sql(typed: TypedRows, extra: str) -> str:
    file, line = typed.rows.place
    values = "".join(f"{each.value} AS {identifier(each.column)}, " for each in typed.conversions)
    failing = [each for each in typed.conversions if each.column in typed.can_fail]
    reason, raw = "NULL::VARCHAR", "NULL::VARCHAR"
    if failing and typed.trusted:
        reason = f"CASE WHEN NOT ({' AND '.join(f'({each.valid})' for each in failing)}) THEN '' END"
    elif failing:
        reason = f"nullif(concat_ws('; ', {', '.join(each.reason for each in failing)}), '')"
        texts = ", ".join(
            f"coalesce({identifier(column)}::VARCHAR, '')" for column in typed.rows.types if column not in typed.joined
        )
        raw = f"CASE WHEN {reason} IS NOT NULL THEN array_to_string([{texts}], ',') END"
    return (
        f"SELECT {values}{file} AS {FILE}, {line} AS {LINE}, {reason} AS {REASON}, {raw} AS {RAW}{extra} "  # noqa: S608
        f"FROM {typed.rows.relation}"
    )
