"""Sums a run up from what its steps left behind, however far it came.

Nothing here fails because something is missing: a run that stopped at its first step has a summary too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from pydantic import BaseModel

from slipway.data.examples.dataset import MANIFEST, Manifest
from slipway.errors import SlipwayError
from slipway.evaluation.results import Evaluation, read_evaluation
from slipway.runs.record import Lineage, Outcome, Rows, RunState, Step, Summary
from slipway.stores import storage

Record = TypeVar("Record", bound=BaseModel)
Read = TypeVar("Read")


def read_record(run_uri: str, name: str, kind: type[Record]) -> Record | None:
    """One JSON file of a run's record; None where it is missing or damaged."""
    return read_if_there(lambda: kind.model_validate_json(storage.read_bytes(storage.join(run_uri, name))))


def read_if_there(read: Callable[[], Read]) -> Read | None:
    """What `read` answers; None where the artifact is missing, damaged or out of reach."""
    try:
        return read()
    except (SlipwayError, OSError, ValueError):  # pydantic's ValidationError is a ValueError
        return None


def summarise(
    lineage: Lineage, state: RunState, steps: list[Step], outcome: Outcome | None, error_message: str = ""
) -> Summary:
    """The summary of a run.

    Args:
        lineage: Where the run came from.
        state: How it ended, or that it has not.
        steps: Its steps, as far as the runner recorded them (only local runs do).
        outcome: What push_model decided, if it came to that.
        error_message: The orchestrator's own words, for want of better ones.
    """
    artifacts = artifact_uris(steps, outcome)
    manifest = read_manifest_of(artifacts)
    evaluation = read_evaluation_of(artifacts)
    failed = next((step for step in steps if step.state == "failed"), None)
    error = (
        (failed.error if failed else None)
        or (error_message if state in ("failed", "interrupted", "unknown") else "")
        or None
    )
    validated = outcome is not None or any(_is_done(step, "validate_examples") for step in steps)
    return Summary(
        lineage=lineage,
        state=state,
        failed_step=failed.name if failed else None,
        error=error,
        rows=_rows(manifest),
        metrics=evaluation.overall.candidate if evaluation else {},
        verdict=outcome.verdict if outcome else "none",
        reasons=outcome.reasons if outcome else failure_reasons(failed, error),
        pushed_version=outcome.version if outcome else None,
        pushed_path=outcome.path if outcome else None,
        baseline_version=_baseline_version(steps, evaluation),
        data_digest=(outcome.data_digest if outcome else "") or (manifest.digest if manifest else ""),
        # Data that broke its schema must not become what later data is compared with.
        statistics=artifacts.get("statistics") if validated else None,
        artifacts=artifacts,
        finished=0.0 if state == "running" else time.time(),
    )


def artifact_uris(steps: Iterable[Step], outcome: Outcome | None) -> dict[str, str]:
    """Artifact name to URI: from the steps' outputs and from push_model's list; pages and reports for KFP left out."""
    found = {
        name: value
        for step in steps
        for name, value in step.outputs.items()
        if isinstance(value, str) and name in _ARTIFACTS
    }
    return found | (outcome.artifacts if outcome else {})


def read_manifest_of(artifacts: dict[str, str]) -> Manifest | None:
    """The manifest of the run's examples, if it got that far."""
    uri = artifacts.get("examples")
    return read_record(uri, MANIFEST, Manifest) if uri else None


def read_evaluation_of(artifacts: dict[str, str]) -> Evaluation | None:
    """The evaluation of the run's model, if it got that far."""
    uri = artifacts.get("evaluation")
    return read_if_there(lambda: read_evaluation(readable_folder(uri))) if uri else None


def readable_folder(uri: str) -> Path:
    """The folder of an artifact; one on gs:// is copied to this machine, once in a process."""
    return Path(_downloaded(uri).name) if storage.is_remote(uri) else storage.local_path(uri)


@cache
def _downloaded(uri: str) -> TemporaryDirectory[str]:
    folder = TemporaryDirectory(prefix="slipway-artifact-")
    storage.copy_folder(uri, folder.name)
    return folder


def failure_reasons(failed: Step | None, error: str | None) -> list[str]:
    """Why nothing was judged: the error's own lines, or the last line of a stack trace."""
    if not error:
        return [f"{failed.name} failed without a word; its log is {failed.log}"] if failed else []
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
    return [f"{where}{reason}" if index == 0 else reason for index, reason in enumerate(reasons)]


_ARTIFACTS = frozenset({
    "examples", "statistics", "schema", "anomalies", "transform_graph", "transformed_examples", "model",
    "training_log", "evaluation", "serving_validation",
})  # fmt: skip


def _is_done(step: Step, name: str) -> bool:
    return step.name == name and step.state == "succeeded"


def _rows(manifest: Manifest | None) -> Rows:
    if manifest is None:
        return Rows()
    rows = manifest.rows
    return Rows(read=rows.read, quarantined=rows.quarantined, train=rows.train, eval=rows.eval)


def _baseline_version(steps: list[Step], evaluation: Evaluation | None) -> int | None:
    """A baseline's directory is named by its version."""
    resolved = (step.outputs.get("baseline") for step in steps if step.name == "resolve_baseline")
    uri = (evaluation.baseline_uri if evaluation else None) or next(resolved, None) or ""
    name = str(uri).partition("?")[0].rstrip("/").rpartition("/")[2]
    return int(name) if name.isdigit() else None
