from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from delivery.deployments import Deployment, read_latest, record
from slipway.errors import StoreError
from tests.each_store import ON_EACH_STORE
from tests.fakes.storage_server import StorageServer

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def deployment(
    unit: str = "module-taxi", environment: str = "staging", seconds: float = 0, run: str = ""
) -> Deployment:
    finished = MOMENT + timedelta(seconds=seconds)
    return Deployment(
        unit=unit, environment=environment, key={"image": "1"}, revision="a" * 40, finished=finished, run=run
    )


def test_read_latest_is_the_newest_of_each_unit_of_the_environment(tmp_path: Path) -> None:
    newest = deployment(seconds=0.000002, run="newest")
    for one in (
        newest,
        deployment(seconds=0.000001, run="newer"),
        deployment(run="oldest"),
        deployment("manifests"),
        deployment(environment="production", seconds=9),
    ):
        record(str(tmp_path), one)
    assert read_latest(str(tmp_path), "staging") == {"module-taxi": newest, "manifests": deployment("manifests")}


def test_read_latest_goes_by_the_moment_whatever_the_time_zone(tmp_path: Path) -> None:
    from datetime import timezone

    early = deployment(run="early")
    east = timezone(timedelta(hours=9))
    record(str(tmp_path), early.model_copy(update={"finished": MOMENT.astimezone(east)}))
    late = deployment(seconds=60, run="late")
    record(str(tmp_path), late)
    assert read_latest(str(tmp_path), "staging")["module-taxi"].run == "late"


def test_read_latest_of_a_place_without_deployments_is_empty(tmp_path: Path) -> None:
    assert read_latest(str(tmp_path), None) == {}


def test_record_keeps_what_was_there(tmp_path: Path) -> None:
    record(str(tmp_path), deployment())
    record(str(tmp_path), deployment(seconds=1))
    assert len(list((tmp_path / "deployments" / "staging" / "module-taxi").iterdir())) == 2


@ON_EACH_STORE
def test_record_and_read_in_a_bucket(storage_server: StorageServer) -> None:
    home = storage_server.uri("home")
    assert read_latest(home, "staging") == {}
    record(home, deployment(run="first"))
    record(home, deployment(seconds=1, run="second"))
    assert read_latest(home, "staging") == {"module-taxi": deployment(seconds=1, run="second")}


def test_read_latest_damaged_record_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "deployments" / "staging" / "manifests"
    folder.mkdir(parents=True)
    (folder / "20260101T000000.000000Z-abc.json").write_text("{")
    with pytest.raises(StoreError, match=r"20260101T000000\.000000Z-abc\.json.*remove it"):
        read_latest(str(tmp_path), "staging")
