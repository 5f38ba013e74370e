"""What an upgrade of Kubeflow, and people in its UI, do to recurring runs."""

import pytest

from delivery.schedules import apply, plan
from slipway.errors import ConfigError
from tests.delivery.targets.places import on_kubeflow
from tests.delivery.targets.submissions import recurring, submission
from tests.fakes.kubeflow import FakeKubeflow

RENEWED = ["replace nightly", "delete nightly", "enable nightly"]


def steps(server: FakeKubeflow, **settings: str) -> list[str]:
    """What `apply` does; a new connection each time, as a new command has."""
    taken: list[str] = []
    schedules = on_kubeflow(server, **settings).schedules
    apply(
        [recurring("kubeflow", place=settings)], schedules, lambda action: taken.append(f"{action.verb} {action.name}")
    )
    return taken


@pytest.mark.parametrize(
    ("before", "after", "renewed"),
    [
        ("2.16.1", "2.17.0", True),
        ("2.17.0", "2.16.1", True),
        ("2.17.0", "2.17.0", False),
        ("unknown", "2.17.0", True),
        ("2.17.0", "unknown", False),
        ("unknown", "unknown", False),
    ],
)
def test_recurring_run_of_another_version_is_made_anew(
    kubeflow: FakeKubeflow, before: str, after: str, renewed: bool
) -> None:
    kubeflow.tag_name = before
    assert steps(kubeflow) == ["create nightly", "enable nightly"]
    kubeflow.tag_name = after
    [found] = on_kubeflow(kubeflow).schedules.list()
    assert (after in found.stale) == renewed
    assert steps(kubeflow) == (RENEWED if renewed else [])
    assert steps(kubeflow) == []
    [kept] = kubeflow.recurring_runs.values()
    assert kept["status"] == "ENABLED"


def test_plan_after_an_upgrade_says_why(kubeflow: FakeKubeflow) -> None:
    kubeflow.version = "2.15.0"
    steps(kubeflow)
    kubeflow.version = "2.17.0"
    [action] = plan([recurring("kubeflow", place={})], on_kubeflow(kubeflow).schedules.list())
    assert action.verb == "replace"
    assert {"2.15.0", "2.17.0"} <= set(action.why.replace(",", " ").split())


def archive(server: FakeKubeflow) -> str:
    [experiment] = server.experiments
    server.archive(experiment)
    return experiment


def test_archived_experiment_is_told_from_a_paused_run(kubeflow: FakeKubeflow) -> None:
    steps(kubeflow)
    experiment = archive(kubeflow)
    name = kubeflow.experiments[experiment]["display_name"]
    [found] = on_kubeflow(kubeflow).schedules.list()
    assert (found.enabled, found.archived) == (False, name)
    with pytest.raises(ConfigError, match=rf"experiment {name} .*archived.*kubeflow\.experiment"):
        steps(kubeflow)
    assert [one["status"] for one in kubeflow.recurring_runs.values()] == ["DISABLED"]
    kubeflow.experiments[experiment]["storage_state"] = "AVAILABLE"  # restoring enables nothing
    [found] = on_kubeflow(kubeflow).schedules.list()
    assert (found.enabled, found.archived) == (False, "")
    assert steps(kubeflow) == ["enable nightly"]


def test_nothing_is_made_in_an_archived_experiment(kubeflow: FakeKubeflow) -> None:
    steps(kubeflow)
    archive(kubeflow)
    kubeflow.recurring_runs.clear()
    with pytest.raises(ConfigError, match="archived"):
        steps(kubeflow)
    with pytest.raises(ConfigError, match="archived"):
        on_kubeflow(kubeflow).submit(submission("kubeflow"))
    assert not kubeflow.recurring_runs
    assert not kubeflow.runs


def test_recurring_run_of_a_deleted_experiment_is_made_anew(kubeflow: FakeKubeflow) -> None:
    steps(kubeflow)
    kubeflow.experiments.clear()  # its recurring runs stay: resource_manager.go, DeleteExperiment
    assert steps(kubeflow) == RENEWED
    [kept] = kubeflow.recurring_runs.values()
    assert [kept["experiment_id"]] == list(kubeflow.experiments)


@pytest.mark.parametrize("multi_user", [False, True])
def test_recurring_run_of_an_experiment_that_the_settings_named_before_goes(multi_user: bool) -> None:
    with FakeKubeflow(multi_user=multi_user) as server:
        namespace = "team" if multi_user else ""
        steps(server, namespace=namespace, experiment="before")
        assert steps(server, namespace=namespace, experiment="after") == RENEWED
        [kept] = server.recurring_runs.values()
        assert server.experiments[kept["experiment_id"]]["display_name"] == "after"


def test_version_and_kind_of_the_installation_take_one_request(kubeflow: FakeKubeflow) -> None:
    steps(kubeflow)
    assert len(kubeflow.asked("GET", ".*/healthz")) == 1
