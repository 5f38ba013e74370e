"""Rolls the pushed version out, and records the outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from slipway.errors import ConfigError, RolledBackError, RolloutError, RolloutInconclusiveError, SlipwayError
from slipway.hints import complete
from slipway.lineage import Lineage
from slipway.runs.record import Outcome, RolloutOutcome, RunContext
from slipway.runs.store import OUTCOME, ROLLOUT
from slipway.runs.summary import read_record
from slipway.stores import storage
from slipway.stores.model_store import ModelStore, open_store

if TYPE_CHECKING:
    from serving.rollout.lease import RolloutState

_KEYS = ("manifests_uri", "cluster", "policy", "environment")


def roll_out(store_uri: str, rollout: dict[str, Any], run: RunContext) -> RolloutOutcome | None:
    """Rolls the pushed version out and writes `rollout.json`; None if there is nothing to roll out, or no cluster.

    Args:
        store_uri: The model store.
        rollout: `manifests_uri` of the rendered overlay (without one nothing is rolled out); `cluster` of GKE,
            `projects/P/locations/L/clusters/C`, or empty for the one that this step runs in; `policy`, a
            `RolloutPolicy`; `environment`, its name for the commands in messages, or empty.
        run: This run.

    Raises:
        RolloutInconclusiveError: too little traffic; the canary stays, and somebody has to decide.
        SlipwayError: the rollout itself failed.
    """
    if not rollout.get("manifests_uri"):
        start = f"`slipway rollout start {run.lineage.module}`"
        print(f"No cluster serves this run's models, so nothing is rolled out; {start} does it, with --env.")
        return None
    pushed = Outcome.model_validate_json(storage.read_bytes(storage.join(run.uri, OUTCOME)))
    if pushed.version is None:
        print("Nothing was pushed, so nothing is rolled out.")
        return None
    before = read_record(run.uri, ROLLOUT, RolloutOutcome)
    if before and before.version == pushed.version and before.verdict in ("promoted", "rolled-back"):
        # The step is started again; changes that others made to the cluster since then stay.
        print(f"Version {before.version} was {before.verdict} already by this run.", *before.reasons, sep="\n- ")
        return before
    ended = before.ended if before else []
    outcome = RolloutOutcome(verdict="failed", version=pushed.version, reasons=[], ended=ended)

    def write() -> None:
        storage.write_text(storage.join(run.uri, ROLLOUT), outcome.model_dump_json(indent=1))

    def note(state: RolloutState) -> None:
        nonlocal outcome
        outcome = outcome.model_copy(update={"ended": [*outcome.ended, state.summary]})
        write()  # a step that is started again does not end it again

    try:
        reasons = _start(store_uri, run.lineage, pushed.version, rollout, note)
        outcome = outcome.model_copy(update={"verdict": "promoted", "reasons": reasons})
    except RolledBackError as error:
        print(f"Version {error.version} was rolled back: {error}")
        outcome = outcome.model_copy(update={"verdict": "rolled-back", "reasons": [str(error)]})
    except SlipwayError as error:
        held = isinstance(error, RolloutInconclusiveError)
        outcome = outcome.model_copy(update={"verdict": "held" if held else "failed", "reasons": [str(error)]})
        raise
    finally:
        write()
    return outcome


def describe(outcome: RolloutOutcome | None) -> str:
    """The outcome in Markdown."""
    if outcome is None:
        return "Nothing was rolled out.\n"
    reasons = "".join(f"- {reason}\n" for reason in [*outcome.ended, *outcome.reasons])
    return f"**Version {outcome.version} was {outcome.verdict.replace('-', ' ')}.**\n\n{reasons}"


def _start(
    store_uri: str, lineage: Lineage, version: int, rollout: dict[str, Any], ended: Callable[[RolloutState], None]
) -> list[str]:
    from serving.manifests import namespace_of, read_manifests
    from serving.rollout.cluster import Cluster
    from serving.rollout.engine import Rollout
    from serving.rollout.policy import RolloutPolicy

    if set(rollout) != set(_KEYS):
        raise ConfigError(f"rollout = {rollout} has not the keys {', '.join(_KEYS)}: compile the pipeline anew")
    objects, store, model = read_manifests(rollout["manifests_uri"]), open_store(store_uri), lineage.module
    policy, by = RolloutPolicy(**rollout["policy"]), f"run {lineage.run}"

    def say(line: str) -> None:
        print(complete(line, env=rollout["environment"]))

    try:
        _require_newest(store, model, version)
        with Cluster(namespace_of(objects), rollout["cluster"]) as connected:
            started = Rollout(connected, store, lambda: objects, model, policy, by=by, say=say, once=True, ended=ended)
            return started.start(version).reasons
    except SlipwayError as error:
        error.args = (complete(str(error), env=rollout["environment"]),)
        raise


def _require_newest(store: ModelStore, model: str, version: int) -> None:
    stable = store.production(model)
    # Of two runs that end at about the same time, or of one that is tried again late, the newer version wins.
    if stable and stable.number > version and store.stage(model, stable.number) == "stable":
        raise RolloutError(
            f"version {version} of {model} is not rolled out: version {stable.number}, which is newer, is stable. "
            f"To serve it all the same: `slipway rollout start {model}/{version}`"
        )
