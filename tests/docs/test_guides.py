"""What the guides make by hand in a project and a cluster, and take down again; their lines on rollouts."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from delivery.package import S3_VARIABLES
from settings.load import PROJECT
from slipway.errors import RolloutInconclusiveError
from tests.cli.commands import slipway
from tests.docs.guides import TYPED, copied, of_the_project, run_project
from tests.docs.runbooks import Operator
from tests.fakes.google_project import Project
from tests.fakes.kubernetes.model_server import Pod
from tests.fakes.kubernetes.server import RESOURCES, KubernetesApi
from tests.fakes.kubernetes.world import World, open_staging, staging

kubectl = pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl here")
BUILDER = "slipway-build@my-project.iam.gserviceaccount.com"  # Terraform's


@pytest.fixture
def api(tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    """A cluster with Kubeflow, whose administrator may do everything."""
    deployment = next(each for each in staging() if each["kind"] == "Deployment")
    with KubernetesApi(lambda pod: "", certificate=certificate) as api:
        for name, namespace in (("ml-pipeline-ui", "kubeflow"), ("default-editor", "PROFILE")):
            metadata = {"name": name, "namespace": namespace}
            api.objects.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}, "kubeflow")
        launcher = {"name": "kfp-launcher", "namespace": "kubeflow"}
        api.objects.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": launcher}, "kubeflow")
        for name in ("ml-pipeline-ui", "workflow-controller"):
            metadata = deployment["metadata"] | {"name": name, "namespace": "kubeflow"}
            api.objects.create(deployment | {"metadata": metadata}, "kubeflow")
        monkeypatch.setenv("KUBECONFIG", str(api.write_kubeconfig(tmp_path / "kubeconfig")))
        yield api


def stored(api: KubernetesApi) -> dict[tuple[str, str], dict[str, Any]]:
    kinds = {kind for _, kind in RESOURCES.values()} - {"Pod", "ReplicaSet"}
    found = [each for kind in kinds for each in api.objects.list(kind)]
    return {(each["kind"], f"{each['metadata'].get('namespace')}/{each['metadata']['name']}"): each for each in found}


@pytest.mark.slow
@kubectl
def test_what_kubeflows_guide_makes_by_hand_it_takes_down(api: KubernetesApi, tmp_path: Path) -> None:
    """With the part of it that the monitor's page has."""
    before = stored(api)
    here = of_the_project("kubeflow")
    down = next(number for number, one in enumerate(here) if one.startswith("kubectl delete"))
    Project(tmp_path / "project.json", "my-project").add("iam service-accounts", BUILDER)
    between = ["cp project.json made.json", 'echo "$KUBEFLOW_TOKEN" > token']
    run_project([*here[:down], *of_the_project("monitoring"), *between, *here[down:]], tmp_path)
    made = json.loads((tmp_path / "made.json").read_text())
    accounts = {name.partition("@")[0] for kind, name in made["things"] if kind == "iam service-accounts"}
    assert accounts == {
        "slipway-pipeline",
        "model-serving",
        "kubeflow-ui",
        "slipway-monitor",
        "monitor-metrics",
        "slipway-build",
    }
    assert b"pipelines.kubeflow.org" in base64.b64decode((tmp_path / "token").read_text())
    left = Project(tmp_path / "project.json", "my-project")
    assert left.things == {("iam service-accounts", BUILDER)}
    assert left.grants == set()
    after = stored(api)
    assert {name for kind, name in after.keys() - before.keys() if "production" not in name} == set()
    ui = after["ServiceAccount", "kubeflow/ml-pipeline-ui"]["metadata"]
    assert not ui.get("annotations")
    restarted = after["Deployment", "kubeflow/ml-pipeline-ui"]["spec"]["template"]["metadata"]["annotations"]
    assert "kubectl.kubernetes.io/restartedAt" in restarted


