"""Shared features are joined as of a row's time: what each row gets, and that nothing of its future is in it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway.data.examples.dataset import SPLITS, open_split
from tests.properties import examples
from tests.slipway.data.examples.ingesting import ingest
from tests.slipway.data.examples.joining import VIEW, as_of, ingest_joined, joined, write_view
from tests.slipway.data.examples.row_files import WRITERS

# Few keys and times, so that ties, gaps and rows without any feature are frequent.
KEY, TIME = st.none() | st.integers(0, 3), st.none() | st.integers(0, 12)
ROWS = st.lists(st.tuples(KEY, TIME), min_size=1, max_size=60)
FACTS = st.dictionaries(st.tuples(KEY, TIME), st.none() | st.integers(0, 99), max_size=40)


@given(ROWS, FACTS, st.none() | st.integers(0, 12))
@settings(max_examples=examples(40), deadline=None, suppress_health_check=list(HealthCheck))
def test_join_gives_what_a_plain_loop_gives(
    rows: list[tuple[Any, Any]], facts: dict[tuple[Any, Any], Any], max_age: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        _write(project / "facts.parquet", [(*key, value) for key, value in facts.items()], ("driver", "known", "trips"))
        numbered = [(number, number % 2, *row) for number, row in enumerate(rows)]
        _write(project / "rows.parquet", numbered, ("id", "y", "driver", "at"))
        write_view(project)
        age = {} if max_age is None else {"max_age": f"{max_age}s"}
        ingested = ingest_joined(project, "rows.parquet", {"view": VIEW, "columns": ["trips"], **age})
        assert ingested.column("id") == list(range(len(rows)))
        assert ingested.column("trips") == [as_of(facts, *row, max_age) for row in rows]


def _write(path: Path, rows: list[tuple[Any, ...]], names: tuple[str, ...]) -> None:
    """Rows as Parquet, with times of whole seconds."""
    kinds = dict.fromkeys(("at", "known"), pa.timestamp("s", tz="UTC"))
    columns = {
        name: pa.array([row[index] for row in rows], kinds.get(name, pa.int64())) for index, name in enumerate(names)
    }
    pq.write_table(pa.table(columns), path)


def test_join_keeps_the_order_of_many_rows(tmp_path: Path) -> None:
    rows, dice = 200_000, np.random.default_rng(1)
    at, driver = dice.integers(0, 10**6, rows), dice.integers(0, 500, rows)
    lines = (f"{n},{n % 2},{key},{time}\n" for n, (key, time) in enumerate(zip(driver, at, strict=True)))
    (tmp_path / "rows.csv").write_text("id,y,driver,at\n" + "".join(lines))
    facts = [(int(key), 1000 * step, int(key) * 10_000 + step) for key in range(500) for step in range(0, 1000, 3)]
    _write(tmp_path / "facts.parquet", facts, ("driver", "known", "trips"))
    write_view(tmp_path)
    source = joined(tmp_path, "rows.csv")
    first = ingest(source, tmp_path / "one")
    for split in SPLITS:
        table = open_split(tmp_path / "one", split).to_table()
        assert np.all(np.diff(table["id"].to_numpy()) > 0)
    expected = driver * 10_000 + at // 3000 * 3
    assert first.table()["trips"].to_pylist() == expected.tolist()
    assert ingest(source, tmp_path / "two").manifest.digest == first.manifest.digest


@pytest.mark.parametrize("form", [".avro", ".tfrecord"])
def test_join_of_rows_that_python_reads(tmp_path: Path, form: str) -> None:
    """They come in batches, of which none has all rows."""
    rows = [{"id": n, "y": n % 2, "driver": n % 3, "at": n} for n in range(20_000)]
    WRITERS[form](tmp_path / f"rows{form}", rows)
    _write(tmp_path / "facts.parquet", [(0, 0, 1), (0, 10_000, 2), (1, 15_000, 3)], ("driver", "known", "trips"))
    write_view(tmp_path)
    expected = [as_of({(0, 0): 1, (0, 10_000): 2, (1, 15_000): 3}, n % 3, n, None) for n in range(20_000)]
    assert ingest_joined(tmp_path, f"rows{form}").column("trips") == expected
