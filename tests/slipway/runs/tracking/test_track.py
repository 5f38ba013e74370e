"""The end of a run with a tracker that is down, slow, full or refuses: the run goes on, in time, and says so."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from components.record_run.run import finish, last_step
from slipway.lineage import Lineage
from slipway.runs.record import RunContext
from slipway.runs.store import load_run
from slipway.runs.tracking.config import Tracked, Tracking
from slipway.runs.tracking.track import mirror, open_tracker, track
from slipway.stores.model_store import ModelStore, Provenance, open_store
from tests.fakes.loopback_server import Answer
from tests.fakes.mlflow import Mlflow
from tests.fakes.storage_server import StorageServer
from tests.recorded_runs import write_run

ANY = r"/api/2\.0/.*"


@pytest.fixture
def server() -> Iterator[Mlflow]:
    with Mlflow() as fake:
        yield fake


@pytest.fixture
def say(tmp_path: Path, server: Mlflow, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Ends a run that is tracked; answers what was printed."""
    folder = write_run(tmp_path, "taxi-1", "pushed")
    lineage = load_run(tmp_path / "runs", "taxi-1").summary.lineage

    def ended(**settings: object) -> str:
        config = Tracked.model_validate({"uri": server.url, "environment": "staging", "timeout_seconds": 3, **settings})
        capsys.readouterr()
        started = time.monotonic()
        finish(RunContext(uri=str(folder), lineage=lineage, tracking=config.model_dump(mode="json")), "SUCCEEDED", "")
        assert time.monotonic() - started < 10
        assert (folder / "summary.json").is_file()
        return capsys.readouterr().out

    return ended


def test_run_that_ends_is_tracked_in_the_experiment_of_its_module_and_environment(
    server: Mlflow, say: Callable[..., str]
) -> None:
    assert "not tracked" not in say()
    assert "not tracked" not in say(experiment_prefix="team-")
    assert server.experiments.keys() == {"taxi-staging", "team-taxi-staging"}
    assert [run["info"]["status"] for run in server.runs.values()] == ["FINISHED", "FINISHED"]


def test_run_that_ends_twice_is_there_once_without_doubles(server: Mlflow, say: Callable[..., str]) -> None:
    say()
    [first] = server.runs.values()
    points = list(first["points"])
    say()
    [second] = server.runs.values()
    assert second["points"] == points


@pytest.mark.parametrize(
    ("status", "call", "told"),
    [
        (500, ANY, "made to answer 500"),
        (503, ANY, "503"),
        (429, ANY, "429"),
        (507, ANY, "disk is full"),
        (507, ".*/artifacts/.*", "disk is full"),
        (500, ".*/artifacts/.*", "500"),
        (400, ".*/runs/log-batch", "400"),
        (500, ".*/runs/update", "500"),
    ],
)
def test_run_whose_tracker_answers_an_error_ends_and_says_it(
    server: Mlflow, say: Callable[..., str], status: int, call: str, told: str
) -> None:
    for method in ("GET", "POST", "PUT"):
        server.fail(method, call, status, times=99)
    [line] = [line for line in say().splitlines() if "not tracked" in line]
    assert told in line
    assert server.url in line
    assert "slipway track sync" in line
    # What was left out is written the next time, once.
    server.faults.clear()
    assert "not tracked" not in say()
    assert len(server.runs) == 1


def test_run_whose_answer_was_lost_is_there_once(server: Mlflow, say: Callable[..., str]) -> None:
    server.fail("POST", ".*/runs/create", 500, done=True)
    assert "not tracked" in say()
    say()
    assert len(server.runs) == 1


