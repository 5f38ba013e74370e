"""Names of runs: those of a recurring run are made when each begins."""

from __future__ import annotations

import re
import secrets
import time
from datetime import UTC, datetime
from typing import Any

# Stands for the job in the name of a run whose pipeline starts again and again with the same arguments.
JOB = "{job}"


def new_run_name(module: str) -> str:
    """A run's name, which no other has; names of one module sort by time."""
    return f"{module}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def recurring_run_name(module: str) -> str:
    """The name in the arguments of a recurring run; `name_run` makes each run's own of it."""
    return f"{module}-{JOB}"


def name_run(run_uri: str, lineage: dict[str, Any], job: str, job_created: str) -> tuple[str, dict[str, Any]]:
    """The record and the lineage of this run: as they are, unless the run is one of a recurring one.

    Args:
        run_uri: The run's record, its last part the run's name.
        lineage: `slipway.runs.record.Lineage`.
        job: The platform's own id of this run.
        job_created: When the platform made it, as `2026-01-02T03:04:05Z`. Kubeflow before 2.17 does not tell; such a
            name sorts before those with a time.
    """
    if JOB not in lineage["run"]:
        return run_uri, lineage
    tail = re.sub(r"[^0-9a-z]", "", job.lower())[-8:]
    try:
        began = datetime.fromisoformat(job_created).astimezone(UTC)
    except ValueError:
        name, started = f"00000000-{re.sub(r'[^0-9a-z]', '', job.lower())}", lineage.get("started", 0.0)
    else:
        name, started = f"{began:%Y%m%d-%H%M%S}-{tail}", began.timestamp()
    return run_uri.replace(JOB, name), lineage | {"run": lineage["run"].replace(JOB, name), "started": started}


def page_of(page: str, target: str, job: str, resource_name: str) -> str:
    """Address of this run in the platform's UI, empty where there is none.

    Args:
        page: Address of any run, with `JOB` in place of its id.
        target: `slipway.runs.record.Target`.
        job: The run's UUID, which Kubeflow's addresses have.
        resource_name: On Vertex `projects/P/locations/L/pipelineJobs/ID`; its addresses end with that ID.
    """
    return page.replace(JOB, resource_name.rpartition("/")[2] if target == "vertex" else job)
