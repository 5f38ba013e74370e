"""Writes a run's summary and its report, notifies people of it, and writes it to the tracker of experiments."""

from collections.abc import Iterator
from contextlib import contextmanager

from slipway.runs.record import NO_VERDICT, LastStep, Outcome, RunContext, RunState, Step, StepsFile
from slipway.runs.report import write_report
from slipway.runs.states import ENDED
from slipway.runs.store import LAST_STEP, NOTIFIED, OUTCOME, REPORT, STEPS, SUMMARY, RunView
from slipway.runs.summary import read_if_there, read_record, summarise, with_tuning
from slipway.stores import storage

NAME = "record_run"
_SHORT = 12  # letters of a digest
# The reason where the orchestrator gives none: Kubeflow never does.
_UNEXPLAINED: dict[RunState, str] = {
    "cancelled": "the run was cancelled",
    "interrupted": "a step was cut short (the platform says {}): the run was cancelled, or a step's container was "
    "killed whole, for want of memory or with its node",
    "unknown": "the platform says that the run is {!r}, which Slipway does not know: look at the run's page",
}


def record(
    run: RunContext, state: str, error_message: str, *, steps: list[Step] | None = None, finished: float | None = None
) -> RunView:
    """Summarises the records of the steps, however far the run came; writes `summary.json` and `report.html`.

    Args:
        run: This run.
        state: The pipeline's final state in the platform's words: `slipway.runs.states.ENDED`.
        error_message: The orchestrator's; used where the runner recorded no better one.
        steps: Steps where the runner recorded none: those that failed, or the platform's.
        finished: When the run ended; now by default.
    """
    recorded = read_record(run.uri, STEPS, StepsFile)
    outcome = read_record(run.uri, OUTCOME, Outcome)
    # This very step is "running" now, and no part of its report. A step that has not begun now never will.
    steps = [
        step.model_copy(update={"state": "skipped"}) if step.state == "pending" else step
        for step in (recorded.steps if recorded else steps or [])
        if step.name != NAME
    ]
    # The run's own record comes first: Kubeflow's state may be lost, or be that of an attempt before.
    last = read_record(run.uri, LAST_STEP, LastStep)
    ended: RunState = "succeeded" if last and last.succeeded else ENDED.get(state, "unknown")
    summary = summarise(run.lineage, ended, steps, outcome, error_message or _UNEXPLAINED.get(ended, "").format(state))
    summary = with_tuning(summary, run.uri)
    summary.finished = finished or summary.finished
    storage.write_text(storage.join(run.uri, SUMMARY), summary.model_dump_json(indent=1))
    view = RunView(summary.lineage.run, run.uri, steps, summary)
    write_report(view)
    return view


def title(view: RunView) -> str:
    """A line by which a run can be found: `taxi-90d6…: refused, data 87da15bf74dc, commit 0c4f2abd11e3`."""
    summary = view.summary
    ended = summary.state if summary.verdict == NO_VERDICT else summary.verdict
    data = summary.data_digest[:_SHORT] or "unknown"
    return f"{view.name}: {ended}, data {data}, commit {summary.lineage.git_revision[:_SHORT]}"


def finish(run: RunContext, state: str, error_message: str) -> None:
    """Records the end of a run, tells people, and last of all writes it to the tracker; only the first can fail."""
    view = record(run, state, error_message)
    tell(view, run)
    write_to_tracker(view, run)


def write_to_tracker(view: RunView, run: RunContext) -> None:
    """Writes the run to the tracker of the settings; what goes wrong is printed, not raised."""
    if run.tracking:
        try:
            from slipway.runs.tracking.config import Tracked
            from slipway.runs.tracking.track import track

            track(view, Tracked.model_validate(run.tracking))
        except Exception as error:
            print(f"warning: {view.name} is not tracked: {type(error).__name__}: {error}")


def tell(view: RunView, run: RunContext) -> None:
    """Prints the end of a run, and notifies the configured channels of it; failures are printed, not raised.

    A message that all channels took before is not sent again when the step is started again.
    """
    print(f"{view.name} {view.state}; its report is {storage.join(view.uri, REPORT)}")
    try:
        from slipway.runs.notifications.config import Notifications
        from slipway.runs.notifications.message import run_message
        from slipway.runs.notifications.send import notify

        config, message = Notifications.model_validate(run.notifications), run_message(view, run.page)
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
def last_step(run: RunContext, *, ends_run: bool = True) -> Iterator[None]:
    """Surrounds the work of the pipeline's last steps: writes how it ended; records a retry and notifies of its end.

    A retry in Kubeflow's UI repeats neither the steps that went well nor the exit handler
    (`GenerateRetryExecution`, backend/src/common/util/workflow.go): the first attempt's record would stay. Every step
    leads to the last one, so a retry that goes well ends here. A step that is not `ends_run` ends it by failing only.
    """
    retried = storage.exists(storage.join(run.uri, SUMMARY))
    state, error_message = "FAILED", ""
    try:
        yield
        state = "SUCCEEDED"
    except Exception as error:
        error_message = str(error)
        raise
    finally:
        if ends_run or state == "FAILED":
            ended = LastStep(succeeded=state == "SUCCEEDED")
            storage.write_text(storage.join(run.uri, LAST_STEP), ended.model_dump_json())
            if retried:
                finish(run, state, error_message)
