"""Repeats a run: with the same bytes, code and settings, by its record; and compares what came out."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from delivery.compile import compile_pipeline
from delivery.environment import Environment
from delivery.launch import RunRequest, keep_arguments
from delivery.package import read_package
from delivery.submission import platform_of
from delivery.targets.base import Submission
from pipelines.registry import Locations
from slipway.compute import compute_of
from slipway.data.examples.dataset import MANIFEST, Manifest
from slipway.data.examples.source import Source, write_source
from slipway.data.snapshots.resolve import changes
from slipway.errors import ConfigError, DataError
from slipway.fields import FIELDS, HYPERPARAMETERS
from slipway.lineage import Lineage, user_at_host
from slipway.runs.naming import new_run_name, run_name_of
from slipway.runs.record import RunContext
from slipway.runs.store import RunView
from slipway.runs.summary import TUNING, read_record
from slipway.stores import storage
from slipway.targets import RemoteTarget
from slipway.tuning.result import TuningRecord

# The records of older runs say nothing of them.
_NO_ACCELERATORS = {"training_accelerator": "", "tuning_accelerator": ""}
_CODE = ("preprocessing_uri", "model_uri", "schema_uri", "metrics_uri")


@dataclass(frozen=True)
class Repeat:
    """A run that repeats another one; `differs` says what of this machine is not as it was then."""

    of: RunView
    request: RunRequest
    differs: tuple[str, ...]


def repeat_run(environment: Environment, view: RunView) -> Repeat:
    """What repeats a run; publishes nothing but what it is given.

    Raises:
        DataError: bytes of the data or of the code are gone, or were changed; all of them are named.
        ConfigError: the run's record does not say what it was given.
    """
    lineage = view.summary.lineage
    if not lineage.shows.evaluation:
        raise ConfigError(f"{view.name} is a run of {lineage.pipeline}: it has no metrics that could be compared")
    arguments, source = _arguments(view), _source(view)
    snapshots = arguments["snapshots_uri"]
    gone = [f"code: {arguments[key]} is gone" for key in _CODE if arguments[key] and not storage.exists(arguments[key])]
    if gone:
        gone.append(f"`slipway sync` in a checkout of {lineage.git_revision} publishes the module again")
    problems = [*(f"data: {one}" for one in changes(source, snapshots)), *gone]
    if problems:
        raise DataError("\n- ".join([f"{view.name} cannot be repeated:", *problems]))
    arguments["data_uri"] = write_source(source, arguments["sources_uri"])
    here = lineage.target == "local"
    locations = environment.local if here else environment.remote
    lineage = lineage.model_copy(
        update={
            "run": new_run_name(lineage.module) if here else run_name_of(lineage.target, lineage.module),
            "started": time.time() if here else 0.0,
            "started_by": user_at_host() if here else "",
            "repeats": view.name,
            "arguments_uri": keep_arguments(arguments, locations.arguments),
        }
    )
    differs = []
    if here and lineage.image != environment.code_image:
        differs.append(f"the code of the steps is not that of the run, which was {lineage.git_revision}")
        lineage = lineage.model_copy(update={"image": environment.code_image})
    return Repeat(view, _request(environment, lineage, arguments, locations), tuple(differs))


@contextmanager
def submission_of(environment: Environment, repeat: Repeat) -> Iterator[tuple[RemoteTarget, Submission]]:
    """The repeat of a cluster's run: on the same cluster, images and accelerators, and no step from the cache."""
    lineage, arguments = repeat.request.lineage, repeat.request.arguments
    assert lineage.target != "local"
    destination = environment.destination(lineage.target, lineage.image, lineage.gpu_image, lineage.pipeline)
    compute = dict(destination.compute)
    for step, name in (("train_model", "training_accelerator"), ("tune_model", "tuning_accelerator")):
        compute[step] = compute_of(compute, step).with_accelerators(lineage.target, arguments[name])
    destination = replace(destination, compute=compute, cached=False)
    with TemporaryDirectory(prefix="slipway-compiled-") as folder:
        path = Path(folder) / f"{lineage.pipeline}.yaml"
        compile_pipeline(lineage.pipeline, destination, arguments, path)
        package = read_package(path)
        yield lineage.target, Submission(package, package.fields, lineage)


def differences(before: RunView, after: RunView) -> dict[str, tuple[float | None, float | None]]:
    """The metrics that are not the same to the last digit: before and after; one that is missing is None."""
    old, new = before.summary.metrics, after.summary.metrics
    return {
        name: (old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if not _same(old.get(name), new.get(name))
    }


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or (math.isnan(one) and math.isnan(other))


def _arguments(view: RunView) -> dict[str, Any]:
    """What the run was given, with the values that were typed into the platform's form and those that a search found.

    A search is not made again: the model is trained with the values of the winner.
    """
    lineage = view.summary.lineage
    if not (lineage.arguments_uri and storage.exists(lineage.arguments_uri)):
        where = f": {lineage.arguments_uri} is gone" if lineage.arguments_uri else ", as of an older Slipway"
        raise ConfigError(
            f"{view.name} cannot be repeated, since its record does not say what it was given{where}; "
            f"`slipway run {lineage.module} --data {lineage.data_uri}` in a checkout of {lineage.git_revision} comes "
            "nearest"
        )
    arguments: dict[str, Any] = _NO_ACCELERATORS | json.loads(storage.read_bytes(lineage.arguments_uri))
    arguments |= {"seed": lineage.seed, HYPERPARAMETERS: json.dumps(lineage.hyperparameters)}
    arguments["epochs"] = lineage.overrides.get("training.epochs", arguments["epochs"])
    tuning = read_record(view.uri, TUNING, TuningRecord)
    if tuning and tuning.tuned:
        arguments |= {"search": "", "tuned": tuning.tuned.values.model_dump_json()}
    return arguments


def _source(view: RunView) -> Source:
    """The source that the run read, by the manifest of its examples."""
    summary = view.summary
    examples = summary.artifacts.get(summary.lineage.shows.examples, "")
    manifest = read_record(examples, MANIFEST, Manifest) if examples else None
    if manifest is None:
        raise DataError(
            f"{view.name} cannot be repeated: which bytes it read is not known, since "
            + (f"its examples are gone: {examples}" if examples else "it has no examples")
        )
    return Source.model_validate(manifest.source)


def _request(environment: Environment, lineage: Lineage, arguments: dict[str, Any], locations: Locations) -> RunRequest:
    platform = platform_of(environment, lineage.target, lineage.image, notify=False, publish=False)
    context = RunContext(
        uri=storage.join(locations.runs, lineage.run),
        lineage=lineage,
        fields={name: arguments[name] for name in FIELDS if name in arguments},
        tracking=platform.tracking,
        page=platform.page,
    )
    return RunRequest({"run": context.model_dump_json(), **arguments}, lineage)
