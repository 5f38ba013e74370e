"""Decides what a window means, and keeps it beside those before."""

import time
from datetime import UTC, datetime
from typing import get_args

from slipway.data.snapshots.resolve import resolve
from slipway.errors import ConfigError, DataError
from slipway.monitoring.config import MonitorConfig
from slipway.monitoring.decision import Asked, Decision, Findings, State, decide
from slipway.monitoring.history import RECENT, before, describe_window, read_windows
from slipway.monitoring.page import history_page, window_page
from slipway.monitoring.result import FILE, WindowResult, read_result, write_result
from slipway.monitoring.state import change_state
from slipway.runs.record import Outcome, RunContext
from slipway.runs.store import OUTCOME
from slipway.stores import storage

PAGE, HISTORY = "report.html", "history.html"


def decide_window(
    scored_path: str,
    data_uri: str,
    spans: int,
    snapshots_uri: str,
    monitoring_uri: str,
    monitor_config: str,
    ask: str,
    run: RunContext,
) -> tuple[str, str]:
    """Answers the verdict in words, as Markdown, and the window's page.

    The order of writing: the state, with the decision; the window; its pages; the run's outcome. Whoever was killed in
    between is repeated whole: a window that was decided is not decided again.
    """
    if ask and ask not in get_args(Asked):
        raise ConfigError(f"ask = {ask!r}; write {' or '.join(get_args(Asked))}, or leave it empty")
    result = read_result(scored_path)
    policy = MonitorConfig.model_validate_json(monitor_config).monitoring.retraining
    folder = storage.join(monitoring_uri, result.model)
    place = storage.join(folder, result.start)
    digest, missing = "", list[str]()
    try:
        digest = resolve(data_uri, spans, snapshots_uri).digest
    except DataError as error:
        if ask:
            raise
        missing = [f"the data of the next training: {error}"]  # the window is kept all the same
    findings = Findings(
        window=result.start,
        model_version=result.version,
        data_digest=digest,
        signals=result.signals,
        broken=[*result.broken, *missing],
        asked=ask or None,
    )
    now = time.time()
    earlier = read_result(place) if storage.exists(storage.join(place, FILE)) else None

    def change(state: State) -> tuple[Decision, State]:
        # A clock that was ahead decided windows that are not over yet.
        over = [one for one in state.windows if one < datetime.fromtimestamp(now, UTC).isoformat()]
        state = state.model_copy(update={"windows": over})
        if result.start not in over or ask:
            return decide(state, now, findings, policy)
        # Whoever decided it may have been killed before the window was written.
        kept = (earlier and earlier.decision) or (state.decision if over[-1] == result.start else None)
        return kept or decide(state, now, findings, policy)[0], state

    decision = change_state(folder, change)
    if earlier and earlier.requests > result.requests:
        result = _kept(earlier, result.requests)
    result = result.model_copy(update={"decision": decision, "seconds": now, "notes": [*result.notes, *missing]})
    write_result(result, place)
    return _tell(result, folder, place, run)


def _kept(earlier: WindowResult, requests: int) -> WindowResult:
    """What was found while the log had more of the window."""
    said = f"of these requests the log holds {requests:,} by now; what was found while it had all of them stands"
    return earlier.model_copy(update={"notes": [*(one for one in earlier.notes if "by now" not in one), said]})


def _tell(result: WindowResult, folder: str, place: str, run: RunContext) -> tuple[str, str]:
    known = read_windows(folder, last=RECENT)
    earlier = before(known, result.start)
    said, page = describe_window(result, earlier), window_page(result, earlier)
    storage.write_text(storage.join(place, PAGE), page)
    storage.write_text(storage.join(folder, HISTORY), history_page(known))
    outcome = Outcome(verdict=result.verdict, reasons=said, version=None)
    storage.write_text(storage.join(run.uri, OUTCOME), outcome.model_dump_json(indent=1))
    print(f"{result.model}, window {result.start}: {result.verdict}", *said, sep="\n- ")
    lines = "\n".join(f"- {' '.join(one.split())}" for one in said)
    return f"# {result.model}, window {result.start}: {result.verdict}\n\n{lines}\n", page
