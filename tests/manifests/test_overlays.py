"""Every overlay and every listed combination of components is something that a cluster takes, and that serves."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from delivery.package import TOKEN_LABELS
from serving.manifests import BY_DIGEST, TRACK, Object, containers, for_version
from slipway.platforms.kubeflow import TOKEN, TOKEN_VARIABLE
from tests.manifests.pod_security import restricted_problems
from tests.manifests.rendering import ACCESS, ACCOUNTS, COMBINATIONS, MANIFESTS, MONITORS, OVERLAYS, rendered
from tests.manifests.selectors import port_problems, reference_problems, selector_problems
from tests.manifests.server import server_problems

SERVING = [*OVERLAYS, *COMBINATIONS]
# The oldest Kubernetes that still has matchLabelKeys by default and gets fixes somewhere, and the newest known here.
KUBERNETES = ("1.29", kubernetes_validate.latest_version())
KINDS = {
    "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "Service",
    "ServiceAccount",
}  # fmt: skip
RECOMMENDED = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "component", "part-of", "managed-by")}

every = pytest.mark.parametrize("folder", SERVING, ids=lambda folder: folder.name)


@pytest.fixture(scope="module", autouse=True)
def schemas_read_once() -> Iterator[None]:
    """All definitions of a version, a megabyte, are read for each object otherwise."""
    utils = kubernetes_validate.utils
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", cache(utils.schema_contents))
        yield


@cache
def _validate(text: str, version: str) -> None:
    kubernetes_validate.validate(json.loads(text), version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize(
    "folder", [*SERVING, *ACCESS, *ACCOUNTS, *MONITORS], ids=lambda folder: f"{folder.parent.name}-{folder.name}"
)
def test_manifests_rendered_pass_kubernetes_validate_strictly(folder: Path, version: str) -> None:
    for each in rendered(folder):
        _validate(json.dumps(each, sort_keys=True), version)


@every
def test_manifests_selectors_pick_the_pods_that_are_meant(folder: Path) -> None:
    assert list(selector_problems(rendered(folder))) == []


@every
def test_manifests_references_lead_somewhere(folder: Path) -> None:
    assert list(reference_problems(rendered(folder))) == []


@every
def test_manifests_ports_are_those_of_containers(folder: Path) -> None:
    assert list(port_problems(rendered(folder))) == []


@every
def test_manifests_servers_flags_files_and_probes_agree(folder: Path) -> None:
    assert list(server_problems(rendered(folder))) == []


@every
def test_manifests_pods_are_restricted(folder: Path) -> None:
    for each in rendered(folder):
        if each["kind"] == "Deployment":
            assert list(restricted_problems(each["spec"]["template"]["spec"])) == []


@every
def test_manifests_images_are_named_by_digest(folder: Path) -> None:
    images = [container["image"] for container in containers(rendered(folder))]
    assert images
    assert [image for image in images if not BY_DIGEST.fullmatch(image)] == []


@every
def test_manifests_objects_carry_the_recommended_labels(folder: Path) -> None:
    objects = rendered(folder)
    assert {each["kind"] for each in objects} == KINDS
    for each in objects:
        assert each["metadata"]["labels"].keys() >= RECOMMENDED, each["metadata"]["name"]
        if each["kind"] == "Deployment":
            assert each["spec"]["template"]["metadata"]["labels"].keys() >= RECOMMENDED


@every
def test_manifests_config_maps_cannot_change_under_a_running_pod(folder: Path) -> None:
    assert all(each["immutable"] for each in rendered(folder) if each["kind"] == "ConfigMap")


@pytest.mark.parametrize("folder", OVERLAYS, ids=lambda folder: folder.name)
def test_overlays_two_models_with_canaries_in_one_namespace_do_not_meet(folder: Path) -> None:
    objects = rendered(folder)
    both, at = {}, "gs://bucket/models"
    for model, stable, canary in (("taxi", 3, 5), ("taxi_fares", 5, 6)):
        for each in [
            *for_version(objects, model, stable, track="stable", models_path=at),
            *for_version(objects, model, canary, track="canary", models_path=at, replicas=1),
        ]:
            both[each["kind"], each["metadata"]["name"]] = each
    found = list(both.values())
    assert len([each for each in found if each["kind"] == "Deployment"]) == 4
    for problems in (selector_problems, reference_problems, port_problems, server_problems):
        assert list(problems(found)) == []
    for each in found:
        _validate(json.dumps(each, sort_keys=True), KUBERNETES[-1])


@pytest.mark.parametrize("folder", OVERLAYS, ids=lambda folder: folder.name)
def test_overlays_list_the_canary_before_what_changes_it(folder: Path) -> None:
    components = yaml.safe_load((folder / "kustomization.yaml").read_text())["components"]
    assert components[0].endswith("/canary")


@pytest.mark.parametrize("folder", SERVING, ids=lambda folder: folder.name)
def test_canary_pods_differ_from_stable_ones_in_nothing_but_the_track(folder: Path) -> None:
    servers = [one for one in rendered(folder) if one["kind"] == "Deployment" and TRACK in one["metadata"]["labels"]]
    specs = [each["spec"]["template"]["spec"] for each in servers]
    for spec in specs:
        for spread in spec["topologySpreadConstraints"]:
            del spread["labelSelector"]["matchLabels"][TRACK]
    assert all(one == other for one, other in pairwise(specs))


@pytest.mark.parametrize(("folder", "access"), list(zip(OVERLAYS, ACCESS, strict=True)), ids=lambda folder: folder.name)
def test_access_namespace_is_the_overlays_and_enforces_restricted(folder: Path, access: Path) -> None:
    (namespace,) = (each for each in rendered(access) if each["kind"] == "Namespace")
    assert {each["metadata"]["namespace"] for each in rendered(folder)} == {namespace["metadata"]["name"]}
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize(("folder", "access"), list(zip(OVERLAYS, ACCESS, strict=True)), ids=lambda folder: folder.name)
def test_access_role_may_apply_every_kind_of_the_overlay_and_no_other(folder: Path, access: Path) -> None:
    assert _may(access) == {
        **{_resource(each): {"create", "patch", "delete"} for each in rendered(folder)},
        ("", "configmaps"): {"create", "patch", "list", "delete"},
        ("apps", "deployments"): {"get", "create", "patch", "delete"},
        ("apps", "replicasets"): {"list"},
        ("", "pods"): {"list"},
        ("", "pods/log"): {"get"},
        ("", "pods/proxy"): {"get", "create"},
        ("coordination.k8s.io", "leases"): {"get", "create", "update"},
    }


@pytest.mark.parametrize("folder", [*ACCOUNTS, *MONITORS], ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_account_of_steps_may_do_what_kubeflow_asks_of_a_step_and_nothing_else(folder: Path) -> None:
    # backend/src/v2/ of kubeflow/pipelines 2.14 to 2.17: config/env.go, driver/k8s.go; Argo's docs/workflow-rbac.md.
    step = {
        ("", "configmaps"): {"get"},
        ("", "pods"): {"get"},
        ("argoproj.io", "workflowtaskresults"): {"create", "patch"},
    }
    # `listRuns` and `createRun`, backend/src/apiserver/server/run_server.go.
    starts = {("pipelines.kubeflow.org", "runs"): {"list", "create"}} if folder in MONITORS else {}
    assert _may(folder) == step | starts
    account, role, binding = rendered(folder)
    assert binding["subjects"] == [_subject(account)]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]


def test_component_of_workers_adds_its_role_for_the_account_of_the_steps(tmp_path: Path) -> None:
    """tests/components/test_kubernetes_workers.py shows that the step uses all of it."""
    base = os.path.relpath(ACCOUNTS[0] / ".." / "base", tmp_path)
    content = {"resources": [base], "components": [f"{base}/../workers"], "namespace": "ann", "nameSuffix": "-staging"}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(content))
    found = rendered(tmp_path)
    [account] = [each for each in found if each["kind"] == "ServiceAccount"]
    for each in found:
        _validate(json.dumps(each, sort_keys=True), KUBERNETES[0])
        assert each["metadata"]["namespace"] == "ann"
    roles = {each["metadata"]["name"] for each in found if each["kind"] == "Role"}
    bindings = [each for each in found if each["kind"] == "RoleBinding"]
    assert (
        {each["roleRef"]["name"] for each in bindings}
        == roles
        == {"slipway-pipeline-staging", "slipway-workers-staging"}
    )
    assert all(each["subjects"] == [_subject(account)] for each in bindings)


@pytest.mark.parametrize(("access", "folder"), list(zip(ACCESS, ACCOUNTS, strict=True)), ids=lambda folder: folder.name)
def test_access_is_for_the_account_of_steps_and_named_users(access: Path, folder: Path) -> None:
    """From Vertex, and from Cloud Build, users of Google roll out; no group or foreign account has the right."""
    (binding,) = (each for each in rendered(access) if each["kind"] == "RoleBinding")
    assert binding["subjects"]
    for subject in binding["subjects"]:
        assert subject == _subject(rendered(folder)[0]) or subject["kind"] == "User"


def test_access_no_subject_of_one_environment_has_rights_in_another() -> None:
    found = []
    for access in ACCESS:
        (binding,) = (one for one in rendered(access) if one["kind"] == "RoleBinding")
        found += [json.dumps(subject, sort_keys=True) for subject in binding["subjects"]]
    assert len(found) == len(set(found)) >= len(ACCESS)


def test_profiles_project_the_token_that_the_monitors_last_step_reads(tmp_path: Path) -> None:
    """Not of Kubernetes, so against the PodDefault's own fields: kubeflow/kubeflow, components/admission-webhook."""
    base = os.path.relpath(MONITORS[0], tmp_path)
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": [base], "components": [f"{base}/../profiles"], "namespace": "ann"})
    )
    (found,) = (each for each in rendered(tmp_path) if each["kind"] == "PodDefault")
    assert (found["apiVersion"], found["metadata"]["namespace"]) == ("kubeflow.org/v1alpha1", "ann")
    spec = found["spec"]
    assert set(spec) == {"desc", "selector", "env", "volumes", "volumeMounts"}
    [token] = [source["serviceAccountToken"] for source in spec["volumes"][0]["projected"]["sources"]]
    assert token["audience"] == "pipelines.kubeflow.org"  # DefaultTokenReviewAudience, apiserver/common/const.go
    assert {one["name"]: one["value"] for one in spec["env"]} == {TOKEN_VARIABLE: TOKEN}
    assert f"{spec['volumeMounts'][0]['mountPath']}/{token['path']}" == TOKEN
    assert spec["selector"]["matchLabels"] == TOKEN_LABELS


