"""The recipes of docs/events.md: each calls a command that there is, in a file that its reader takes."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import kubernetes_validate
import pytest
import yaml

from delivery.environment import Environment
from settings.load import PROJECT
from slipway.module_api import Monitoring
from slipway.monitoring.decision import Decision
from tests.cli.commands import slipway

PAGE = (PROJECT / "docs" / "events.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def objects(kind: str) -> list[dict[str, Any]]:
    return [found for text in blocks("yaml") for found in yaml.safe_load_all(text) if found.get("kind") == kind]


def calls() -> list[list[str]]:
    """What every recipe gives to `slipway`: in lines of a shell, in lists of YAML, in the flags of gcloud."""
    code = "\n".join(re.findall(r"```(?:\w*)\n(.*?)```", PAGE, flags=re.DOTALL))
    lines = re.findall(r"\bslipway ((?:monitor|submit) [^'\"\n]*)", code)
    lists = re.findall(r"command: \[slipway, (.*?)\]", code)
    flags = re.findall(r"--command=slipway --args=(\S+)", code)
    return [line.split() for line in lines] + [re.split(r", *", one) for one in (*lists, *flags)]


def test_every_recipe_calls_a_command_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands parse their arguments and open their environment; what they ask for is not done."""
    asked: list[tuple[Any, ...]] = []

    def ask(environment: Environment, *given: Any) -> Decision:
        asked.append((environment.name, *given))
        return Decision(action="nothing", reason="the data are those of before")

    monkeypatch.setattr("delivery.retraining.ask_for_retraining", ask)
    monkeypatch.setattr("delivery.retraining.submit_retraining", lambda *given: None)
    asking = [words for words in calls() if words[:2] == ["monitor", "ask"]]
    for words in asking:
        said = slipway(*words)
        assert (said.exit_code, said.stdout) == (0, "nothing: the data are those of before\n")
    assert {one[0] for one in asked} == {"production"}
    assert {one[1] for one in asked} == {"kubeflow", "vertex"}
    assert {one[2:] for one in asked} == {("taxi", None, "new_data")}
    assert len(asking) == 5
    others = [words for words in calls() if words not in asking]
    assert [words[:3] for words in others] == [["monitor", "run", "taxi"]]
    help_ = slipway("monitor", "run", "--help").stdout
    assert all(word in help_ for words in others for word in words if word.startswith("--"))


@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
def test_kubernetes_takes_the_objects(version: str) -> None:
    [cron], [sensor] = objects("CronJob"), objects("Sensor")
    job = sensor["spec"]["triggers"][0]["template"]["k8s"]["source"]["resource"]
    for each in (cron, job):
        kubernetes_validate.validate(json.loads(json.dumps(each)), version, strict=True)
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"


def test_the_sensor_listens_to_what_it_names() -> None:
    """Fields of argo-events, pkg/apis/events/v1alpha1/sensor_types.go."""
    [sensor] = objects("Sensor")
    assert set(sensor["spec"]) == {"template", "dependencies", "triggers"}
    assert [set(one) for one in sensor["spec"]["dependencies"]] == [{"name", "eventSourceName", "eventName"}]
    [trigger] = sensor["spec"]["triggers"]
    assert set(trigger) == {"template", "retryStrategy"}
    assert set(trigger["template"]) == {"name", "k8s"}
    assert set(trigger["template"]["k8s"]) == {"operation", "source"}


def test_the_workflow_goes_to_a_step_that_there_is() -> None:
    [main] = [found["main"] for text in blocks("yaml") for found in yaml.safe_load_all(text) if "main" in found]
    steps = {name: step for one in main["steps"] for name, step in one.items()}
    targets = {one["next"] for one in steps["choose"]["switch"]} | {steps["choose"]["next"]}
    assert targets - {"end"} <= set(steps)
    assert steps["ask"]["args"]["name"].endswith("/slipway-ask")


def test_the_dag_is_python_and_the_settings_are_of_module_yaml() -> None:
    [dag] = blocks("python")
    ast.parse(dag)
    [given] = [found["monitoring"] for text in blocks("yaml") for found in yaml.safe_load_all(text)
               if "monitoring" in found]  # fmt: skip
    assert "new_data" in Monitoring.model_validate(given).retraining.triggers


def test_the_pipeline_of_jenkins_closes_what_it_opens() -> None:
    [text] = blocks("groovy")
    assert text.count("{") == text.count("}") >= 8
