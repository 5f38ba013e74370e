"""Checks the data of a job before anything is predicted: against the schema all rows, with the baseline a sample.

What training would refuse ends the job. Rows that cannot be read, or break the schema, are set aside, up to the share
that `ingestion.max_quarantined` allows. Drift is a warning: the world moves, and whoever asks needs an answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from serving.batch.job import Job
from serving.batch.rules import Rules, Tally
from serving.batch.units import Plan, Rows, UnitReader
from serving.batch.version import Inputs
from slipway.data.examples.ingest import read_ahead
from slipway.data.validation.report import Anomaly, Validation, describe_anomaly
from slipway.monitoring.baseline import Baseline
from slipway.monitoring.columns import Column
from slipway.monitoring.compare import compare_columns
from slipway.monitoring.requests import Requests

SAMPLE_ROWS = 200_000  # that are compared with the baseline: so many tell a distance of 0.0001 from chance
LISTED = 5
CHECK = "check.json"

Bad = tuple[str, int | None, str, str]  # file, line, reason, text of the row


class BatchCheck(BaseModel):
    """What is wrong with the data of a job, and what moved since training."""

    validation: Validation
    rows: int
    bad: int
    columns: list[Column] = []
    notes: list[str] = []

    @property
    def warnings(self) -> list[str]:
        """In words: what is no reason to refuse."""
        moved = [one for one in self.columns if one.broken or one.baseline.drifted]
        said = [
            f"{one.name} is unlike training: {one.broken}" if one.broken
            else f"{one.name} drifted from training: distance {one.baseline.distance:.3f}, the bound is "
            f"{max(one.baseline.threshold, one.baseline.noise):.3f}"
            for one in sorted(moved, key=lambda one: -one.level)
        ]  # fmt: skip
        found = [" ".join(describe_anomaly(one).split()).removeprefix("- ") for one in self.validation.anomalies
                 if one.severity == "WARNING"]  # fmt: skip
        return [*found, *said, *self.notes]


@dataclass(frozen=True)
class Sorted:
    """A batch after its rows were read: those that keep to the rules, and the others."""

    inputs: pa.RecordBatch
    kept: pa.RecordBatch
    bad: list[Bad]
    broken: Counter[str]  # rows by the rule that they break


def sort_rows(rows: Rows, rules: Rules) -> Sorted:
    """Sets rows aside that break a rule of the schema, beside those that could not be read."""
    reasons: dict[int, list[str]] = {}
    broken: Counter[str] = Counter()
    for breach in rules.breaches(rows.inputs):
        broken[f"{breach.feature} is not {breach.bound}"] += len(breach.rows)
        for row, reason in zip(breach.rows, breach.reasons, strict=True):
            reasons.setdefault(row, []).append(reason)
    if not reasons:
        return Sorted(rows.inputs, rows.kept, rows.bad, broken)
    places = sorted(reasons)
    good = np.ones(rows.inputs.num_rows, bool)
    good[places] = False
    where, values = rows.places.take(pa.array(places)).to_pylist(), rows.inputs.take(pa.array(places)).to_pylist()
    bad: list[Bad] = [
        (*place.values(), "; ".join(reasons[row]), ",".join("" if one is None else str(one) for one in value.values()))
        for row, place, value in zip(places, where, values, strict=True)
    ]
    return Sorted(rows.inputs.filter(pa.array(good)), rows.kept.filter(pa.array(good)), [*rows.bad, *bad], broken)


def check_batch(job: Job, plan: Plan, reader: UnitReader, takes: Inputs, baseline: Baseline | None) -> BatchCheck:
    """Reads all rows once, and predicts none."""
    tally, rules, requests = Tally(takes.schema), Rules(takes.schema), Requests()
    cells = {name: counts.cells for name, counts in baseline.features.items()} if baseline else {}
    step, seen, bad = max(1, -(-plan.rows // SAMPLE_ROWS)), 0, plan.quarantined
    broken, unread = Counter[str](), list[str]()
    for rows in read_ahead(row for unit in plan.units for row in reader.read(unit)):
        found = sort_rows(rows, rules)
        inputs, bad = found.inputs, bad + len(found.bad)
        broken.update(found.broken)
        unread = list(dict.fromkeys([*unread, *(one[2] for one in rows.bad)]))[:LISTED]
        tally.add(inputs)
        sampled = inputs.take(pa.array(range(-seen % step, inputs.num_rows, step), pa.int64()))
        seen += inputs.num_rows
        if cells and sampled.num_rows:
            columns = {name: sampled.column(name) for name in sampled.schema.names if name in cells}
            requests.add(columns, sampled.num_rows, cells)
    total = plan.rows + plan.quarantined
    anomalies = list(_check_bad(job, total, bad, broken, unread))
    new = [name for name in reader.columns if name not in tally.columns]
    if tally.rows:
        anomalies += tally.anomalies(new)
    anomalies.sort(key=lambda one: one.severity != "ERROR")
    notes = [takes.note] if takes.note else []
    if not total:
        notes.append("the data have no rows: there is nothing to predict")
    if not baseline:
        notes.append("the version has no baseline: the data are not compared with training")
    compared = compare_columns(requests, baseline.features, job.monitoring) if baseline and requests.rows else []
    return BatchCheck(validation=Validation(anomalies=anomalies), rows=total, bad=bad, columns=compared, notes=notes)


def _check_bad(job: Job, total: int, bad: int, broken: Counter[str], unread: list[str]) -> Iterator[Anomaly]:
    """One anomaly of all rows that are set aside: an error where there are more than module.yaml tolerates."""
    if not bad:
        return
    limit = job.ingestion.max_quarantined
    over = bad > limit * total
    said = [*(f"{rule} ({count:,} rows)" for rule, count in broken.most_common(LISTED)), *unread][:LISTED]
    yield Anomaly(
        feature="", split="", severity="ERROR" if over else "WARNING", type="UNEXPECTED_DATA_TYPE",
        short="Rows cannot be predicted",
        description=f"{bad:,} of {total:,} rows ({bad / total:.2%}) cannot be read, or break the schema; the limit is "
        f"{limit:.2%}. {'; '.join(said)}.", rows=bad, of_rows=total,
        fix="correct the data, or the schema" + ("; or raise ingestion.max_quarantined in module.yaml" if over else ""),
    )  # fmt: skip
