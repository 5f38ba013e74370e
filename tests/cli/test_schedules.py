import json

import pytest

from slipway.errors import ConfigError, TargetError
from slipway.stores import storage
from tests.cli.commands import DATA, slipway
from tests.compiled.specs import tasks
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.vertex import FakeVertex

NIGHTLY = {"module": "taxi", "cron": "0 3 * * *", "data": DATA, "overrides": {"training.epochs": 3}}


@pytest.fixture(autouse=True)
def _schedules(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted(monkeypatch, nightly=NIGHTLY, resting=NIGHTLY | {"enabled": False})


def wanted(monkeypatch: pytest.MonkeyPatch, **schedules: object) -> None:
    monkeypatch.setenv("SLIPWAY_SCHEDULES", json.dumps(schedules))


def test_schedules_apply_makes_those_of_the_settings(kubeflow: FakeKubeflow) -> None:
    first = slipway("schedules", "apply")
    assert [line.partition(":")[0] for line in first.stdout.splitlines()] == ["create nightly", "enable nightly"]
    [kept] = kubeflow.recurring_runs.values()
    given = kept["runtime_config"]["parameters"]
    assert (kept["mode"], kept["max_concurrency"], kept["no_catchup"]) == ("ENABLE", "1", True)
    assert given["epochs"] == 3
    [version] = kubeflow.versions.values()
    inputs = tasks(version["pipeline_spec"])["push_model"]["inputs"]["parameters"]
    run = json.loads(inputs["run"]["runtimeValue"]["constant"])
    assert run["uri"].partition("?")[0].endswith("/runs/taxi-{job}")
    assert run["lineage"]["overrides"] == {"training.epochs": 3}
    trained = tasks(version["pipeline_spec"])["train_model"]["inputs"]["parameters"]
    assert storage.exists(trained["model_uri"]["runtimeValue"]["constant"])
    assert "nothing to do" in slipway("schedules", "apply").stdout


def test_schedules_apply_dry_run_changes_nothing(kubeflow: FakeKubeflow, remote_home: str) -> None:
    assert slipway("schedules", "apply", "--dry-run").stdout.startswith("create nightly:")
    assert {one.method for one in kubeflow.requests} == {"GET"}
    assert storage.list_files(remote_home) == []
    slipway("schedules", "apply")
    assert "nothing to do" in slipway("schedules", "apply", "--dry-run").stdout


def test_schedules_apply_follows_the_settings(vertex: FakeVertex, monkeypatch: pytest.MonkeyPatch) -> None:
    slipway("schedules", "apply", "--target", "vertex")
    wanted(monkeypatch, nightly=NIGHTLY | {"cron": "0 5 * * *"}, weekly=NIGHTLY | {"cron": "0 4 * * 0"})
    said = json.loads(slipway("schedules", "apply", "--json").stdout)
    assert [(one["action"], one["name"]) for one in said] == [("replace", "nightly"), ("create", "weekly")]
    assert {one["displayName"]: one["cron"] for one in vertex.schedules.values()} == {
        "nightly": "0 5 * * *",
        "weekly": "0 4 * * 0",
    }
    wanted(monkeypatch)
    assert "delete nightly" in slipway("schedules", "apply").stdout
    assert not vertex.schedules


def test_schedules_list_shows_what_is_there_and_what_is_missing(
    kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    slipway("schedules", "apply")
    wanted(monkeypatch, weekly=NIGHTLY)
    shown = slipway("schedules", "list").stdout
    assert "not in the settings" in shown
    assert "weekly" in shown
    found = json.loads(slipway("schedules", "list", "--json").stdout)
    assert [(one["name"], one["in_settings"], bool(one["id"])) for one in found] == [
        ("nightly", False, True),
        ("weekly", True, False),
    ]


def test_schedules_list_tells_stale_paused_and_archived_ones_apart(kubeflow: FakeKubeflow) -> None:
    def listed() -> str:
        return " ".join(slipway("schedules", "list").stdout.split())

    kubeflow.version = "2.16.1"
    slipway("schedules", "apply")
    assert "schedules apply" not in listed()
    kubeflow.version = "2.17.0"
    assert "made under Kubeflow Pipelines 2.16.1, which is 2.17.0 now" in listed()
    assert "2.16.1" in json.loads(slipway("schedules", "list", "--json").stdout)[0]["stale"]
    assert slipway("schedules", "apply").stdout.startswith("replace nightly: made under Kubeflow Pipelines 2.16.1")

    [kept] = kubeflow.recurring_runs.values()
    kept.update({"mode": "DISABLE", "status": "DISABLED"})
    assert "paused" in listed()
    [experiment] = kubeflow.experiments
    kubeflow.archive(experiment)
    name, shown = kubeflow.experiments[experiment]["display_name"], listed()
    assert "paused" not in shown
    assert f"restore the experiment {name}" in shown
    assert json.loads(slipway("schedules", "list", "--json").stdout)[0]["archived"] == name
    assert f"enable nightly: its experiment {name} is archived" in slipway("schedules", "apply", "--dry-run").stdout


def test_schedules_delete_removes_by_name(kubeflow: FakeKubeflow) -> None:
    slipway("schedules", "apply")
    assert slipway("schedules", "delete", "nightly", "--dry-run").stdout.startswith("delete nightly:")
    assert len(kubeflow.recurring_runs) == 1
    slipway("schedules", "delete", "nightly")
    assert not kubeflow.recurring_runs
    with pytest.raises(TargetError, match=r"no schedule nightly.* none"):
        slipway("schedules", "delete", "nightly")


def test_schedules_of_settings_with_two_targets_want_one_named(kubeflow: FakeKubeflow, vertex: FakeVertex) -> None:
    with pytest.raises(ConfigError, match=r"both kubeflow\.endpoint and vertex\.project: give --target"):
        slipway("schedules", "list")
    assert slipway("schedules", "list", "--target", "vertex").exit_code == 0


def test_schedules_of_settings_without_target_say_so(remote_home: str) -> None:
    with pytest.raises(ConfigError, match=r"neither kubeflow\.endpoint nor vertex\.project"):
        slipway("schedules", "list")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cron": "at night"}, r"schedules\.nightly\.cron = 'at night'"),
        ({"cron": "0 0 3 * * *"}, r"schedules\.nightly\.cron"),
        ({"max_concurrency": 0}, r"schedules\.nightly\.max_concurrency = 0"),
        ({"modul": "taxi"}, r"unknown setting schedules\.nightly\.modul"),
    ],
)
def test_schedules_that_are_wrong_name_the_setting(
    kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], said: str
) -> None:
    wanted(monkeypatch, nightly=NIGHTLY | change)
    with pytest.raises(ConfigError, match=said):
        slipway("schedules", "apply")


def test_schedules_of_an_unknown_module_change_nothing(kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted(monkeypatch, nightly=NIGHTLY, other=NIGHTLY | {"module": "tacsi"})
    with pytest.raises(ConfigError, match="no module 'tacsi'"):
        slipway("schedules", "apply")
    assert not kubeflow.recurring_runs
