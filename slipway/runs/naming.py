"""Names of runs: a platform's run is called after its job, so that a clone, and each run of a schedule, has its own."""

from __future__ import annotations

import re
import secrets
import time
from datetime import datetime
from typing import Any

from slipway.errors import ConfigError
from slipway.targets import Target

# Stands for the job in the arguments of a run, which its clones and all runs of a schedule share.
JOB = "{job}"


def new_run_name(module: str) -> str:
    """A name that no other run has: of a run on this machine, or of what a platform lists before it has a job."""
    return f"{module}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def run_name_of(target: Target, module: str) -> str:
    """A platform's run in its arguments, with `JOB` for the job: `name_run` puts its id there.

    Kubeflow's ids are UUIDs. Vertex's are words already, `taxi-20260102-030405-a336` where Slipway chose them.
    """
    return JOB if target == "vertex" else f"{module}-{JOB}"


def job_id(job: str) -> str:
    """The id by which the platform's API and UI know a job.

    Args:
        job: Kubeflow's UUID of the run, or Vertex's `projects/P/locations/L/pipelineJobs/ID`.

    Raises:
        ConfigError: the platform left the placeholder as it was.
    """
    found = job.rpartition("/")[2]
    if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z-]*", found):
        raise ConfigError(
            f"job = {job!r} is no id of a run, by which its record is named: Kubeflow Pipelines tells it from 2.14 on; "
            "update it, or compile the pipeline for this target"
        )
    return found


def name_run(run_uri: str, lineage: dict[str, Any], job: str, job_created: str) -> tuple[str, dict[str, Any]]:
    """The record and the lineage of this run: as they are on this machine, called after the job elsewhere.

    The name holds nothing but the job: a retry of it finds the record of the first attempt.

    Args:
        run_uri: The run's record, its last part the run's name.
        lineage: `slipway.runs.record.Lineage`.
        job: See `job_id`.
        job_created: When the platform made it, as `2026-01-02T03:04:05Z`. Kubeflow before 2.17 does not tell.

    Raises:
        ConfigError: the platform does not say which job this is.
    """
    if JOB not in lineage["run"]:
        return run_uri, lineage
    name = job_id(job)
    try:
        started = datetime.fromisoformat(job_created).timestamp()
    except ValueError:
        started = 0.0
    return run_uri.replace(JOB, name), lineage | {"run": lineage["run"].replace(JOB, name), "started": started}


def page_of(page: str, job: str) -> str:
    """Address of this run in the platform's UI, empty where there is none.

    Args:
        page: Address of any run, with `JOB` in place of its id.
        job: See `job_id`.
    """
    return page.replace(JOB, job_id(job)) if page else ""
