"""A run of a pipeline: its arguments and its lineage, the same on every target."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.registry import find_pipeline
from slipway.lineage import DEFAULT_PIPELINE, Lineage
from slipway.module_kit.config import read_config
from slipway.runs.naming import new_run_name, run_name_of
from slipway.runs.record import RunContext
from slipway.stores.module_store import locate_module, publish_module
from slipway.stores.storage import join

if TYPE_CHECKING:
    from pipelines.inputs import Locations, Platform
    from slipway.module_api import ModuleConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunRequest:
    """One run: the pipeline's arguments by name, and where it comes from."""

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
) -> RunRequest:
    """Publishes the module's bytes and pins them in the arguments of a new run.

    Args:
        module_folder: The module.
        config: Its configuration, overrides included.
        data_uri: The data.
        locations: Where everything is kept that outlives the run.
        platform: Where it runs.
        pipeline: Name of a registered pipeline.
        settings_overrides: Dotted keys and values that replaced settings for this run; the lineage has them.
        publish: False to pin the module's address only, for a rehearsal.

    Raises:
        ConfigError: there is no such pipeline.
    """
    from pipelines.inputs import Inputs

    chosen = find_pipeline(pipeline)
    module = (publish_module if publish else locate_module)(module_folder, locations.modules)
    here = platform.target == "local"
    lineage = Lineage(
        run=new_run_name(module.name) if here else run_name_of(platform.target, module.name),
        pipeline=pipeline,
        module=module.name,
        module_digest=module.digest,
        data_uri=data_uri,
        git_revision=git_revision(module_folder),
        image=platform.image,
        target=platform.target,
        started=time.time() if here else 0.0,
        seed=config.training.seed,
        hyperparameters=config.hyperparameters,
        overrides={**(settings_overrides or {}), **_changed(read_config(module_folder), config)},
        shows=chosen.shows,
    )
    context = RunContext(
        uri=join(locations.runs, lineage.run),
        lineage=lineage,
        notifications=platform.notifications,
        page=platform.page,
    )
    arguments = chosen.arguments(Inputs(module, config, data_uri, locations, platform))
    return RunRequest({"run": context.model_dump_json(), **arguments}, lineage)


def _changed(own: ModuleConfig, used: ModuleConfig) -> dict[str, Any]:
    """Dotted keys of module.yaml whose values were replaced, with the new values."""
    before, after = (_flat(one.model_dump(mode="json", exclude_none=True)) for one in (own, used))
    # As text, since 1 and 1.0 are equal, and not the same hyperparameter.
    return {key: value for key, value in after.items() if json.dumps(value) != json.dumps(before.get(key))}


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def git_revision(folder: Path) -> str:
    """The commit of a folder's checkout, with `-dirty` when tracked files differ; `unknown` where there is none.

    A refusal of Git, as of a checkout of another user, is logged in Git's words.
    """
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        described = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
        )
    except FileNotFoundError:  # the image has no Git
        return "unknown"
    refusal = described.stderr.strip()
    if described.returncode and "not a git repository" not in refusal:
        log.warning("the run's commit is recorded as unknown: git cannot read %s: %s", folder, refusal)
    return described.stdout.strip() or "unknown"
