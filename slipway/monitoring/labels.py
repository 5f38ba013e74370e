"""Labels that arrive after the answers, joined to the requests.

A label names its request by `request_id` and `instance` (0 if the labels have no such column), or by a key of the
caller's that is a logged feature. Labels count whenever they come. One that comes twice counts once; two that
contradict each other count as none; one without a request in the window is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slipway.data.database import connect
from slipway.data.examples.query import REASON, RowQuery
from slipway.data.examples.read import open_source, read_names
from slipway.data.examples.rows import Quarantine, UnsoundRowsError
from slipway.data.examples.source import locate
from slipway.errors import DataError
from slipway.module_api import HashSplit, Ingestion, Label, Task
from slipway.monitoring.sample import Sample

BATCH_ROWS = 65_536
REQUEST = ("request_id", "instance")


@dataclass(frozen=True)
class Joined:
    """The requests that have a label, and what became of the others.

    Attributes:
        rows: Requests with their label, each once, in the requests' order.
        missing: Requests without a label so far.
        repeated: Requests with the key of an earlier one: the first counts.
        duplicates: Labels that say again what another said.
        contradictory: Keys whose labels contradict each other.
        unmatched: Labels without a request.
    """

    rows: pa.Table
    missing: int
    repeated: int
    duplicates: int
    contradictory: int
    unmatched: int


def read_labels(uri: str, label: Label, task: Task, ingestion: Ingestion, key: Sequence[str]) -> Sample:
    """The labels at a data URI, with the columns of the key and the weight that are there.

    Rows that cannot be read are left out.

    Of very many labels it is a sample by the first column of the key.

    Raises:
        DataError: nothing is there, or the label's columns are not.
    """
    source, alone = locate(uri, ingestion.window), label.model_copy(update={"training_only": (), "weight": None})
    there = set(read_names(uri, ingestion)) - set(key)  # training may ignore the key, and what only its own data have
    ingestion = ingestion.model_copy(update={"ignore": tuple(name for name in ingestion.ignore if name in there)})
    for careful in (False, True):
        with TemporaryDirectory(prefix="slipway-labels-") as scratch:
            folder = Path(scratch)
            with (
                closing(Quarantine(folder / "quarantine.jsonl")) as quarantine,
                connect(f"{scratch}/duckdb", memory_limit="400MB", threads=2) as connection,
            ):
                try:
                    typed = open_source(connection, source, None, ingestion, quarantine, folder, careful=careful)
                    query = RowQuery(connection, typed, alone, HashSplit(), task, ingestion, uri)
                    names = [name for name in (*key, label.column, label.weight) if name in query.example_columns]
                    sample = Sample(key[0])
                    sample.add(pa.table({name: [] for name in names}))
                    for batch in query.batches(BATCH_ROWS):
                        sample.add(pa.table(batch.filter(batch.column(REASON).is_null()).select(names)))
                except UnsoundRowsError:
                    continue
                return sample
    raise DataError(f"{uri}: the labels cannot be read")


def join_labels(
    requests: pa.Table, labels: pa.Table, label: str, key: Sequence[str] = REQUEST, weight: str | None = None
) -> Joined:
    """The requests with their labels, and with the weight if the labels have it.

    Raises:
        DataError: a column of the key, or the label, is not there.
    """
    if key == REQUEST and "instance" not in labels.column_names:
        labels = labels.append_column("instance", pa.array(np.zeros(labels.num_rows, np.int64)))
    for table, what, columns in ((requests, "the requests", key), (labels, "the labels", [*key, label])):
        for name in columns:
            if name not in table.column_names:
                raise DataError(f"{what} have no column {name!r}, they have {', '.join(table.column_names)}")
    more = [weight] if weight and weight in labels.column_names else []
    known = labels.select([*key, label, *more]).filter(pc.is_valid(labels[label]))
    if not known.num_rows:  # a file of no rows shows no types
        known = known.cast(pa.schema([(name, pa.string()) for name in known.column_names]))
    asked = pa.table({"row": np.arange(requests.num_rows)})
    for place, name in enumerate(key):
        of_requests, of_labels = _of_one_type(requests[name], known[name])
        asked, known = asked.append_column(name, of_requests), known.set_column(place, name, of_labels)
    first = asked.group_by(list(key), use_threads=False).aggregate([("row", "first")])
    told = known.group_by(list(key), use_threads=False).aggregate(
        [(label, "count_distinct"), (label, "count"), (label, "first"), *((name, "first") for name in more)]
    )
    clear = told.filter(pc.equal(told[f"{label}_count_distinct"], 1))
    joined = first.join(clear, keys=list(key), join_type="inner").sort_by("row_first")
    matched = first.join(told, keys=list(key), join_type="inner").num_rows
    rows = requests.take(joined["row_first"])
    for column in (label, *more):  # a feature of the same name is not the label
        rows = rows.drop_columns([column]) if column in rows.column_names else rows
        rows = rows.append_column(column, joined[f"{column}_first"])
    return Joined(
        rows=rows,
        missing=first.num_rows - joined.num_rows,
        repeated=requests.num_rows - first.num_rows,
        duplicates=int(pc.sum(pc.subtract(clear[f"{label}_count"], 1)).as_py() or 0),
        contradictory=told.num_rows - clear.num_rows,
        unmatched=told.num_rows - matched,
    )


def _of_one_type(asked: pa.ChunkedArray, told: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """The same key of requests and labels: ids of digits are numbers in a CSV file, and floats in JSON."""
    if not pa.types.is_string(asked.type):
        with suppress(pa.ArrowInvalid):
            return asked.cast(told.type), told
    return asked.cast(pa.string()), told.cast(pa.string())
