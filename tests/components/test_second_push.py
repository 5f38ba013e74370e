"""push_model and record_run, started twice with the same arguments: no second version, and no second message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kfp import dsl

from components.push_model.run import push
from components.record_run.component import record_run
from slipway.runs.notifications import send
from slipway.runs.record import Outcome, RunContext
from slipway.stores.model_store import open_store
from tests.components.judged_artifacts import LINEAGE, WriteArtifacts, admitted, write_artifacts
from tests.fakes.loopback_server import Answer, LoopbackServer, Request
from tests.fakes.storage_server import StorageServer
from tests.model_files import provenance, write_model


@pytest.fixture
def artifacts(tmp_path: Path) -> WriteArtifacts:
    return partial(write_artifacts, tmp_path)


@pytest.fixture(params=["local", "google_storage", pytest.param("s3_server", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "store")
    server: StorageServer = request.getfixturevalue(request.param)
    return server.uri("store")


@pytest.mark.parametrize("first", ["ended", "killed before its record"])
def test_push_model_finds_its_own_version_though_others_pushed_since(
    artifacts: WriteArtifacts,
    tmp_path: Path,
    store: str,
    first: str,
) -> None:
    asked: list[Any] = [artifacts(), {}, store, admitted(tmp_path / "run")]
    number = push(*asked).version
    other = open_store(store).push(write_model(tmp_path / "other", 7), provenance()).version.number
    if first != "ended":
        admitted(tmp_path / "run")
    again = push(*asked)
    assert (again.verdict, again.version) == ("pushed", number)
    assert Outcome.model_validate_json((tmp_path / "run" / "outcome.json").read_text()) == again
    assert [version.number for version in open_store(store).versions("taxi")] == [number, other]
    # Another run may push them anew: what it judged is the newest then.
    other_run = LINEAGE.model_copy(update={"run": "run-2"})
    anew = [*asked[:3], RunContext(uri=str(tmp_path / "run"), lineage=other_run)]
    later = push(*anew)
    assert later.version not in {number, other}


def test_push_model_does_not_take_a_damaged_version_for_its_own(
    artifacts: WriteArtifacts,
    tmp_path: Path,
) -> None:
    asked: list[Any] = [artifacts(), {}, str(tmp_path / "store"), admitted(tmp_path / "run")]
    first = push(*asked)
    Path(first.path or "", "saved_model.pb").write_bytes(b"bit rot")
    assert (push(*asked).version or 0) > (first.version or 0)


class Hook(LoopbackServer):
    """Takes what Slack takes."""

    def handle(self, request: Request) -> Answer:
        return Answer(200, b"ok", "text/html")

    def refuse(self, status: int, message: str) -> Answer:
        return Answer(status, message.encode(), "text/html")


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    monkeypatch.setattr(send, "PAUSE_SECONDS", 0.01)
    with Hook() as server:
        monkeypatch.setenv("WEBHOOK", server.url)
        yield server


def record(folder: Path, state: str) -> dict[str, Any]:
    status = SimpleNamespace(state=state, error_message="task x failed", pipeline_job_resource_name="x")
    told = {"webhook": {"url": "env:WEBHOOK"}, "events": ["failure", "success"]}
    run = RunContext(uri=str(folder), lineage=LINEAGE, notifications=told, page="https://ui/{job}")
    record_run.python_func(run.model_dump_json(), "9f1c", "", status, dsl.HTML(uri=str(folder / "run_page")))
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return {key: value for key, value in summary.items() if key != "finished"}


def test_record_run_records_the_same_and_tells_people_once(
    tmp_path: Path, hook: Hook, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(tmp_path, "FAILED") == record(tmp_path, "FAILED")
    assert len(hook.requests) == 1
    assert "nobody is notified again" in capsys.readouterr().out
    record(tmp_path, "SUCCEEDED")
    assert len(hook.requests) == 2, "another end of the run is other news"


def test_record_run_tells_people_whom_the_first_start_did_not_reach(tmp_path: Path, hook: Hook) -> None:
    hook.fail("POST", ".*", 404)
    record(tmp_path, "FAILED")
    assert len(hook.requests) == 1
    record(tmp_path, "FAILED")
    assert len(hook.requests) == 2
