"""What may be done, what it changes, and the command that does the same: without HTTP."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from console.models.action_pages import LONGEST_REASON, check_reason
from console.models.actions import act, command, offered, plan
from console.models.catalog import Catalog, Model
from delivery.environment import Environment, open_environment
from slipway.errors import ChangedMeanwhileError, ConfigError
from slipway.lineage import user
from slipway.stores.model_store import LocalModelStore
from tests.console.models.shelf import HOSTILE, push_versions


@pytest.fixture
def environment(home: Path) -> Environment:
    return open_environment()


def looked_at(environment: Environment) -> Model:
    model = Catalog(environment).model("taxi")
    assert model is not None
    return model


def test_offers_follow_the_stages(environment: Environment, tmp_path: Path) -> None:
    store, (first, second, third) = push_versions(tmp_path, 3)
    assert offered(looked_at(environment), None, has_cluster=False) == ["retrain"]
    store.promote("taxi", first)
    store.promote("taxi", second)
    store.quarantine("taxi", third)
    model = looked_at(environment)
    assert offered(model, None, has_cluster=False) == ["rollback", "retrain"]
    assert offered(model, first, has_cluster=False) == ["promote", "quarantine"]
    assert offered(model, second, has_cluster=False) == []
    assert offered(model, third, has_cluster=False) == ["release"]
    store.mark_canary("taxi", first)
    model = looked_at(environment)
    assert offered(model, None, has_cluster=True) == ["decide", "abort", "retrain"]
    assert offered(model, first, has_cluster=True) == ["rollout", "quarantine"]


def test_a_plan_says_what_will_be(environment: Environment, tmp_path: Path) -> None:
    store, (first, second) = push_versions(tmp_path, 2)
    store.promote("taxi", first)
    promoted = plan("promote", looked_at(environment), second, has_cluster=False)
    assert promoted is not None
    assert promoted.changes[0] == ("in production", f"version {first}", f"version {second}")
    assert promoted.changes[1] == (f"version {first}", "stable", "retired")
    assert not promoted.is_long
    store.promote("taxi", second)
    back = plan("rollback", looked_at(environment), None, has_cluster=False)
    assert back is not None
    assert (back.number, back.changes[-1]) == (first, (f"version {second}", "stable", "quarantined"))
    assert plan("promote", looked_at(environment), second, has_cluster=False) is None


def test_a_plan_says_what_serves_while_no_version_is_promoted(environment: Environment, tmp_path: Path) -> None:
    _, (first, second) = push_versions(tmp_path, 2)
    model = looked_at(environment)
    promoted = plan("promote", model, first, has_cluster=False)
    refused = plan("quarantine", model, second, has_cluster=False)
    harmless = plan("quarantine", model, first, has_cluster=False)
    assert promoted is not None
    assert promoted.changes[0] == ("in production", f"version {second}, the newest", f"version {first}")
    assert refused is not None
    assert refused.changes[0] == ("in production", f"version {second}, the newest", f"version {first}, the newest")
    assert harmless is not None
    assert [what for what, _, _ in harmless.changes] == [f"version {first}"]


def test_commands_run_as_they_are_printed(environment: Environment, tmp_path: Path) -> None:
    _, [first] = push_versions(tmp_path, 1)
    line = command("quarantine", looked_at(environment), first, environment, why="it's wrong; rm -rf /")
    assert shlex.split(line) == ["slipway", "models", "quarantine", f"taxi/{first}", "--why", "it's wrong; rm -rf /"]


def test_acting_writes_who_and_why_and_where_from(environment: Environment, tmp_path: Path) -> None:
    store, (first, second) = push_versions(tmp_path, 2)
    store.promote("taxi", first)
    chosen = plan("promote", looked_at(environment), second, has_cluster=False)
    assert chosen is not None
    place = act(environment, chosen, "as agreed")
    event = store.history("taxi")[place]
    assert (event.version, event.previous, event.why, event.who) == (second, first, "as agreed", user())
    assert event.says.startswith("console of ")
    with pytest.raises(ChangedMeanwhileError):
        act(environment, chosen, "as agreed")
    assert len([one for one in store.history("taxi") if one.action == "promote"]) == 2


def test_a_rollback_goes_only_where_it_was_confirmed(environment: Environment, tmp_path: Path) -> None:
    store, numbers = push_versions(tmp_path, 3)
    for number in numbers:
        store.promote("taxi", number)
    chosen = plan("rollback", looked_at(environment), None, has_cluster=False)
    assert chosen is not None
    store.quarantine("taxi", numbers[1])
    with pytest.raises(ChangedMeanwhileError, match=f"version {numbers[1]} .* quarantined"):
        act(environment, chosen, "p99 doubled")
    assert store.production("taxi") == store.version("taxi", numbers[2])


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "reason"), (" \n\t ", "reason"), ("x" * (LONGEST_REASON + 1), str(LONGEST_REASON)), ("a\u202eb", "U+202E"),
     (HOSTILE, "U+0000")],
)  # fmt: skip
def test_a_reason_that_nobody_could_read_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_reason(text)
    assert says in str(refused.value)


def test_a_reason_is_kept_on_one_line() -> None:
    assert check_reason("  p99\n doubled ü <b> ") == "p99 doubled ü <b>"


def test_the_catalog_sees_what_others_change(environment: Environment, tmp_path: Path) -> None:
    store, (first, second) = push_versions(tmp_path, 2)
    catalog = Catalog(environment)
    assert [one.name for one in catalog.models()] == ["taxi"]
    LocalModelStore(Path(store.uri)).promote("taxi", first)
    catalog.forget()
    model = catalog.model("taxi")
    assert model is not None
    assert (model.state.pin, model.newest and model.newest.number) == (first, second)


def test_a_damaged_model_does_not_hide_the_others(environment: Environment, tmp_path: Path) -> None:
    push_versions(tmp_path, 1)
    push_versions(tmp_path, 1, model="loan")
    (tmp_path / "models" / "taxi" / ".state.json").write_text("{")
    loan, taxi = Catalog(environment).models()
    assert (loan.problem, loan.production is not None) == ("", True)
    assert ".state.json" in taxi.problem
