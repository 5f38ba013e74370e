"""The exporter of the monitor's metrics, as manifests/monitor-metrics runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from serving.manifests import BY_DIGEST, Object, containers
from serving.server.metrics import METRICS_PATH
from tests.manifests.pod_security import restricted_problems
from tests.manifests.rendering import MANIFESTS, OVERLAYS, rendered

FOLDERS = [MANIFESTS / "monitor-metrics" / overlay.name for overlay in OVERLAYS]
ALERTS = Path(__file__).parent / "alerts.yaml"
every = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def one(folder: Path, kind: str) -> Object:
    [found] = [each for each in rendered(folder) if each["kind"] == kind]
    return found


def rules(folder: Path) -> list[Object]:
    return [each for each in rendered(folder) if each["kind"] == "PrometheusRule"]


@every
def test_monitor_metrics_passes_kubernetes_validate_and_its_rules_are_there(folder: Path) -> None:
    objects = rendered(folder)
    for each in objects:
        if each["kind"] != "PrometheusRule":  # of Prometheus's operator, which kubernetes_validate does not know
            kubernetes_validate.validate(each, "1.29", strict=True)
    assert all(each["spec"]["groups"] for each in rules(folder))
    assert len(rules(folder)) == 2
    assert {each["metadata"]["namespace"] for each in objects} == {f"slipway-{folder.name}"}
    recommended = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "component", "part-of", "managed-by")}
    assert all(each["metadata"]["labels"].keys() >= recommended for each in objects)


def test_every_alert_has_a_state_in_which_it_fires_and_one_in_which_it_is_quiet() -> None:
    alerts = {rule["alert"] for each in rules(FOLDERS[0]) for group in each["spec"]["groups"] for rule in group["rules"]
              if "alert" in rule}  # fmt: skip
    tested = yaml.safe_load(ALERTS.read_text())["tests"]
    assert {each["name"] for each in tested} == alerts
    assert all([len(one["exp_samples"]) for one in each["promql_expr_test"]] == [0, 1] for each in tested)


@pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool here: ci has it")
def test_alerts_fire_when_they_have_to(tmp_path: Path) -> None:
    for name in yaml.safe_load(ALERTS.read_text())["rule_files"]:
        spec = yaml.safe_load((MANIFESTS / "monitor-metrics" / "rules" / name).read_text())["spec"]
        (tmp_path / name).write_text(yaml.safe_dump(spec))
    shutil.copy(ALERTS, tmp_path)
    for command in (["check", "rules", "prometheus-rule.yaml", "serving.yaml"], ["test", "rules", ALERTS.name]):
        done = subprocess.run(["promtool", *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


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


@every
def test_managed_prometheus_scrapes_ports_that_are_there_and_takes_every_rule(folder: Path, tmp_path: Path) -> None:
    """Against the fields of GoogleCloudPlatform/prometheus-engine, doc/api.md: PodMonitoring, ScrapeEndpoint, Rules."""
    base = os.path.relpath(folder, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": [base], "components": [f"{base}/../managed-prometheus"]})
    )
    objects = rendered(tmp_path)
    assert not [each for each in objects if each["kind"] == "PrometheusRule"]
    given = [each for each in objects if each["kind"] == "Rules"]
    assert {each["metadata"]["name"] for each in given} == {"monitor-metrics", "serving"}
    assert {each["apiVersion"] for each in given} == {"monitoring.googleapis.com/v1"}
    for group in (group for each in given for group in each["spec"]["groups"]):
        assert group.keys() == {"name", "interval", "rules"}
        for rule in group["rules"]:
            assert rule.keys() <= {"alert", "record", "expr", "for", "labels", "annotations"}
    overlay = next(one for one in OVERLAYS if one.name == "production")
    pods = [each["spec"]["template"] for each in [*rendered(overlay), *objects] if each["kind"] == "Deployment"]
    monitorings = {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "PodMonitoring"}
    assert monitorings.keys() == {"model-servers", "request-logs", "monitor-metrics"}
    for name, spec in monitorings.items():
        assert spec.keys() <= {"selector", "endpoints", "targetLabels"}
        [endpoint] = spec["endpoints"]
        assert endpoint.keys() == {"port", "path", "interval"}
        picked = [pod for pod in pods if spec["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()]
        assert len(picked) == (1 if name == "monitor-metrics" else 2), name
        for pod in picked:
            ports = {port["name"] for each in pod["spec"]["containers"] for port in each["ports"]}
            assert endpoint["port"] in ports
            assert {its["from"] for its in spec.get("targetLabels", {}).get("fromPod", [])} <= pod["metadata"][
                "labels"
            ].keys()
    [path] = {monitorings["model-servers"]["endpoints"][0]["path"]}
    assert path == METRICS_PATH


@pytest.mark.parametrize("folder", [*OVERLAYS, *FOLDERS], ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_network_policies_let_managed_prometheus_in(folder: Path) -> None:
    """Collectors' namespace and label: prometheus-engine, manifests/operator.yaml; on Autopilot gke-gmp-system."""
    admitted = [
        rule for each in rendered(folder) if each["kind"] == "NetworkPolicy" for rule in each["spec"]["ingress"]
    ]
    collectors = [
        peer
        for rule in admitted
        for peer in rule["from"]
        if peer.get("podSelector", {}).get("matchLabels") == {"app.kubernetes.io/name": "collector"}
    ]
    [namespaces] = [peer["namespaceSelector"]["matchExpressions"][0] for peer in collectors]
    assert set(namespaces["values"]) == {"gmp-system", "gke-gmp-system"}
