"""Pushes a blessed model, and records why it was or was not pushed."""

import hashlib
from pathlib import Path

from slipway.data.examples.dataset import read_manifest
from slipway.data.schema import FILE as SCHEMA_FILE
from slipway.errors import ModelQuarantinedError
from slipway.evaluation.results import Evaluation, read_evaluation
from slipway.evaluation.serving_checks import ServingValidation, read_validation
from slipway.runs.record import Outcome, RunContext
from slipway.runs.store import OUTCOME
from slipway.stores import storage
from slipway.stores.model_store import ModelStore, Provenance, Pushed, Version, digest_model, open_store


def push(paths: dict[str, str], uris: dict[str, str], store_uri: str, run: RunContext) -> Outcome:
    """Pushes the model if both judges blessed it; writes `outcome.json` to the run's record either way.

    Args:
        paths: Artifact name to local path, as the component lists them.
        uris: Artifact name to what outlives the step, for the records: on a cluster a path is only this pod's.
        store_uri: The model store.
        run: This run.

    Raises:
        StoreError: an artifact cannot be read, or the model cannot be stored.
    """
    evaluation = read_evaluation(paths["evaluation"])
    serving = read_validation(paths["serving_validation"])
    data_digest = read_manifest(paths["examples"]).digest
    refusals = _refusals(evaluation, serving)
    outcome = Outcome(verdict="refused", reasons=refusals, data_digest=data_digest, artifacts=uris)
    if refusals:
        print("The model was not pushed:", *refusals, sep="\n- ")
    else:
        store = open_store(store_uri)
        schema = Path(paths["schema"]) / SCHEMA_FILE
        provenance = Provenance(
            model=run.lineage.module,
            lineage=run.lineage,
            data_digest=data_digest,
            schema_digest=hashlib.sha256(schema.read_bytes()).hexdigest(),
            metrics=evaluation.overall.candidate,
            reasons=evaluation.verdict.reasons(),
            # The baseline's directory is named by its version; an emulator's URI ends with a query.
            baseline_version=int(Path(evaluation.baseline_uri.partition("?")[0]).name)
            if evaluation.baseline_uri
            else None,
            artifacts=uris,
        )
        outcome = _push(store, paths["model"], provenance, outcome)
    storage.write_text(storage.join(run.uri, OUTCOME), outcome.model_dump_json(indent=1))
    return outcome


def _refusals(evaluation: Evaluation, serving: ServingValidation) -> list[str]:
    reasons = [] if evaluation.verdict.blessed else evaluation.verdict.reasons() or ["the evaluation refused it"]
    return reasons + ([] if serving.servable else serving.reasons() or ["the serving validation refused it"])


def _pushed_before(store: ModelStore, model_path: str, provenance: Provenance) -> Version | None:
    """What this run pushed already, if the step is started again: of others' the store finds only the newest again."""
    model, stages = provenance.model, store.stages(provenance.model)
    for event in store.history(model):
        if (event.action, event.run) != ("push", provenance.lineage.run) or event.version not in stages:
            continue
        if stages[event.version] != "quarantined" and event.model_digest == digest_model(model_path):
            version = store.version(model, event.version)
            if not store.verify(version):
                return version
    return None


def _push(store: ModelStore, model_path: str, provenance: Provenance, outcome: Outcome) -> Outcome:
    try:
        own = _pushed_before(store, model_path, provenance)
        pushed = Pushed(own, is_new=False) if own else store.push(model_path, provenance)
    except ModelQuarantinedError as error:
        # What was rolled back does not come back because a run is repeated.
        print(f"The model was not pushed: {error}")
        return outcome.model_copy(update={"reasons": [str(error)]})
    version = pushed.version
    reasons = provenance.reasons
    if pushed.is_new:
        print(f"Pushed {version.model} as version {version.number}: {version.uri}")
    else:
        known = f"already pushed as version {version.number}: the same bytes"
        reasons = [known, *reasons]
        print(f"{version.model} was {known}: {version.uri}")
    return outcome.model_copy(
        update={"verdict": "pushed", "reasons": reasons, "version": version.number, "path": version.uri}
    )
