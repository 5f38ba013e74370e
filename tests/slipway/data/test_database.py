"""DuckDB is opened in one place, so that its settings hold in every query."""

import ast
from pathlib import Path

from slipway.data.database import connect, identifier, literal

ROOT = Path(__file__).parents[3]
ROOMS = ("cli", "components", "console", "delivery", "pipelines", "serving", "settings", "slipway", "modules")
RUN = {
    "connect",
    "sql",
    "query",
    "execute",
    "default_connection",
    "read_csv",
    "read_parquet",
    "from_arrow",
    "from_query",
}


def opens_duckdb(tree: ast.AST) -> bool:
    """Whether code calls a function of the package that opens a database, or uses its default one."""
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "duckdb"
        for alias in node.names
    }
    if names & RUN:
        return True
    modules = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "duckdb"
    }
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in RUN
        and isinstance(node.value, ast.Name)
        and node.value.id in modules
        for node in ast.walk(tree)
    ) or any(
        # ibis.duckdb.connect
        isinstance(node, ast.Attribute) and node.attr == "duckdb" and isinstance(node.value, ast.Name)
        for node in ast.walk(tree)
    )


def test_duckdb_is_opened_in_one_place() -> None:
    found = [
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if "duckdb" in (text := path.read_text(encoding="utf-8")) and opens_duckdb(ast.parse(text))
    ]
    assert found == ["slipway/data/database.py"]


def test_connect_is_in_utc_and_finds_nan_in_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": [1.0, float("nan")]}), tmp_path / "x.parquet")
    with connect(str(tmp_path / "spill"), memory_limit="100MB", threads=1) as connection:
        assert connection.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
        counted = f"SELECT count(*) FROM {literal(str(tmp_path / 'x.parquet'))} WHERE isnan({identifier('x')})"
        assert connection.execute(counted).fetchall() == [(1,)]


def test_names_and_texts_with_quotes_stay_one_word_of_sql() -> None:
    assert identifier('a"b') == '"a""b"'
    assert literal("it's") == "'it''s'"


def test_asof_join_is_no_loop_however_few_rows_are_expected(tmp_path: Path) -> None:
    few = "(VALUES (1, 2)) AS {}(key, known)"
    sql = f"FROM {few.format('r')} ASOF LEFT JOIN {few.format('v')} ON r.key = v.key AND r.known >= v.known"
    with connect(str(tmp_path), memory_limit="100MB", threads=1) as connection:
        ((_, plan),) = connection.execute(f"EXPLAIN {sql}").fetchall()
        assert "asof" in plan.lower()
        assert "loop" not in plan.lower()
        connection.execute("RESET asof_loop_join_threshold")
        ((_, plan),) = connection.execute(f"EXPLAIN {sql}").fetchall()
        assert "loop" in plan.lower()
