"""The exporter of the monitor's metrics, as manifests/monitor-metrics runs it."""

from __future__ import annotations

from pathlib import Path

import kubernetes_validate
import pytest

from serving.manifests import BY_DIGEST, Object, containers
from tests.manifests.pod_security import restricted_problems
from tests.manifests.rendering import MANIFESTS, OVERLAYS, rendered

FOLDERS = [MANIFESTS / "monitor-metrics" / overlay.name for overlay in OVERLAYS]
every = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def one(folder: Path, kind: str) -> Object:
    [found] = [each for each in rendered(folder) if each["kind"] == kind]
    return found


@every
def test_monitor_metrics_passes_kubernetes_validate_and_its_rules_are_there(folder: Path) -> None:
    objects = rendered(folder)
    for each in objects:
        if each["kind"] != "PrometheusRule":  # of Prometheus's operator, which kubernetes_validate does not know
            kubernetes_validate.validate(each, "1.29", strict=True)
    assert one(folder, "PrometheusRule")["spec"]["groups"]
    assert {each["metadata"]["namespace"] for each in objects} == {f"slipway-{folder.name}"}
    recommended = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "component", "part-of", "managed-by")}
    assert all(each["metadata"]["labels"].keys() >= recommended for each in objects)


@every
def test_monitor_metrics_pod_is_restricted_and_its_port_is_scraped(folder: Path) -> None:
    deployment, service, policy = (one(folder, kind) for kind in ("Deployment", "Service", "NetworkPolicy"))
    assert list(restricted_problems(deployment["spec"]["template"]["spec"])) == []
    [container] = containers(rendered(folder))
    assert BY_DIGEST.fullmatch(container["image"])
    assert {"requests", "limits"} <= container["resources"].keys()
    [port] = [each["containerPort"] for each in container["ports"]]
    assert f"--port={port}" in container["args"]
    assert service["metadata"]["annotations"]["prometheus.io/port"] == str(port)
    assert policy["spec"]["ingress"][0]["ports"] == [{"port": port}]
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        policy["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels


@every
def test_monitor_metrics_reads_remote_home_as_an_account_of_its_own(folder: Path) -> None:
    [container] = containers(rendered(folder))
    assert {each["name"]: each["value"] for each in container["env"]}["SLIPWAY_REMOTE_HOME"].startswith("gs://")
    account = one(folder, "ServiceAccount")["metadata"]
    assert one(folder, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == account["name"]
    assert "iam.gke.io/gcp-service-account" in account["annotations"]
