from pathlib import Path

import pytest

from slipway.data.validation.report import Anomaly, Validation, write_validation
from slipway.errors import StoreError
from slipway.lineage import Lineage
from slipway.runs.explain import WIDTH, Explanation, explain_run, explain_version, find_version
from slipway.runs.record import Outcome, RolloutOutcome
from slipway.runs.store import load_run
from slipway.stores.model_store import LocalModelStore, Provenance, Version
from tests.recorded_runs import STARTED, WHY_FAILED, WHY_REFUSED, write_run


def push(home: Path, run: str, model: str = "taxi", clock: float = STARTED) -> Version:
    """A version in the store that came from a run."""
    saved = home / "candidate"
    saved.mkdir(exist_ok=True)
    (saved / "saved_model.pb").write_bytes(f"{run}{model}".encode())
    lineage = Lineage(run=run, module=model, module_digest="ab" * 32, data_uri="trips.csv", started=STARTED)
    provenance = Provenance(model=model, lineage=lineage, data_digest="ef" * 32, reasons=["auc 0.956 is enough"])
    return LocalModelStore(home / "models", clock=lambda: clock).push(saved, provenance).version


def explain(home: Path, run: str | None) -> str:
    return explain_run(load_run(home / "runs", run), LocalModelStore(home / "models")).text()


def explain_pushed(home: Path, version: str) -> Explanation:
    return explain_version(version, home / "runs", LocalModelStore(home / "models"))


def test_explain_refused_run_names_threshold_slice_rows_baseline_and_digests(tmp_path: Path) -> None:
    write_run(tmp_path, "taxi-1", "refused")
    text = explain(tmp_path, "taxi-1")
    assert "was not pushed" in text
    assert WHY_REFUSED in text
    assert "failed: auc 0.9120 on payment_type=Cash (min 0.9300, n 1,204)" in text
    assert "version 1749999999 of taxi" in text
    assert "ef" * 32 in text
    assert "ab" * 32 in text


def test_explain_failed_run_names_the_step_the_reason_and_the_log(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "taxi-1", "failed")
    text = explain(tmp_path, None)
    assert "taxi-1 failed at validate_examples; no model was pushed." in text
    assert WHY_FAILED in " ".join(text.split())
    assert str(folder / "logs" / "validate_examples.log") in text


def test_explain_run_on_bad_data_names_the_anomalies_and_not_the_step(tmp_path: Path) -> None:
    write_run(tmp_path, "taxi-1", "bad-data")
    text = " ".join(explain(tmp_path, "taxi-1").split())
    assert "taxi-1 was stopped before training: its data was refused." in text
    assert "feature 'trip_miles', split train: SCHEMA_MISSING_COLUMN" in text
    assert "Fix: put the column back" in text
    assert "ef" * 32 in text


def test_explain_repeats_the_warnings_of_validation(tmp_path: Path) -> None:
    write_run(tmp_path, "taxi-1", "refused")
    leak = Anomaly(
        feature="closed", split="eval", severity="WARNING", type="CUSTOM_VALIDATION", short="Tells the label",
        description="closed alone predicts y.", of_rows=9, fix="training_only: [closed]",
    )  # fmt: skip
    new = leak.model_copy(update={"feature": "z", "description": "New column", "fix": "add it"})
    view = load_run(tmp_path / "runs", "taxi-1")
    write_validation(Validation(anomalies=[leak, new]), view.summary.artifacts["anomalies"])
    warnings = explain_run(view).as_json()["data_warnings"]
    assert warnings == ["closed alone predicts y. Fix: training_only: [closed]", "z: New column. Fix: add it"]
    assert all(warning in " ".join(explain_run(view).text().split()) for warning in warnings)


@pytest.mark.parametrize("ending", ["interrupted", "running"])
def test_explain_unfinished_run_says_so(tmp_path: Path, ending: str) -> None:
    write_run(tmp_path, "taxi-1", ending)  # type: ignore[arg-type]
    assert ending in explain(tmp_path, "taxi-1").splitlines()[0]


