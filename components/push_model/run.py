"""Pushes a blessed model, and records why it was or was not pushed."""

from slipway.errors import ModelQuarantinedError
from slipway.evaluation.results import read_evaluation
from slipway.evaluation.serving_checks import read_validation
from slipway.monitoring.baseline import read_baseline
from slipway.runs.record import REPEATED, Outcome, RunContext
from slipway.runs.store import OUTCOME
from slipway.runs.summary import TUNING, read_record
from slipway.stores import storage
from slipway.stores.model_store import ModelStore, Provenance, Pushed, Version, digest_model, open_store
from slipway.tuning.result import TuningRecord


def push(paths: dict[str, str], uris: dict[str, str], store_uri: str, run: RunContext) -> Outcome:
    """Pushes the model if evaluation and serving validation blessed it; writes `outcome.json` to the run's record.

    Args:
        paths: Local path of each artifact.
        uris: URI of each artifact, for the records: on a cluster a path is only this pod's. Those of the data are in
            the run's record.
        store_uri: The model store.
        run: This run.

    Raises:
        StoreError: an artifact or the run's record cannot be read, or the model cannot be stored.
    """
    evaluation = read_evaluation(paths["evaluation"])
    serving = read_validation(paths["serving_validation"])
    record = storage.join(run.uri, OUTCOME)
    admitted = Outcome.model_validate_json(storage.read_bytes(record))
    tuning = read_record(run.uri, TUNING, TuningRecord)
    refusals = [*([] if evaluation.verdict.blessed else evaluation.verdict.reasons()), *serving.reasons()]
    outcome = Outcome(
        verdict="refused",
        reasons=refusals,
        data_digest=admitted.data_digest,
        schema_digest=admitted.schema_digest,
        artifacts=admitted.artifacts | uris | (tuning.artifacts if tuning else {}),
    )
    if not (evaluation.verdict.blessed and serving.servable):
        print("The model was not pushed:", *refusals, sep="\n- ")
    elif run.lineage.repeats:
        print(f"The model was not pushed: the run repeats {run.lineage.repeats}")
        outcome.verdict, outcome.reasons = (
            REPEATED,
            [f"it repeats {run.lineage.repeats}: a model is pushed once"],
        )
    else:
        provenance = Provenance(
            model=run.lineage.module,
            lineage=tuning.tuned.lineage(run.lineage) if tuning and tuning.tuned else run.lineage,
            data_digest=outcome.data_digest,
            schema_digest=outcome.schema_digest,
            metrics=evaluation.overall.candidate,
            reasons=evaluation.verdict.reasons(),
            baseline_version=evaluation.baseline_version,
            artifacts=outcome.artifacts,
        )
        outcome = _push(open_store(store_uri), paths, provenance, outcome)
    storage.write_text(record, outcome.model_dump_json(indent=1))
    return outcome


def _pushed_before(store: ModelStore, model_path: str, provenance: Provenance) -> Version | None:
    """The version that this run pushed already, if the step is started again; the store finds only the newest."""
    model, stages = provenance.model, store.stages(provenance.model)
    for event in store.history(model):
        if (event.action, event.run) != ("push", provenance.lineage.run) or event.version not in stages:
            continue
        if stages[event.version] != "quarantined" and event.model_digest == digest_model(model_path):
            version = store.version(model, event.version)
            if not store.verify(version):
                return version
    return None


def _push(store: ModelStore, paths: dict[str, str], provenance: Provenance, outcome: Outcome) -> Outcome:
    try:
        own = _pushed_before(store, paths["model"], provenance)
        baseline = read_baseline(paths["evaluation"]).model_dump_json()
        pushed = Pushed(own, is_new=False) if own else store.push(paths["model"], provenance, baseline)
    except ModelQuarantinedError as error:
        # A version that was rolled back does not come back because a run is repeated.
        print(f"The model was not pushed: {error}")
        return outcome.model_copy(update={"reasons": [str(error)]})
    version = pushed.version
    known = [] if pushed.is_new else [f"already pushed as version {version.number}: the same bytes"]
    said = known[0] if known else f"pushed as version {version.number}"
    print(f"{version.model} was {said}: {version.uri}")
    reasons = [*known, *provenance.reasons]
    return outcome.model_copy(
        update={"verdict": "pushed", "reasons": reasons, "version": version.number, "path": version.uri}
    )
