"""`slipway predict --batch` on a platform and by schedule: what is compiled and submitted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.errors import ConfigError
from tests.cli.commands import DATA, slipway
from tests.compiled.specs import tasks
from tests.fakes.kubeflow import FakeKubeflow

TO = "gs://bucket/scores/{RUN}"


def inputs(task: dict[str, Any]) -> dict[str, Any]:
    return {name: one["runtimeValue"]["constant"] for name, one in task["inputs"]["parameters"].items()
            if "runtimeValue" in one}  # fmt: skip


def test_predict_batch_submits_a_task_for_each_shard(kubeflow: FakeKubeflow) -> None:
    said = slipway("predict", "--batch", DATA, "--to", TO, "--shards", "3", "--version", "7", "--columns", "keys",
                   "--target", "kubeflow")  # fmt: skip
    assert said.stdout.startswith("run taxi-")
    [version] = kubeflow.versions.values()
    found = tasks(version["pipeline_spec"])
    shards = [name for name in found if name.startswith("predict_batch")]
    assert [inputs(found[name]) for name in shards] == [{"shard": one, "shards": 3} for one in (0.0, 1.0, 2.0)]
    assert set(found["finish_batch"]["dependentTasks"]) >= {name.replace("_", "-") for name in shards}
    asked = json.loads(inputs(found["resolve_batch"])["batch_config"])["batch_prediction"]
    assert (asked["version"], asked["columns"], asked["shards"]) == (7, "keys", 3)


def test_a_schedule_predicts(kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch) -> None:
    nightly = {"pipeline": "batch_prediction", "module": "taxi", "cron": "0 4 * * *", "data": DATA,
               "overrides": {"batch_prediction.to": TO}}  # fmt: skip
    monkeypatch.setenv("SLIPWAY_SCHEDULES", json.dumps({"scores": nightly}))
    slipway("schedules", "apply")
    [kept] = kubeflow.recurring_runs.values()
    assert kept["runtime_config"]["parameters"]["to"] == TO


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--batch", DATA, "--to", "scores", "--target", "kubeflow"], "cannot write to this machine"),
        (["--batch", DATA, "--to", TO, "--wait"], "--wait is for a run on a platform"),
        (["--to", "scores"], "go with --batch DATA"),
        (["--batch", DATA, "--to", TO, "--csv", "x.csv"], "without a server"),
        (["--batch", DATA, "--to", TO, "--json-lines"], "without a server"),
    ],
)
def test_options_that_do_not_fit(kubeflow: FakeKubeflow, options: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        slipway("predict", *options)
