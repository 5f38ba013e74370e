"""Accelerators of the steps that train: what is compiled and sent for each platform, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig

from delivery.compile import Destination, compile_pipeline
from settings.load import load_settings
from slipway.compute import Accelerator, Compute, Toleration
from slipway.errors import ConfigError
from slipway.targets import RemoteTarget
from tests.cli.commands import slipway
from tests.compiled.specs import IMAGE, golden_arguments
from tests.fakes.kubeflow import FakeKubeflow
from tests.fakes.vertex import FakeVertex

GPU_IMAGE = IMAGE.replace("0" * 64, "9" * 64)
ON_GPU = Accelerator(kubeflow="nvidia.com/gpu", vertex="NVIDIA_L4")
TAINT = Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")
TRAIN = Compute(cpu="4", memory="8Gi", accelerator=ON_GPU)


def compiled(
    folder: Path,
    target: RemoteTarget,
    compute: dict[str, Compute],
    distribution: dict[str, Any] | None = None,
    *,
    gpu_image: str = GPU_IMAGE,
    search: str = "{}",
) -> list[dict[str, Any]]:
    path = folder / "training.yaml"
    given = golden_arguments(target) | {"search": search}
    given["distribution"] = given["distribution"] | (distribution or {})
    compile_pipeline("training", Destination(target, IMAGE, compute, gpu_image=gpu_image), given, path)
    return list(yaml.safe_load_all(path.read_text()))


def containers(spec: dict[str, Any]) -> dict[str, Any]:
    return {label: its["container"] for label, its in spec["deploymentSpec"]["executors"].items()}


@pytest.mark.parametrize(
    ("target", "name"), [("kubeflow", "nvidia.com/gpu"), ("vertex", "NVIDIA_L4")]
)  # fmt: skip
def test_steps_with_an_accelerator_alone_have_it_and_its_image(tmp_path: Path, target: RemoteTarget, name: str) -> None:
    spec, *_ = compiled(tmp_path, target, {"train_model": TRAIN, "tune_model": Compute(cpu="2")})
    found = containers(spec)
    assert found["exec-train-model"]["image"] == GPU_IMAGE
    accelerator = found["exec-train-model"]["resources"]["accelerator"]
    assert (accelerator["resourceType"], accelerator["resourceCount"]) == (name, "1")
    others = {label: its for label, its in found.items() if label != "exec-train-model"}
    assert {its["image"] for its in others.values()} == {IMAGE}
    assert not any("accelerator" in its["resources"] for its in others.values())
    assert "exec-tune-model" in others


def test_nodes_are_in_the_document_of_kubeflow_and_vertex_has_one_document(tmp_path: Path) -> None:
    train = TRAIN.model_copy(update={"node_selector": {"gke-accelerator": "nvidia-l4"}, "tolerations": (TAINT,)})
    spec, platform = compiled(tmp_path, "kubeflow", {"train_model": train})
    [(label, pod)] = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].items()
    assert label in containers(spec)
    read = ParseDict(pod, KubernetesExecutorConfig(), ignore_unknown_fields=False)
    assert (label, dict(read.node_selector.labels)) == ("exec-train-model", {"gke-accelerator": "nvidia-l4"})
    [taint] = read.tolerations
    assert (taint.key, taint.operator, taint.value, taint.effect) == ("nvidia.com/gpu", "Exists", "", "NoSchedule")
    assert len(compiled(tmp_path, "vertex", {"train_model": train})) == 1, "Vertex refuses a second document"


def test_several_gpus_are_asked_for_by_number(tmp_path: Path) -> None:
    train = TRAIN.model_copy(update={"count": 4})
    spec, *_ = compiled(tmp_path, "vertex", {"train_model": train}, {"strategy": "mirrored"})
    assert containers(spec)["exec-train-model"]["resources"]["accelerator"]["resourceCount"] == "4"


@pytest.mark.parametrize("step", ["evaluate_model", "default"])
def test_accelerator_of_a_step_that_does_not_train_is_refused(tmp_path: Path, step: str) -> None:
    with pytest.raises(ConfigError, match=rf"compute\.{step}\.accelerator: only train_model and tune_model use one"):
        compiled(tmp_path, "kubeflow", {step: TRAIN, "train_model": TRAIN})


@pytest.mark.parametrize(
    ("target", "changes", "distribution", "said"),
    [
        ("kubeflow", {"count": 2}, {}, r"train_model: compute\.train_model\.count = 2.*one_device.*mirrored, or count"),
        ("kubeflow", {"disk": "40Gi"}, {}, r"compute\.train_model\.disk = 40Gi: .*one field.*remove disk"),
        ("vertex", {"count": 3}, {"strategy": "mirrored"}, r"count = 3: .*1, 2, 4, 8 of NVIDIA_L4"),
        ("vertex", {"cpu": "40"}, {}, r"cpu 40 and memory 8Gi with 1 NVIDIA_L4; .*32 and 128Gi: .*or count: 4$"),
        ("vertex", {"memory": "400Gi"}, {}, r"memory 400Gi with 1 NVIDIA_L4; .*ask for less$"),
        ("vertex", {"accelerator": Accelerator(vertex="NVIDIA_TESLA_V100"), "cpu": "12"}, {}, "8 and 52Gi.*count: 2$"),
        ("vertex", {"accelerator": Accelerator(vertex="NVIDIA_H100_80GB")}, {}, "count = 1: .*machines with 8 of"),
        ("vertex", {"accelerator": Accelerator(kubeflow="nvidia.com/gpu")}, {"xla": True},
         r"distribution\.xla = true: .*13 times as long; set compute\.train_model\.accelerator\.vertex, or remove it"),
        ("kubeflow", {"accelerator": Accelerator()}, {"mixed_precision": "bfloat16"},
         r"mixed_precision = bfloat16: .*set compute\.train_model\.accelerator\.kubeflow"),
    ],
)  # fmt: skip
def test_what_a_platform_cannot_give_or_a_step_not_use_is_refused_with_the_fix(
    tmp_path: Path, target: RemoteTarget, changes: dict[str, Any], distribution: dict[str, Any], said: str
) -> None:
    compute = {"train_model": TRAIN.model_copy(update=changes)}
    with pytest.raises(ConfigError, match=said):
        compiled(tmp_path, target, compute, distribution, search="")
    assert not (tmp_path / "training.yaml").exists()


def test_accelerator_without_its_image_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"train_model: it asks for 1 nvidia\.com/gpu, .*set gpu_image: REPOSITORY@sha"
    ):
        compiled(tmp_path, "kubeflow", {"train_model": TRAIN}, gpu_image="")
    with pytest.raises(ConfigError, match="'slipway:gpu' is not named by digest"):
        compiled(tmp_path, "kubeflow", {"train_model": TRAIN}, gpu_image="slipway:gpu")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"accelerator": {"kubeflow": "NVIDIA_L4"}}, r"kubeflow = 'NVIDIA_L4': .*give nvidia\.com/gpu"),
        ({"accelerator": {"kubeflow": "amd.com/gpu"}}, r"'amd\.com/gpu': .*NVIDIA's libraries alone"),
        ({"accelerator": {"vertex": "nvidia.com/gpu"}}, r"vertex = 'nvidia\.com/gpu': .*'NVIDIA_L4'"),
        ({"accelerator": {"vertex": "TPU_V3"}}, "vertex = 'TPU_V3'"),
        ({"accelerator": "NVIDIA_L4"}, "accelerator = 'NVIDIA_L4'"),
        ({"count": 0}, "count = 0"),
        ({"tolerations": [{"operator": "Exists", "value": "x", "key": "k"}]}, "Exists takes no value"),
        ({"tolerations": [{"effect": "NoSchedule"}]}, "needs a key"),
    ],
)
def test_wrong_setting_is_refused_with_its_value(value: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"compute.train_model.*{said}"):
        load_settings(None, [("compute.train_model", value)])


def accelerated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings ask for a GPU for the training, and name the images."""
    monkeypatch.setenv("SLIPWAY_IMAGE", IMAGE)
    monkeypatch.setenv("SLIPWAY_GPU_IMAGE", GPU_IMAGE)
    monkeypatch.setenv("SLIPWAY_COMPUTE__TRAIN_MODEL__ACCELERATOR", "{kubeflow: nvidia.com/gpu, vertex: NVIDIA_L4}")
    monkeypatch.setenv("SLIPWAY_COMPUTE__TRAIN_MODEL__TOLERATIONS", "[{key: nvidia.com/gpu, operator: Exists}]")
    monkeypatch.setenv("SLIPWAY_DISTRIBUTION__MIXED_PRECISION", "bfloat16")


