import pytest
import sqlglot

from slipway.data.statistics.expressions import ColumnType, Dialect, Kind, compile_column

KINDS: tuple[Kind, ...] = ("int64", "float64", "string", "binary")


@pytest.mark.parametrize("is_list", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_compile_column_for_bigquery_is_bigquery_sql(kind: Kind, is_list: bool) -> None:
    sql = compile_column(ColumnType(kind, is_list), "bigquery", exact=False)
    for statement in filter(None, (sql.values, sql.lengths, sql.buckets, sql.ranking)):
        parsed = sqlglot.parse_one(statement, dialect="bigquery")
        assert {table.name for table in parsed.find_all(sqlglot.exp.Table)} >= {"examples"}


def test_compile_column_of_numbers_for_bigquery_uses_approximate_quantiles() -> None:
    sql = compile_column(ColumnType("float64"), "bigquery", exact=False)
    assert "APPROX_QUANTILES(`t1`.`finite`, 10 IGNORE NULLS)[9]" in sql.values
    assert "IS_NAN" in sql.values


def test_compile_column_asks_for_a_ranking_of_strings_only() -> None:
    ranked = {kind for kind in KINDS if compile_column(ColumnType(kind)).ranking}
    assert ranked == {"string"}


def outputs(kind: Kind, dialect: Dialect) -> list[str]:
    query = sqlglot.parse_one(compile_column(ColumnType(kind), dialect, exact=False).values, dialect=dialect)
    assert isinstance(query, sqlglot.exp.Query)
    return list(query.named_selects)


@pytest.mark.parametrize("kind", KINDS)
def test_compile_column_has_the_same_outputs_for_both_engines(kind: Kind) -> None:
    assert outputs(kind, "duckdb") == outputs(kind, "bigquery")