@kubectl
def test_own_s3_of_kubeflows_guide_gives_steps_and_launcher_one_login(api: KubernetesApi, tmp_path: Path) -> None:
    """The ConfigMap has the fields of backend/src/v2/config/s3.go, and names keys that the secret has."""
    here = of_the_project("kubeflow")
    first = next(number for number, one in enumerate(here) if one.startswith("export S3_BUCKET"))
    last = next(number for number, one in enumerate(here) if one.startswith("images |"))
    run_project(here[first : last + 1], tmp_path)
    made = stored(api)
    secret = made["Secret", "kubeflow/slipway-s3"]["data"]
    assert {key: base64.b64decode(value).decode() for key, value in secret.items()} == {
        "AWS_ACCESS_KEY_ID": "slipway-trainer",
        "AWS_SECRET_ACCESS_KEY": TYPED,
        "AWS_ENDPOINT_URL": "https://minio.example.com:9000",
        "AWS_REGION": "us-east-1",
    }
    assert set(secret) <= set(S3_VARIABLES)
    providers = yaml.safe_load(made["ConfigMap", "kubeflow/kfp-launcher"]["data"]["providers"])
    assert set(providers) == {"s3"}
    default = providers["s3"]["default"]
    assert set(default) == {"endpoint", "disableSSL", "region", "credentials"}
    assert default["endpoint"] == "minio.example.com:9000"
    assert default["credentials"]["fromEnv"] is False
    named = default["credentials"]["secretRef"]
    assert named["secretName"] == "slipway-s3"
    assert {named["accessKeyKey"], named["secretKeyKey"]} <= set(secret)
    assert "arn:aws:s3:::slipway-staging/slipway/models/*" in (tmp_path / "serving.json").read_text()
    images = (tmp_path / "images.txt").read_text().split()
    assert all("@sha256:" in image for image in images)
    assert {image.partition("@")[0].partition(":")[0] for image in images} == {
        "docker.io/library/python",
        "tensorflow/serving",
    }


@kubectl
def test_what_vertexs_guide_makes_by_hand_it_takes_down(api: KubernetesApi, tmp_path: Path) -> None:
    """All but what Terraform makes; the files of variables are those that Terraform reads."""
    before = stored(api)
    here = of_the_project("vertex")
    down = next(number for number, one in enumerate(here) if one.startswith("kubectl delete"))
    run_project([*here[:down], "cp project.json made.json", *here[down:]], tmp_path)
    made = json.loads((tmp_path / "made.json").read_text())
    assert made["things"] == [["storage buckets", "gs://my-project-staging-terraform"]]
    assert Project(tmp_path / "project.json", "my-project-staging").things == set()
    assert {name for _, name in stored(api).keys() - before.keys() if "production" not in name} == set()
    written = (tmp_path / "infrastructure" / "production.tfvars").read_text()
    assert re.search('^environment += "production"$', written, re.MULTILINE)


@kubectl
def test_another_environments_files_are_applied(api: KubernetesApi, tmp_path: Path) -> None:
    """A copy of staging's, in namespaces and with names of its own."""
    for folder in ("manifests", "settings"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    before = stored(api)
    operator = Operator({}, folder=tmp_path)
    operator.run("Another environment", last="kubectl apply -k manifests/monitor-account/qa")
    made = stored(api).keys() - before.keys()
    assert ("Namespace", "None/slipway-qa") in made
    assert all("qa" in name for _, name in made), made


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with open_staging(tmp_path, monkeypatch) as opened:
        yield opened


def run(line: str) -> str:
    done = slipway(*shlex.split(line)[1:])
    assert done.exit_code == 0, f"{line}: {done.output}"
    return done.stdout


@pytest.mark.parametrize(
    ("line", "stage"),
    [
        (copied("kubeflow", "slipway rollout promote"), "stable"),
        (copied("kubeflow", "slipway rollout abort"), "retired"),
    ],
)
def test_guides_lines_decide_what_a_held_canary_waits_for(world: World, line: str, stage: str) -> None:
    world.start(world.versions[0])
    world.servers.new_pod = lambda: Pod()
    with pytest.raises(RolloutInconclusiveError):
        world.start(world.versions[1])
    assert "held" in run(copied("kubeflow", "slipway rollout status"))
    run(line)
    assert world.store.stage("taxi", world.versions[1]) == stage


@pytest.mark.parametrize(
    "line",
    [copied("kubeflow", "slipway rollout rollback"), copied("vertex", "slipway rollout rollback")],
    ids=["kubeflow", "vertex"],
)
def test_guides_lines_roll_back_and_release(world: World, line: str) -> None:
    first, second = world.versions[:2]
    for number in (first, second):
        world.start(number)
    run(line)
    assert world.stable == first
    assert re.search(f"taxi +stable +{first} +1 of 1", run(copied("vertex", "slipway rollout status")))
    assert world.store.stage("taxi", second) == "quarantined"
    run(copied("kubeflow", "slipway models release").replace("taxi/17", f"taxi/{second}"))
    assert world.store.stage("taxi", second) != "quarantined"
    assert "it was the node" in run(copied("kubeflow", "slipway models history"))
