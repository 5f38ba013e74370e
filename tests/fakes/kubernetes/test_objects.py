"""What a real API server refuses, and which numbers it counts."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.fakes.kubernetes.objects import Objects, RefusalError
from tests.fakes.kubernetes.world import staging

US = "slipway-rollout"


def deployment() -> dict[str, Any]:
    return copy.deepcopy(next(each for each in staging() if each["kind"] == "Deployment"))


def numbers(each: dict[str, Any]) -> tuple[int, int]:
    return each["metadata"]["generation"], int(each["metadata"]["resourceVersion"])


def test_apply_generation_grows_with_the_spec_only_and_resource_version_with_every_write() -> None:
    objects = Objects()
    first = objects.apply(deployment(), US, force=False)
    same = objects.apply(deployment(), US, force=False)
    assert numbers(same) == numbers(first)
    labelled = deployment()
    labelled["metadata"]["labels"]["team"] = "b"
    second = objects.apply(labelled, US, force=False)
    assert (second["metadata"]["generation"], numbers(second)[1] > numbers(first)[1]) == (1, True)
    labelled["spec"]["replicas"] = 3
    assert objects.apply(labelled, US, force=False)["metadata"]["generation"] == 2


def test_set_status_leaves_the_generation() -> None:
    objects = Objects()
    made = objects.apply(deployment(), US, force=False)
    objects.set_status("Deployment", made["metadata"]["namespace"], made["metadata"]["name"], {"observedGeneration": 1})
    after = objects.get("Deployment", made["metadata"]["namespace"], made["metadata"]["name"])
    assert (numbers(after)[0], numbers(after)[1] > numbers(made)[1]) == (1, True)


def test_replace_of_a_stale_object_is_a_conflict() -> None:
    objects = Objects()
    made = objects.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}}, "x")
    objects.replace(made | {"data": {"k": "1"}}, "x")
    with pytest.raises(RefusalError, match="has been modified") as caught:
        objects.replace(made | {"data": {"k": "2"}}, "x")
    assert caught.value.code == 409


@pytest.mark.parametrize(
    ("path", "value", "code", "why"),
    [
        (("spec", "replcas"), 2, 500, "replcas"),
        (("spec", "replicas"), "two", 500, "'two' is not of type"),
        (("spec", "selector", "matchLabels", "slipway/track"), "other", 422, "does not match template"),
    ],
)
def test_apply_what_a_real_server_refuses(path: tuple[str, ...], value: Any, code: int, why: str) -> None:
    wanted = deployment()
    holder = wanted
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value
    with pytest.raises(RefusalError, match=why) as caught:
        Objects().apply(wanted, US, force=False)
    assert caught.value.code == code


def test_apply_other_selector_or_other_pin_is_invalid() -> None:
    objects = Objects()
    wanted = deployment()
    objects.apply(wanted, US, force=False)
    for labels in (wanted["spec"]["selector"]["matchLabels"], wanted["spec"]["template"]["metadata"]["labels"]):
        labels["app.kubernetes.io/instance"] = "other"
    with pytest.raises(RefusalError, match=r"spec.selector: field is immutable"):
        objects.apply(wanted, US, force=False)
    pin = copy.deepcopy(next(each for each in staging() if each["metadata"]["name"] == "model-models-v1"))
    objects.apply(pin, US, force=False)
    pin["data"]["models.config"] = "another"
    with pytest.raises(RefusalError, match="immutable"):
        objects.apply(pin, US, force=False)


def test_apply_conflicts_of_several_fields_stand_on_lines_by_manager() -> None:
    objects = Objects()
    wanted = deployment()
    namespace, name = wanted["metadata"]["namespace"], wanted["metadata"]["name"]
    wanted["spec"]["replicas"] = 1
    objects.apply(wanted, US, force=False)
    objects.scale(namespace, name, "kubectl", 3)
    with pytest.raises(RefusalError) as caught:
        objects.apply(wanted, US, force=False)
    told = 'conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas'
    assert str(caught.value) == f"Apply failed with 1 conflict: {told}"
    objects.edit("Deployment", namespace, name, "kubectl-edit", revisionHistoryLimit=7, progressDeadlineSeconds=7)
    with pytest.raises(RefusalError) as caught:
        objects.apply(wanted, US, force=False)
    assert str(caught.value).splitlines() == [
        'Apply failed with 3 conflicts: conflicts with "kubectl" with subresource "scale" using apps/v1:',
        "- .spec.replicas",
        'conflicts with "kubectl-edit" using apps/v1:',
        "- .spec.progressDeadlineSeconds",
        "- .spec.revisionHistoryLimit",
    ]


def test_apply_adds_defaults_that_nobody_owns() -> None:
    objects = Objects()
    wanted = deployment()
    wanted["spec"].pop("replicas", None)
    made = objects.apply(wanted, US, force=False)
    assert made["spec"]["replicas"] == 1
    assert made["spec"]["template"]["spec"]["restartPolicy"] == "Always"
    wanted["spec"]["replicas"] = 2
    assert objects.apply(wanted, "another", force=False, dry_run=True)["spec"]["replicas"] == 2
