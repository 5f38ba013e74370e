"""What docs/beam.md has a reader apply for Flink: sound for Kubernetes, and one with the settings beside it."""

from __future__ import annotations

import re
from typing import Any

import kubernetes_validate
import pytest
import yaml

from settings.load import PROJECT

BLOCKS = [
    list(yaml.safe_load_all(block))
    for block in re.findall(r"```yaml\n(.*?)```", (PROJECT / "docs" / "beam.md").read_text(), flags=re.DOTALL)
]
FLINK, DEPLOYMENT, SERVICE = next(block for block in BLOCKS if len(block) == 3)
SETTINGS = next(block[0]["beam"] for block in BLOCKS if block[0].get("beam", {}).get("runner") == "flink")
WORKERS: dict[str, Any] = FLINK["spec"]["taskManager"]["podTemplate"]["spec"]
[JOB_SERVER] = DEPLOYMENT["spec"]["template"]["spec"]["containers"]


@pytest.mark.parametrize(
    "manifest",
    [DEPLOYMENT, SERVICE, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "workers"}, "spec": WORKERS}],
    ids=["job server", "service", "workers"],
)
@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
def test_manifests_are_sound(manifest: dict[str, Any], version: str) -> None:
    # Flink's operator fills in the image of the container that it knows by its name.
    containers = [{"image": "flink", **one} for one in WORKERS["containers"]]
    if manifest["kind"] == "Pod":
        manifest = manifest | {"spec": WORKERS | {"containers": containers}}
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_settings_name_the_service_and_its_ports() -> None:
    name, namespace = (SERVICE["metadata"][key] for key in ("name", "namespace"))
    ports = {one["name"]: one["port"] for one in SERVICE["spec"]["ports"]}
    assert SETTINGS["job_endpoint"] == f"{name}.{namespace}:{ports['jobs']}"
    assert f"--artifact_endpoint={name}.{namespace}:{ports['artifacts']}" in SETTINGS["options"]
    assert {f"--job-port={ports['jobs']}", f"--artifact-port={ports['artifacts']}"} <= set(JOB_SERVER["args"])
    assert SERVICE["spec"]["selector"] == DEPLOYMENT["spec"]["template"]["metadata"]["labels"]


def test_the_job_server_reaches_the_cluster_and_its_files_where_the_task_managers_do() -> None:
    assert f"--flink-master={FLINK['metadata']['name']}-rest:8081" in JOB_SERVER["args"], "the operator's service"
    [staged] = [each.partition("=")[2] for each in JOB_SERVER["args"] if each.startswith("--artifacts-dir=")]
    for container in (JOB_SERVER, *WORKERS["containers"]):
        assert any(staged.startswith(f"{mount['mountPath']}/") for mount in container["volumeMounts"])
    claims = [each["persistentVolumeClaim"]["claimName"] for each in
              (*WORKERS["volumes"], *DEPLOYMENT["spec"]["template"]["spec"]["volumes"])]  # fmt: skip
    assert len(set(claims)) == 1


def test_flink_and_the_job_server_are_those_that_were_tried() -> None:
    pom = (PROJECT / "tests" / "flink" / "pom.xml").read_text()
    line, beam = (re.findall(rf"<{name}>(.*)</{name}>", pom)[0] for name in ("flink.line", "beam.version"))
    assert FLINK["spec"]["image"] == f"flink:{line}-java17"
    assert FLINK["spec"]["flinkVersion"] == f"v{line.replace('.', '_')}"
    assert JOB_SERVER["image"] == f"apache/beam_flink{line}_job_server:{beam}"
