"""Sums a run up from the outputs of its steps, however far it came.

Nothing here fails because something is missing: a run that stopped at its first step has a summary too.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TypeVar

from pydantic import BaseModel

from slipway.data.examples.dataset import MANIFEST, Manifest
from slipway.data.validation.report import Validation, read_validation
from slipway.errors import SlipwayError
from slipway.evaluation.results import Evaluation, read_evaluation
from slipway.evaluation.serving_checks import ServingValidation
from slipway.evaluation.serving_checks import read_validation as read_serving_checks
from slipway.lineage import Lineage
from slipway.runs.record import BAD_DATA, NO_VERDICT, Outcome, Rows, RunState, Step, Summary
from slipway.stores import storage
from slipway.tuning.result import TuningRecord

TUNING = "tuning.json"
COPIES = 200  # of artifacts of a bucket; a console lives long
_DOWNLOADING = Lock()
Record = TypeVar("Record", bound=BaseModel)
Read = TypeVar("Read")


def read_record(run_uri: str, name: str, kind: type[Record]) -> Record | None:
    """One JSON file of a run's record; None if it is missing or damaged."""
    return read_if_there(lambda: kind.model_validate_json(storage.read_bytes(storage.join(run_uri, name))))


def read_if_there(read: Callable[[], Read]) -> Read | None:
    """The result of `read`; None if the artifact is missing, damaged or out of reach."""
    try:
        return read()
    except (SlipwayError, OSError, ValueError):  # pydantic's ValidationError is a ValueError
        return None


def summarise(
    lineage: Lineage, state: RunState, steps: list[Step], outcome: Outcome | None, error_message: str = ""
) -> Summary:
    """The summary of a run. Only local runs record `steps`; without them, `error_message` is the orchestrator's."""
    artifacts = {name: uri for step in steps for name, uri in step.artifacts.items()}
    artifacts |= outcome.artifacts if outcome else {}
    examples = artifacts.get(lineage.shows.examples)
    manifest = read_record(examples, MANIFEST, Manifest) if examples else None
    evaluation = read_evaluation_of(lineage, artifacts)
    failed = next((step for step in steps if step.state == "failed"), None)
    badly = error_message if state not in ("running", "succeeded") else ""
    error = (failed.error if failed else None) or badly or None
    return Summary(
        lineage=lineage,
        state=state,
        failed_step=failed.name if failed else None,
        error=error,
        rows=Rows.model_validate(manifest.rows, from_attributes=True) if manifest else Rows(),
        metrics=evaluation.overall.candidate if evaluation else {},
        verdict=outcome.verdict if outcome else NO_VERDICT,
        reasons=_reasons(state, failure_reasons(failed, error), outcome),
        pushed_version=outcome.version if outcome else None,
        pushed_path=outcome.path if outcome else None,
        baseline_version=evaluation.baseline_version if evaluation else None,
        data_digest=(outcome.data_digest if outcome else "") or (manifest.digest if manifest else ""),
        statistics=artifacts.get(lineage.shows.statistics) if _is_valid(lineage, artifacts, outcome) else None,
        artifacts=artifacts,
        finished=0.0 if state == "running" else time.time(),
    )


def with_tuning(summary: Summary, run_uri: str) -> Summary:
    """The summary with what the tuner found, if the run had one: in the lineage, the artifacts and the reasons."""
    record = read_record(run_uri, TUNING, TuningRecord)
    if record is None or record.tuned is None:
        return summary
    said = record.tuned.reason
    return summary.model_copy(
        update={
            "lineage": record.tuned.lineage(summary.lineage),
            "artifacts": summary.artifacts | record.artifacts,
            "reasons": [said, *summary.reasons] if summary.state == "succeeded" else [*summary.reasons, said],
        }
    )


def read_evaluation_of(lineage: Lineage, artifacts: dict[str, str]) -> Evaluation | None:
    """The evaluation of the run's model, if it got that far."""
    return _read_shown(lineage.shows.evaluation, artifacts, read_evaluation)


def read_serving_checks_of(lineage: Lineage, artifacts: dict[str, str]) -> ServingValidation | None:
    """The serving checks of the run's model, if it got that far."""
    return _read_shown(lineage.shows.serving_checks, artifacts, read_serving_checks)


def read_data_warnings_of(lineage: Lineage, artifacts: dict[str, str]) -> list[str]:
    """What validation says of the run's data without refusing it: problem and fix."""
    validation = _read_validation_of(lineage, artifacts)
    warnings = [one for one in (validation.anomalies if validation else []) if one.severity == "WARNING"]
    places = ["" if one.description.startswith(one.feature) else f"{one.feature}: " for one in warnings]
    return [
        f"{place}{one.description.rstrip('.')}. Fix: {one.fix}" for place, one in zip(places, warnings, strict=True)
    ]


def _read_validation_of(lineage: Lineage, artifacts: dict[str, str]) -> Validation | None:
    return _read_shown(lineage.shows.data_validation, artifacts, lambda path: read_validation(str(path)))


def _read_shown(name: str, artifacts: dict[str, str], read: Callable[[Path], Read]) -> Read | None:
    uri = artifacts.get(name)
    return read_if_there(lambda: read(readable_folder(uri))) if uri else None


def _is_valid(lineage: Lineage, artifacts: dict[str, str], outcome: Outcome | None) -> bool:
    """Whether the data fits its schema; other data must not become what later data is compared with."""
    if outcome:
        return outcome.verdict != BAD_DATA
    validation = _read_validation_of(lineage, artifacts)
    return validation is not None and not validation.errors


def readable_folder(uri: str) -> Path:
    """The folder of an artifact; one in a bucket is copied to this machine, where the newest `COPIES` are kept."""
    if not storage.is_remote(uri):
        return storage.local_path(uri)
    with _DOWNLOADING:  # of two copies at once the first would be deleted under its reader
        return Path(_downloaded(uri).name)


@lru_cache(COPIES)
def _downloaded(uri: str) -> TemporaryDirectory[str]:
    folder = TemporaryDirectory(prefix="slipway-artifact-")
    storage.copy_folder(uri, folder.name)
    return folder


def _reasons(state: RunState, failure: list[str], outcome: Outcome | None) -> list[str]:
    """Those of the verdict; without one, the failure's, and what validation warned of, which may have led to it."""
    if outcome and outcome.verdict != NO_VERDICT:
        return outcome.reasons
    warned = outcome.reasons if outcome and state == "failed" else []
    return failure + [f"validation warned: {warning}" for warning in warned]


def failure_reasons(failed: Step | None, error: str | None) -> list[str]:
    """Reasons of a failure: the error's own lines, or the last line of a stack trace."""
    if not error:
        return [f"{failed.name} failed without a message; its log is {failed.log}"] if failed else []
    lines = [line.rstrip() for line in error.splitlines() if line.strip()]
    if any(line.startswith(("Traceback", '  File "')) for line in lines):
        lines = lines[-1:]
    reasons: list[str] = []
    for line in lines:
        if line.startswith(" ") and reasons:  # what belongs to the line above
            reasons[-1] += f" {line.strip()}" if reasons[-1][-1:] in ".:;,!?" else f"; {line.strip()}"
        else:
            reasons.append(line.removeprefix("- "))
    where = f"{failed.name} failed: " if failed else ""
    return [f"{where}{reasons[0]}", *reasons[1:]] if reasons else []
