"""Writes a run that ended, and its model's versions, to the tracker: within a time limit, never failing the run."""

import json
import math
import threading
import time
from collections.abc import Callable, Iterator

from slipway.errors import SlipwayError, TrackingError
from slipway.evaluation.results import SliceResult
from slipway.hints import complete
from slipway.pages.printable import printable
from slipway.remote.address import parse
from slipway.runs.store import RunView
from slipway.runs.summary import read_evaluation_of, read_if_there, readable_folder
from slipway.runs.tracking.config import Tracked, Tracking
from slipway.runs.tracking.tracker import Point, TrackedRun, TrackedVersion, Tracker
from slipway.runs.training_log import HISTORY, History, read_history
from slipway.stores import storage
from slipway.stores.model_store import ModelStore, Stage, Version, open_store

# Stages of the model store that the tracker calls otherwise.
STAGES: dict[Stage, str] = {"stable": "production"}


def open_tracker(config: Tracking, deadline: float) -> Tracker:
    """The tracker of the settings; it asks nothing after `deadline`, in seconds of `time.monotonic`."""
    from slipway.runs.tracking.mlflow import MlflowTracker  # it imports requests

    return MlflowTracker(config, deadline)


def track(view: RunView, config: Tracked) -> None:
    """Writes a run that ended and its model's versions; prints what went wrong."""
    module = view.summary.lineage.module

    def write(tracker: Tracker) -> None:
        tracker.write_run(config.name_of(module), tracked_run(view))
        if config.store and view.summary.pushed_version:
            mirror(tracker, config, open_store(config.store), module)

    if problem := bounded(config, write):
        print(
            printable(complete(f"warning: {view.name} is not tracked: {problem}; `slipway track sync` writes it later"))
        )


def bounded(config: Tracking, work: Callable[[Tracker], None]) -> TrackingError | None:
    """Does work with a tracker within the time limit; returns what went wrong, whatever it was."""
    late = f"{config.uri}: not done within tracking.timeout_seconds = {config.timeout_seconds:g}"
    problems: list[TrackingError | None] = [TrackingError(late, outage=True)]

    def attempt() -> None:
        try:
            work(open_tracker(config, time.monotonic() + config.timeout_seconds))
            problems.append(None)
        except TrackingError as error:
            problems.append(TrackingError(f"{config.uri}: {error}", outage=error.outage))
        except SlipwayError as error:
            problems.append(TrackingError(str(error)))
        except Exception as error:  # the text may hold a secret: only the type is printed
            problems.append(TrackingError(type(error).__name__))

    # A daemon: a server that answers byte by byte keeps no process alive.
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(config.timeout_seconds + 1)
    return problems[-1]


def mirror(tracker: Tracker, config: Tracked, store: ModelStore, model: str) -> None:
    """Makes a registered model what the store says; the pin stays the truth."""
    production, stages = store.production(model), store.stages(model)
    pinned = production.number if production else None
    versions = [
        _tracked_version(version, "production" if version.number == pinned else STAGES.get(stage, stage))
        for version in store.versions(model)
        if (stage := stages.get(version.number))  # none if it was pushed this moment
    ]
    canary = next((version.number for version in versions if version.stage == "canary"), None)
    tracker.write_versions(config.name_of(model), versions, {"production": pinned, "canary": canary})


def _tracked_version(version: Version, stage: str) -> TrackedVersion:
    manifest = version.manifest
    digests = {"module": manifest.lineage.module_digest, "data": manifest.data_digest, "model": manifest.model_digest}
    return TrackedVersion(
        number=version.number,
        uri=parse(version.uri).below(""),  # without an emulator's query
        run=manifest.lineage.run,
        stage=stage,
        tags={f"slipway.{name}_digest": digest for name, digest in digests.items() if digest},
    )


def tracked_run(view: RunView) -> TrackedRun:
    """What a tracker is told of a run; it reads what the run left, and does without what is missing."""
    summary, lineage = view.summary, view.summary.lineage
    history = _history(view)
    evaluation = read_evaluation_of(lineage, summary.artifacts)
    slices = [evaluation.overall, *evaluation.slices] if evaluation else []
    results = [point for one in slices for point in _results(one, lineage.started)]
    given = {f"hyperparameters.{key}": value for key, value in lineage.hyperparameters.items()}
    parameters = {
        **given,
        **lineage.overrides,
        "seed": lineage.seed,
        **({"epochs": len(history.epochs)} if history else {}),
    }
    tags = {
        "pipeline": lineage.pipeline,
        "module": lineage.module,
        "module_digest": lineage.module_digest,
        "data": lineage.data_uri,
        "data_digest": summary.data_digest,
        "revision": lineage.git_revision,
        "image": lineage.image,
        **({"gpu_image": lineage.gpu_image} if lineage.gpu_image else {}),
        "target": lineage.target,
        "state": view.state,
        "verdict": summary.verdict,
        "reasons": "\n".join(summary.reasons),
        "version": str(summary.pushed_version or ""),
        "model": summary.pushed_path or "",
    }
    return TrackedRun(
        name=view.name,
        state=view.state,
        started=lineage.started,
        finished=summary.finished,
        parameters={
            name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for name, value in parameters.items()
        },
        metrics=[*results, *_curves(history, lineage.started)] if history else results,
        tags={f"slipway.{name}": value or "none" for name, value in tags.items()},
        files=_files(view, history),
        given=view.notes,
    )


def _results(result: SliceResult, when: float) -> Iterator[Point]:
    """`auc`, or `auc/payment_type: Cash`; an undefined metric is NaN."""
    # A slash of a value is no level of the name.
    values = ["-missing-" if value is None else value.replace("/", "\N{DIVISION SLASH}") for value in result.values]
    where = "".join(f"/{column}: {value}" for column, value in zip(result.columns, values, strict=True))
    for name, number in result.candidate.items():
        yield Point(f"{name}{where}", math.nan if number is None else number, 0, when)


def _curves(history: History, started: float) -> Iterator[Point]:
    seconds = 0.0
    for epoch in history.epochs:
        seconds += epoch.seconds
        for name, value in {"loss": epoch.loss, "val_loss": epoch.val_loss, **epoch.metrics}.items():
            yield Point(f"training/{name}", value, epoch.epoch, started + seconds)


def _history(view: RunView) -> History | None:
    uri = view.summary.artifacts.get(view.summary.lineage.shows.training_log)
    return read_if_there(lambda: read_history(readable_folder(uri))) if uri else None


def _files(view: RunView, history: History | None) -> dict[str, bytes]:
    files = {"report.html": storage.read_bytes(view.report)} if view.report else {}
    return files | ({f"training_log/{HISTORY}": history.model_dump_json(indent=1).encode()} if history else {})
