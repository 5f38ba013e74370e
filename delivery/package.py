"""A compiled pipeline: its file, as `slipway compile` writes it and targets take it, its steps, and its limits."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from serving.manifests import BY_DIGEST
from slipway.compute import Compute, compute_of
from slipway.errors import ConfigError, TargetError
from slipway.runs.record import RunContext, Step

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent

# Linux's MAX_ARG_STRLEN (32 pages of 4 KiB) without the terminating zero.
ARGUMENT_BYTES = 131_071
# For the parts of an executor's input that are unknown before the run: artifacts, outputs of other steps.
_RESERVED_BYTES = 8_192
# Google's, which starts a custom job of Vertex and runs nothing of ours; its release is part of the wrapper's.
_CUSTOM_JOBS = re.compile(r"gcr\.io/ml-pipeline/google-cloud-pipeline-components:[0-9.]+")
# Of pods into which Kubeflow's PodDefault of manifests/monitor-account projects a token.
TOKEN_LABELS = {"access-ml-pipeline": "true"}
# Keys of a secret that become variables of the steps, of those that `slipway/remote/s3_login.py` and obstore read.
S3_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_CA_BUNDLE",
)
S3_FOLDER = "/etc/slipway-s3"  # where its keys are files, as the CA that AWS_CA_BUNDLE names


@dataclass(frozen=True)
class Package:
    """A compiled pipeline.

    `digest` is the SHA-256 of its content, independent of the file's layout; it names the version on a target.
    """

    path: Path
    spec: dict[str, Any]
    digest: str

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return str(self.spec["pipelineInfo"]["name"])

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of its form, with their defaults."""
        takes = self.spec["root"].get("inputDefinitions", {}).get("parameters", {})
        # JSON has no integers: a default of 3 is 3.0 in the spec.
        whole = {name for name, its in takes.items() if its["parameterType"] == "NUMBER_INTEGER"}
        given = {name: its["defaultValue"] for name, its in takes.items() if "defaultValue" in its}
        return {name: int(value) if name in whole else value for name, value in given.items()}

    def constant(self, name: str) -> str:
        """What its steps are given under a name, whatever the values of the fields; empty if it is not there."""
        return next((str(given[name]) for _, _, given in _tasks(self.spec, self.spec["root"], {}) if name in given), "")

    @property
    def arguments(self) -> dict[str, Any]:
        """What the pipeline was compiled with, without what tells its runs apart."""
        given = {name: value for _, _, its in _tasks(self.spec, self.spec["root"], {}) for name, value in its.items()}
        own = {name: value for name, value in given.items() if name not in ("run", "job", "job_created")}
        return {"search": "", "tuned": "", **own, **self.fields}

    @cached_property
    def run(self) -> RunContext:
        """What its steps know of the run."""
        try:
            return RunContext.model_validate_json(self.constant("run") or "{}")
        except ValidationError as error:
            raise ConfigError(f"{self.path} is of another revision of Slipway: compile it anew") from error


def read_package(path: Path) -> Package:
    """Reads a compiled pipeline.

    Raises:
        ConfigError: the file is not a compiled pipeline.
    """
    from google.protobuf.json_format import ParseDict, ParseError
    from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

    try:
        documents = list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader))
        ParseDict(documents[0], PipelineSpec(), ignore_unknown_fields=False)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ParseError, IndexError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        command = f"`slipway compile MODULE --target TARGET --output {path}`"
        raise ConfigError(f"{path} is not a compiled pipeline ({reason}); {command} writes one") from error
    content = json.dumps(documents, sort_keys=True, separators=(",", ":"))
    return Package(path, documents[0], hashlib.sha256(content.encode()).hexdigest())


def check_arguments(package: Package, arguments: dict[str, Any]) -> None:
    """Compares arguments with the parameters of the pipeline, before anything is sent.

    Raises:
        TargetError: one is unknown or missing, since the package was compiled from another revision; or they are
            too long for a step to be started.
    """
    takes = package.spec["root"].get("inputDefinitions", {}).get("parameters", {})
    unknown = sorted(set(arguments) - set(takes))
    missing = sorted(name for name, wants in takes.items() if name not in arguments and not wants.get("isOptional"))
    if unknown or missing:
        problem = "; ".join(
            f"{verb} {', '.join(names)}" for verb, names in (("it takes no", unknown), ("it wants", missing)) if names
        )
        raise TargetError(f"{package.path} was compiled from another revision: {problem}. Compile it again")
    if found := problems(package.spec, arguments):
        raise TargetError(f"{package.name} cannot run with these arguments:\n  " + "\n  ".join(found))


