"""The step that looks up which version predicts, which data, and to where."""

from typing import NamedTuple

from components import component


@component()
def resolve_batch(
    module: str,
    data_uri: str,
    window: int,
    to: str,
    batch_config: str,
    features: str,
    store_uri: str,
    sources_uri: str,
    snapshots_uri: str,
    batch_uri: str,
    run: str,
    job: str,
    job_created: str,
) -> NamedTuple("Batch", [("batch_job", str)]):  # type: ignore[valid-type]
    """Finds the version, the files (or the table) and the destination; refuses one with another job's output.

    Never cached. `batch_config` is a `BatchConfig`, `batch_job` the JSON text of a `Job`; `features` are the shared
    features that are joined to the rows, a list of `Join` as JSON.
    """
    from pydantic import TypeAdapter

    from serving.batch.config import BatchConfig
    from serving.batch.resolve import resolve_job
    from slipway.data.examples.source import Join
    from slipway.runs.naming import name_run

    config, name = BatchConfig.model_validate_json(batch_config), name_run(run, job, job_created).lineage.run
    found = resolve_job(
        config, module, data_uri, int(window), to, TypeAdapter(list[Join]).validate_json(features),
        store_uri=store_uri, sources_uri=sources_uri, snapshots_uri=snapshots_uri, batch_uri=batch_uri, run=name,
    )  # fmt: skip
    print(f"Version {found.version} of {module} predicts {found.data_uri} to {found.to}")
    return (found.model_dump_json(),)
