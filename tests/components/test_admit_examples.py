from pathlib import Path

import pytest
from kfp import dsl

from components.admit_examples.component import admit_examples
from slipway.data.validation.report import Anomaly, Validation, write_validation
from slipway.errors import AnomalyError, StoreError
from slipway.lineage import Lineage
from slipway.runs.record import Outcome, RunContext
from slipway.stores.model_store import Provenance, open_store
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


def admit(folder: Path, *anomalies: Anomaly, schema: str = MADE_OF["schema"], **threshold: float) -> None:
    write_validation(Validation(anomalies=list(anomalies)), str(folder / "anomalies"))
    given = dsl.Artifact(uri=str(folder / "anomalies"), metadata=METADATA | {"schema_uri": schema})
    run = RunContext(uri=str(folder / "taxi-{job}"), lineage=LINEAGE)
    judged = {"task": "binary", "label": {"column": "y"}, "thresholds": [{"metric": "auc", **threshold}]}
    evaluation_config = judged if threshold else {**judged, "thresholds": []}
    admit_examples.python_func(
        given, run.model_dump_json(), "90d6", "", **FIELDS, evaluation_config=evaluation_config,
        store_uri=str(folder / "store"),
    )  # fmt: skip


def recorded(folder: Path) -> Outcome:
    return Outcome.model_validate_json((folder / "taxi-90d6" / "outcome.json").read_text())


def test_admit_good_data_records_what_it_is_its_warnings_and_no_verdict(tmp_path: Path) -> None:
    admit(tmp_path, WARNING)
    outcome = recorded(tmp_path)
    assert outcome.verdict == "none"
    assert ["'new'" in reason and "add it" in reason for reason in outcome.reasons] == [True]
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


def schema(folder: Path, kind: str) -> str:
    folder.mkdir()
    environments = 'default_environment: "TRAINING" default_environment: "SERVING"'
    (folder / "schema.pbtxt").write_text(f'feature {{ name: "month" type: {kind} }} {environments}')
    return str(folder)


def test_admit_data_that_production_cannot_predict_stops_the_run_where_they_are_to_be_compared(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"model")
    before = Provenance(model="taxi", lineage=LINEAGE, artifacts={"schema": schema(tmp_path / "before", "INT")})
    version = open_store(str(tmp_path / "store")).push(tmp_path / "model", before).version
    now = schema(tmp_path / "now", "BYTES")
    with pytest.raises(AnomalyError, match="feature 'month'"):
        admit(tmp_path, WARNING, schema=now, max_drop=0.01)
    outcome = recorded(tmp_path)
    assert outcome.verdict == "bad-data"
    for fact in ("text (BYTES)", "whole numbers (INT)", f"version {version.number}", "`type: INT`", "max_drop"):
        assert fact in outcome.reasons[1]
    admit(tmp_path, schema=now, min=0.5)
    admit(tmp_path, schema=str(tmp_path / "before"), max_drop=0.01)
    admit(tmp_path, schema=str(tmp_path / "gone"), max_drop=0.01)


def test_admit_without_anomalies_is_an_error_of_the_store(tmp_path: Path) -> None:
    run = RunContext(uri=str(tmp_path), lineage=LINEAGE).model_dump_json()
    with pytest.raises(StoreError):
        admit_examples.python_func(
            dsl.Artifact(uri=str(tmp_path / "gone"), metadata=METADATA),
            run,
            "90d6",
            "",
            **FIELDS,
            evaluation_config={"task": "binary", "label": {"column": "y"}},
            store_uri=str(tmp_path),
        )
