"""Names of runs. A run on a platform is named after its job, so that clones and runs of a schedule differ."""

import re
import secrets
import time
from datetime import datetime
from typing import Any

from slipway.errors import ConfigError
from slipway.runs.record import RunContext
from slipway.targets import Target

# Stands for the job in the arguments of a run, which its clones and all runs of a schedule share.
JOB = "{job}"
KEY_LETTERS = 12  # of the key of a training that a monitor asked for


def new_run_name(module: str, key: str = "") -> str:
    """A unique name: of a local run, or of a submission, which has no job yet; the key is its end."""
    return f"{module}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{key or secrets.token_hex(2)}"


def name_by_key(module: str, key: str) -> str:
    """The display name of a run that has a key, by which one that was started before is found."""
    return f"{module}-{key[:KEY_LETTERS]}"


def vertex_id(name: str) -> str:
    """The id of a job on Vertex for a name of ours."""
    return re.sub(r"[^-a-z0-9]", "-", name.lower())


def run_name_of(target: Target, module: str) -> str:
    """Name of a run in its arguments, with `JOB` in place of the job's id, which `name_run` fills in.

    Kubeflow's ids are UUIDs; Vertex's are chosen by Slipway and readable: `taxi-20260102-030405-a336`.
    """
    return JOB if target == "vertex" else f"{module}-{JOB}"


def job_id(job: str) -> str:
    """The id by which the platform's API and UI know a job; ConfigError if it left the placeholder as it was.

    `job` is Kubeflow's UUID of the run, or Vertex's `projects/P/locations/L/pipelineJobs/ID`.
    """
    found = job.rpartition("/")[2]
    if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z-]*", found):
        raise ConfigError(
            f"job = {job!r} is no id of a run, by which its record is named: Kubeflow Pipelines tells it from 2.14 on; "
            "update it, or compile the pipeline for this target"
        )
    return found


def name_run(run: str, job: str, job_created: str, **fields: Any) -> RunContext:
    """The context of this run, with its job's id and the values of its fields filled in; a local run's has its id.

    The id alone names the record, so that a retry finds that of the first attempt.

    Args:
        run: JSON text of a `RunContext`, with `JOB` for the job.
        job: As `job_id` takes it; raises its errors.
        job_created: When the platform created it, as `2026-01-02T03:04:05Z`. Kubeflow before 2.17 does not tell.
        fields: What this run was given, in the platform's form perhaps. Names that are no fields of the pipeline are
            left out, so a step passes on all that it has: `name_run(**locals())`.
    """
    context = RunContext.model_validate_json(run)
    lineage = context.lineage.given(context.fields, fields)
    context = context.model_copy(update={"lineage": lineage})
    if JOB not in lineage.run + context.page:
        return context
    name = job_id(job)
    if JOB in lineage.run:
        try:
            started = datetime.fromisoformat(job_created).timestamp()
        except ValueError:
            started = 0.0
        lineage = lineage.model_copy(update={"run": lineage.run.replace(JOB, name), "started": started})
    filled = {"uri": context.uri.replace(JOB, name), "page": context.page.replace(JOB, name)}
    return context.model_copy(update={"lineage": lineage, **filled})
