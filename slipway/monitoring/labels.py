"""Labels that arrive after the answers, joined to the requests.

A label names its request by `request_id` and `instance` (0 if the labels have no such column), or by a key of the
caller's that is a logged feature. Labels count whenever they come. One that comes twice counts once; two that
contradict each other count as none; one without a request in the window is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slipway.errors import DataError

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


def join_labels(requests: pa.Table, labels: pa.Table, label: str, key: Sequence[str] = REQUEST) -> Joined:
    """The requests with their labels.

    Raises:
        DataError: a column of the key, or the label, is not there.
    """
    if key == REQUEST and "instance" not in labels.column_names:
        labels = labels.append_column("instance", pa.array(np.zeros(labels.num_rows, np.int64)))
    for table, what, columns in ((requests, "the requests", key), (labels, "the labels", [*key, label])):
        for name in columns:
            if name not in table.column_names:
                raise DataError(f"{what} have no column {name!r}, they have {', '.join(table.column_names)}")
    known = labels.select([*key, label]).filter(pc.is_valid(labels[label]))
    kinds = {name: known[name].type for name in key}
    asked = pa.table({name: requests[name].cast(kinds[name]) for name in key}).append_column(
        "row", pa.array(np.arange(requests.num_rows))
    )
    first = asked.group_by(list(key), use_threads=False).aggregate([("row", "first")])
    told = known.group_by(list(key), use_threads=False).aggregate(
        [(label, "count_distinct"), (label, "count"), (label, "first")]
    )
    clear = told.filter(pc.equal(told[f"{label}_count_distinct"], 1))
    joined = first.join(clear, keys=list(key), join_type="inner").sort_by("row_first")
    matched = first.join(told, keys=list(key), join_type="inner").num_rows
    rows = requests.take(joined["row_first"])
    if label in rows.column_names:  # a feature of the same name is not the label
        rows = rows.drop_columns([label])
    return Joined(
        rows=rows.append_column(label, joined[f"{label}_first"]),
        missing=first.num_rows - joined.num_rows,
        repeated=requests.num_rows - first.num_rows,
        duplicates=int(pc.sum(pc.subtract(clear[f"{label}_count"], 1)).as_py() or 0),
        contradictory=told.num_rows - clear.num_rows,
        unmatched=told.num_rows - matched,
    )
