"""MLflow's server, as manifests/mlflow runs it on a volume or with a database."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from serving.manifests import BY_DIGEST, Object, containers
from tests.manifests.pod_security import restricted_problems
from tests.manifests.rendering import MANIFESTS, rendered

VARIANTS = [MANIFESTS / "mlflow" / name for name in ("sqlite", "postgresql")]
every = pytest.mark.parametrize("folder", VARIANTS, ids=lambda folder: folder.name)


def one(folder: Path, kind: str) -> Object:
    [found] = [each for each in rendered(folder) if each["kind"] == kind]
    return found


def variables(folder: Path) -> dict[str, Any]:
    [container] = containers(rendered(folder))
    return {each["name"]: each.get("value") or each["valueFrom"] for each in container["env"]}


@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
@every
def test_mlflow_passes_kubernetes_validate_strictly(folder: Path, version: str) -> None:
    for each in rendered(folder):
        kubernetes_validate.validate(each, version, strict=True)


@every
def test_mlflow_pod_is_restricted_and_its_image_is_named_by_digest(folder: Path) -> None:
    pod = one(folder, "Deployment")["spec"]["template"]["spec"]
    assert list(restricted_problems(pod)) == []
    [container] = pod["containers"]
    assert BY_DIGEST.fullmatch(container["image"])
    assert {"requests", "limits"} <= container["resources"].keys()
    assert all(container[probe]["httpGet"]["path"] == "/health"
               for probe in ("startupProbe", "readinessProbe", "livenessProbe"))  # fmt: skip


@every
def test_mlflow_service_and_policy_pick_its_pods_and_ports(folder: Path) -> None:
    deployment = one(folder, "Deployment")
    [port] = deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
    [served] = one(folder, "Service")["spec"]["ports"]
    [rule] = one(folder, "NetworkPolicy")["spec"]["ingress"]
    assert (served["targetPort"], served["port"], rule["ports"]) == (
        port["name"],
        5000,
        [{"port": port["containerPort"]}],
    )
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels
    assert one(folder, "Service")["spec"]["selector"].items() <= labels
    assert one(folder, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels
    recommended = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "component", "part-of", "managed-by")}
    assert all(each["metadata"]["labels"].keys() >= recommended for each in rendered(folder))
    assert dict(labels).keys() >= recommended
    assert {each["metadata"].get("namespace", each["metadata"]["name"]) for each in rendered(folder)} == {"mlflow"}


@every
def test_mlflow_sends_no_telemetry_and_takes_requests_by_its_services_names(folder: Path) -> None:
    found = variables(folder)
    assert (found["MLFLOW_DISABLE_TELEMETRY"], found["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"]) == ("true", "false")
    service = one(folder, "Service")
    name, port = service["metadata"]["name"], service["spec"]["ports"][0]["port"]
    hosts = found["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert {f"{name}:{port}", f"{name}.{service['metadata']['namespace']}:{port}"} <= set(hosts)
    assert not [host for host in hosts if "*" in host]


def test_mlflow_on_a_volume_keeps_its_database_and_its_files_on_it() -> None:
    found = variables(VARIANTS[0])
    pod = one(VARIANTS[0], "Deployment")["spec"]["template"]["spec"]
    [claim] = [volume["name"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume]
    [path] = [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == claim]
    assert found["MLFLOW_BACKEND_STORE_URI"].startswith(f"sqlite:///{path}/")
    assert found["MLFLOW_ARTIFACTS_DESTINATION"].startswith(f"{path}/")
    assert one(VARIANTS[0], "PersistentVolumeClaim")["metadata"]["name"] == "mlflow"


def test_mlflow_with_a_database_takes_its_address_from_a_secret_and_holds_no_volume() -> None:
    found = variables(VARIANTS[1])
    assert found["MLFLOW_BACKEND_STORE_URI"] == {"secretKeyRef": {"name": "mlflow-database", "key": "uri"}}
    assert found["MLFLOW_ARTIFACTS_DESTINATION"].startswith("gs://")
    volumes = one(VARIANTS[1], "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert [volume for volume in volumes if "persistentVolumeClaim" in volume] == []
    ports = {port["port"] for rule in one(VARIANTS[1], "NetworkPolicy")["spec"]["egress"] for port in rule["ports"]}
    assert {5432, 443} <= ports


def test_mlflow_folder_that_the_page_shows_has_its_values(tmp_path: Path) -> None:
    page = (MANIFESTS.parent / "docs" / "tracking.md").read_text(encoding="utf-8")
    [text] = re.findall(r"```yaml\n# manifests/mlflow/production/kustomization.yaml\n(.*?)```", page, re.DOTALL)
    base = os.path.relpath(MANIFESTS / "mlflow" / "postgresql", tmp_path)
    digest = "sha256:" + "a" * 64
    (tmp_path / "kustomization.yaml").write_text(text.replace("../postgresql", base).replace("sha256:…", digest))
    [container] = containers(rendered(tmp_path))
    assert container["image"] == f"REGISTRY/mlflow@{digest}"
    assert variables(tmp_path)["MLFLOW_ARTIFACTS_DESTINATION"] == "gs://BUCKET/mlflow"
    assert len(variables(tmp_path)) == len(variables(MANIFESTS / "mlflow" / "postgresql"))
    account = one(tmp_path, "ServiceAccount")["metadata"]
    assert account["annotations"] == {"iam.gke.io/gcp-service-account": "mlflow@PROJECT.iam.gserviceaccount.com"}
    assert {each["metadata"].get("namespace", "mlflow") for each in rendered(tmp_path)} == {"mlflow"}