@pytest.mark.parametrize("folder", [*ACCOUNTS, *MONITORS], ids=lambda folder: folder.parent.name + folder.name)
def test_artifacts_on_s3_let_the_launcher_read_one_secret(folder: Path, tmp_path: Path) -> None:
    base, component = (os.path.relpath(path, tmp_path) for path in (folder, MANIFESTS / "pipeline-account" / "s3"))
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({"resources": [base], "components": [component]}))
    assert _may(tmp_path) == _may(folder) | {("", "secrets"): {"get"}}
    (role,) = (each for each in rendered(tmp_path) if each["kind"] == "Role")
    assert role["rules"][-1]["resourceNames"] == ["slipway-s3"]


@pytest.mark.parametrize("folder", OVERLAYS, ids=lambda folder: folder.name)
def test_overlay_says_which_tensorflow_serving_runs(folder: Path) -> None:
    """So that no file of the base has to be edited, and staging may have another one than production."""
    (found,) = [
        image
        for image in yaml.safe_load((folder / "kustomization.yaml").read_text())["images"]
        if image["name"] == "tensorflow/serving"
    ]
    servers = [one for one in containers(rendered(folder)) if one["name"] == "tensorflow-serving"]
    assert {one["image"].partition("@")[2] for one in servers} == {found["digest"]}


def test_combinations_use_every_component_alone_and_together() -> None:
    components = {path.name for path in (MANIFESTS / "components").iterdir()}
    used = [
        frozenset(
            Path(name).name for name in yaml.safe_load((path / "kustomization.yaml").read_text()).get("components", [])
        )
        for path in COMBINATIONS
    ]
    assert {frozenset({name}) for name in components} | {frozenset(), frozenset(components)} <= set(used)


def _may(folder: Path) -> dict[tuple[str, str], set[str]]:
    """What the folder's only role allows: API group and resource to verbs."""
    (role,) = (each for each in rendered(folder) if each["kind"] == "Role")
    return {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def _subject(account: Object) -> Object:
    """A service account, as a role binding names it."""
    return {"kind": account["kind"], **{key: account["metadata"][key] for key in ("name", "namespace")}}


def _resource(each: Object) -> tuple[str, str]:
    """API group and resource, as RBAC names them."""
    group = each["apiVersion"].rpartition("/")[0]
    plural = {"NetworkPolicy": "networkpolicies"}.get(each["kind"], each["kind"].lower() + "s")
    return group, plural
