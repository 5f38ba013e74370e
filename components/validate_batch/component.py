"""The step that checks the data of a batch prediction."""

from kfp import dsl

from components import component


@component()
def validate_batch(
    batch_job: str,
    run: str,
    job: str,
    job_created: str,
    data_uri: str,
    window: int,
    batch_check: dsl.Output[dsl.Artifact],
    batch_check_page: dsl.Output[dsl.HTML],
) -> None:
    """Checks all rows against the schema, and a sample with the baseline. Never cached.

    `batch_check` holds `check.json`. Errors in it stop the run at the next step, which predicts: Kubeflow shows no page
    of a step that failed.
    """
    from pathlib import Path

    from serving.batch.check import CHECK
    from serving.batch.job import Job
    from serving.batch.page import check_page
    from serving.batch.steps import validate
    from slipway.data.validation.report import describe_anomaly
    from slipway.runs.naming import name_run
    from slipway.runs.record import BAD_DATA, NO_VERDICT, Outcome
    from slipway.runs.store import OUTCOME
    from slipway.stores import storage

    this, asked = name_run(**locals()), Job.model_validate_json(batch_job)
    checked = validate(asked)
    storage.write_text(str(Path(batch_check.path) / CHECK), checked.model_dump_json())
    storage.write_text(batch_check_page.path, check_page(asked, checked))
    errors = [describe_anomaly(one) for one in checked.validation.errors]
    outcome = Outcome(
        verdict=BAD_DATA if errors else NO_VERDICT,
        reasons=errors or checked.warnings,
        data_digest=asked.source_digest,
    )
    storage.write_text(storage.join(this.uri, OUTCOME), outcome.model_dump_json(indent=1))
    print(*errors, *checked.warnings, sep="\n")
