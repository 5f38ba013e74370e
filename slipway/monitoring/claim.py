"""Who submits the training that the state asks for: one at a time, so that none is started twice.

Kubeflow's runs may share a name, and it may start two monitors for one slot (kubeflow/pipelines#12863): looking the
name up tells only what was started before, not what is being started.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from slipway.monitoring.decision import Claim, State, confirmed
from slipway.monitoring.state import change_state

# Longer than all attempts at a submission take: after it, whoever has the claim is taken for dead.
CLAIM_SECONDS = 1800.0


@dataclass(frozen=True)
class Claimed:
    """The key of the training to submit, empty if there is none; `other` has it already if that is not empty."""

    key: str = ""
    other: str = ""


@contextmanager
def claimed(folder: str, by: str) -> Iterator[Claimed]:
    """The training that the state in a folder asks for, for `by` alone as long as the block lasts.

    At its end the training is confirmed; if it fails, the training stays pending, for anyone. One who was killed
    in it may claim again at once under the same name, others after `CLAIM_SECONDS`.
    """

    def take(state: State) -> tuple[Claimed, State]:
        now, held = time.time(), state.claim
        if not state.pending:
            return Claimed(), state
        if held and held.by != by and abs(now - held.at) < CLAIM_SECONDS:
            return Claimed(other=held.by), state
        return Claimed(state.pending), state.model_copy(update={"claim": Claim(by=by, at=now)})

    def release(state: State) -> tuple[None, State]:
        mine = state.claim is not None and state.claim.by == by
        return None, state.model_copy(update={"claim": None}) if mine else state

    got = change_state(folder, take)
    try:
        yield got
    except BaseException:
        if got.key:
            change_state(folder, release)
        raise
    if got.key:
        change_state(folder, lambda state: (None, confirmed(state, got.key)))
