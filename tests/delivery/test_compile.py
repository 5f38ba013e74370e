"""The training pipeline, compiled for each platform; `tests/compiled/training.yaml` is the expected spec for Kubeflow.

After a wanted change: `python -m tests.delivery.test_compile` writes the golden file anew.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec, PlatformSpec

from delivery.compile import Destination, compile_pipeline
from delivery.package import edges
from settings.load import load_settings
from slipway.compute import Compute
from slipway.errors import ConfigError
from slipway.targets import RemoteTarget
from tests.compiled.specs import GOLDEN, IMAGE, golden_arguments, golden_spec, tasks

TARGETS: tuple[RemoteTarget, ...] = ("kubeflow", "vertex")
NEVER_CACHED = {"resolve_source", "admit_examples", "resolve_baseline", "push_model", "rollout_model",
                "confirm_rollout", "record_run"}  # fmt: skip
DOES_REMOTE_IO = {"resolve_source", "ingest_examples", "resolve_baseline", "push_model", "record_run"}


def compile_for(target: RemoteTarget, output: Path) -> dict[str, Any]:
    limits = {"activeDeadlineSeconds": 604_800, "resourceTtlOnCompletion": 86_400} if target == "kubeflow" else {}
    destination = Destination(target, IMAGE, load_settings().compute, "gs://bucket/artifacts", limits)
    compile_pipeline("training", destination, golden_arguments(target), output)
    spec: dict[str, Any] = next(yaml.load_all(output.read_text(), Loader=yaml.CSafeLoader))
    return spec


def compile_with(output: Path, image: str = IMAGE, compute: dict[str, Compute] | None = None) -> None:
    compile_pipeline("training", Destination("vertex", image, compute or {}), golden_arguments("vertex"), output)


@pytest.fixture(scope="module", params=TARGETS)
def target(request: pytest.FixtureRequest) -> RemoteTarget:
    platform: RemoteTarget = request.param
    return platform


@pytest.fixture(scope="module")
def spec(target: RemoteTarget, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return compile_for(target, tmp_path_factory.mktemp("compiled") / "training.yaml")


def test_compile_pipeline_equals_the_golden_spec(target: RemoteTarget, spec: dict[str, Any]) -> None:
    assert spec == golden_spec(target)


def test_compile_pipeline_parses_strictly(spec: dict[str, Any]) -> None:
    message = ParseDict(spec, PipelineSpec(), ignore_unknown_fields=False)
    assert message.pipeline_info.name == "slipway-training"


def test_golden_spec_has_the_same_tasks_and_edges_everywhere() -> None:
    kubeflow, vertex = (edges(golden_spec(target)) for target in TARGETS)
    assert kubeflow == vertex
    assert set(kubeflow["push_model"]) >= {"evaluate_model", "validate_serving"}
    assert kubeflow["rollout_model"] == ["push_model"]
    assert kubeflow["admit_examples"] == ["validate_examples"]
    assert "admit_examples" in kubeflow["transform_features"], "bad data must stop the run before training"


def test_compile_pipeline_caches_all_but_lookups_and_pushes(spec: dict[str, Any]) -> None:
    uncached = {name for name, task in tasks(spec).items() if not task.get("cachingOptions", {}).get("enableCache")}
    assert uncached - {"exit_handler_1", "slipway_training"} == NEVER_CACHED


def test_compile_pipeline_every_task_has_resources_image_and_display_name(spec: dict[str, Any]) -> None:
    executors = spec["deploymentSpec"]["executors"]
    assert len(executors) == 15
    for executor in executors.values():
        resources = executor["container"]["resources"]
        assert executor["container"]["image"] == IMAGE
        assert resources["resourceCpuRequest"]
        assert resources["resourceMemoryRequest"]
    assert all(task["taskInfo"]["name"] for task in tasks(spec).values())
    assert tasks(spec)["train_model"]["taskInfo"]["name"] == "Train the model"


def test_compile_pipeline_retries_what_does_remote_io(spec: dict[str, Any]) -> None:
    retried = {name for name, task in tasks(spec).items() if task.get("retryPolicy", {}).get("maxRetryCount")}
    assert retried >= DOES_REMOTE_IO


def test_compile_pipeline_names_a_recurring_run_wherever_its_record_is_used(spec: dict[str, Any]) -> None:
    steps = [component for component in spec["components"].values() if "executorLabel" in component]
    takes = {step["executorLabel"]: set(step.get("inputDefinitions", {}).get("parameters", {})) for step in steps}
    users = {label for label, names in takes.items() if "run" in names}
    assert users == {"exec-admit-examples", "exec-push-model", "exec-record-run", "exec-rollout-model",
                     "exec-confirm-rollout"}  # fmt: skip
    for label in users:
        assert takes[label] >= {"job", "job_created"}
        source = " ".join(spec["deploymentSpec"]["executors"][label]["container"]["command"])
        assert "name_run(**locals())" in source


def test_compile_pipeline_gives_the_job_as_the_platforms_api_knows_it(
    target: RemoteTarget, spec: dict[str, Any]
) -> None:
    """Kubeflow replaces a placeholder only where it is all of a constant (backend/src/v2/driver/resolve.go)."""
    placeholder = {"kubeflow": "{{$.pipeline_job_uuid}}", "vertex": "{{$.pipeline_job_resource_name}}"}[target]
    given = [task.get("inputs", {}).get("parameters", {}) for task in tasks(spec).values()]
    jobs = [parameters["job"]["runtimeValue"]["constant"] for parameters in given if "job" in parameters]
    assert jobs == [placeholder] * 5


def test_compile_pipeline_without_image_says_how_to_give_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give --image REPOSITORY@sha256"):
        compile_with(tmp_path / "training.yaml", image="")


def test_compile_pipeline_compute_for_no_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"compute names no task: trainer; tasks are .*train_model"):
        compile_with(tmp_path / "training.yaml", compute={"trainer": Compute()})


def test_compile_pipeline_unknown_file_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.yaml or \.json"):
        compile_with(tmp_path / "training.txt")


def test_compile_pipeline_constants_that_are_too_long_are_refused_with_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("delivery.package.ARGUMENT_BYTES", 8_220)
    with pytest.raises(ConfigError, match=r"vertex cannot run this pipeline:\n(.|\n)*push_model: .*8,220"):
        compile_with(tmp_path / "training.yaml")
    assert not (tmp_path / "training.yaml").exists()


def test_compile_pipeline_asks_kubeflow_for_disk_and_vertex_for_none(tmp_path: Path) -> None:
    asked = {}
    for target in TARGETS:
        compute = {"default": Compute(disk="5Gi"), "transform_features": Compute(disk="40Gi")}
        compile_pipeline("training", Destination(target, IMAGE, compute), golden_arguments(target), tmp_path / "p.yaml")
        spec = next(yaml.safe_load_all((tmp_path / "p.yaml").read_text()))
        ParseDict(spec, PipelineSpec(), ignore_unknown_fields=False)
        for label, executor in spec["deploymentSpec"]["executors"].items():
            asked[target, label] = executor["container"]["resources"].get("accelerator")
    assert asked["kubeflow", "exec-transform-features"] == {
        "resourceType": "ephemeral-storage",  # a resource of Kubernetes
        "resourceCount": "40Gi",
    }
    assert asked["kubeflow", "exec-record-run"] == {"resourceType": "ephemeral-storage", "resourceCount": "5Gi"}
    assert not any(found for (target, _), found in asked.items() if target == "vertex")


def test_compile_pipeline_limits_are_a_document_of_kubeflow(tmp_path: Path) -> None:
    compile_for("vertex", tmp_path / "vertex.yaml")
    compile_for("kubeflow", tmp_path / "kubeflow.yaml")
    counts = {name: len(list(yaml.safe_load_all((tmp_path / f"{name}.yaml").read_text()))) for name in TARGETS}
    assert counts == {"vertex": 1, "kubeflow": 2}, "Vertex refuses a second document"
    limits = list(yaml.safe_load_all((tmp_path / "kubeflow.yaml").read_text()))[1]
    ParseDict(limits, PlatformSpec(), ignore_unknown_fields=False)
    with pytest.raises(ConfigError, match=r"kubeflow\.json.*\.yaml"):
        compile_for("kubeflow", tmp_path / "kubeflow.json")
    assert compile_for("vertex", tmp_path / "vertex.json") == golden_spec("vertex")


def test_a_module_with_a_search_space_has_one_step_more_everywhere(target: RemoteTarget, tmp_path: Path) -> None:
    output = tmp_path / "training.yaml"
    given = golden_arguments(target) | {"search": "{}"}
    compile_pipeline("training", Destination(target, IMAGE, load_settings().compute), given, output)
    spec = next(yaml.safe_load_all(output.read_text()))
    steps = edges(spec)
    without = edges(golden_spec(target))
    assert "tune_model" not in without, "nor does it cost a module without one anything"
    assert set(steps) == {*without, "tune_model"}
    assert steps["tune_model"] == ["transform_features"]
    assert "tune_model" in steps["train_model"]
    assert not tasks(spec)["tune_model"]["cachingOptions"].get("enableCache")
    assert "taskOutputParameter" in tasks(spec)["train_model"]["inputs"]["parameters"]["tuned"]


if __name__ == "__main__":
    compile_for("kubeflow", GOLDEN)
