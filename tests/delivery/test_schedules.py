"""Both targets converge, whatever happens on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal
from unittest.mock import Mock

import pytest

from delivery import schedules
from delivery.schedules import Action, apply, plan, remove
from delivery.targets.base import Recurring, RemoteSchedule, Schedules, Target
from slipway.errors import TargetError
from tests.delivery.targets.places import on_kubeflow, on_vertex
from tests.delivery.targets.submissions import recurring
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.vertex import FakeVertex


class Killed(BaseException):
    """The process ends here."""


class Place:
    """A fake server and what is on it."""

    def __init__(self, name: Literal["kubeflow", "vertex"], server: Any) -> None:
        self.name = name
        self.server = server

    def target(self, environment: str = "staging") -> Target:
        return on_kubeflow(self.server, environment) if self.name == "kubeflow" else on_vertex(self.server, environment)

    @property
    def schedules(self) -> Schedules:
        return self.target().schedules

    def wanted(self, name: str = "nightly", cron: str = "0 3 * * *", **changes: Any) -> Recurring:
        return recurring(self.name, name, cron, **changes)

    @property
    def active(self) -> list[str]:
        """Names of all that start runs, read from the server's own state."""
        if self.name == "kubeflow":
            return sorted(one["display_name"] for one in self.server.recurring_runs.values() if one["mode"] == "ENABLE")
        return sorted(one["displayName"] for one in self.server.schedules.values() if one["state"] == "ACTIVE")

    @property
    def all(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = (
            self.server.recurring_runs if self.name == "kubeflow" else self.server.schedules
        )
        return found


@pytest.fixture(params=["kubeflow", pytest.param("vertex", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr("slipway.remote.retries.sleep", lambda seconds: None)
    with FakeKubeflow() if request.param == "kubeflow" else FakeVertex() as server:
        yield Place(request.param, server)


def quiet(action: Action) -> None:
    pass


def verbs(place: Place, wanted: list[Recurring]) -> list[str]:
    taken: list[str] = []
    apply(wanted, place.schedules, lambda action: taken.append(f"{action.verb} {action.name}"))
    return taken


def test_apply_makes_what_is_new_and_then_nothing(place: Place) -> None:
    wanted = [place.wanted(), place.wanted("weekly", "0 4 * * 0")]
    assert {verb for verb in verbs(place, wanted) if verb.startswith("create")} == {"create nightly", "create weekly"}
    assert place.active == ["nightly", "weekly"]
    assert verbs(place, wanted) == []


def test_apply_sends_cron_concurrency_and_catch_up(place: Place) -> None:
    apply([place.wanted(max_concurrency=2)], place.schedules, quiet)
    [kept] = place.all.values()
    if place.name == "kubeflow":
        assert kept["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *"
        assert (kept["max_concurrency"], kept["no_catchup"]) == ("2", True)
        assert kept["runtime_config"]["parameters"]["epochs"] == 10
    else:
        assert kept["cron"] == "0 3 * * *"
        assert (kept["maxConcurrentRunCount"], kept["maxConcurrentActiveRunCount"]) == ("2", "2")
        job = kept["createPipelineJobRequest"]["pipelineJob"]
        assert job["runtimeConfig"]["parameterValues"]["epochs"] == 10
        assert job["displayName"] == "nightly"
    [found] = place.schedules.list()
    assert (found.name, found.cron, found.enabled) == ("nightly", "0 3 * * *", True)


@pytest.mark.parametrize("change", ["cron", "concurrency", "place", "argument"])
def test_apply_what_changed_replaces_it(place: Place, change: str) -> None:
    old = place.wanted()
    apply([old], place.schedules, quiet)
    arguments = old.submission.arguments | {"data_uri": "gs://bucket/other.csv"}
    new = {
        "cron": replace(old, cron="0 5 * * *"),
        "concurrency": replace(old, max_concurrency=3),
        "place": replace(old, place={"service_account": "other"}),
        "argument": replace(old, submission=replace(old.submission, arguments=arguments)),
    }[change]
    assert verbs(place, [new])[0] == "replace nightly"
    [found] = place.schedules.list()
    assert (found.digest, found.enabled, found.cron) == (new.digest, True, new.cron)
    assert len(place.all) == 1


def test_apply_after_a_commit_that_changed_nothing_leaves_it(place: Place) -> None:
    wanted = place.wanted()
    apply([wanted], place.schedules, quiet)
    lineage = wanted.submission.lineage.model_copy(update={"git_revision": "another"})
    package = wanted.submission.package
    spec = json.loads(json.dumps(package.spec).replace(wanted.submission.lineage.git_revision, "another"))
    later = replace(wanted, submission=replace(wanted.submission, lineage=lineage, package=replace(package, spec=spec)))
    assert verbs(place, [later]) == []


def test_apply_what_is_gone_from_the_settings_removes_it(place: Place) -> None:
    apply([place.wanted(), place.wanted("weekly")], place.schedules, quiet)
    assert verbs(place, [place.wanted()]) == ["delete weekly"]
    assert place.active == ["nightly"]


def test_apply_what_someone_paused_goes_on(place: Place) -> None:
    apply([place.wanted()], place.schedules, quiet)
    [kept] = place.all.values()
    kept.update({"mode": "DISABLE", "status": "DISABLED"} if place.name == "kubeflow" else {"state": "PAUSED"})
    assert verbs(place, [place.wanted()]) == ["enable nightly"]
    assert place.active == ["nightly"]


def test_apply_touches_neither_others_nor_another_environments(place: Place) -> None:
    apply([place.wanted()], place.target("production").schedules, quiet)
    apply([place.wanted()], place.schedules, quiet)
    [theirs, ours] = place.all.values()
    if place.name == "kubeflow":
        theirs["description"] = "made by hand"
    else:
        theirs["createPipelineJobRequest"]["pipelineJob"]["labels"] = {}
    assert len(place.schedules.list()) == 1
    assert verbs(place, []) == ["delete nightly"]
    assert list(place.all.values()) == [theirs]
    assert ours not in place.all.values()


def test_apply_of_one_environment_leaves_the_other(place: Place) -> None:
    apply([place.wanted()], place.target("production").schedules, quiet)
    assert verbs(place, []) == []
    assert place.active == ["nightly"]


def steps_of(place: Place, wanted: list[Recurring], kill_at: int | None) -> int:
    """Applies, and dies before the step of that number; answers how many there were."""
    count = 0

    def step(action: Action) -> None:
        nonlocal count
        if count == kill_at:
            raise Killed
        count += 1
        assert len(place.active) == len(set(place.active)), "two of one name are active"

    apply(wanted, place.schedules, step)
    return count


@pytest.mark.parametrize("kill_at", range(4))
def test_apply_killed_before_any_step_leaves_what_the_next_one_heals(place: Place, kill_at: int) -> None:
    apply([place.wanted()], place.schedules, quiet)
    wanted = [place.wanted(cron="0 5 * * *"), place.wanted("weekly")]
    try:
        steps_of(place, wanted, kill_at)
    except Killed:
        assert len(place.active) == len(set(place.active))
    steps_of(place, wanted, None)
    assert place.active == ["nightly", "weekly"]
    assert len(place.all) == 2
    assert verbs(place, wanted) == []


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
def test_apply_whose_answers_are_lost_makes_no_second_one(place: Place, status: int, done: bool) -> None:
    for method in ("POST", "PATCH", "DELETE"):
        place.server.fail(method, ".*(recurringruns|schedules).*", status, done=done)
    assert verbs(place, [place.wanted()])[0] == "create nightly"
    assert len(place.server.asked("POST", ".*/(recurringruns|schedules)")) == (1 if done else 2)
    assert place.active == ["nightly"]
    apply([place.wanted(cron="0 5 * * *")], place.schedules, quiet)
    apply([], place.schedules, quiet)
    assert not place.all


def test_apply_four_times_at_once_ends_with_one(place: Place) -> None:
    wanted = [place.wanted()]

    def once(_: int) -> None:
        apply(wanted, place.schedules, quiet)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(once, range(4)))
    apply(wanted, place.schedules, quiet)
    assert place.active == ["nightly"]
    assert len(place.all) == 1


def test_apply_refused_says_so_and_keeps_the_old_one(place: Place) -> None:
    apply([place.wanted()], place.schedules, quiet)
    path = ".*/recurringruns" if place.name == "kubeflow" else ".*/schedules/.*"
    place.server.fail("POST" if place.name == "kubeflow" else "PATCH", path, 403)
    with pytest.raises(TargetError, match=r"cannot (make|change) the .*nightly.*answers 403"):
        apply([place.wanted(cron="0 5 * * *")], place.schedules, quiet)
    [found] = place.schedules.list()
    assert (found.cron, found.enabled) == ("0 3 * * *", True)


def test_apply_of_a_cron_that_the_server_refuses_names_the_setting(place: Place) -> None:
    # The settings refuse both; an installation may refuse more than they do.
    cron = "0 3 * * 7" if place.name == "kubeflow" else "0 3 * *"
    with pytest.raises(TargetError, match=r"answers 400 .*cron.*schedules\.<name>\.cron"):
        apply([place.wanted(cron=cron)], place.schedules, quiet)
    place.server.fail("POST", ".*/(recurringruns|schedules)", 400)
    with pytest.raises(TargetError, match="answers 400") as raised:
        apply([place.wanted()], place.schedules, quiet)
    assert "cron" not in str(raised.value)


def test_list_reads_all_pages(place: Place) -> None:
    apply([place.wanted(name) for name in ("a", "b", "c")], place.schedules, quiet)
    place.server.page_size = 1
    assert [one.name for one in place.schedules.list()] == ["a", "b", "c"]


def test_remove_takes_away_by_name(place: Place) -> None:
    apply([place.wanted(), place.wanted("weekly")], place.schedules, quiet)
    remove(["weekly"], place.schedules, quiet)
    assert place.active == ["nightly"]


def test_plan_keeps_the_oldest_of_those_that_are_right() -> None:
    wanted = Place("vertex", None).wanted()
    twins = [RemoteSchedule(str(i), "nightly", wanted.digest, wanted.cron, True, float(i), "") for i in (3, 1, 2)]
    schedules = Mock()
    for action in plan([wanted], twins):
        action.carry_out(schedules)
    assert [(call[0], call.args[0].id) for call in schedules.method_calls] == [("delete", "2"), ("delete", "3")]


def test_apply_that_never_settles_ends() -> None:
    class Restless:
        made = 0

        def list(self) -> list[RemoteSchedule]:
            return []

        def create(self, schedule: Recurring) -> None:
            self.made += 1

    restless: Any = Restless()
    with pytest.raises(TargetError, match="did not settle in 6 passes"):
        apply([Place("vertex", None).wanted()], restless, quiet)
    assert restless.made == schedules.PASSES
