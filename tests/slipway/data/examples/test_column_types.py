"""Which type a CSV column gets, from all of its values."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from slipway.data.database import connect
from slipway.data.examples.column_types import CSV_TEXT, DEFAULTS, SAMPLE_ROWS, infer_forms
from slipway.data.examples.read import WIDE, open_source
from slipway.data.examples.rows import Quarantine, RawRows
from slipway.data.examples.source import locate
from tests.slipway.data.examples.ingesting import Ingested, ingest


def _ingest_values(folder: Path, values: list[str], **options: Any) -> Ingested:
    rows = "".join(f"{number},{value},1\n" for number, value in enumerate(values))
    (folder / "data.csv").write_text("id,x,y\n" + rows, encoding="utf-8")
    return ingest(folder / "data.csv", folder / "examples", **options)


@pytest.mark.parametrize(
    ("values", "kind", "first"),
    [
        (["0", "-5", "+7", ""], "int64", 0),
        (["0", "0.0", "27.05"], "double", 0.0),
        (["1e3", "5", ".5"], "double", 1000.0),
        (["True", "false", "TRUE"], "int64", 1),
        (["02139", "10001", "60601"], "string", "02139"),
        (["12345678901234567890", "2", "3"], "string", "12345678901234567890"),
        (["1_000", "2", "3"], "string", "1_000"),
        (["0x10", "2", "3"], "string", "0x10"),
        (["2014-05-16", "2014-05-17", ""], "string", "2014-05-16"),
        (["", "", ""], "string", None),
        (["nan", "1.5", "NaN"], "double", None),
        (["a", "1", "2"], "string", "a"),
        ([" 1", " 2 ", " "], "int64", 1),
        ([" ", " 2.5 ", "1"], "double", None),
    ],
)
def test_ingest_untyped_column_gets_the_type_of_its_values(
    tmp_path: Path, values: list[str], kind: str, first: Any
) -> None:
    ingested = _ingest_values(tmp_path, values * 10)
    assert ingested.manifest.columns["x"] == kind
    assert ingested.column("x")[0] == first
    assert ingested.rows.quarantined == 0


@pytest.mark.parametrize(
    ("first", "last", "kind"),
    [("1", "2.5", "double"), ("1", "007", "string"), ("", "3", "int64"), ("", "text", "string"),
     ("true", "no", "string"),
     ("n/a", "x", "string"), ("1.5", "007", "double")],
)  # fmt: skip
def test_ingest_late_value_counts_as_much_as_an_early_one(tmp_path: Path, first: str, last: str, kind: str) -> None:
    early = _ingest_values(tmp_path, [last] * 200 + [first] * SAMPLE_ROWS)
    late = _ingest_values(tmp_path, [first] * SAMPLE_ROWS + [last] * 200)
    assert early.manifest.columns["x"] == late.manifest.columns["x"] == kind
    assert early.rows.quarantined == late.rows.quarantined == 0


@pytest.mark.parametrize("where", [0, 2500])
def test_ingest_little_garbage_in_numbers_goes_to_quarantine(tmp_path: Path, where: int) -> None:
    values = [str(number) for number in range(3000)]
    values[where] = "oops"
    ingested = _ingest_values(tmp_path, values)
    assert ingested.manifest.columns["x"] == "int64"
    (bad,) = ingested.quarantine()
    assert (bad["line"], bad["reason"]) == (where + 2, "x: 'oops' is not a whole number")
    assert bad["raw"] == f"{where},oops,1"


def test_ingest_much_garbage_in_numbers_makes_a_text_column(tmp_path: Path) -> None:
    ingested = _ingest_values(tmp_path, (["1"] * 90 + ["n/a"] * 10) * 30)
    assert ingested.manifest.columns["x"] == "string"
    assert ingested.rows.quarantined == 0


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [("INT", "5.0", 5), ("INT", " 5", 5), ("INT", "007", 7), ("INT", "True", 1), ("FLOAT", "5", 5.0),
     ("BYTES", "5", "5"), ("INT", "9223372036854775807", 2**63 - 1)],
)  # fmt: skip
def test_ingest_schema_decides_the_type(tmp_path: Path, kind: str, value: str, kept: Any) -> None:
    ingested = _ingest_values(tmp_path, [value] * 20, schema=f'feature {{ name: "x" type: {kind} }}')
    assert ingested.column("x") == [kept] * 20


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [("INT", "5.5", "a whole number"), ("INT", "0x10", "a whole number"),
     ("INT", "9223372036854775808", "a whole number"), ("FLOAT", "1_0", "a number"), ("FLOAT", "abc", "a number")],
)  # fmt: skip
def test_ingest_value_against_the_schema_goes_to_quarantine(
    tmp_path: Path, kind: str, value: str, expected: str
) -> None:
    schema = f'feature {{ name: "x" type: {kind} }} feature {{ name: "absent" type: INT }}'
    ingested = _ingest_values(tmp_path, ["1"] * 150 + [value], schema=schema)
    assert [bad["reason"] for bad in ingested.quarantine()] == [f"x: '{value}' is not {expected}"]
    assert "100.00%" in _ingest_values(tmp_path, [value] * 20, schema=schema).refusals()[0]


class _Statements:
    """A connection that keeps what it is told."""

    def __init__(self, connection: Any) -> None:
        self._connection, self.told = connection, list[str]()

    def execute(self, statement: str) -> Any:
        self.told.append(statement)
        return self._connection.execute(statement)


def test_types_of_many_columns_take_no_more_expressions_than_those_of_few(tmp_path: Path) -> None:
    """DuckDB plans an expression for each column in a time that grows as the square of their number."""
    expressions = []
    for columns in (3, 300):
        values = {f"c{place}": ("1.5", "a", "")[place % 3] for place in range(columns)}
        listed = ", ".join(f"nullif('{value}', '') AS {name}" for name, value in values.items())
        rows = RawRows(f"(SELECT {listed})", dict.fromkeys(values, CSV_TEXT))
        with connect(str(tmp_path), memory_limit="200MB", threads=1) as connection:
            statements = _Statements(connection)
            forms, _ = infer_forms(cast("Any", statements), rows, {}, DEFAULTS, check=False)
        assert list(forms.values()) == ["number", "text", "text"] * (columns // 3)
        expressions.append(sum(told.partition(rows.relation)[0].count("CASE") for told in statements.told))
    assert expressions[0] == expressions[1]


def test_a_wide_source_is_read_by_one_thread_with_memory_by_its_columns(tmp_path: Path) -> None:
    """Each thread holds a vector of every column and of every expression over it."""
    names = [f"c{place}" for place in range(2 * WIDE)]
    (tmp_path / "data.csv").write_text(f"{','.join(names)}\n{','.join(['1'] * len(names))}\n", encoding="utf-8")
    source, quarantine = locate(str(tmp_path / "data.csv"), 1), Quarantine(tmp_path / "bad")
    with connect(str(tmp_path / "spill"), memory_limit="100MB", threads=2) as connection:
        open_source(connection, source, None, DEFAULTS, quarantine, tmp_path, careful=False)
        setting = "SELECT current_setting('threads'), current_setting('memory_limit')"
        assert connection.execute(setting).fetchone() == (1, "762.9 MiB")  # 800 MB
