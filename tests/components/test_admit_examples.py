from pathlib import Path

import pytest
from kfp import dsl

from components.admit_examples.component import admit_examples
from slipway.data.validation.report import Anomaly, Validation, write_validation
from slipway.errors import AnomalyError, StoreError
from slipway.lineage import Lineage
from slipway.runs.record import Outcome, RunContext
from tests.steps import FIELDS

LINEAGE = Lineage(run="taxi-{job}", module="taxi", module_digest="m", data_uri="trips.csv")
MADE_OF = {"examples": "gs://bucket/examples", "statistics": "gs://bucket/statistics", "schema": "gs://bucket/schema"}
METADATA = {
    "data_digest": "d",
    "schema_digest": "s",
    **{f"{name}_uri": uri for name, uri in MADE_OF.items()},
    "errors": 0.0,
    "display_name": "anomalies",
}
WARNING = Anomaly(feature="new", split="train", severity="WARNING", type="SCHEMA_NEW_COLUMN", short="New column",
                  description="New column", of_rows=9, fix="add it")  # fmt: skip
ERROR = Anomaly(feature="month", split="train", severity="ERROR", type="INT_TYPE_BIG_INT", short="Too large",
                description="Unexpectedly large value: 13", rows=2, of_rows=9, example="13", fix="mend it")  # fmt: skip


def admit(folder: Path, *anomalies: Anomaly) -> None:
    write_validation(Validation(anomalies=list(anomalies)), str(folder / "anomalies"))
    given = dsl.Artifact(uri=str(folder / "anomalies"), metadata=METADATA)
    run = RunContext(uri=str(folder / "taxi-{job}"), lineage=LINEAGE)
    admit_examples.python_func(given, run.model_dump_json(), "90d6", "", **FIELDS)


def recorded(folder: Path) -> Outcome:
    return Outcome.model_validate_json((folder / "taxi-90d6" / "outcome.json").read_text())


def test_admit_good_data_records_what_it_is_and_no_verdict(tmp_path: Path) -> None:
    admit(tmp_path, WARNING)
    outcome = recorded(tmp_path)
    assert (outcome.verdict, outcome.reasons) == ("none", [])
    assert (outcome.data_digest, outcome.schema_digest) == ("d", "s")
    assert outcome.artifacts == MADE_OF | {"anomalies": str(tmp_path / "anomalies")}


def test_admit_bad_data_stops_the_run_and_records_each_error(tmp_path: Path) -> None:
    with pytest.raises(AnomalyError, match="feature 'month', split train: INT_TYPE_BIG_INT"):
        admit(tmp_path, ERROR, WARNING)
    outcome = recorded(tmp_path)
    assert outcome.verdict == "bad-data"
    assert len(outcome.reasons) == 2
    for fact in ("'month'", "2 of 9 rows", "'13'", "mend it"):
        assert fact in outcome.reasons[1]
    assert outcome.artifacts.keys() == {"examples", "statistics", "schema", "anomalies"}


def test_admit_without_anomalies_is_an_error_of_the_store(tmp_path: Path) -> None:
    run = RunContext(uri=str(tmp_path), lineage=LINEAGE).model_dump_json()
    with pytest.raises(StoreError):
        admit_examples.python_func(
            dsl.Artifact(uri=str(tmp_path / "gone"), metadata=METADATA), run, "90d6", "", **FIELDS
        )
