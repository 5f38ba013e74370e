"""The fake server has to refuse and merge as a real one does; each row here is from the documentation of apply."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.fakes.kubernetes import fields
from tests.fakes.kubernetes.fields import ConflictError, Owners

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "x", "labels": {"a": "1"}},
    "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "server", "image": "one", "args": ["x"]}]}}},
}


def applied(wanted: dict[str, Any], live: dict[str, Any], owners: Owners, manager: str = "us") -> dict[str, Any]:
    return fields.apply(live, owners, wanted, manager, force=False)


@pytest.fixture
def owners() -> Owners:
    return {}


@pytest.fixture
def live(owners: Owners) -> dict[str, Any]:
    return applied(DEPLOYMENT, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}, owners)


def test_apply_makes_the_object(live: dict[str, Any]) -> None:
    assert live == DEPLOYMENT


def test_apply_field_that_is_no_longer_wanted_is_removed(live: dict[str, Any], owners: Owners) -> None:
    wanted = copy.deepcopy(DEPLOYMENT)
    del wanted["spec"]["replicas"]
    assert "replicas" not in applied(wanted, live, owners)["spec"]


def test_apply_field_that_another_manager_wants_too_stays(live: dict[str, Any], owners: Owners) -> None:
    live = applied({"metadata": {"name": "x"}, "spec": {"replicas": 2}}, live, owners, "autoscaler")
    wanted = copy.deepcopy(DEPLOYMENT)
    del wanted["spec"]["replicas"]
    assert applied(wanted, live, owners)["spec"]["replicas"] == 2


def test_apply_container_of_another_manager_stays_and_its_fields_are_merged(
    live: dict[str, Any], owners: Owners
) -> None:
    sidecar = {
        "metadata": {"name": "x"},
        "spec": {"template": {"spec": {"containers": [{"name": "proxy", "image": "p"}]}}},
    }
    live = applied(sidecar, live, owners, "mesh")
    again = applied(DEPLOYMENT, live, owners)
    assert [one["name"] for one in again["spec"]["template"]["spec"]["containers"]] == ["server", "proxy"]


def test_apply_list_without_keys_is_one_value(live: dict[str, Any], owners: Owners) -> None:
    wanted = copy.deepcopy(DEPLOYMENT)
    wanted["spec"]["template"]["spec"]["containers"][0]["args"] = ["y", "z"]
    assert applied(wanted, live, owners)["spec"]["template"]["spec"]["containers"][0]["args"] == ["y", "z"]


def test_apply_other_value_than_an_editors_is_a_conflict_that_names_field_and_manager(
    live: dict[str, Any], owners: Owners
) -> None:
    edited = copy.deepcopy(live)
    edited["spec"]["template"]["spec"]["containers"][0]["image"] = "two"
    fields.take_over(live, edited, owners, "kubectl-edit")
    with pytest.raises(ConflictError) as caught:
        applied(DEPLOYMENT, edited, owners)
    ((manager, path),) = caught.value.fields
    assert manager == "kubectl-edit"
    assert fields.dotted(path) == '.spec.template.spec.containers[name="server"].image'
    forced = fields.apply(edited, owners, DEPLOYMENT, "us", force=True)
    assert forced == DEPLOYMENT
    assert applied(DEPLOYMENT, forced, owners) == DEPLOYMENT
