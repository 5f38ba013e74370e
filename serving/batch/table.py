"""A table of BigQuery as the destination."""

from __future__ import annotations

from serving.batch.job import Job
from serving.batch.units import Plan


def load_table(job: Job, plan: Plan) -> None:
    """Loads the parts by one job of BigQuery."""
    raise NotImplementedError
