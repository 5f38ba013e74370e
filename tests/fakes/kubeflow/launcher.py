"""Runs the steps of an uploaded pipeline as Kubeflow does, each in a process with the variables of its pod alone.

The launcher copies a step's inputs from the bucket to `/s3/BUCKET/…` or `/minio/BUCKET/…`, and its outputs back
(`LocalPathForURI`, `downloadArtifacts` and `uploadOutputArtifacts`, backend/src/v2/component/launcher_v2.go, 2.17).
Here these folders are of a step's own, and kfp is told so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from delivery.package import edges
from settings.load import PROJECT
from slipway.stores import storage
from tests.fakes.kubeflow.pods import Secrets, environment

Json = dict[str, Any]

_MOUNTS = """
from kfp.dsl.types import artifact_types
artifact_types._S3_LOCAL_MOUNT_PREFIX = "{disk}/s3/"
artifact_types._MINIO_LOCAL_MOUNT_PREFIX = "{disk}/minio/"
"""
CREATED = "2026-01-02T03:04:05Z"


@dataclass
class Launcher:
    """One run.

    Attributes:
        documents: The compiled pipeline.
        run: As the API keeps it.
        secrets: Of the namespace.
        folder: Each step gets a disk in it.
        failed: The step that failed, if one did; then no other is started but the exit handler.
    """

    documents: list[Json]
    run: Json
    secrets: Secrets
    folder: Path
    failed: str = ""
    logs: dict[str, str] = field(default_factory=dict)
    _parameters: dict[tuple[str, str], Any] = field(default_factory=dict)
    _artifacts: dict[tuple[str, str], Json] = field(default_factory=dict)

    def start(self) -> None:
        """Runs all steps, one after another."""
        spec = self.documents[0]
        root = spec["root"]["dag"]["tasks"]
        [(group, inner)] = [(name, spec["components"][task["componentRef"]["name"]]["dag"]["tasks"])
                            for name, task in root.items() if "triggerPolicy" not in task]  # fmt: skip
        given = self._default_inputs() | self.run["runtime_config"]["parameters"]
        of_group = {name: self._value(source, given, {}) for name, source in
                    root[group].get("inputs", {}).get("parameters", {}).items()}  # fmt: skip
        of_group = {key.removeprefix("pipelinechannel--"): value for key, value in of_group.items()} | of_group
        for step in edges(spec):
            name = step.replace("_", "-")
            if name in inner and not self.failed:
                self._step(name, inner[name], of_group)
            elif name in root:
                self._step(name, root[name], given)

    def _default_inputs(self) -> Json:
        takes = self.documents[0]["root"].get("inputDefinitions", {}).get("parameters", {})
        return {name: its["defaultValue"] for name, its in takes.items() if "defaultValue" in its}

    def _value(self, source: Json, given: Json, default: Json) -> Any:
        if "taskFinalStatus" in source:
            error = {"code": 9, "message": f"{self.failed} failed"} if self.failed else {}
            state = "FAILED" if self.failed else "SUCCEEDED"
            return {"state": state, "error": error, "pipelineJobResourceName": "slipway-x7k2p", "pipelineTaskName": "g"}
        if "taskOutputParameter" in source:
            produced = source["taskOutputParameter"]
            return self._parameters[produced["producerTask"], produced["outputParameterKey"]]
        if "componentInputParameter" in source:
            return given[source["componentInputParameter"]]
        constant = source["runtimeValue"]["constant"]
        job = {"{{$.pipeline_job_uuid}}": self.run["run_id"], "{{$.pipeline_job_create_time_utc}}": CREATED}
        return job.get(constant, constant) if isinstance(constant, str) else constant

    def _step(self, name: str, task: Json, given: Json) -> None:
        spec = self.documents[0]
        component = spec["components"][task["componentRef"]["name"]]
        executor = component["executorLabel"]
        disk = self.folder / name
        (disk / "site").mkdir(parents=True)
        (disk / "site" / "sitecustomize.py").write_text(_MOUNTS.format(disk=disk))
        inputs, outputs = component.get("inputDefinitions", {}), component.get("outputDefinitions", {})
        parameters = {key: its["defaultValue"] for key, its in inputs.get("parameters", {}).items()
                      if "defaultValue" in its}  # fmt: skip
        asked = task.get("inputs", {})
        parameters |= {key: self._value(one, given, parameters) for key, one in asked.get("parameters", {}).items()}
        taken = {}
        for key, one in asked.get("artifacts", {}).items():
            produced = one["taskOutputArtifact"]
            taken[key] = self._artifacts[produced["producerTask"], produced["outputArtifactKey"]]
            self._download(taken[key]["uri"], self._local(disk, taken[key]["uri"]))
        pipeline = f"{self.run['runtime_config']['pipeline_root']}/{spec['pipelineInfo']['name']}"
        root = f"{pipeline}/{self.run['run_id']}/{name}/5a17"
        # The launcher adds one artifact to each step (`provisionOutputs`, backend/src/v2/driver/driver.go).
        kinds = {key: its["artifactType"]["schemaTitle"] for key, its in outputs.get("artifacts", {}).items()}
        made = {key: {"name": key, "uri": f"{root}/{key}", "type": {"schemaTitle": kind}, "metadata": {}}
                for key, kind in {**kinds, "executor-logs": "system.Artifact"}.items()}  # fmt: skip
        for one in made.values():
            self._local(disk, one["uri"]).parent.mkdir(parents=True, exist_ok=True)
        listed = {key: {"artifacts": [one]} for key, one in made.items()}
        executor_input = {
            "inputs": {
                "parameterValues": parameters,
                "artifacts": {key: {"artifacts": [one]} for key, one in taken.items()},
            },
            "outputs": {
                "parameters": {key: {"outputFile": str(disk / key)} for key in outputs.get("parameters", {})},
                "artifacts": listed,
                "outputFile": str(disk / "output_metadata.json"),
            },
        }
        container = spec["deploymentSpec"]["executors"][executor]["container"]
        command = [*container["command"], *container["args"]]
        done = subprocess.run(
            [json.dumps(executor_input) if part == "{{$}}" else part for part in command],
            cwd=disk,
            env={
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}/usr/bin:/bin",
                "HOME": str(disk),
                "PYTHONPATH": f"{disk / 'site'}{os.pathsep}{PROJECT}",
                "TF_CPP_MIN_LOG_LEVEL": "2",
                **environment(self.documents, executor, self.secrets, disk),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        self.logs[name] = done.stdout + done.stderr
        if done.returncode:
            self.failed = self.failed or name
            return
        told = (
            json.loads((disk / "output_metadata.json").read_text()) if (disk / "output_metadata.json").exists() else {}
        )
        for key, value in told.get("parameterValues", {}).items():
            self._parameters[name, key] = value
        for key, one in made.items():
            for said in told.get("artifacts", {}).get(key, {}).get("artifacts", []):
                one["metadata"] = said.get("metadata", {})
            self._artifacts[name, key] = one
            self._upload(self._local(disk, one["uri"]), one["uri"])

    @staticmethod
    def _local(disk: Path, uri: str) -> Path:
        scheme, _, path = uri.partition("://")
        return disk / scheme / path

    @staticmethod
    def _download(uri: str, path: Path) -> None:
        for file in storage.list_files(uri):
            storage.copy(file.uri, str(path / file.name))
        if not path.exists():
            storage.copy(uri, str(path))

    @staticmethod
    def _upload(path: Path, uri: str) -> None:
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        for file in files:
            name = "" if file == path else file.relative_to(path).as_posix()
            storage.copy(str(file), storage.join(uri, name) if name else uri)