def spec_of(pipeline: BaseComponent) -> dict[str, Any]:
    """The PipelineSpec of a pipeline, as a dict."""
    from google.protobuf.json_format import MessageToDict

    spec: dict[str, Any] = MessageToDict(pipeline.pipeline_spec)
    return spec


def step_name(task: str) -> str:
    """The folder of a task's component: kfp's `train-model` is `train_model`."""
    return task.replace("-", "_")


def edges(spec: dict[str, Any]) -> dict[str, list[str]]:
    """Each step of a PipelineSpec with the steps that it needs, in topological order, the exit handler last."""
    tasks = {step_name(name): task for name, task, _ in _tasks(spec, spec["root"], {})}
    ordered: dict[str, list[str]] = {}
    exits = sorted(name for name, task in tasks.items() if "triggerPolicy" in task)
    while len(ordered) < len(tasks) - len(exits):
        for name, task in tasks.items():
            needs = sorted(map(step_name, {*task.get("dependentTasks", ()), *_producers(task)}))
            if name not in exits and name not in ordered and all(need in ordered for need in needs):
                ordered[name] = needs
    return ordered | {name: [] for name in exits}


def leave_out_implied_edges(spec: dict[str, Any]) -> None:
    """Removes from each task's `dependentTasks` those whose artifacts it takes, which `pipeline_spec.proto` leaves out.

    kfp lists them all the same, and Kubeflow's UI draws each beside the edges of the artifact (`addTaskToTaskEdges`,
    frontend/src/lib/v2/StaticFlow.ts), so that the graph is half as wide again. Kubeflow's compiler adds them itself
    (`addImplicitDependencies`, backend/src/v2/compiler/argocompiler/dag.go).
    """
    for component in spec["components"].values():
        for task in component.get("dag", {}).get("tasks", {}).values():
            others = [name for name in task.pop("dependentTasks", ()) if name not in _producers(task)]
            if others:
                task["dependentTasks"] = others