def given_to_train_model(spec: dict[str, Any]) -> dict[str, Any]:
    graphs = [component["dag"]["tasks"] for component in spec["components"].values() if "dag" in component]
    [task] = [tasks["train-model"] for tasks in graphs if "train-model" in tasks]
    parameters = task["inputs"]["parameters"]
    return {name: its["runtimeValue"]["constant"] for name, its in parameters.items() if "runtimeValue" in its}


def test_submit_to_kubeflow_sends_the_gpu_and_the_run_knows_both_images(
    kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    accelerated(monkeypatch)
    result = slipway("submit", "taxi", "--target", "kubeflow")
    assert result.exit_code == 0, result.output
    [version] = kubeflow.versions.values()
    spec, [platform] = version["pipeline_spec"], version["platform_spec"]
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert executors["exec-train-model"]["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert containers(spec)["exec-train-model"]["image"] == GPU_IMAGE
    given = given_to_train_model(spec)
    assert given["training_accelerator"] == "1 nvidia.com/gpu", "a cache goes by it"
    assert given["distribution"]["mixed_precision"] == "bfloat16"
    [run] = kubeflow.runs.values()
    assert f"gpu-image-digest: {'9' * 24}" in run["description"]
    monkeypatch.delenv("SLIPWAY_GPU_IMAGE")
    with pytest.raises(ConfigError, match="set gpu_image"):
        slipway("submit", "taxi", "--target", "kubeflow")
    assert len(kubeflow.runs) == 1


def test_submit_to_vertex_sends_the_gpu_and_the_run_knows_both_images(
    vertex: FakeVertex, monkeypatch: pytest.MonkeyPatch
) -> None:
    accelerated(monkeypatch)
    result = slipway("submit", "taxi", "--target", "vertex")
    assert result.exit_code == 0, result.output
    [job] = vertex.jobs.values()
    spec = job["pipelineSpec"]
    train = containers(spec)["exec-train-model"]
    assert (train["image"], train["resources"]["accelerator"]["type"]) == (GPU_IMAGE, "NVIDIA_L4")
    assert job["labels"]["gpu-image-digest"] == "9" * 24
    given = given_to_train_model(spec)
    assert given["training_accelerator"] == "1 NVIDIA_L4"
    monkeypatch.setenv("SLIPWAY_COMPUTE__TRAIN_MODEL__CPU", "'64'")
    with pytest.raises(ConfigError, match="32 and 128Gi"):
        slipway("submit", "taxi", "--target", "vertex")
    assert len(vertex.jobs) == 1


def test_monitor_needs_no_accelerator_but_the_training_that_it_starts_has_one(
    kubeflow: FakeKubeflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    accelerated(monkeypatch)
    monkeypatch.setenv("SLIPWAY_REQUEST_LOG", "gs://bucket/requests")
    result = slipway("submit", "taxi", "--target", "kubeflow", "--pipeline", "monitoring")
    assert result.exit_code == 0, result.output
    uploaded = [version["pipeline_spec"] for version in kubeflow.versions.values()]
    images = {spec["pipelineInfo"]["name"]: {its["image"] for its in containers(spec).values()} for spec in uploaded}
    assert images == {"slipway-training": {IMAGE, GPU_IMAGE}, "slipway-monitoring": {IMAGE}}


def test_settings_of_an_accelerator_are_merged_into_those_of_the_step() -> None:
    accelerator = {"kubeflow": "nvidia.com/gpu"}
    its = load_settings(None, [("compute.train_model", {"accelerator": accelerator, "count": 2})]).compute[
        "train_model"
    ]
    assert (its.memory, its.retries, its.accelerators("kubeflow")) == ("8Gi", 2, "2 nvidia.com/gpu")
    assert (its.accelerators("vertex"), its.accelerators("local")) == ("", "")
    assert json.loads(its.with_accelerators("vertex", "4 NVIDIA_L4").model_dump_json())["count"] == 4
