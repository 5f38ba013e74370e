"""When to train again: a pure function of the state, the time, what a window showed, and the policy.

A cause (drift, worse performance) must hold in `windows` windows running. Then it trains once, and not again before the
cause was gone (below `rearm` of its threshold), the cool-down is over and the week's budget allows it. Drift that
training does not remove, since it learns from older rows, too, hides no other: a column that had not drifted then, or
is `GROWN` times as far by now, is a new cause. The same model and the same data are never trained twice: `key` is the
digest of both. A broken feature is an alert, no reason to train: what is wrong at the source would be learned.
Slices, volume and errors are alerts, too: they are no triggers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field

from slipway.module_api import Retraining

Action = Literal["train", "alert", "wait", "nothing"]
Asked = Literal["schedule", "new_data", "hand"]

DAY = 86_400.0
WEEK = 7 * DAY
KEPT = 500  # windows and keys
GROWN = 2.0


class Signal(BaseModel):
    """One cause as a window shows it: `level` is 1 at the threshold."""

    cause: Literal["drift", "performance", "slices", "volume", "errors"]
    level: float
    enough: bool = Field(True, description="whether there were rows or labels enough to tell")
    what: str = Field("", description="the columns or metrics, for people")
    columns: dict[str, float] = Field({}, description="the levels of the columns that drifted")


class Findings(BaseModel):
    """What a window says, for the decision."""

    window: str = Field("", description="its start, which names it: a window counts once; empty where an event asks")
    model_version: int
    data_digest: str
    signals: list[Signal] = []
    broken: list[str] = Field([], description="features that are broken at their source, in words")
    asked: Asked | None = None


class Decision(BaseModel):
    """What to do, and why."""

    action: Action
    reason: str
    causes: list[str] = []
    key: str = ""


class Claim(BaseModel):
    """Who submits what is pending, since which Unix time."""

    by: str
    at: float


class State(BaseModel):
    """What is kept from window to window, as one object."""

    windows: list[str] = Field([], description="that were decided, newest last")
    running: dict[str, int] = Field({}, description="windows running above, by cause")
    disarmed: list[str] = Field([], description="causes that were answered and are not gone yet")
    answered: dict[str, float] = Field({}, description="levels of the columns whose drift was answered last")
    trainings: list[float] = Field([], description="Unix times")
    keys: list[str] = Field([], description="of trainings, newest last")
    pending: str = Field("", description="key whose submission was not confirmed")
    claim: Claim | None = Field(None, description="of who submits it")
    decision: Decision | None = Field(None, description="on the newest window")
    data_digest: str = Field("", description="of the data of the newest training, or of the first window")


def decide(state: State, now: float, findings: Findings, policy: Retraining) -> tuple[Decision, State]:
    """The decision on a window, and the state after it. The state is to be written before anything is submitted."""
    decision, after = _decide(state, now, findings, policy)
    is_news = after is not state and findings.window
    return decision, after.model_copy(update={"decision": decision}) if is_news else after


def _decide(state: State, now: float, findings: Findings, policy: Retraining) -> tuple[Decision, State]:
    is_known = not findings.window or findings.window in state.windows
    if is_known and not findings.asked:
        return Decision(action="nothing", reason=f"window {findings.window} was decided before"), state
    if not findings.asked and any(one > findings.window for one in state.windows):
        said = f"window {max(state.windows)} is newer and was decided before: an older one changes nothing"
        return Decision(action="nothing", reason=said), state
    # A clock that was ahead and is right again must not stretch the cool-down.
    trainings = [min(one, now) for one in state.trainings]
    others, own = [one for one in state.windows if one != findings.window], [findings.window] if findings.window else []
    windows = [*others, *own][-KEPT:]
    state = state.model_copy(update={"trainings": trainings, "windows": windows})
    broken = bool(findings.broken)
    if not is_known:
        state = _counted(state, findings, policy, broken)
    if broken and findings.asked != "hand":
        said = "; ".join(findings.broken)
        return Decision(action="alert", reason=f"mend the source before training: {said}"), state
    causes = [one.cause for one in findings.signals if state.running.get(one.cause, 0) >= policy.windows]
    wanted: list[str] = [cause for cause in causes if cause in policy.triggers]
    is_unchanged = state.data_digest == findings.data_digest
    if "new_data" in policy.triggers and state.data_digest and not is_unchanged:
        wanted.append("new_data")
    state = state.model_copy(update={"data_digest": state.data_digest or findings.data_digest})
    asked = findings.asked if findings.asked in (*policy.triggers, "hand") else None
    if asked == "hand" or (asked and not wanted and not (asked == "new_data" and is_unchanged)):
        wanted.append(asked)
    if not wanted:
        return _quiet(findings, causes, state, policy), state
    return _train(state, now, findings, policy, wanted)


def key_of(model_version: int, data_digest: str) -> str:
    """The same for the same model and data."""
    return hashlib.sha256(f"{model_version}\n{data_digest}".encode()).hexdigest()


def confirmed(state: State, key: str) -> State:
    """The state once the submission of this key (or its beginning) is known to be there; another one stays pending."""
    return state.model_copy(update={"pending": "", "claim": None}) if state.pending.startswith(key) else state


def _counted(state: State, findings: Findings, policy: Retraining, broken: bool) -> State:
    """Windows running above, by cause. Too few rows say nothing; a broken feature hides what is behind it."""
    running, disarmed = dict(state.running), list(state.disarmed)
    for signal in findings.signals:
        if not signal.enough or broken:
            continue
        running[signal.cause] = running.get(signal.cause, 0) + 1 if _is_new(signal, state) else 0
        if signal.level < policy.rearm and signal.cause in disarmed:
            disarmed.remove(signal.cause)
    return state.model_copy(update={"running": running, "disarmed": disarmed})


def _is_new(signal: Signal, state: State) -> bool:
    """Whether a signal is above, and no training has answered it."""
    return signal.level > 1 and (signal.cause not in state.disarmed or bool(_new_columns(signal, state)))


def _new_columns(signal: Signal, state: State) -> list[str]:
    return [name for name, level in signal.columns.items() if level > GROWN * state.answered.get(name, 0.0)]


def _quiet(findings: Findings, causes: Sequence[str], state: State, policy: Retraining) -> Decision:
    if causes:
        return Decision(action="alert", reason=f"{', '.join(causes)}, which are no triggers", causes=list(causes))
    above = [signal for signal in findings.signals if signal.enough and signal.level > 1]
    if new := [signal for signal in above if _is_new(signal, state)]:
        count = ", ".join(f"{one.cause} in {state.running[one.cause]} of {policy.windows} windows" for one in new)
        return Decision(action="wait", reason=count)
    if answered := [signal.cause for signal in above]:
        return Decision(action="nothing", reason=f"{', '.join(answered)}: answered already, and not gone since")
    if unknown := [signal.cause for signal in findings.signals if not signal.enough]:
        return Decision(action="nothing", reason=f"not enough rows or labels to tell: {', '.join(unknown)}")
    if findings.asked and findings.asked not in policy.triggers:
        return Decision(action="nothing", reason=f"{findings.asked} is no trigger of monitoring.retraining")
    if findings.asked == "new_data":
        return Decision(action="nothing", reason="the data are those of the newest training or window")
    return Decision(action="nothing", reason="nothing moved")


def _train(
    state: State, now: float, findings: Findings, policy: Retraining, causes: list[str]
) -> tuple[Decision, State]:
    key, by_hand = key_of(findings.model_version, findings.data_digest), "hand" in causes
    if key in state.keys:
        reason = "this model and these data were trained together before; newer data or a person is needed"
        return Decision(action="alert", reason=reason, causes=causes, key=key), state
    last = max(state.trainings, default=0.0)
    if not by_hand and state.trainings and now - last < policy.cool_down_days * DAY:
        left = policy.cool_down_days - (now - last) / DAY
        return Decision(action="wait", reason=f"the cool-down ends in {left:.1f} days", causes=causes), state
    in_week = sum(now - one < WEEK for one in state.trainings)
    if not by_hand and in_week >= policy.per_week:
        return Decision(action="wait", reason=f"{in_week} trainings in seven days, as many as allowed",
                        causes=causes), state  # fmt: skip
    said = [_named(signal, state) for signal in findings.signals if signal.cause in causes]
    reason = "; ".join([*said, *(cause for cause in causes if cause in ("schedule", "new_data", "hand"))])
    answered = [cause for cause in causes if cause in ("drift", "performance")]
    changed = {
        "trainings": [*(one for one in state.trainings if now - one < WEEK), now],
        "keys": [*state.keys, key][-KEPT:],
        "pending": key,
        "claim": None,
        "data_digest": findings.data_digest,
        "disarmed": sorted({*state.disarmed, *answered}),
        "answered": next((one.columns for one in findings.signals if one.cause == "drift" and one.enough), {}),
        "running": {cause: 0 if cause in answered else count for cause, count in state.running.items()},
    }
    return Decision(action="train", reason=reason, causes=causes, key=key), state.model_copy(update=changed)


def _named(signal: Signal, state: State) -> str:
    new = _new_columns(signal, state) if signal.cause in state.disarmed else []
    return (signal.what or signal.cause) + (f" (new since the last training: {', '.join(new)})" if new else "")
