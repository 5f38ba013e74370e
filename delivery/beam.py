"""Beam's flags, from what an environment knows; written once, where the steps of its runs read them.

They are no parameters of a step: they decide where and how fast it runs, not what it writes, and a parameter would be a
part of the cache's key (docs/decisions/0071-beams-flags-lie-beside-the-cache.md).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from slipway.data.beam import BeamRun
from slipway.errors import ConfigError
from slipway.stores import storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from delivery.environment import Environment
    from slipway.targets import Target

_S3 = ("s3://", "minio://")


def beam_run(environment: Environment, target: Target, image: str, *, publish: bool = True) -> BeamRun:
    """The parameter `beam` of the steps; writes their flags if `publish`.

    Raises:
        ConfigError: the settings lack what the engine needs.
    """
    its = environment.settings.beam
    home = environment.local.beam if target == "local" else environment.remote.beam
    # A local run has no image of its own; the workers need one all the same.
    workers = environment.settings.image if target == "local" else image
    if its.runner == "dataflow" and not workers:
        raise ConfigError(
            "beam.runner = dataflow: its workers need an image; set image in settings/<environment>.yaml to "
            "REPOSITORY@sha256:…, as `slipway deploy` built it"
        )
    root = "" if target == "local" else environment.pipeline_root(target)
    if its.runner == "dataflow" and root.startswith(_S3):
        raise ConfigError(
            f"beam.runner = dataflow: artifacts are at {root}, and Dataflow's workers have Google's login alone; set "
            f"{target}.pipeline_root to gs://BUCKET/PATH, or beam.runner to in_process or flink"
        )
    flags = beam_flags(environment, home)
    if not flags:
        return BeamRun(runner=its.runner)
    uri = storage.join(home, f"{environment.name or 'base'}-{target}-{its.runner}.json")
    if publish:
        storage.write_text(uri, json.dumps(flags, indent=1))
    return BeamRun(runner=its.runner, image=workers if its.runner == "dataflow" else "", flags_uri=uri)


def beam_flags(environment: Environment, home: str) -> list[str]:
    """All flags but runner and image; `home` is the folder of the engine's temporary files."""
    its = environment.settings.beam
    given = dict(one.partition("=")[::2] for one in its.options)
    derived: dict[str, str] = {}
    if its.runner != "in_process":
        derived["temp_location"] = its.temp_location or storage.join(home, "temp")
    temp = given.get("--temp_location") or derived.get("temp_location", "")
    if temp.startswith(_S3):
        setting = "--temp_location in beam.options" if "--temp_location" in given else "beam.temp_location"
        raise ConfigError(
            f"beam.runner = {its.runner}: TensorFlow writes no S3, and would write to {temp} meanwhile; set {setting} "
            "to a folder that all workers and steps share, or to gs://BUCKET/PATH"
        )
    if its.runner in ("flink", "portable"):
        derived |= {"job_endpoint": its.job_endpoint, "environment_type": "EXTERNAL"}
        derived["environment_config"] = its.worker_pool
        # Else each stage of a batch starts its workers anew, and each of them imports TensorFlow.
        derived["environment_cache_millis"] = "600000"
    labels: Mapping[str, str] = {}
    if its.runner == "dataflow":
        derived |= _dataflow(environment)
        labels = {"slipway-environment": environment.name or "base", **environment.settings.vertex.labels}
    if "--subnetwork" in given:
        derived.pop("network", None)  # it is in one, and Dataflow refuses another
    flags = [f"--{name}={value}" for name, value in derived.items() if value and f"--{name}" not in given]
    return [*flags, *(f"--label={name}={value}" for name, value in labels.items()), *its.options]


def _dataflow(environment: Environment) -> dict[str, str]:
    its = environment.settings.vertex
    given = {one.split("=")[0] for one in environment.settings.beam.options}
    for flag, name, value in (("--project", "project", its.project), ("--region", "location", its.location)):
        if not value and flag not in given:
            raise ConfigError(
                f"beam.runner = dataflow: vertex.{name} is not set; set it in settings/<environment>.yaml, or give "
                f"beam.options: [{flag}=…]"
            )
    return {
        "project": its.project,
        "region": its.location,
        "service_account_email": its.service_accounts.get("training", its.service_account),
        "network": its.network.rpartition("/")[2],
        "dataflow_kms_key": its.encryption_key,
        "sdk_location": "container",
    }
