"""A run of a pipeline: its arguments and its lineage, the same on every target."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.registry import Inputs, Locations, Platform, find_pipeline
from slipway.fields import FIELDS, HYPERPARAMETERS
from slipway.lineage import Lineage
from slipway.module_api import ModuleConfig
from slipway.module_kit.config import read_config
from slipway.module_kit.try_metrics import try_metrics
from slipway.runs.naming import new_run_name, run_name_of
from slipway.runs.record import RunContext
from slipway.stores.module_store import locate_module, publish_module
from slipway.stores.storage import exists, join, write_text
from slipway.targets import DEFAULT_PIPELINE

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunRequest:
    """One run: what its steps are given, by name, and where it comes from."""

    arguments: dict[str, Any]
    lineage: Lineage


def request_run(
    module_folder: Path,
    config: ModuleConfig,
    data_uri: str,
    locations: Locations,
    platform: Platform,
    *,
    pipeline: str = DEFAULT_PIPELINE,
    settings_overrides: Mapping[str, Any] | None = None,
    publish: bool = True,
    key: str = "",
    started_by: str = "",
    prepared_uri: str = "",
) -> RunRequest:
    """Publishes the module's bytes and pins them in what a new run is given.

    Args:
        module_folder: The module.
        config: Its configuration, overrides included.
        data_uri: The data.
        locations: Where everything is kept that outlives the run.
        platform: Where it runs.
        pipeline: Name of a registered pipeline.
        settings_overrides: Dotted keys and values that replaced settings for this run, for the lineage.
        publish: False to pin the module's address only, for a rehearsal.
        key: Ends the name of a run on this machine, so that it can be looked up by it.
        started_by: Who starts it, or what.
        prepared_uri: The prepared run that its steps may start.
    """
    chosen = find_pipeline(pipeline)
    if publish:
        try_metrics(module_folder, config)
    module = (publish_module if publish else locate_module)(module_folder, locations.modules)
    here = platform.target == "local"
    own, used = (
        dict(_flat(one.model_dump(mode="json", exclude_none=True))) for one in (read_config(module_folder), config)
    )
    # Compared as text, since 1 and 1.0 are equal, and not the same hyperparameter.
    changed = {key: value for key, value in used.items() if json.dumps(value) != json.dumps(own.get(key))}
    project = module_folder.parent.parent
    arguments = chosen.arguments(Inputs(module, config, data_uri, locations, platform, project, prepared_uri))
    joined: list[dict[str, Any]] = json.loads(arguments.get("features", "[]"))
    lineage = Lineage(
        run=new_run_name(module.name, key) if here else run_name_of(platform.target, module.name),
        pipeline=pipeline,
        module=module.name,
        module_digest=module.digest,
        data_uri=data_uri,
        features_data={one["view"]: one["data"] for one in joined},
        git_revision=git_revision(module_folder),
        image=platform.image,
        gpu_image=platform.gpu_image,
        target=platform.target,
        started=time.time() if here else 0.0,
        started_by=started_by,
        seed=config.training.seed,
        hyperparameters=config.hyperparameters if HYPERPARAMETERS in arguments else {},
        overrides={**(settings_overrides or {}), **changed},
        arguments_uri=keep_arguments(arguments, locations.arguments, write=publish),
        shows=chosen.shows,
    )
    context = RunContext(
        uri=join(locations.runs, lineage.run),
        lineage=lineage,
        fields={name: arguments[name] for name in FIELDS if name in arguments},
        notifications=platform.notifications,
        tracking=platform.tracking,
        page=platform.page,
    )
    return RunRequest({"run": context.model_dump_json(), **arguments}, lineage)


def keep_arguments(arguments: Mapping[str, Any], arguments_uri: str, *, write: bool = True) -> str:
    """Writes what a run is given, by which it can be repeated; answers the URI, which the content alone decides."""
    text = json.dumps(arguments, indent=1, sort_keys=True)
    uri = join(arguments_uri, f"{hashlib.sha256(text.encode()).hexdigest()}.json")
    if write and not exists(uri):  # who may only add replaces nothing
        write_text(uri, text)
    return uri


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested mappings."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def git_revision(folder: Path) -> str:
    """The commit of a folder's checkout, with `-dirty` when tracked files differ; `unknown` where there is none.

    If Git refuses to read it (another user's checkout, say), Git's message is logged.
    """
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    in_english = {**os.environ, "LC_ALL": "C"}
    try:
        described = subprocess.run(command, capture_output=True, text=True, check=False, env=in_english)
    except FileNotFoundError:  # the image has no Git
        return "unknown"
    refusal = described.stderr.strip()
    if described.returncode and "not a git repository" not in refusal:
        log.warning("the run's commit is recorded as unknown: git cannot read %s: %s", folder, refusal)
    return described.stdout.strip() or "unknown"
