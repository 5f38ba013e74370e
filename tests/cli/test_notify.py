"""`slipway notify`, and what rollbacks from the command line tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from settings import load
from slipway.errors import ConfigError
from slipway.lineage import Lineage, user
from slipway.stores.model_store import Provenance, open_store
from tests.fakes.loopback_server import Answer, LoopbackServer, Request


class Hook(LoopbackServer):
    """Takes all posts."""

    def handle(self, request: Request) -> Answer:
        return Answer(200, b"ok", "text/plain")

    def refuse(self, status: int, message: str) -> Answer:
        return Answer(status, message.encode(), "text/plain")

    @property
    def texts(self) -> list[str]:
        return [json.loads(request.body)["text"] for request in self.requests]


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    with Hook() as server:
        monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
        monkeypatch.setenv("SLIPWAY_NOTIFICATIONS__WEBHOOK__URL", "env:HOOK")
        monkeypatch.setenv("HOOK", f"{server.url}/s3cr3t")
        yield server


def slipway(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_notify_test_sends_through_what_the_settings_name(hook: Hook) -> None:
    assert slipway("notify", "test", "--env", "staging").stdout == "sent by webhook\n"
    assert hook.texts[0].splitlines()[:2] == ["[slipway] this is a test", "- `slipway notify test` works"]


def test_notify_test_with_a_broken_channel_exits_with_1(hook: Hook) -> None:
    hook.fail("POST", "/s3cr3t", 404)
    done = slipway("notify", "test")
    assert done.exit_code == 1
    assert "the webhook answers 404: is env:HOOK its right address" in done.stderr
    assert "s3cr3t" not in done.output


def test_notify_test_without_a_channel_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match=r"notifications\.email\.host"):
        slipway("notify", "test")


@pytest.fixture
def versions(tmp_path: Path) -> list[int]:
    store = open_store(str(tmp_path / "models"))
    pushed = []
    for run in ("run-1", "run-2"):
        (model := tmp_path / run).mkdir()
        (model / "saved_model.pb").write_text(run)
        lineage = Lineage(run=run, module="taxi", module_digest="m", data_uri="trips.csv")
        pushed.append(store.push(model, Provenance(model="taxi", lineage=lineage)).version.number)
        store.promote("taxi", pushed[-1], why="it is good", who="ann")
    return pushed


def test_models_rollback_tells_what_was_left_and_why(hook: Hook, versions: list[int]) -> None:
    slipway("models", "rollback", "taxi", "--why", "p99 doubled", "--who", "bob")
    old, new = versions
    assert hook.texts == [
        f"[slipway] taxi: back at version {old}, from version {new}\n- {user()} (says: bob): p99 doubled"
    ]


@pytest.mark.parametrize(("env", "notified"), [("quiet", 0), ("loud", 1)])
def test_models_rollback_of_a_store_notifies_the_channels_of_its_environment(
    hook: Hook, versions: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: str, notified: int
) -> None:
    settings = tmp_path / "settings"
    settings.mkdir()
    (settings / "base.yaml").write_text("{}\n")
    (settings / "quiet.yaml").write_text("notifications: {events: [failure]}\n")
    (settings / "loud.yaml").write_text("notifications: {events: [rollback]}\n")
    monkeypatch.setattr(load, "FOLDER", settings)
    store = str(tmp_path / "models")
    slipway("models", "rollback", "taxi", "--store", store, "--env", env, "--why", "p99 doubled")
    assert len(hook.texts) == notified


@pytest.mark.parametrize(("variable", "notified"), [(None, 0), ("staging", 1)])
def test_models_rollback_of_a_store_without_an_environment_notifies_nobody(
    hook: Hook,
    versions: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str | None,
    notified: int,
) -> None:
    monkeypatch.delenv("SLIPWAY_ENV", raising=False)
    if variable:
        monkeypatch.setenv("SLIPWAY_ENV", variable)
    done = slipway("models", "rollback", "taxi", "--store", str(tmp_path / "models"), "--why", "p99 doubled")
    assert len(hook.texts) == notified
    assert ("--env" in done.stdout) == (notified == 0)


def test_models_rollback_is_told_nobody_where_nobody_asks(
    hook: Hook, versions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_NOTIFICATIONS__EVENTS", "[failure]")
    slipway("models", "rollback", "taxi", "--why", "p99 doubled")
    assert hook.requests == []


def test_models_rollback_works_with_a_broken_webhook(hook: Hook, versions: list[int]) -> None:
    hook.fail("POST", "/s3cr3t", 410)
    done = slipway("models", "rollback", "taxi", "--why", "p99 doubled")
    assert done.exit_code == 0
    assert f"taxi is back at version {versions[0]}" in done.stdout
    assert "warning: the notification by webhook was not sent" in done.stdout
