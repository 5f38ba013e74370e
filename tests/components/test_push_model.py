from functools import partial
from pathlib import Path

import pytest

from components.push_model.run import push
from slipway.errors import StoreError
from slipway.runs.record import Outcome, RunContext
from slipway.stores.model_store import LocalModelStore, open_store
from slipway.tuning.result import Tuned, TuningRecord
from slipway.tuning.space import Values
from tests.components.judged_artifacts import LINEAGE, WriteArtifacts, admitted, write_artifacts
from tests.fakes.storage_server import StorageServer

URIS = {"model": "gs://bucket/model", "training_log": "gs://bucket/training_log"}
DATA = {"examples": "gs://bucket/examples", "anomalies": "gs://bucket/anomalies"}


@pytest.fixture
def artifacts(tmp_path: Path) -> WriteArtifacts:
    return partial(write_artifacts, tmp_path)


def run_push(artifacts: dict[str, str], tmp_path: Path) -> Outcome:
    outcome = push(artifacts, URIS, str(tmp_path / "store"), admitted(tmp_path / "run", **DATA))
    assert Outcome.model_validate_json((tmp_path / "run" / "outcome.json").read_text()) == outcome
    return outcome


def test_push_blessed_model_is_stored_with_its_provenance(artifacts: WriteArtifacts, tmp_path: Path) -> None:
    given = artifacts(baseline=str(tmp_path / "store" / "taxi" / "1700000000"))
    outcome = run_push(given, tmp_path)
    (version,) = LocalModelStore(tmp_path / "store").versions("taxi")
    assert (outcome.verdict, outcome.version, outcome.path) == ("pushed", version.number, version.uri)
    assert outcome.reasons == ["auc 0.95 is at least 0.9 (n=100)"]
    assert (outcome.data_digest, outcome.artifacts) == ("d", DATA | URIS)
    manifest = version.manifest
    assert manifest.lineage == LINEAGE
    assert (manifest.metrics, manifest.reasons) == ({"auc": 0.95}, outcome.reasons)
    assert (manifest.data_digest, manifest.schema_digest, manifest.baseline_version) == ("d", "s", 1_700_000_000)
    assert manifest.artifacts == DATA | URIS


def test_push_unblessed_model_is_refused_with_the_reasons_of_both_judges(
    artifacts: WriteArtifacts, tmp_path: Path
) -> None:
    outcome = run_push(artifacts(blessed=False, servable=False), tmp_path)
    assert (outcome.verdict, outcome.version, outcome.path) == ("refused", None, None)
    assert outcome.reasons == ["auc 0.8 is below 0.9 (n=100)", "serving check raw failed: NaN on 3 rows"]
    assert LocalModelStore(tmp_path / "store").models() == []


@pytest.mark.parametrize(("blessed", "servable"), [(False, True), (True, False)])
def test_push_one_refusal_is_enough(artifacts: WriteArtifacts, tmp_path: Path, blessed: bool, servable: bool) -> None:
    outcome = run_push(artifacts(blessed=blessed, servable=servable), tmp_path)
    assert outcome.verdict == "refused"
    assert len(outcome.reasons) == 1
    assert not (tmp_path / "store").exists()


def test_push_same_model_again_says_so(artifacts: WriteArtifacts, tmp_path: Path) -> None:
    given = artifacts()
    first, again = run_push(given, tmp_path), run_push(given, tmp_path)
    assert (again.verdict, again.version, again.path) == ("pushed", first.version, first.path)
    assert again.reasons[0] == f"already pushed as version {first.version}: the same bytes"
    assert len(LocalModelStore(tmp_path / "store").versions("taxi")) == 1


def test_push_another_model_is_the_next_version(artifacts: WriteArtifacts, tmp_path: Path) -> None:
    first, second = (run_push(artifacts(seed=seed), tmp_path) for seed in (1, 2))
    assert first.version is not None
    assert second.version is not None
    assert second.version > first.version


def test_push_missing_evaluation_is_an_error_and_nothing_is_pushed(artifacts: WriteArtifacts, tmp_path: Path) -> None:
    given = artifacts()
    (Path(given["evaluation"]) / "evaluation.json").unlink()
    with pytest.raises(StoreError, match="not an output of evaluate_model"):
        push(given, URIS, str(tmp_path / "store"), admitted(tmp_path / "run"))
    assert not (tmp_path / "store").exists()


def test_push_without_the_record_of_its_data_is_an_error_and_nothing_is_pushed(
    artifacts: WriteArtifacts, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match=r"outcome\.json"):
        push(artifacts(), URIS, str(tmp_path / "store"), RunContext(uri=str(tmp_path / "run"), lineage=LINEAGE))
    assert not (tmp_path / "store").exists()


def test_push_quarantined_bytes_are_refused_with_the_reason_however_often_the_run_is_repeated(
    artifacts: WriteArtifacts, tmp_path: Path
) -> None:
    given = artifacts()
    number = run_push(given, tmp_path).version
    assert number is not None
    LocalModelStore(tmp_path / "store").quarantine("taxi", number, why="p99 doubled", who="ann")
    for _ in range(2):
        outcome = run_push(given, tmp_path)
        assert (outcome.verdict, outcome.version) == ("refused", None)
        assert outcome.reasons == [
            f"the same bytes are version {number} of taxi, quarantined by ann: p99 doubled. "
            "Train a model that differs: other data, another module or another seed; or lift the quarantine: "
            f"`slipway models release taxi/{number}`"
        ]
    assert len(LocalModelStore(tmp_path / "store").versions("taxi")) == 1


def test_push_baseline_in_a_remote_store_is_named_by_its_version(
    artifacts: WriteArtifacts,
    tmp_path: Path,
    storage_server: StorageServer,
) -> None:
    given = artifacts(baseline=storage_server.uri("store/taxi/1700000000"))
    store = storage_server.uri("store")
    outcome = push(given, URIS, store, admitted(tmp_path / "run"))
    version = open_store(store).version("taxi", outcome.version or 0)
    assert outcome.path == version.uri
    assert version.manifest.baseline_version == 1_700_000_000


def test_push_of_a_tuned_model_names_the_winner_s_values(artifacts: WriteArtifacts, tmp_path: Path) -> None:
    values = Values(hyperparameters={"units": 9})
    tuned = Tuned(ended="trials", metric="auc", better="high", winner=4, values=values, changed=["units"], trials=7)
    written = TuningRecord(tuned=tuned, artifacts={"tuning": "gs://bucket/tuning"}).model_dump_json()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tuning.json").write_text(written)
    outcome = run_push(artifacts(), tmp_path)
    (version,) = LocalModelStore(tmp_path / "store").versions("taxi")
    assert version.manifest.lineage.hyperparameters["units"] == 9
    assert outcome.artifacts["tuning"] == "gs://bucket/tuning"
