"""Rolls out what push_model pushed, and records what became of it."""

from typing import Any

from slipway import storage
from slipway.errors import RolledBackError, RolloutInconclusiveError, SlipwayError
from slipway.model_store import open_store
from slipway.runs.record import Lineage, Outcome, RolloutOutcome
from slipway.runs.store import OUTCOME, ROLLOUT


def rollout(
    store_uri: str, run_uri: str, manifests_uri: str, cluster: str, policy: dict[str, Any], lineage: dict[str, Any]
) -> RolloutOutcome | None:
    """Rolls the pushed version out; None where there is nothing to roll out, or no cluster to roll it out into.

    Args:
        store_uri: The model store.
        run_uri: This run's record; `rollout.json` is written there.
        manifests_uri: The rendered overlay; empty for no rollout.
        cluster: As `serving.rollout.Cluster` takes it.
        policy: `serving.rollout.RolloutPolicy`.
        lineage: `slipway.runs.record.Lineage`.

    Raises:
        RolloutInconclusiveError: too little traffic; the canary stays, and somebody has to decide.
        SlipwayError: the version is not in production.
    """
    if not manifests_uri:
        print("No cluster serves this run's models, so nothing is rolled out; `slipway rollout start --env` does it.")
        return None
    pushed = Outcome.model_validate_json(storage.read_bytes(storage.join(run_uri, OUTCOME)))
    if pushed.version is None:
        print("Nothing was pushed, so nothing is rolled out.")
        return None
    outcome = RolloutOutcome(verdict="failed", version=pushed.version, reasons=[])
    try:
        reasons = _start(store_uri, manifests_uri, cluster, policy, Lineage.model_validate(lineage), pushed.version)
        outcome = outcome.model_copy(update={"verdict": "promoted", "reasons": reasons})
    except SlipwayError as error:
        verdicts = {RolloutInconclusiveError: "held", RolledBackError: "rolled-back"}
        verdict = verdicts.get(type(error), "failed")
        outcome = outcome.model_copy(update={"verdict": verdict, "reasons": [str(error)]})
        raise
    finally:
        storage.write_text(storage.join(run_uri, ROLLOUT), outcome.model_dump_json(indent=1))
    return outcome


def _start(
    store_uri: str, manifests_uri: str, address: str, policy: dict[str, Any], lineage: Lineage, version: int
) -> list[str]:
    from serving.manifests import read_manifests
    from serving.rollout import Cluster, Rollout, RolloutPolicy, namespace_of

    objects = read_manifests(manifests_uri)
    with Cluster(namespace_of(objects), address) as cluster:
        rollout = Rollout(
            cluster, open_store(store_uri), objects, lineage.module, RolloutPolicy(**policy), by=f"run {lineage.run}"
        )
        return rollout.start(version).reasons
