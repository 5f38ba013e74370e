"""Rolls out what push_model pushed, and records what became of it."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from slipway.errors import RolledBackError, RolloutError, RolloutInconclusiveError, SlipwayError
from slipway.lineage import Lineage
from slipway.runs.record import Outcome, RolloutOutcome, RunContext
from slipway.runs.store import OUTCOME, ROLLOUT
from slipway.runs.summary import read_record
from slipway.stores import storage
from slipway.stores.model_store import ModelStore, open_store


class RolloutConfig(BaseModel):
    """The parameter `rollout` of rollout_model.

    Attributes:
        manifests_uri: The rendered overlay, `serving.manifests.publish_manifests`; nothing is rolled out without one.
        cluster: Of GKE, `projects/P/locations/L/clusters/C`; empty for the one that the step itself runs in.
        policy: `serving.rollout.policy.RolloutPolicy`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    manifests_uri: str = ""
    cluster: str = ""
    policy: dict[str, Any] = {}


def roll_out(store_uri: str, rollout: dict[str, Any], run: RunContext) -> RolloutOutcome | None:
    """Rolls the pushed version out and writes `rollout.json`; None if there is nothing to roll out, or no cluster.

    Raises:
        RolloutInconclusiveError: too little traffic; the canary stays, and somebody has to decide.
        SlipwayError: the version is not in production.
    """
    config = RolloutConfig.model_validate(rollout)
    if not config.manifests_uri:
        print("No cluster serves this run's models, so nothing is rolled out; `slipway rollout start --env` does it.")
        return None
    pushed = Outcome.model_validate_json(storage.read_bytes(storage.join(run.uri, OUTCOME)))
    if pushed.version is None:
        print("Nothing was pushed, so nothing is rolled out.")
        return None
    before = read_record(run.uri, ROLLOUT, RolloutOutcome)
    if before and before.version == pushed.version and before.verdict in ("promoted", "rolled-back"):
        # The step is started again; others may have changed since what the cluster serves, and are left alone.
        print(f"Version {before.version} was {before.verdict} already by this run.", *before.reasons, sep="\n- ")
        if before.verdict == "rolled-back":
            raise RolledBackError("; ".join(before.reasons), before.version)
        return before
    outcome = RolloutOutcome(verdict="failed", version=pushed.version, reasons=[])
    try:
        reasons = _start(store_uri, config, run.lineage, pushed.version)
        outcome = outcome.model_copy(update={"verdict": "promoted", "reasons": reasons})
    except SlipwayError as error:
        verdicts = {RolloutInconclusiveError: "held", RolledBackError: "rolled-back"}
        verdict = verdicts.get(type(error), "failed")
        outcome = outcome.model_copy(update={"verdict": verdict, "reasons": [str(error)]})
        raise
    finally:
        storage.write_text(storage.join(run.uri, ROLLOUT), outcome.model_dump_json(indent=1))
    return outcome


def _start(store_uri: str, config: RolloutConfig, lineage: Lineage, version: int) -> list[str]:
    from serving.manifests import read_manifests
    from serving.rollout.cluster import Cluster
    from serving.rollout.engine import Rollout
    from serving.rollout.policy import RolloutPolicy
    from serving.rollout.workload import namespace_of

    objects, store, model = read_manifests(config.manifests_uri), open_store(store_uri), lineage.module
    _require_newest(store, model, version)
    with Cluster(namespace_of(objects), config.cluster) as cluster:
        by = f"run {lineage.run}"
        rollout = Rollout(cluster, store, objects, model, RolloutPolicy(**config.policy), by=by, once=True)
        return rollout.start(version).reasons


def _require_newest(store: ModelStore, model: str, version: int) -> None:
    """Of two runs that end at about the same time, or of one that is tried again late, the newer version wins."""
    stable = store.production(model)
    if stable and stable.number > version and store.stage(model, stable.number) == "stable":
        raise RolloutError(
            f"version {version} of {model} is not rolled out: version {stable.number}, which is newer, is stable. "
            f"To serve it all the same: slipway rollout start {version}"
        )
