"""The training pipeline for several workers: a custom job on Vertex, the same step as ever on Kubeflow."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.cloud.aiplatform_v1 import AcceleratorType, CustomJob
from google.protobuf.json_format import ParseDict
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

from delivery.compile import compile_pipeline
from delivery.environment import Environment
from delivery.package import edges
from pipelines.custom_job import machine_type
from settings.load import load_settings
from settings.schema import Settings
from slipway.compute import Accelerator, Compute, Distribution
from slipway.errors import ConfigError
from slipway.targets import RemoteTarget
from tests.compiled.specs import IMAGE, golden_arguments, golden_spec, tasks

GPU_IMAGE = IMAGE.replace("0" * 64, "9" * 64)
ROOT = "gs://bucket/artifacts"
PLACEHOLDER = re.compile(r"\{\{\$\.inputs\.parameters\['(\w+)'\]\}\}")


def compiled(
    target: RemoteTarget,
    folder: Path,
    workers: int = 4,
    root: str = ROOT,
    compute: dict[str, Compute] | None = None,
    vertex: dict[str, str] | None = None,
    **distribution: Any,
) -> dict[str, Any]:
    its = Distribution(workers=workers, target=target, **distribution).model_dump()
    given = golden_arguments(target) | {"distribution": its}
    output = folder / "training.yaml"
    its_settings = {"compute": compute or load_settings().compute, "remote_home": root, "vertex": vertex or {}}
    environment = Environment("staging", Settings.model_validate(its_settings))
    destination = replace(environment.destination(target, IMAGE, GPU_IMAGE, "training"), pipeline_root=root)
    compile_pipeline("training", destination, given, output)
    spec: dict[str, Any] = next(yaml.safe_load_all(output.read_text()))
    return spec


def custom_job(spec: dict[str, Any], executor_input: str) -> CustomJob:
    """The job that Google's launcher creates, with the placeholders filled in as Vertex does."""
    container = spec["deploymentSpec"]["executors"]["exec-train-model"]["container"]
    parameters = spec["components"]["comp-train-model"]["inputDefinitions"]["parameters"]
    empty: dict[str, Any] = {"STRUCT": {}, "LIST": []}

    def value(found: re.Match[str]) -> str:
        given = parameters[found[1]]
        its = given.get("defaultValue", empty.get(given["parameterType"]))
        return its if isinstance(its, str) else json.dumps(its)

    payload = PLACEHOLDER.sub(value, container["args"][container["args"].index("--payload") + 1])
    payload = payload.replace("{{$.json_escape[1]}}", json.dumps(executor_input)[1:-1])
    job = CustomJob()
    ParseDict(json.loads(payload), job._pb, ignore_unknown_fields=False)
    return job


def test_vertex_step_is_a_custom_job_of_a_chief_and_workers(tmp_path: Path) -> None:
    spec = compiled("vertex", tmp_path)
    ParseDict(spec, PipelineSpec(), ignore_unknown_fields=False)
    given = '{"inputs": {"parameterValues": {"label": "a \\"quoted\\" one"}}}'
    job = custom_job(spec, given)
    chief, others = job.job_spec.worker_pool_specs
    assert (chief.replica_count, others.replica_count) == (1, 3)
    for pool in (chief, others):
        assert pool.container_spec.image_uri == IMAGE
        assert pool.machine_spec.machine_type == "n1-standard-4"
        arguments = list(pool.container_spec.args)
        assert json.loads(arguments[arguments.index("--executor_input") + 1]) == json.loads(given)
        assert any("components.executor kfp.dsl.executor_main" in part for part in pool.container_spec.command)
    assert job.job_spec.scheduling.restart_job_on_worker_restart, "a group that has broken takes no member back"
    # A custom job does not inherit them from its run.
    assert job.job_spec.service_account == "{{$.pipeline_service_account}}"
    assert job.job_spec.network == "{{$.pipeline_network}}"
    assert job.encryption_spec.kms_key_name == "{{$.pipeline_encryption_key_name}}"


def test_vertex_replicas_reach_the_vpc_by_the_attachment_of_the_run(tmp_path: Path) -> None:
    attachment = "projects/p/regions/europe-west4/networkAttachments/slipway"
    job = custom_job(compiled("vertex", tmp_path, vertex={"network_attachment": attachment}), "{}")
    assert job.job_spec.psc_interface_config.network_attachment == attachment
    assert not job.job_spec.network, "Google's wrapper refuses both"
    assert not custom_job(compiled("vertex", tmp_path), "{}").job_spec.psc_interface_config.network_attachment


def test_vertex_pipeline_keeps_its_tasks_edges_and_outputs(tmp_path: Path) -> None:
    spec = compiled("vertex", tmp_path)
    assert edges(spec) == edges(golden_spec("vertex"))
    ours, golden = tasks(spec)["train_model"], tasks(golden_spec("vertex"))["train_model"]
    for part in ("retryPolicy", "cachingOptions", "taskInfo", "dependentTasks"):
        assert ours[part] == golden[part]
    outputs = spec["components"]["comp-train-model"]["outputDefinitions"]
    wanted = golden_spec("vertex")["components"]["comp-train-model"]["outputDefinitions"]
    assert outputs["artifacts"] == wanted["artifacts"]
    assert wanted["parameters"].items() <= outputs["parameters"].items()


