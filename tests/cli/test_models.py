import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from settings.load import PROJECT
from slipway.errors import ModelQuarantinedError, StoreError
from slipway.stores.model_store import LocalModelStore
from tests.fakes.storage_server import StorageServer
from tests.model_files import provenance, write_model

Push = Callable[..., int]


@pytest.fixture
def push(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Push:
    """Pushes to the store of a home of its own; the first version is 101."""
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))

    def put(seed: int, model: str = "taxi") -> int:
        store = LocalModelStore(tmp_path / "models", clock=lambda: 100.0)
        return store.push(write_model(tmp_path / f"{model}-{seed}", seed), provenance(model)).version.number

    return put


def slipway(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_models_list_shows_stages_newest_first_and_marks_production(push: Push) -> None:
    for seed in range(3):
        push(seed)
    slipway("models", "promote", "102")
    slipway("models", "quarantine", "taxi/103")
    head, *lines = slipway("models", "list").stdout.splitlines()
    assert head.split()[:3] == ["model", "version", "stage"]
    assert [line.split()[1:3] for line in lines] == [["103", "quarantined"], ["102", "stable"], ["101", "candidate"]]
    assert [("production" in line) for line in lines] == [False, True, False]
    listed = json.loads(slipway("models", "list", "taxi", "--json").stdout)
    assert [(one["version"], one["stage"], one["production"]) for one in listed] == [
        (103, "quarantined", False),
        (102, "stable", True),
        (101, "candidate", False),
    ]


def test_models_list_of_an_empty_store_says_what_fills_it(push: Push) -> None:
    assert "slipway run" in slipway("models", "list").stdout
    assert json.loads(slipway("models", "list", "--json").stdout) == []


def test_models_show_tells_the_stage(push: Push) -> None:
    push(0)
    assert re.search(r"stage +candidate, in production", slipway("models", "show", "taxi").stdout)
    slipway("models", "promote", "101")
    shown = json.loads(slipway("models", "show", "101", "--json").stdout)
    assert (shown["stage"], shown["production"], shown["version"]) == ("stable", True, 101)


def test_models_promote_and_rollback_say_what_happened(push: Push) -> None:
    for seed in range(2):
        push(seed)
    assert "101 of taxi is stable" in slipway("models", "promote", "101").stdout
    assert re.search("102 of taxi is stable.* 101 is retired", slipway("models", "promote", "taxi/102").stdout)
    back = slipway("models", "rollback", "taxi", "--why", "p99 doubled", "--who", "ann").stdout
    assert re.search("taxi is back at version 101.* 102 is quarantined", back)
    with pytest.raises(ModelQuarantinedError, match=r"it was quarantined by .*says: ann\): p99 doubled"):
        slipway("models", "promote", "102")
    with pytest.raises(StoreError, match="nothing to roll back to"):
        slipway("models", "rollback", "taxi")


def test_models_rollback_to_a_version_goes_there(push: Push) -> None:
    for seed in range(3):
        push(seed)
    with pytest.raises(StoreError, match=r"ever promoted.*Version 103, the newest, is in production"):
        slipway("models", "rollback", "taxi", "--to", "101")
    for version in ("101", "102", "103"):
        slipway("models", "promote", version)
    back = slipway("models", "rollback", "taxi", "--to", "101").stdout
    assert re.search("back at version 101.* 103 is quarantined", back)


def test_models_rollback_typed_before_another_goes_no_further(push: Push) -> None:
    for seed in range(3):
        slipway("models", "promote", str(push(seed)))
    typed = time.time()
    slipway("models", "rollback", "taxi", "--who", "ann")
    late = ["models", "rollback", "taxi"]
    with pytest.raises(StoreError, match=r"now, not 103.*--from 102.*Version 102 is stable .*rollback by .*ann"):
        CliRunner().invoke(app, late, obj=typed, catch_exceptions=False)
    with pytest.raises(StoreError, match="now, not 103"):
        slipway(*late, "--from", "103")
    assert "back at version 101" in slipway(*late, "--from", "102").stdout


def test_models_rollback_of_two_processes_at_once_loses_one_version(push: Push) -> None:
    for seed in range(3):
        slipway("models", "promote", str(push(seed)))
    command = [sys.executable, "-m", "cli.main", "models", "rollback", "taxi"]
    both = [subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=60)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    assert "error: taxi was not rolled back: its stable version is 102 now, not 103" in "".join(told)
    stages = [line.split()[2] for line in slipway("models", "list").stdout.splitlines()[1:]]
    assert stages == ["quarantined", "stable", "retired"]


def test_models_history_has_who_why_run_newest_first(push: Push) -> None:
    push(0)
    slipway("models", "promote", "101", "--why", "as agreed", "--who", "ann")
    head, promoted, pushed = slipway("models", "history", "taxi").stdout.splitlines()
    assert head.split() == ["when", "action", "version", "before", "who", "why", "run"]
    assert re.search(r"promote +101 +.*ann.* +as agreed +run-1", promoted)
    assert re.search(r"push +101 .*passed its gate +run-1", pushed)
    events = json.loads(slipway("models", "history", "taxi", "--json").stdout)
    newest = events[0]
    assert (newest["action"], newest["version"], newest["says"]) == ("promote", 101, "ann")
    assert len(newest["model_digest"]) == 64


def test_models_verify_lists_each_problem_and_fails(push: Push, tmp_path: Path) -> None:
    for seed in range(2):
        push(seed)
    intact = slipway("models", "verify")
    assert intact.exit_code == 0
    assert intact.stdout.splitlines()[-1].startswith("2 of 2 versions")
    folder = tmp_path / "models" / "taxi" / "101"
    (folder / "fingerprint.pb").unlink()
    (folder / "more").touch()
    for what in ((), ("taxi",), ("101",)):
        found = slipway("models", "verify", *what)
        assert found.exit_code == 1
        assert "taxi/101: damaged" in found.stdout
        assert f"{folder}/fingerprint.pb is missing" in found.stdout
        assert f"{folder}/more is not part of the version" in found.stdout
    assert slipway("models", "verify", "taxi/102").exit_code == 0


def test_models_prune_says_what_it_deleted(push: Push, tmp_path: Path) -> None:
    for seed in range(4):
        push(seed)
    assert "101, 102" in slipway("models", "prune", "taxi", "--keep", "0").stdout
    assert "No version of taxi" in slipway("models", "prune", "taxi").stdout
    assert not (tmp_path / "models" / "taxi" / "101").exists()


@pytest.mark.parametrize("command", ["list", "history", "rollback", "prune"])
def test_models_unknown_model_names_those_that_are_there(push: Push, command: str) -> None:
    push(0, "iris")
    with pytest.raises(StoreError, match="there is no model 'taxi' in the store; models: iris"):
        slipway("models", command, "taxi")


@pytest.mark.parametrize("command", ["show", "promote", "quarantine", "verify"])
def test_models_unknown_version_names_the_newest(push: Push, command: str) -> None:
    push(0)
    with pytest.raises(StoreError, match="there is no version '7' in the store; the newest: taxi/101"):
        slipway("models", command, "7")


def test_models_of_a_store_on_gs(
    push: Push,
    tmp_path: Path,
    storage_server: StorageServer,
) -> None:
    from slipway.stores.model_store import open_store

    uri = storage_server.uri("store")
    for seed in range(2):
        open_store(uri).push(write_model(tmp_path / f"{seed}", seed), provenance())
    newest = json.loads(slipway("models", "list", "--store", uri, "--json").stdout)[0]["version"]
    assert "is stable" in slipway("models", "promote", str(newest), "--store", uri).stdout
    assert slipway("models", "verify", "--store", uri).exit_code == 0
    assert len(json.loads(slipway("models", "history", "taxi", "--store", uri, "--json").stdout)) == 3
    assert "empty" in slipway("models", "list").stdout


def test_models_quarantine_of_production_says_what_is_production_now_and_release_lifts_it(push: Push) -> None:
    older, newest = push(1), push(2)
    shown = slipway("models", "quarantine", f"taxi/{newest}", "--why", "wrong data").stdout
    assert f"It was in production, as the newest version; now version {older} is." in shown
    assert "released by" in slipway("models", "release", f"taxi/{newest}", "--why", "right data").stdout
    assert "retired" in slipway("models", "show", f"taxi/{newest}").stdout


def test_models_quarantine_of_the_stable_version_is_refused_and_of_a_canary_says_who_still_answers(
    push: Push, tmp_path: Path
) -> None:
    stable, canary = push(1), push(2)
    slipway("models", "promote", f"taxi/{stable}")
    with pytest.raises(StoreError, match="it is the stable version"):
        slipway("models", "quarantine", f"taxi/{stable}")
    LocalModelStore(tmp_path / "models").mark_canary("taxi", canary)
    shown = slipway("models", "quarantine", f"taxi/{canary}", "--env", "staging", "--store", str(tmp_path / "models"))
    assert "`slipway rollout abort taxi --env staging`" in shown.stdout


def test_models_quarantine_of_what_was_stable_says_that_a_cluster_may_serve_it_on(push: Push) -> None:
    """As where it was promoted in the store alone after the rollout."""
    serves, newest, never = push(1), push(2), push(3)
    slipway("models", "promote", f"taxi/{serves}")
    slipway("models", "promote", f"taxi/{newest}")
    assert "`slipway rollout status taxi`" in slipway("models", "quarantine", f"taxi/{serves}").stdout
    assert "rollout" not in slipway("models", "quarantine", f"taxi/{never}").stdout


def test_models_fetch_puts_the_version_where_a_server_polls(push: Push, tmp_path: Path) -> None:
    push(1)
    told = slipway("models", "fetch", "taxi", "101", "--to", str(tmp_path / "to" / "taxi")).stdout
    assert str(tmp_path / "to" / "taxi" / "101") in told
    assert (tmp_path / "to" / "taxi" / "101" / "saved_model.pb").is_file()
    with pytest.raises(StoreError, match="no version 102"):
        slipway("models", "fetch", "taxi", "102", "--to", str(tmp_path / "to"))
