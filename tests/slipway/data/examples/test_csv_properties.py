"""What holds for any table, whatever is in its values and however it was written."""

from __future__ import annotations

import csv
import random
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.properties import examples
from tests.slipway.data.examples.ingesting import Ingested, ingest

COLUMNS = ("id", "text", "whole", "number", "y")
SCHEMA = "\n".join(
    f'feature {{ name: "{name}" type: {kind} }}'
    for name, kind in zip(COLUMNS, ("INT", "BYTES", "INT", "FLOAT", "INT"), strict=True)
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ['"', '""', ",", "\n", "\r", "\r\n", ' "', '" ', "'", "\\", "NULL", "nan", "1", " ", "#", '",', '\n"', "\ufeff"]
)
ROW = st.tuples(
    st.none() | TEXT,
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(allow_nan=False, width=64),
)
TABLE = st.lists(ROW, min_size=40, max_size=60)  # with fewer rows a split may stay empty
SLOW = settings(max_examples=examples(15), deadline=None, suppress_health_check=list(HealthCheck))


def _ingest(rows: list[list[Any]], folder: Path, quoting: Any = csv.QUOTE_MINIMAL, end: str = "\n") -> Ingested:
    with (folder / "data.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=quoting, lineterminator=end)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return ingest(folder / "data.csv", folder / "examples", schema=SCHEMA, limit=1.0)


def _rows(table: list[tuple[Any, ...]]) -> list[list[Any]]:
    return [[number, *row, number % 2] for number, row in enumerate(table)]


@given(
    TABLE, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]), st.sampled_from(["\n", "\r\n"])
)
@SLOW
def test_ingest_any_table_gives_its_values_back(table: list[tuple[Any, ...]], quoting: Any, end: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ingested = _ingest(_rows(table), Path(folder), quoting, end)
        assert ingested.rows.quarantined == 0
        assert ingested.column("text") == [row[0] or None for row in table]
        assert ingested.column("whole") == [row[1] for row in table]
        assert ingested.column("number") == [row[2] for row in table]


@given(TABLE, st.randoms(use_true_random=False))
@SLOW
def test_ingest_any_order_of_rows_gives_the_same_splits(table: list[tuple[Any, ...]], dice: random.Random) -> None:
    rows = _rows(table)
    shuffled = dice.sample(rows, len(rows))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        first, second = _ingest(rows, Path(one)), _ingest(shuffled, Path(two))
        assert first.table("train").equals(second.table("train"))
        assert first.table("eval").equals(second.table("eval"))


@given(TABLE, st.data())
@SLOW
def test_ingest_any_damage_accounts_for_every_row(table: list[tuple[Any, ...]], data: st.DataObject) -> None:
    """Lines are cut, doubled, or get a quote: the counts add up, and what is kept was there."""
    rows = [[number, "plain", whole, value, 1] for number, (_, whole, value) in enumerate(table)]
    lines = [",".join("" if value is None else str(value) for value in row) for row in rows]
    for line in data.draw(st.lists(st.integers(0, len(lines) - 1), max_size=5, unique=True)):
        damage = data.draw(st.sampled_from(["cut", "longer", "quote", "garbage"]))
        lines[line] = {
            "cut": f"{line},plain",
            "longer": lines[line] + ",more",
            "quote": f'{line},"plain,1,1.0,1',
            "garbage": f"{line},plain,x,y,z",
        }[damage]
    bad = sum(not line.endswith(",1") or '"' in line for line in lines)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.csv")
        path.write_text("\n".join([",".join(COLUMNS), *lines]) + "\n", encoding="utf-8")
        ingested = ingest(path, Path(folder, "examples"), schema=SCHEMA, limit=1.0)
        counts = ingested.rows
        assert counts.read == len(rows) == counts.quarantined + counts.left_out + counts.train + counts.eval
        assert counts.quarantined == bad == len(ingested.quarantine())
        kept = {row[0]: row for row in rows}
        for row in ingested.table().to_pylist():
            assert list(row.values()) == kept[row["id"]]
