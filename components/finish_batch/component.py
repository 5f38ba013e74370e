"""The step that ends a batch prediction."""

from kfp import dsl

from components import component


@component()
def finish_batch(
    batch_job: str,
    batch_check: dsl.Input[dsl.Artifact],
    run: str,
    job: str,
    job_created: str,
    data_uri: str,
    window: int,
    verdict: dsl.Output[dsl.Markdown],
    batch_page: dsl.Output[dsl.HTML],
) -> None:
    """Writes the quarantine, the file or table that was asked for, and last the manifest. Never cached."""
    from pathlib import Path

    from serving.batch.check import CHECK, BatchCheck
    from serving.batch.job import Job
    from serving.batch.page import batch_page as page_of
    from serving.batch.steps import end
    from slipway.runs.naming import name_run
    from slipway.runs.record import Outcome
    from slipway.runs.store import OUTCOME
    from slipway.stores import storage

    this, asked = name_run(**locals()), Job.model_validate_json(batch_job)
    checked = BatchCheck.model_validate_json(Path(batch_check.path, CHECK).read_bytes())
    manifest = end(asked, checked, this.lineage.run)
    said = [manifest.said, *manifest.warnings]
    storage.write_text(batch_page.path, page_of(manifest, checked))
    storage.write_text(verdict.path, "\n".join(["# Predicted", "", *(f"- {' '.join(one.split())}" for one in said)]))
    outcome = Outcome(
        verdict="predicted-with-warnings" if manifest.warnings else "predicted",
        reasons=said,
        data_digest=asked.source_digest,
    )
    storage.write_text(storage.join(this.uri, OUTCOME), outcome.model_dump_json(indent=1))
    print(*said, sep="\n- ")
