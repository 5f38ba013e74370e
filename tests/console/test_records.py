"""What a record names is data: only the environment's own places are read and shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from console.records import is_own, view_own, with_own_artifacts
from console.runs.artifacts import artifacts_of
from delivery.environment import open_environment
from pipelines.registry import Locations
from slipway.runs.record import StepsFile
from slipway.runs.store import STEPS
from slipway.stores import storage
from tests.console.models.shelf import push_versions
from tests.recorded_runs import write_run

HOME = "gs://bucket/slipway"
SERVICE = "?scheme=http&endpoint_override=localhost:9023"


@pytest.mark.parametrize(
    ("uri", "own"),
    [
        (f"{HOME}/artifacts/123/examples", True),
        (f"{HOME}/runs/taxi-1", True),
        (f"{HOME}/models/", True),
        ("gs://elsewhere/artifacts/x", True),  # kubeflow.pipeline_root
        (HOME, False),
        (f"{HOME}/runs-of-others/x", False),
        (f"{HOME}/artifacts/../../secret", False),
        ("gs://elsewhere/secret", False),
        ("gs://bucket/secret", False),
        (f"{HOME}/artifacts/x{SERVICE}", False),
        ("gs://anonymous@bucket/slipway/artifacts/x", False),
        ("/etc/passwd", False),
        ("file:///etc/passwd", False),
        ("http://169.254.169.254/", False),
        ("s3://bucket/x", False),
        ("", False),
    ],
)
def test_places_of_an_environment_on_a_bucket(monkeypatch: pytest.MonkeyPatch, uri: str, own: bool) -> None:
    monkeypatch.setenv("SLIPWAY_REMOTE_HOME", HOME)
    monkeypatch.setenv("SLIPWAY_KUBEFLOW__PIPELINE_ROOT", "gs://elsewhere/artifacts")
    assert is_own(open_environment().state, uri) is own


def test_a_service_is_part_of_a_place() -> None:
    state = Locations.under(HOME + SERVICE)
    assert is_own(state, f"{HOME}/artifacts/x{SERVICE}")
    assert not is_own(state, f"{HOME}/artifacts/x")
    assert not is_own(state, f"{HOME}/artifacts/x?scheme=http&endpoint_override=evil.example")


def test_places_on_this_machine_are_those_that_links_lead_to(tmp_path: Path) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside"
    outside.mkdir()
    (home / "artifacts").mkdir(parents=True)
    (home / "artifacts" / "link").symlink_to(outside)
    (home / "artifacts" / "loop").symlink_to(home / "artifacts" / "loop")
    state = Locations.under(str(home))
    assert is_own(state, str(home / "artifacts" / "x"))
    assert is_own(state, (home / "artifacts" / "x").as_uri())
    for uri in (outside, home / "artifacts" / "link", home / "artifacts" / ".." / ".." / "outside", home / "cache"):
        assert not is_own(state, str(uri)), uri
    for other in ("artifacts", "\0", f"{HOME}/artifacts/x", f"file://{home}/artifacts/link/x"):
        assert not is_own(state, other), other


def test_what_lies_elsewhere_is_not_even_read_for_the_list(tmp_path: Path) -> None:
    """An interrupted run is summed up from what its steps left: from its own files, or from none."""
    folder = write_run(tmp_path / "home", "taxi-1", "interrupted")
    other = write_run(tmp_path / "other", "taxi-1", "interrupted") / "artifacts"
    state = Locations.under(str(tmp_path / "home"))
    assert view_own(state, "taxi-1").summary.rows.read == 14_169
    text = (folder / STEPS).read_text().replace(str(folder / "artifacts"), str(other))
    (folder / STEPS).write_text(text)
    view = view_own(state, "taxi-1")
    assert (view.summary.rows.read, view.summary.metrics, view.summary.artifacts) == (0, {}, {})
    assert set(artifacts_of(view)) == {"record"}
    assert str(other) not in repr(view.steps)


def test_a_manifest_names_only_what_lies_in_the_environment(tmp_path: Path) -> None:
    store, [number] = push_versions(tmp_path, 1)
    version = store.versions("taxi")[0]
    named = {"schema": "/etc", "evaluation": str(tmp_path / "artifacts" / "evaluation"), "x": "gs://other/x"}
    version.manifest.artifacts.update(named)
    kept = with_own_artifacts(Locations.under(str(tmp_path)), version)
    assert (kept.number, set(kept.manifest.artifacts)) == (number, {"evaluation"})


def test_an_interrupted_run_took_as_long_as_its_last_step_wrote(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "taxi-1", "interrupted")
    steps = StepsFile.model_validate_json((folder / STEPS).read_text()).steps
    killed = next(step for step in steps if step.state == "running")
    assert killed.started
    log = folder / "logs" / f"{killed.name}.log"
    storage.write_text(str(log), "epoch 1")
    os.utime(log, (0, killed.started + 40))
    view = view_own(Locations.under(str(tmp_path)), "taxi-1")
    assert next(step for step in view.steps if step.name == killed.name).seconds == pytest.approx(40, abs=0.1)
    assert view.seconds == pytest.approx(killed.started + 40 - view.summary.lineage.started, abs=0.1)
