"""Writes a run's summary and its report, and tells people of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from slipway.runs.record import LastStep, Lineage, Outcome, RunState, Step, StepsFile
from slipway.runs.report import write_report
from slipway.runs.states import ENDED
from slipway.runs.store import LAST_STEP, NOTIFIED, OUTCOME, REPORT, STEPS, SUMMARY, RunView
from slipway.runs.summary import read_if_there, read_record, summarise
from slipway.stores import storage


def record(run_uri: str, lineage: dict[str, Any], state: str, error_message: str) -> RunView:
    """Sums up what the steps left behind, however far the run came.

    Args:
        run_uri: This run's record; `summary.json` and `report.html` are written there.
        lineage: `slipway.runs.record.Lineage`.
        state: The pipeline's final state in the platform's words: `slipway.runs.states.ENDED`.
        error_message: The orchestrator's; used where the runner recorded no better one.
    """
    recorded = read_record(run_uri, STEPS, StepsFile)
    outcome = read_record(run_uri, OUTCOME, Outcome)
    # While this runs, this very step is "running": it is no part of what it tells about.
    steps = [_settled(step) for step in recorded.steps if step.name != "record_run"] if recorded else []
    ended = _ended(run_uri, state)
    summary = summarise(Lineage.model_validate(lineage), ended, steps, outcome, error_message or _explain(ended, state))
    storage.write_text(storage.join(run_uri, SUMMARY), summary.model_dump_json(indent=1))
    view = RunView(summary.lineage.run, run_uri, steps, summary)
    write_report(view)
    print(f"{view.name} {view.state}; its report is {storage.join(run_uri, REPORT)}")
    return view


def tell(view: RunView, notifications: dict[str, Any], page: str) -> None:
    """Notifies people of a run that ended; what goes wrong is printed, and never the run's failure.

    A step that is started again sends no message that went out on all channels before.

    Args:
        view: The run.
        notifications: `slipway.runs.notifications.Notifications`.
        page: Its address in the platform's UI; empty where there is none.
    """
    try:
        from slipway.runs.notifications.config import Notifications
        from slipway.runs.notifications.message import run_message
        from slipway.runs.notifications.send import notify

        config, message = Notifications.model_validate(notifications), run_message(view, page)
        if not (config.channels and message.events & set(config.events)):
            return
        sent = storage.join(view.uri, NOTIFIED)
        if read_if_there(lambda: storage.read_text(sent)) == message.brief():
            print(f"nobody is notified again: all channels took this message before: {message.header}")
        elif not notify(config, message):
            storage.write_text(sent, message.brief())
    except Exception as error:
        print(f"warning: nobody was notified: {type(error).__name__}: {error}")


@contextmanager
def last_step(run_uri: str, lineage: dict[str, Any], notifications: dict[str, Any], page: str) -> Iterator[None]:
    """Around the work of the pipeline's last step: writes how it ended, and records and tells the end of a retry.

    A retry in Kubeflow's UI runs no step again that went well, nor the exit handler
    (`GenerateRetryExecution`, backend/src/common/util/workflow.go): the first attempt's record would stay. Every step
    leads to the last one, so a retry that goes well ends here.
    """
    retried = storage.exists(storage.join(run_uri, SUMMARY))
    state, error_message = "FAILED", ""
    try:
        yield
        state = "SUCCEEDED"
    except Exception as error:
        error_message = str(error)
        raise
    finally:
        ended = LastStep(succeeded=state == "SUCCEEDED")
        storage.write_text(storage.join(run_uri, LAST_STEP), ended.model_dump_json())
        if retried:
            tell(record(run_uri, lineage, state, error_message), notifications, page)


def _ended(run_uri: str, state: str) -> RunState:
    """The run's own record comes first: Kubeflow's state may be lost, or be that of an attempt before."""
    last = read_record(run_uri, LAST_STEP, LastStep)
    return "succeeded" if last and last.succeeded else ENDED.get(state, "unknown")


def _explain(ended: RunState, state: str) -> str:
    """Why, where the orchestrator gives no reason: Kubeflow never does."""
    reasons: dict[RunState, str] = {
        "interrupted": f"a step was cut short (the platform says {state}): the run was cancelled, or a step's "
        "container was killed whole, for want of memory or with its node",
        "unknown": f"the platform says that the run is {state!r}, which Slipway does not know: look at the run's page",
    }
    return reasons.get(ended, "")


def _settled(step: Step) -> Step:
    """A step that has not begun when the exit handler runs never will."""
    return step.model_copy(update={"state": "skipped"}) if step.state == "pending" else step