def test_explain_is_plain_text_within_its_width(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "taxi-1", "refused")
    outcome = Outcome.model_validate_json((folder / "outcome.json").read_text())
    outcome.reasons = ["auc is too low on a slice with quite a long name " * 4]
    (folder / "outcome.json").write_text(outcome.model_dump_json())
    (folder / "summary.json").unlink()
    text = explain(tmp_path, "taxi-1")
    assert "\x1b" not in text
    assert all(len(line) <= WIDTH or " " not in line.strip().split(maxsplit=2)[-1] for line in text.splitlines())
    assert text.splitlines()[3].startswith("  - auc is too low")
    assert text.splitlines()[4].startswith("    ")


def test_explain_version_finds_its_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "taxi-1", "pushed")
    version = push(tmp_path, "taxi-1")
    outcome = Outcome.model_validate_json((folder / "outcome.json").read_text())
    outcome.version = version.number
    (folder / "outcome.json").write_text(outcome.model_dump_json())
    (folder / "summary.json").unlink()
    text = explain_pushed(tmp_path, str(version.number)).text()
    assert f"taxi-1 was pushed as version {version.number} of taxi." in text
    assert "What was checked" in text


def test_explain_version_whose_run_is_gone_tells_what_its_manifest_knows(tmp_path: Path) -> None:
    version = push(tmp_path, "taxi-gone")
    text = explain_pushed(tmp_path, f"taxi/{version.number}").text()
    assert f"taxi-gone was pushed as version {version.number} of taxi." in text
    assert "auc 0.956 is enough" in text
    assert "ef" * 32 in text


def test_explain_version_as_json_has_the_same(tmp_path: Path) -> None:
    version = push(tmp_path, "taxi-gone")
    found = explain_pushed(tmp_path, str(version.number)).as_json()
    assert (found["version"], found["verdict"], found["run"]) == (version.number, "pushed", "taxi-gone")


def test_find_version_that_two_models_have_asks_which(tmp_path: Path) -> None:
    first, second = push(tmp_path, "a", "taxi"), push(tmp_path, "b", "iris")
    assert first.number == second.number
    store = LocalModelStore(tmp_path / "models")
    with pytest.raises(StoreError, match=f"iris/{first.number}, taxi/{first.number}"):
        find_version(store, str(first.number))
    assert find_version(store, f"iris/{first.number}").model == "iris"


@pytest.mark.parametrize(("what", "says"), [("7", "the newest: taxi/"), ("irs/7", "models: taxi"), ("x", "x")])
def test_find_version_unknown_says_what_there_is(tmp_path: Path, what: str, says: str) -> None:
    push(tmp_path, "a")
    with pytest.raises(StoreError, match=says):
        find_version(LocalModelStore(tmp_path / "models"), what)


def test_explain_version_that_was_rolled_back_says_why_and_what_the_rollout_said(tmp_path: Path) -> None:
    version = push(tmp_path, "taxi-1")
    folder = write_run(tmp_path, "taxi-1", "pushed")
    store = LocalModelStore(tmp_path / "models")
    store.quarantine("taxi", version.number, why="p99 9.1 ms, stable 1.1 ms", who="run taxi-1")
    failed = RolloutOutcome(verdict="failed", version=version.number, reasons=["it was rolled back"])
    (folder / "rollout.json").write_text(failed.model_dump_json())
    text = explain_pushed(tmp_path, f"taxi/{version.number}").text()
    assert f"quarantine version {version.number} by run taxi-1: p99 9.1 ms, stable 1.1 ms" in " ".join(text.split())
    explained = explain_run(load_run(tmp_path / "runs", "taxi-1"), store)
    assert "rollout failed: it was rolled back" in explained.text()
    assert explained.as_json()["rollout"]["verdict"] == "failed"
