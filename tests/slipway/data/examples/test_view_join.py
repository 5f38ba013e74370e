"""Shared features are joined as of a row's time: what each row gets, and that nothing of its future is in it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.slipway.data.examples.joining import VIEW, ingest_joined, write_view

# Few keys and times, so that ties, gaps and rows without any feature are frequent.
KEY, TIME = st.none() | st.integers(0, 3), st.none() | st.integers(0, 12)
ROWS = st.lists(st.tuples(KEY, TIME), min_size=1, max_size=60)
FACTS = st.dictionaries(st.tuples(KEY, TIME), st.none() | st.integers(0, 99), max_size=40)


def _as_of(facts: dict[tuple[Any, Any], Any], key: Any, time: Any, max_age: int | None) -> Any:
    """The value that a row should get, as plainly as it can be said."""
    newest = None
    for (its, known), value in facts.items():
        if None in (its, known, key, time) or its != key or known > time:
            continue
        if (max_age is None or time - known <= max_age) and (newest is None or known > newest[0]):
            newest = (known, value)
    return newest[1] if newest else None


@given(ROWS, FACTS, st.none() | st.integers(0, 12))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
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
        assert ingested.column("trips") == [_as_of(facts, *row, max_age) for row in rows]


def _write(path: Path, rows: list[tuple[Any, ...]], names: tuple[str, ...]) -> None:
    """Rows as Parquet, with times of whole seconds."""
    kinds = dict.fromkeys(("at", "known"), pa.timestamp("s", tz="UTC"))
    columns = {
        name: pa.array([row[index] for row in rows], kinds.get(name, pa.int64())) for index, name in enumerate(names)
    }
    pq.write_table(pa.table(columns), path)
