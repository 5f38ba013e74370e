"""A compiled pipeline as a file, as `slipway compile` writes it and targets take it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from delivery.graph import edges, titles
from delivery.portability import problems
from slipway.errors import ConfigError, TargetError
from slipway.runs.record import Step


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
    def image(self) -> str:
        """The image of its tasks."""
        executors = self.spec["deploymentSpec"]["executors"].values()
        images = {executor["container"]["image"] for executor in executors if "container" in executor}
        return str(min(images, default=""))


def read_package(path: Path) -> Package:
    """Reads a compiled pipeline.

    Raises:
        ConfigError: the file is not a compiled pipeline.
    """
    from google.protobuf.json_format import ParseDict, ParseError
    from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        ParseDict(documents[0], PipelineSpec(), ignore_unknown_fields=False)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ParseError, IndexError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{path} is not a compiled pipeline ({reason}); `slipway compile` writes one") from error
    content = json.dumps(documents, sort_keys=True, separators=(",", ":"))
    return Package(path, documents[0], hashlib.sha256(content.encode()).hexdigest())


def check_arguments(package: Package, arguments: dict[str, Any]) -> None:
    """Compares arguments with the parameters of the pipeline, before anything is sent.

    Raises:
        TargetError: one is unknown or missing, since the package is of another revision than the project; or they are
            too long for a step to be started.
    """
    takes = package.spec["root"].get("inputDefinitions", {}).get("parameters", {})
    unknown = sorted(set(arguments) - set(takes))
    missing = sorted(name for name, wants in takes.items() if name not in arguments and not wants.get("isOptional"))
    if unknown or missing:
        problem = "; ".join(
            f"{verb} {', '.join(names)}" for verb, names in (("it takes no", unknown), ("it wants", missing)) if names
        )
        raise TargetError(f"{package.path} is of another revision: {problem}. Compile it anew")
    if found := problems(package.spec, arguments):
        raise TargetError(f"{package.name} cannot run with these arguments:\n  " + "\n  ".join(found))


def all_steps(package: Package, told: list[Step]) -> list[Step]:
    """Every step of a pipeline in the order of its graph: as the target reports it, or pending."""
    known = titles(package.spec)
    named = {known.get(step.name, step.name): step for step in told}
    return [
        named[name].model_copy(update={"name": name}) if name in named else Step(name=name)
        for name in edges(package.spec)
    ]
