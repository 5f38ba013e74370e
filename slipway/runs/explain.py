"""Why a model was, or was not, pushed: in plain text."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.errors import StoreError
from slipway.evaluation.serving_checks import ServingValidation, read_validation
from slipway.pages.numbers import MISSING, format_number
from slipway.runs.record import RolloutOutcome
from slipway.runs.store import RunView, load_run
from slipway.runs.summary import read_evaluation_of, read_if_there, readable_folder

if TYPE_CHECKING:
    from slipway.evaluation.results import Check, Evaluation
    from slipway.runs.record import Lineage
    from slipway.stores.model_store import Event, Manifest, ModelStore, Version

WIDTH = 100


@dataclass(frozen=True)
class Explanation:
    """A run, a version, or both: a version outlives the record of its run, and most runs push none.

    `events` are the lines of the model's history that concern the version.
    """

    run: RunView | None
    version: Version | None
    events: tuple[Event, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The same as `text` says, for programs."""
        evaluation, serving = self._evaluation, self._serving
        return {
            "run": self._lineage.run,
            "model": self._lineage.module,
            "state": self.run.state if self.run else None,
            "verdict": self._verdict,
            "version": self._version_number,
            "reasons": self._reasons,
            "failed_step": self.run.summary.failed_step if self.run else None,
            "checks": [check.model_dump() for check in evaluation.verdict.checks] if evaluation else [],
            "serving_checks": [check.model_dump() for check in serving.checks] if serving else [],
            "rollout": self._rollout.model_dump() if self._rollout else None,
            "history": [event.model_dump() for event in self.events],
            "baseline_version": self._baseline_version,
            "data_digest": self._data_digest,
            **self._lineage.model_dump(exclude={"run", "module"}),
        }

    def text(self) -> str:
        """Lines of at most `WIDTH` columns, but for literals that cannot be broken."""
        return "\n".join(line.rstrip() for part in self._parts() for line in part)

    def _parts(self) -> Iterator[list[str]]:
        yield _wrapped(self._headline())
        if self._reasons:
            yield ["", "Why", *_items(self._reasons)]
        if self._evaluation:
            checks = self._evaluation.verdict.checks
            yield ["", "What was checked", *_items([_check(check) for check in checks])]
            if self._evaluation.baseline_problem:
                yield _items([f"production could not be scored: {self._evaluation.baseline_problem}"])
        if self._serving:
            failed = [check for check in self._serving.checks if not check.passed]
            passed = len(self._serving.checks) - len(failed)
            lines = [f"{passed} of {len(self._serving.checks)} checks passed"]
            yield ["", "Serving", *_items(lines + [f"{check.name} failed: {check.detail}" for check in failed])]
        became = [_event(event) for event in self.events if event.action != "push"]
        if self._rollout:
            became += [f"rollout {self._rollout.verdict}: {reason}" for reason in self._rollout.reasons]
        if became:
            yield ["", "What became of it", *_items(became)]
        yield ["", "Where it comes from", *self._provenance()]

    def _headline(self) -> str:
        lineage, verdict = self._lineage, self._verdict
        if verdict == "pushed":
            return f"{lineage.run} was pushed as version {self._version_number} of {lineage.module}."
        if verdict == "refused":
            return f"{lineage.run} was not pushed: the gate refused its model."
        assert self.run is not None
        step = f" at {self.run.summary.failed_step}" if self.run.summary.failed_step else ""
        if self.run.state == "running":
            return f"{lineage.run} is still running; nothing was pushed so far."
        ends = {"failed": "failed", "interrupted": "was interrupted", "unknown": "ended in an unknown state"}
        was = ends.get(self.run.state, "ended")
        return f"{lineage.run} {was}{step}; no model was pushed."

    def _provenance(self) -> list[str]:
        lineage = self._lineage
        began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(lineage.started)) if lineage.started else MISSING
        baseline = f"version {self._baseline_version} of {lineage.module}" if self._baseline_version else "none"
        facts = {"data": lineage.data_uri, "data digest": self._data_digest or MISSING}
        if self.run and self.run.summary.rows.read:
            rows = self.run.summary.rows
            counts = f"{rows.read:,} read, {rows.quarantined:,} quarantined, {rows.train:,} train, {rows.eval:,} eval"
            facts["rows"] = counts
        facts |= {
            "module": lineage.module,
            "module digest": lineage.module_digest,
            "baseline": baseline,
            "git revision": lineage.git_revision,
            "seed": str(lineage.seed),
            "started": began,
            "target": lineage.target,
        }
        if self._version_number:
            facts["path"] = self.version.uri if self.version else str(self.run and self.run.summary.pushed_path)
        failed = next((step for step in self.run.steps if step.state == "failed"), None) if self.run else None
        if failed and failed.log:
            facts["log"] = failed.log
        if self.run and self.run.report:
            facts["report"] = self.run.report
        return [line for name, value in facts.items() for line in _wrapped(f"  {name:<14} {value}", 17)]

    @property
    def _manifest(self) -> Manifest | None:
        return self.version.manifest if self.version else None

    @property
    def _lineage(self) -> Lineage:
        if self.run:
            return self.run.summary.lineage
        assert self._manifest is not None
        return self._manifest.lineage

    @property
    def _verdict(self) -> str:
        return self.run.summary.verdict if self.run else "pushed"

    @property
    def _version_number(self) -> int | None:
        if self.run:
            return self.run.summary.pushed_version
        return self.version.number if self.version else None

    @property
    def _reasons(self) -> list[str]:
        if self.run:
            return self.run.summary.reasons
        return self._manifest.reasons if self._manifest else []

    @property
    def _baseline_version(self) -> int | None:
        source = self.run.summary if self.run else self._manifest
        return source.baseline_version if source else None

    @property
    def _data_digest(self) -> str:
        source = self.run.summary if self.run else self._manifest
        return source.data_digest if source else ""

    @property
    def _artifacts(self) -> dict[str, str]:
        source = self.run.summary if self.run else self._manifest
        return source.artifacts if source else {}

    @cached_property
    def _evaluation(self) -> Evaluation | None:
        return read_evaluation_of(self._artifacts)

    @cached_property
    def _rollout(self) -> RolloutOutcome | None:
        return self.run.rollout if self.run else None

    @cached_property
    def _serving(self) -> ServingValidation | None:
        uri = self._artifacts.get("serving_validation")
        return read_if_there(lambda: read_validation(readable_folder(uri))) if uri else None