@pytest.mark.parametrize("target", ["vertex", "kubeflow"])
def test_one_worker_leaves_the_pipeline_as_it_is(target: RemoteTarget, tmp_path: Path) -> None:
    without_limits = compiled(target, tmp_path, workers=1)
    assert without_limits["deploymentSpec"] == golden_spec(target)["deploymentSpec"]


def test_kubeflow_step_starts_the_workers_itself(tmp_path: Path) -> None:
    spec = compiled("kubeflow", tmp_path)
    assert spec["deploymentSpec"] == golden_spec("kubeflow")["deploymentSpec"]
    given = tasks(spec)["train_model"]["inputs"]["parameters"]["distribution"]["runtimeValue"]["constant"]
    assert given == Distribution(workers=4, target="kubeflow").model_dump()


def test_kubeflow_without_a_root_that_workers_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"distribution\.workers = 4.*kubeflow\.pipeline_root.*gs://.*s3://"):
        compiled("kubeflow", tmp_path, root="")
    assert compiled("kubeflow", tmp_path, workers=1, root="")


@pytest.mark.parametrize("root", ["s3://bucket/artifacts", "minio://mlpipeline/v2/artifacts"])
def test_kubeflow_workers_read_s3(tmp_path: Path, root: str) -> None:
    assert compiled("kubeflow", tmp_path, root=root)["defaultPipelineRoot"] == root


@pytest.mark.parametrize(
    ("cpu", "memory", "machine"),
    [
        ("1", "2Gi", "n1-highmem-2"),
        ("4", "8Gi", "n1-standard-4"),
        ("3500m", "15Gi", "n1-standard-4"),
        ("4", "24Gi", "n1-highmem-4"),
        ("16", "8G", "n1-standard-16"),
        ("8", "600Gi", "n1-highmem-96"),
    ],
)
def test_machine_is_the_smallest_that_fits(cpu: str, memory: str, machine: str) -> None:
    assert machine_type(Compute(cpu=cpu, memory=memory)) == machine


@pytest.mark.parametrize(
    ("gpu", "count", "cpu", "memory", "machine"),
    [
        ("NVIDIA_L4", 1, "4", "8Gi", "g2-standard-4"),
        ("NVIDIA_L4", 1, "4", "40Gi", "g2-standard-12"),
        ("NVIDIA_L4", 2, "4", "8Gi", "g2-standard-24"),
        ("NVIDIA_TESLA_T4", 1, "4", "8Gi", "n1-standard-4"),
        ("NVIDIA_TESLA_V100", 1, "8", "50Gi", "n1-highmem-8"),
        ("NVIDIA_TESLA_A100", 16, "4", "8Gi", "a2-megagpu-16g"),
        ("NVIDIA_A100_80GB", 1, "4", "8Gi", "a2-ultragpu-1g"),
        ("NVIDIA_H100_80GB", 8, "4", "8Gi", "a3-highgpu-8g"),
    ],
)
def test_machine_is_the_smallest_that_has_the_gpus(gpu: Any, count: int, cpu: str, memory: str, machine: str) -> None:
    assert machine_type(Compute(cpu=cpu, memory=memory, accelerator=Accelerator(vertex=gpu), count=count)) == machine


ON_GPUS = {
    "train_model": Compute(
        cpu="4", memory="8Gi", accelerator=Accelerator(kubeflow="nvidia.com/gpu", vertex="NVIDIA_L4"), count=2
    )
}


def test_vertex_replicas_have_the_gpus_and_their_image(tmp_path: Path) -> None:
    """Each uses all of its GPUs, without `mirrored`."""
    spec = compiled("vertex", tmp_path, compute=ON_GPUS, mixed_precision="bfloat16")
    for pool in custom_job(spec, "{}").job_spec.worker_pool_specs:
        machine = pool.machine_spec
        assert (machine.machine_type, machine.accelerator_count) == ("g2-standard-24", 2)
        assert machine.accelerator_type == AcceleratorType.NVIDIA_L4
        assert pool.container_spec.image_uri == GPU_IMAGE
    launcher = spec["deploymentSpec"]["executors"]["exec-train-model"]["container"]
    assert "accelerator" not in launcher.get("resources", {}), "it only starts the job"


def test_kubeflow_workers_are_as_the_step_with_its_gpus_and_image(tmp_path: Path) -> None:
    container = compiled("kubeflow", tmp_path, compute=ON_GPUS)["deploymentSpec"]["executors"]["exec-train-model"]
    assert container["container"]["image"] == GPU_IMAGE
    assert container["container"]["resources"]["accelerator"]["resourceCount"] == "2"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"xla": True}, r"xla: true compiles no training of 4 workers.*workers: 1"),
        ({"mixed_precision": "float16"}, r"float16 does not work with 4 workers; set mixed_precision: bfloat16"),
    ],
)
def test_what_keras_does_for_one_worker_alone_is_refused_for_several(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_settings(None, [("distribution", {"workers": 4, **given})])


def test_machine_that_vertex_has_not_is_refused_when_compiled(tmp_path: Path) -> None:
    compute = {"train_model": Compute(cpu="200", memory="8Gi")}
    with pytest.raises(ConfigError, match=r"compute\.train_model: no machine .* has 200 CPUs"):
        compiled("vertex", tmp_path, compute=compute)
    assert compiled("kubeflow", tmp_path, compute=compute)