def test_run_whose_tracker_is_down_ends_at_once(say: Callable[..., str]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert "Connection refused" in say(uri=f"http://127.0.0.1:{closed.getsockname()[1]}")


def test_run_whose_tracker_is_slow_ends_in_time(server: Mlflow, say: Callable[..., str]) -> None:
    server.hang("GET", ANY, 5)
    assert "not tracked" in say(timeout_seconds=1)


def test_run_whose_tracker_takes_long_for_each_call_ends_in_time(server: Mlflow, say: Callable[..., str]) -> None:
    for method in ("GET", "POST", "PUT"):
        server.hang(method, ANY, 0.4, times=99)
    assert "tracking.timeout_seconds = 1" in say(timeout_seconds=1)


def test_run_whose_tracker_answers_byte_by_byte_ends_in_time(say: Callable[..., str]) -> None:
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection = listening.accept()[0]
            with connection:
                connection.recv(65536)
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
                while not done.wait(0.1):
                    connection.send(b" ")

        thread = threading.Thread(target=drip)
        thread.start()
        assert "tracking.timeout_seconds = 1" in say(
            uri=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout_seconds=1
        )
        done.set()
        thread.join()


def test_run_whose_tracker_does_not_know_the_host_says_which_flag(server: Mlflow, say: Callable[..., str]) -> None:
    server.allowed_hosts = ("mlflow.example.com",)
    assert "--allowed-hosts" in say()


@pytest.mark.parametrize("root", ["mlflow-artifacts:/", "mlflow-artifacts://mlflow.example.com:5000/"])
def test_run_has_its_files_wherever_the_server_writes_them(server: Mlflow, say: Callable[..., str], root: str) -> None:
    server.artifact_root = root
    say()
    [run] = server.runs
    assert f"1/{run}/artifacts/report.html" in server.files


def test_run_whose_tracker_writes_no_files_says_which_flag(server: Mlflow, say: Callable[..., str]) -> None:
    server.artifact_root = "gs://bucket/"
    assert "--serve-artifacts" in say()


def test_run_whose_tracker_redirects_says_the_address_is_wrong(server: Mlflow, say: Callable[..., str]) -> None:
    server.answer("GET", ANY, Answer(302, b"", "text/html", (("Location", "https://login.example.com"),)), times=9)
    assert "tracking.uri must be the address" in say()


def test_run_whose_tracker_is_a_page_is_not_tracked(server: Mlflow, say: Callable[..., str]) -> None:
    server.answer("GET", ANY, Answer(200, b"<html>Log in", "text/html"), times=9)
    assert "not tracked" in say()


@pytest.mark.parametrize(
    ("username", "sent"), [("", "Bearer s3cr3t"), ("ann", "Basic YW5uOnMzY3IzdA==")], ids=["bearer", "basic"]
)
def test_token_is_sent_and_never_printed(
    server: Mlflow, say: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, username: str, sent: str
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    server.token = sent
    monkeypatch.setenv("TRACKING", "s3cr3t")
    assert "not tracked" not in say(token="env:TRACKING", username=username)
    monkeypatch.setenv("TRACKING", "0ther-s3cr3t")
    said = say(token="env:TRACKING", username=username)
    assert "env:TRACKING" in said
    assert "s3cr3t" not in said
    monkeypatch.delenv("TRACKING")
    assert "TRACKING is not set" in say(token="env:TRACKING", username=username)


def test_settings_that_another_release_wrote_fail_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lineage = Lineage(run="r", module="taxi", module_digest="ab", data_uri="x.csv")
    finish(RunContext(uri=str(tmp_path), lineage=lineage, tracking={"uri": "http://x", "new": 1}), "SUCCEEDED", "")
    assert "r is not tracked" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong", [{"token": "s3cr3t"}, {"uri": "https://ann:s3cr3t@mlflow"}, {"uri": "mlflow.example.com"},
              {"experiment_prefix": "a'b"}, {"url": "x"}],
)  # fmt: skip
def test_settings_that_are_wrong_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Tracking.model_validate(wrong)


@pytest.mark.parametrize("ending", ["bad-data", "failed", "refused"])
def test_run_that_did_not_get_far_is_tracked_as_far_as_it_came(
    server: Mlflow, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    write_run(tmp_path, "taxi-1", ending)  # type: ignore[arg-type]
    view = load_run(tmp_path / "runs", "taxi-1")
    track(view, Tracked(uri=server.url, environment="local"))
    assert "not tracked" not in capsys.readouterr().out
    [found] = server.runs.values()
    assert found["info"]["status"] == ("FINISHED" if ending == "refused" else "FAILED")
    assert found["tags"]["slipway.verdict"] == view.summary.verdict
    assert found["tags"]["slipway.reasons"] == "\n".join(view.summary.reasons)


def push(store: ModelStore, tmp_path: Path, run: str) -> int:
    (model := tmp_path / run).mkdir()
    (model / "saved_model.pb").write_text(run)
    lineage = Lineage(run=run, module="taxi", module_digest="m", data_uri="trips.csv")
    return store.push(model, Provenance(model="taxi", lineage=lineage)).version.number


def test_registry_mirrors_pin_canary_and_stages_of_the_store(
    server: Mlflow, storage_server: StorageServer, tmp_path: Path
) -> None:
    store = open_store(storage_server.uri("models"))
    config = Tracked(uri=server.url, environment="production", store=store.uri)

    def mirrored() -> tuple[dict[int, str], dict[str, int]]:
        mirror(open_tracker(config, time.monotonic() + 30), config, store, "taxi")
        model = server.models["taxi-production"]
        tags = {one["version"]: one["tags"] for one in model["versions"]}
        stages = {int(its["slipway.version"]): its["slipway.stage"] for its in tags.values()}
        return stages, {name: int(tags[one]["slipway.version"]) for name, one in model["aliases"].items()}

    first = push(store, tmp_path, "run-1")
    assert mirrored() == ({first: "production"}, {"production": first})  # without a pin, the newest
    store.promote("taxi", first)
    second, third = push(store, tmp_path, "run-2"), push(store, tmp_path, "run-3")
    store.mark_canary("taxi", second)
    assert mirrored() == (
        {first: "production", second: "canary", third: "candidate"},
        {"production": first, "canary": second},
    )
    store.promote("taxi", second)
    assert mirrored() == ({first: "retired", second: "production", third: "candidate"}, {"production": second})
    store.rollback("taxi", asked=time.time())
    assert mirrored() == ({first: "production", second: "quarantined", third: "candidate"}, {"production": first})
    sources = [one["source"] for one in server.models["taxi-production"]["versions"]]
    assert sources[0] == f"{storage_server.scheme}://bucket/models/taxi/{first}"


def test_retry_of_a_run_that_failed_is_tracked_with_its_end(server: Mlflow, tmp_path: Path) -> None:
    folder = write_run(tmp_path, "taxi-1", "failed")
    lineage = load_run(tmp_path / "runs", "taxi-1").summary.lineage
    tracking = Tracked(uri=server.url, environment="staging").model_dump(mode="json")
    context = RunContext(uri=str(folder), lineage=lineage, tracking=tracking)
    finish(context, "FAILED", "a step failed")
    assert [run["info"]["status"] for run in server.runs.values()] == ["FAILED"]
    # On Kubeflow the exit handler does not run again: the last step ends the retry.
    with last_step(context):
        pass
    assert [run["info"]["status"] for run in server.runs.values()] == ["FINISHED"]
