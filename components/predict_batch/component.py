"""The step that predicts: several share the rows."""

from kfp import dsl

from components import component


@component()
def predict_batch(
    batch_job: str,
    batch_check: dsl.Input[dsl.Artifact],
    shard: int,
    shards: int,
) -> None:
    """Predicts each unit of rows whose number leaves the remainder `shard`; what is there is left out. Never cached.

    Fails if validation found an error in the data.
    """
    from pathlib import Path

    from serving.batch.check import CHECK, BatchCheck
    from serving.batch.job import Job
    from serving.batch.steps import predict

    checked = BatchCheck.model_validate_json(Path(batch_check.path, CHECK).read_bytes())
    predict(Job.model_validate_json(batch_job), checked, int(shard), int(shards))