def call_group_by_pipeline(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec with the exit handler's group called by the pipeline's name, as Kubeflow's UI shows it once it is open.

    kfp makes of `dsl.ExitHandler(name=…)` the title of the closed box only (`addTaskNodes`, StaticFlow.ts); the path
    above the open one shows the task's key (frontend/src/components/graph/SubDagLayer.tsx).
    """
    named: dict[str, Any] = json.loads(
        json.dumps(spec).replace('"exit-handler-1"', f'"{spec["pipelineInfo"]["name"]}"')
    )
    return named


def ask_for_disk(spec: dict[str, Any], compute: Mapping[str, Compute]) -> None:
    """Limits the ephemeral storage of pods on Kubeflow, which is then requested too.

    The spec has a field for accelerators alone, so no task has both. The driver takes what it names for any resource of
    Kubernetes, 2.14 to 2.17 (`initPodSpecPatch`, backend/src/v2/driver/driver.go).
    """
    for name, task, _ in _tasks(spec, spec["root"], {}):
        asked = compute_of(compute, step_name(name)).disk
        container = spec["deploymentSpec"]["executors"][_executor(spec, task)].get("container")
        if asked and container:
            container["resources"]["accelerator"] = {"resourceType": "ephemeral-storage", "resourceCount": asked}


def pods_of(spec: dict[str, Any], compute: Mapping[str, Compute], token_takers: Collection[str]) -> dict[str, Any]:
    """What the second document says of the pods of executors: the nodes that they may run on, and labels.

    The fields are kfp-kubernetes' (kubernetes_platform/proto/kubernetes_executor_config.proto), which has none for the
    projected tokens of steps that call Kubeflow's own API.
    """
    executors = {}
    for name, task, _ in _tasks(spec, spec["root"], {}):
        its = compute_of(compute, step_name(name))
        pod: dict[str, Any] = {"podMetadata": {"labels": TOKEN_LABELS}} if step_name(name) in token_takers else {}
        if its.node_selector:
            pod["nodeSelector"] = {"labels": its.node_selector}
        if its.tolerations:
            pod["tolerations"] = [one.model_dump(exclude_defaults=True) for one in its.tolerations]
        if pod:
            executors[_executor(spec, task)] = pod
    return executors


def s3_login(secret: str) -> dict[str, Any]:
    """What the second document says of an executor that has its login to S3 from a Kubernetes secret.

    The fields are kfp-kubernetes', as `use_secret_as_env` and `use_secret_as_volume` set them. A step starts
    without what the secret lacks, and says so: a pod that waits for it says nothing.
    """
    named = {"secretNameParameter": {"runtimeValue": {"constant": secret}}, "optional": True}
    variables = [{"secretKey": name, "envVar": name} for name in S3_VARIABLES]
    return {
        "secretAsEnv": [{**named, "keyToEnv": variables}],
        "secretAsVolume": [{**named, "mountPath": S3_FOLDER}],
    }


def _executor(spec: dict[str, Any], task: dict[str, Any]) -> str:
    return str(spec["components"][task["componentRef"]["name"]]["executorLabel"])


def _producers(task: dict[str, Any]) -> set[str]:
    """The tasks of which a task takes artifacts."""
    taken = task.get("inputs", {}).get("artifacts", {}).values()
    return {source["taskOutputArtifact"]["producerTask"] for source in taken if "taskOutputArtifact" in source}


def all_steps(package: Package, reported: list[Step], *, ended: bool) -> list[Step]:
    """Every step of a pipeline in the order of its graph: as reported, or pending, or skipped if the run has ended.

    Platforms report a step by the name of its task, or by the task's display name.
    """
    tasks = _tasks(package.spec, package.spec["root"], {})
    names = {task["taskInfo"]["name"]: step_name(name) for name, task, _ in tasks}
    found = {names.get(step.name, step.name): step for step in reported}
    other = Step(name="", state="skipped" if ended else "pending")
    return [found.get(name, other).model_copy(update={"name": name}) for name in edges(package.spec)]


def problems(spec: dict[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    """Why no platform can run a PipelineSpec with what is known of its parameters, each with the step's name."""
    return sorted(
        f"{step_name(name)}: {problem}"
        for name, task, given in _tasks(spec, spec["root"], arguments)
        for problem in (*_container_problems(spec, task), *_too_long(given))
    )


def _container_problems(spec: dict[str, Any], task: dict[str, Any]) -> Iterator[str]:
    container = spec["deploymentSpec"]["executors"][_executor(spec, task)].get("container")
    if not container:  # kfp's importer
        return
    if not (BY_DIGEST.fullmatch(container["image"]) or _CUSTOM_JOBS.fullmatch(container["image"])):
        yield f"the image {container['image']!r} is not named by digest; add the task with `Steps.add`, which sets it"
    longest = max((len(part.encode()) for part in container.get("command", [])), default=0)
    if longest > ARGUMENT_BYTES:
        yield f"its function has {longest:,} bytes; Linux takes {ARGUMENT_BYTES:,} in one argument. Move code beside it"


def _too_long(given: dict[str, Any]) -> Iterator[str]:
    sizes = {key: len(json.dumps({key: value}, ensure_ascii=False).encode()) for key, value in given.items()}
    total = sum(sizes.values()) + _RESERVED_BYTES
    if total > ARGUMENT_BYTES:
        largest = max(sizes, key=lambda key: sizes[key])
        yield (
            f"its parameters have {total:,} bytes with {_RESERVED_BYTES:,} for artifacts; Linux takes "
            f"{ARGUMENT_BYTES:,} in one argument. The largest is {largest} with {sizes[largest]:,}"
        )


def _tasks(
    spec: dict[str, Any], graph: dict[str, Any], values: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name and task of each step, those of groups included, and its known parameters: constants, and the graph's."""
    for name, task in graph["dag"]["tasks"].items():
        given = {}
        for parameter, source in task.get("inputs", {}).get("parameters", {}).items():
            if "runtimeValue" in source:
                given[parameter] = source["runtimeValue"].get("constant")
            elif source.get("componentInputParameter") in values:
                given[parameter] = values[source["componentInputParameter"]]
        component = spec["components"][task["componentRef"]["name"]]
        if "dag" in component:
            yield from _tasks(spec, component, given)
        else:
            yield name, task, given
