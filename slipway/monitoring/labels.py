"""Labels that arrive after the answers, joined to the requests.

A label names its request by `request_id` and `instance` (0 if the labels have no such column), or by a key of the
caller's that is a logged feature. Labels count whenever they come. One that comes twice counts once; two that
contradict each other count as none; one without a request in the window is left out. All labels that were ever told
are read once, to this machine's disk; in memory are those of one window's requests.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from slipway.data.database import connect, identifier, literal
from slipway.data.examples.query import REASON, RowQuery
from slipway.data.examples.read import open_source, read_names
from slipway.data.examples.rows import Quarantine, UnsoundRowsError
from slipway.data.examples.source import locate
from slipway.errors import DataError
from slipway.module_api import HashSplit, Ingestion, Label, Task

BATCH_ROWS = 65_536
MEMORY = "400MB"
REQUEST = ("request_id", "instance")
SETTING = "monitoring.labels"


@dataclass(frozen=True)
class Joined:
    """The requests that have a label, and what became of the others.

    Attributes:
        rows: Requests with their label, each once, in the requests' order.
        missing: Requests without a label so far.
        repeated: Requests with the key of an earlier one: the first counts.
        duplicates: Labels that say again what another said.
        contradictory: Requests whose labels contradict each other.
    """

    rows: pa.Table
    missing: int
    repeated: int
    duplicates: int
    contradictory: int


@dataclass(frozen=True)
class Labels:
    """All labels that were told, in a file of this machine, with the columns of `key`, `label` and perhaps `weight`.

    `columns` are those that the file has.
    """

    connection: duckdb.DuckDBPyConnection
    file: Path
    count: int
    columns: pa.Schema
    key: Sequence[str]
    label: str
    weight: str | None

    def of(self, requests: pa.Table) -> Joined:
        """The requests, which have the columns of the key, with their labels, and with the weight if labels have it."""
        asked, keys = {"row": pa.array(np.arange(requests.num_rows))}, []
        for place, name in enumerate(self.key):
            asked[f"k{place}"], its = self._of_one_type(name, requests[name])
            keys.append(f"{its} AS k{place}")
        more = [self.weight] if self.weight and self.weight in self.columns.names else []
        told = [f"{identifier(name)} AS v{place}" for place, name in enumerate((self.label, *more))]
        values = ", ".join(f"first(v{place} ORDER BY file_row_number) AS v{place}" for place in range(len(told)))
        by = ", ".join(f"k{place}" for place in range(len(self.key)))
        self.connection.register("requests", pa.table(asked))
        found = self.connection.sql(f"""
            WITH asked AS (SELECT min("row") AS "row", {by} FROM requests GROUP BY {by}),
            labels AS (
                SELECT file_row_number, {", ".join([*told, *keys])}
                FROM read_parquet({literal(str(self.file))}, file_row_number = true)
                WHERE {identifier(self.label)} IS NOT NULL),
            told AS (
                SELECT {by}, count(*) AS times, count(DISTINCT v0) AS answers, {values}
                FROM labels SEMI JOIN asked USING ({by}) GROUP BY {by})
            SELECT asked."row", told.* FROM asked LEFT JOIN told USING ({by}) ORDER BY asked."row"
        """).to_arrow_table()  # noqa: S608
        self.connection.unregister("requests")
        clear = found.filter(pc.equal(found["answers"], 1))
        rows = requests.take(clear["row"])
        for place, column in enumerate((self.label, *more)):  # a feature of the same name is not the label
            rows = rows.drop_columns([column]) if column in rows.column_names else rows
            rows = rows.append_column(column, clear[f"v{place}"])
        return Joined(
            rows=rows,
            missing=found.num_rows - clear.num_rows,
            repeated=requests.num_rows - found.num_rows,
            duplicates=int(pc.sum(clear["times"]).as_py() or 0) - clear.num_rows,
            contradictory=int(pc.sum(pc.greater(found["answers"], 1)).as_py() or 0),
        )

    def _of_one_type(self, name: str, asked: pa.ChunkedArray) -> tuple[pa.ChunkedArray, str]:
        """A column of the key of the requests, and that of the labels as SQL.

        Ids of digits are numbers in a CSV file, and floats in JSON.
        """
        if name not in self.columns.names:  # `instance`
            return asked, "0"
        told, kind = identifier(name), self.columns.field(name).type
        if not (pa.types.is_string(asked.type) or pa.types.is_null(kind)):
            with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):  # numbers are no dates
                return asked.cast(kind), told
        text = f"CAST({told} AS VARCHAR)"
        whole = f"regexp_replace({text}, '\\.0$', '')" if pa.types.is_floating(kind) else text
        return asked.cast(pa.string()), whole


@contextmanager
def open_labels(uri: str, label: Label, task: Task, ingestion: Ingestion, key: Sequence[str]) -> Iterator[Labels]:
    """The labels at a data URI; rows that cannot be read are left out.

    Raises:
        DataError: nothing is there, or the label's columns or those of the key are not.
    """
    with (
        TemporaryDirectory(prefix="slipway-labels-") as scratch,
        connect(scratch, memory_limit=MEMORY, threads=2) as connection,
    ):
        file = Path(scratch, "labels.parquet")
        there = _write(uri, label, task, ingestion, key, file)
        with pq.ParquetFile(file) as parquet:
            columns, count = parquet.schema_arrow, parquet.metadata.num_rows
        for name in key:
            if name not in columns.names and (name, tuple(key)) != ("instance", REQUEST):
                raise DataError(
                    f"{uri}: the labels have no column {name!r}, they have {', '.join(there)}; correct "
                    f"monitoring.key, or {SETTING}"
                )
        yield Labels(connection, file, count, columns, key, label.column, label.weight)


def _write(uri: str, label: Label, task: Task, ingestion: Ingestion, key: Sequence[str], file: Path) -> list[str]:
    """Writes the key, the label and its weight, as far as they are there; answers all columns that are there."""
    source = locate(uri, ingestion.window, SETTING)
    alone = label.model_copy(update={"training_only": (), "weight": None})
    # Training may ignore the key, and columns that its own data alone have.
    there = set(read_names(source, ingestion)) - set(key)
    ingestion = ingestion.model_copy(update={"ignore": tuple(name for name in ingestion.ignore if name in there)})
    for careful in (False, True):
        with TemporaryDirectory(prefix="slipway-labels-") as scratch:
            folder = Path(scratch)
            with (
                closing(Quarantine(folder / "quarantine.jsonl")) as quarantine,
                connect(f"{scratch}/duckdb", memory_limit=MEMORY, threads=2) as connection,
            ):
                try:
                    typed = open_source(connection, source, None, ingestion, quarantine, folder, careful=careful)
                    query = RowQuery(connection, typed, alone, HashSplit(), task, ingestion, uri)
                    names = [name for name in (*key, label.column, label.weight) if name in query.example_columns]
                    found = (
                        pa.table(batch.filter(batch.column(REASON).is_null()).select(names))
                        for batch in query.batches(BATCH_ROWS)
                    )
                    first = next(found, pa.table({name: pa.nulls(0) for name in names}))
                    with pq.ParquetWriter(file, first.schema) as writer:
                        writer.write_table(first)
                        for one in found:
                            writer.write_table(one)
                except UnsoundRowsError:
                    continue
                return query.data_columns
    raise DataError(f"{uri}: the labels cannot be read; correct {SETTING}")
