"""The page's pods: how they are started, whom they may talk to, and that a rollout puts the model in its place."""

from __future__ import annotations

from typing import Any

import pytest
import typer.main

from cli.main import TABLE
from delivery.manifests import render_overlay
from serving.manifests import Object, for_version
from serving.predict_page.site import HEALTH
from tests.manifests.rendering import COMBINATIONS, rendered

OWN = "registry.example.com/slipway@sha256:" + "1" * 64


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    """The objects of the model taxi_fares, as a rollout makes them."""
    (folder,) = (path for path in COMBINATIONS if path.name == "predict-page")
    found = rendered(folder)
    return for_version(found, "taxi_fares", 7, track="stable", models_path="/models")


def one(objects: list[Object], kind: str) -> Object:
    [found] = [
        each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, "taxi-fares-predict-page")
    ]
    return found


def container(objects: list[Object]) -> dict[str, Any]:
    [found] = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_pods_are_started_with_flags_that_the_command_has(objects: list[Object]) -> None:
    [command] = [each.load() for each in TABLE if each.name == "predict-page"]
    assert isinstance(command, typer.core.TyperCommand)
    known = {option for parameter in command.params for option in parameter.opts}
    its = container(objects)
    assert its["command"] == ["slipway", "predict-page"]
    assert {argument.partition("=")[0] for argument in its["args"][1:]} <= known
    variables = {each["name"]: each["value"] for each in its["env"]}
    assert variables == {"MODEL": "taxi_fares", "SERVER": "taxi-fares-serving"}
    assert "--port=8602" in its["args"]
    assert its["ports"][0]["containerPort"] == 8602


def test_pods_ask_the_service_of_their_model_and_nobody_else(objects: list[Object]) -> None:
    services = {each["metadata"]["name"] for each in objects if each["kind"] == "Service"}
    assert services == {"taxi-fares-serving", "taxi-fares-predict-page"}
    server, dns = one(objects, "NetworkPolicy")["spec"]["egress"]
    labels = {"app.kubernetes.io/name": "tensorflow-serving", "app.kubernetes.io/instance": "taxi-fares"}
    assert server == {"to": [{"podSelector": {"matchLabels": labels}}], "ports": [{"port": 8501}]}
    assert {port["port"] for port in dns["ports"]} == {53}
    pod = one(objects, "Deployment")["spec"]["template"]
    assert pod["metadata"]["labels"]["slipway/client"] == "true"
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_pods_are_asked_for_their_health_where_the_page_has_it(objects: list[Object]) -> None:
    assert {container(objects)[probe]["httpGet"]["path"] for probe in ("readinessProbe", "livenessProbe")} == {HEALTH}


def test_pods_get_the_image_of_the_build() -> None:
    (folder,) = (path for path in COMBINATIONS if path.name == "predict-page")
    rendered(folder)  # skips where nothing can render it
    images = [
        its["image"]
        for each in render_overlay(folder, OWN)
        if each["metadata"]["name"] == "model-predict-page" and each["kind"] == "Deployment"
        for its in each["spec"]["template"]["spec"]["containers"]
    ]
    assert images == [OWN]


def test_a_canary_has_no_page_of_its_own() -> None:
    (folder,) = (path for path in COMBINATIONS if path.name == "all")
    canary = for_version(rendered(folder), "taxi", 8, track="canary", models_path="gs://b", replicas=1)
    assert not [each for each in canary if "predict-page" in each["metadata"]["name"]]