def find(what: str | None, runs: str | Path, store: ModelStore) -> Explanation:
    """The run or the version that `what` names; the newest run without it.

    Args:
        what: A run, or a version as `find_version` takes it.
        runs: Directory or gs:// URI of the records.
        store: The model store.

    Raises:
        StoreError: there is neither.
    """
    model, _, number = (what or "").rpartition("/")
    if not number.isdigit() and not model:
        return explain_run(load_run(runs, what), store)
    version = find_version(store, what or "")
    run = read_if_there(lambda: load_run(runs, version.manifest.lineage.run))
    events = _events(store, version.model, version.number)
    return Explanation(run if run and run.summary.pushed_version == version.number else None, version, events)


def explain_run(view: RunView, store: ModelStore) -> Explanation:
    """A run, with the history of the version that it pushed."""
    return Explanation(view, None, _events(store, view.summary.lineage.module, view.summary.pushed_version))


def find_version(store: ModelStore, what: str) -> Version:
    """`VERSION`, or `MODEL/VERSION`.

    Raises:
        StoreError: there is no such version, or more than one model has it.
    """
    model, _, number = what.rpartition("/")
    models = store.models()
    if model and model not in models:
        raise StoreError(f"there is no model {model!r} in the store; models: {', '.join(models) or 'none'}")
    versions = [version for name in ([model] if model else models) for version in store.versions(name)]
    found = [version for version in versions if str(version.number) == number]
    if len(found) == 1:
        return found[0]
    if found:
        choices = ", ".join(f"{version.model}/{number}" for version in found)
        raise StoreError(f"more than one model has a version {number}; name one of {choices}")
    newest = ", ".join(f"{version.model}/{version.number}" for version in versions[-3:])
    raise StoreError(f"there is no version {number!r} in the store; the newest: {newest or 'none'}")


def _events(store: ModelStore, model: str, number: int | None) -> tuple[Event, ...]:
    if number is None:
        return ()
    return tuple(event for event in store.history(model) if number in (event.version, event.previous))


def _event(event: Event) -> str:
    """`2026-01-31 12:00:00 UTC, quarantine version 7 by ann: p99 doubled`."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(event.when))
    return f"{moment}, {event.action} version {event.version} by {event.who}: {event.why}"


def _check(check: Check) -> str:
    """`failed: auc 0.912 on payment_type=Cash (min 0.93, production 0.94, n 1,204)`."""
    numbers = [(check.rule, check.bound), ("production", check.baseline)]
    known = [f"{name} {format_number(value)}" for name, value in numbers if value is not None]
    if check.examples:
        known.append(f"n {check.examples:,}")
    value = f" {format_number(check.value)}" if check.value is not None else ""
    inside = f" ({', '.join(known)})" if known else ""
    note = f": {check.note}" if check.note else ""
    return f"{check.outcome.replace('_', ' ')}: {check.metric}{value} on {check.slice}{inside}{note}"


def _items(lines: list[str]) -> list[str]:
    return [wrapped for line in lines for wrapped in _wrapped(f"  - {line}", 4)]


def _wrapped(text: str, indent: int = 0) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
    )
