"""The statistics of a column, written once with Ibis and compiled for DuckDB or BigQuery.

Each expression describes one column, the table `examples(value)`, so that neither the SQL nor the memory grows with
the number of columns. That costs no extra reading: Parquet and BigQuery read column by column.

The number of distinct numbers (HyperLogLog) and, with `exact=False`, quantiles are approximate; all else is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import ibis.expr.types as ir

Kind = Literal["int64", "float64", "string", "binary"]
Dialect = Literal["duckdb", "bigquery"]

TABLE = "examples"
BOUNDS = "bounds"
BUCKETS = 10
RANKED_VALUES = 1000
WHOLE_WIDTHS_BELOW = 10_000  # of range; above, the width of a bucket need not be whole for a picture to be right
INNER_QUANTILES = [index / BUCKETS for index in range(1, BUCKETS)]


@dataclass(frozen=True)
class ColumnType:
    """Type of the values, and whether an example holds a list of them."""

    kind: Kind
    is_list: bool = False


@dataclass(frozen=True)
class ColumnSql:
    """The statements that describe one column; `values` and `lengths` answer one row, the others several."""

    values: str
    lengths: str | None = None
    buckets: str | None = None
    ranking: str | None = None


@cache
def compile_column(column: ColumnType, dialect: Dialect = "duckdb", *, exact: bool = True) -> ColumnSql:
    """SQL over `examples(value)`; `exact=False` is for BigQuery, and for very long columns."""
    import ibis

    examples = ibis.table({"value": f"array<{column.kind}>" if column.is_list else column.kind}, name=TABLE)
    values = examples.select(value=examples.value.unnest()) if column.is_list else examples

    def sql(expression: ir.Table) -> str:
        return str(ibis.to_sql(expression, dialect=dialect, pretty=False))

    lengths = None
    if column.is_list:
        length, counts = examples.value.length(), {"rows": examples.count(), "present": examples.value.count()}
        lengths = sql(examples.aggregate(**counts, shortest=length.min(), longest=length.max()))
    if column.kind == "string":
        return ColumnSql(sql(_sizes(values, values.value.length())), lengths, ranking=sql(_ranking(values)))
    if column.kind == "binary":
        return ColumnSql(sql(_sizes(values, _octet_length(values.value))), lengths)
    return ColumnSql(sql(_numbers(values, exact)), lengths, buckets=sql(buckets_of(values)))


def bucket_bounds(kind: Kind, low: float, high: float) -> tuple[float, float]:
    """The ends of the ten buckets: the extremes; of integers, buckets of a whole width reach beyond the largest."""
    if kind == "int64" and low < high and high - low < WHOLE_WIDTHS_BELOW:
        return low, low + BUCKETS * math.ceil((high - low + 1) / BUCKETS)
    return low, high


def inner_edges(low: Any, high: Any) -> list[Any]:
    """Where each bucket but the first begins, of two numbers or of two columns, with the same rounding."""
    return [(low * 0.5 + half_width(low, high) * index / BUCKETS) * 2 for index in range(1, BUCKETS)]


def half_width(low: Any, high: Any) -> Any:
    """Half the distance between two values; the whole one need not be a float64."""
    return high * 0.5 - low * 0.5


def _number_and_finite(value: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The value without NaN, and also without infinities."""
    import ibis

    if not value.type().is_floating():
        return value, value.cast("float64")
    number = ibis.ifelse(value.isnan(), ibis.null("float64"), value)
    return number, ibis.ifelse(number.isinf(), ibis.null("float64"), number)


def _numbers(values: ir.Table, exact: bool) -> ir.Table:
    """Numeric statistics; NaN is counted and left out, infinities only count for `min` and `max`."""
    import ibis

    number, finite = _number_and_finite(values.value)
    counts: dict[str, Any] = {"nans": ibis.literal(0), "low_infinities": ibis.literal(0), "infinities": ibis.literal(0)}
    if values.value.type().is_floating():
        counts["nans"] = values.value.isnan().sum()
        counts["infinities"] = number.isinf().sum()
        counts["low_infinities"] = (number.isinf() & (number < 0)).sum()
    table = values.select(values.value, number=number, finite=finite)
    return table.aggregate(
        rows=table.count(),
        total=table.value.count(),
        min=table.number.min(),
        max=table.number.max(),
        low=table.finite.min(),
        high=table.finite.max(),
        zeros=(table.number == 0).sum(),
        unique=table.number.approx_nunique(),
        quantiles=_exact_quantiles(table.finite) if exact else table.finite.approx_quantile(INNER_QUANTILES),
        **counts,
    )


def buckets_of(values: ir.Table) -> ir.Table:
    """Count, sum and sum of squares by tenth of the way from `low` to `high`, the table `bounds` of one row.

    Values are compared with the edges that the histogram will have. Their positions are rounded: by them, rows of 0.7
    could be counted below an edge of 0.7. The sums are of each value's position from 0 to 1 on that way, so that no
    square overflows and, since both ends occur, the variance is not lost to cancellation. Where the values have a
    `weight`, it counts instead of the row.
    """
    import ibis

    weight = {"weight": values.weight} if "weight" in values.columns else {}
    bounds = ibis.table({"low": "float64", "high": "float64"}, name=BOUNDS)
    table = values.select(finite=_number_and_finite(values.value)[1], **weight).cross_join(bounds)
    position = (table.finite * 0.5 - table.low * 0.5) / half_width(table.low, table.high)
    bucket = sum((table.finite >= edge).cast("int8") for edge in inner_edges(table.low, table.high))
    table = table.select(*weight, position=position, bucket=bucket)
    sums = {"frequency": table.weight.sum() if weight else table.position.count()}
    by = table.position * table.weight if weight else table.position
    return (
        table.group_by("bucket").aggregate(**sums, sum=by.sum(), squares=(by * table.position).sum()).order_by("bucket")
    )


def _sizes(values: ir.Table, size: ir.Value) -> ir.Table:
    """Lengths of strings in characters, of binaries in bytes."""
    table = values.select(values.value, size=size)
    facts = {"rows": table.count(), "total": table.value.count(), "size": table["size"].sum()}
    if values.value.type().is_binary():
        extremes = {"smallest": table["size"].min(), "largest": table["size"].max()}
        facts |= extremes | {"unique": table.value.approx_nunique()}
    return table.aggregate(**facts)


def _ranking(values: ir.Table) -> ir.Table:
    """The most frequent strings with their counts, exactly, equal counts by name; and how many distinct ones exist."""
    import ibis

    counted = values.filter(values.value.notnull()).group_by("value").aggregate(frequency=lambda table: table.count())
    counted = counted.mutate(unique=counted.frequency.count().over(ibis.window()))
    return counted.order_by([ibis.desc("frequency"), "value"]).limit(RANKED_VALUES)


def _exact_quantiles(number: ir.Value) -> ir.Scalar:
    """Values that occur, so that many equal ones stay a point; DuckDB's function, not wrapped by Ibis."""
    import ibis

    @ibis.udf.agg.builtin  # type: ignore[untyped-decorator]
    def quantile_disc(number: float, fractions: list[float]) -> list[float]:  # type: ignore[empty-body]
        """The smallest value that at least this fraction of all values does not exceed."""

    return quantile_disc(number, INNER_QUANTILES)


def _octet_length(value: ir.Value) -> ir.Value:
    """Standard SQL's, which Ibis does not wrap."""
    import ibis

    @ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
    def octet_length(value: bytes) -> int: ...  # type: ignore[empty-body]

    return octet_length(value)
