"""What a run of the training pipeline is given: the same arguments on every target."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway.module_api import ModuleConfig
from slipway.runs.naming import new_run_name, run_name_of
from slipway.runs.record import Lineage
from slipway.stores.module_store import locate_module, publish_module
from slipway.stores.storage import join
from slipway.targets import Target


@dataclass(frozen=True)
class Locations:
    """Where a target keeps what outlives a run: directories or gs:// URIs."""

    modules: str
    store: str
    runs: str
    checkpoints: str


@dataclass(frozen=True)
class Platform:
    """What the settings say of the place where a run happens.

    `manifests_uri` names the published overlay into which the pushed version is rolled out; without it, none is.
    `cluster` is where, as `serving.rollout.cluster.Cluster` takes it, and `rollout` a `RolloutPolicy`.
    `notifications` is a `slipway.runs.notifications.Notifications`, without which nobody is told; `page` is the
    address of a run in the UI, with `slipway.runs.naming.JOB` in place of its id.
    """

    target: Target
    image: str
    beam_options: tuple[str, ...]
    strategy: str
    engine: str
    manifests_uri: str = ""
    cluster: str = ""
    rollout: dict[str, Any] = field(default_factory=dict)
    notifications: dict[str, Any] = field(default_factory=dict)
    page: str = ""


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
    publish: bool = True,
) -> RunRequest:
    """Publishes the module's bytes and pins them in the arguments of a new run.

    Args:
        module_folder: The module.
        config: Its configuration, with what overrides it.
        data_uri: What the run reads.
        locations: What outlives it.
        platform: Where it runs.
        publish: False to pin the module's address only, for a rehearsal.
    """
    module = (publish_module if publish else locate_module)(module_folder, locations.modules)
    here = platform.target == "local"
    lineage = Lineage(
        run=new_run_name(module.name) if here else run_name_of(platform.target, module.name),
        module=module.name,
        module_digest=module.digest,
        data_uri=data_uri,
        git_revision=git_revision(module_folder),
        image=platform.image,
        target=platform.target,
        started=time.time() if here else 0.0,
        seed=config.training.seed,
    )
    content = config.model_dump(mode="json", exclude_none=True)  # kfp refuses null in a parameter
    schema = module_folder / "schema.pbtxt"
    arguments = {
        "data_uri": data_uri,
        "module": module.name,
        "preprocessing_uri": module.preprocessing_uri,
        "model_uri": module.model_uri,
        "curated_schema": schema.read_text(encoding="utf-8") if schema.is_file() else "",
        "ingestion": {key: content[key] for key in ("task", "label", "split", "ingestion")},
        "label": content["label"],
        "training": {key: content[key] for key in ("task", "label", "classes", "training", "hyperparameters")},
        "evaluation": {key: content[key] for key in ("task", "label", "classes", "slices", "thresholds")}
        | {"engine": platform.engine},
        "beam": {"options": list(platform.beam_options)},
        "distribution": {"strategy": platform.strategy},
        "window": config.ingestion.window,
        "store_uri": locations.store,
        "runs_uri": locations.runs,
        "run_uri": join(locations.runs, lineage.run),
        "checkpoints_uri": locations.checkpoints,
        "manifests_uri": platform.manifests_uri,
        "cluster": platform.cluster,
        "rollout": platform.rollout,
        "notifications": platform.notifications,
        "page": platform.page,
        "lineage": lineage.model_dump(mode="json"),
    }
    return RunRequest(arguments, lineage)


def git_revision(folder: Path) -> str:
    """The commit of a folder's checkout, with `-dirty` when tracked files differ; `unknown` where there is none."""
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        described = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # the image has no Git
        return "unknown"
    return described.stdout.strip() or "unknown"
