"""Explains in plain text why a run came to its verdict."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from slipway.errors import StoreError
from slipway.evaluation.results import Check, Evaluation
from slipway.evaluation.serving_checks import ServingValidation
from slipway.pages.numbers import format_number, format_time
from slipway.runs.record import RolloutOutcome, Summary
from slipway.runs.store import RunView, lineage_facts, load_run
from slipway.runs.summary import read_data_warnings_of, read_evaluation_of, read_if_there, read_serving_checks_of
from slipway.stores.model_store import Event, ModelStore, Version

WIDTH = 100


@dataclass(frozen=True)
class Explanation:
    """A run, or a version whose run may be gone."""

    summary: Summary  # of the run; of a version without one, its manifest
    run: RunView | None  # if its record is there
    events: tuple[Event, ...] = ()  # of the model's history, those that concern the version
    version_uri: str = ""  # if a version was asked for

    def as_json(self) -> dict[str, Any]:
        """The content of `text`, for programs."""
        summary = self.summary
        return {
            "run": summary.lineage.run,
            "model": summary.lineage.module,
            "state": self.run.state if self.run else None,
            "verdict": summary.verdict,
            "version": summary.pushed_version,
            "reasons": summary.reasons,
            "failed_step": summary.failed_step,
            "checks": [check.model_dump() for check in self.evaluation.verdict.checks] if self.evaluation else [],
            "data_warnings": self._data_warnings,
            "serving_checks": [check.model_dump() for check in self._serving.checks] if self._serving else [],
            "rollout": self._rollout.model_dump() if self._rollout else None,
            "history": [event.model_dump() for event in self.events],
            "baseline_version": summary.baseline_version,
            "data_digest": summary.data_digest,
            **summary.lineage.model_dump(exclude={"run", "module", "shows"}),
        }

    def text(self) -> str:
        """Lines of at most `WIDTH` columns, but for literals that cannot be broken."""
        lines = _wrapped(self.headline())
        for title, items in self.parts():
            if items:
                lines += ["", title, *(line for item in items for line in _wrapped(f"  - {item}", 4))]
        lines += ["", "Where it comes from"]
        lines += [line for name, value in self._provenance() for line in _wrapped(f"  {name:<15} {value}", 18)]
        return "\n".join(line.rstrip() for line in lines)

    def parts(self) -> Iterator[tuple[str, list[str]]]:
        """Titles, and a sentence for each reason, check and event below them."""
        yield "Why", self.summary.reasons
        yield "Warnings of the data", self._data_warnings
        if self.evaluation:
            checked = [_check(check) for check in self.evaluation.verdict.checks]
            if self.evaluation.baseline_problem:
                checked.append(f"production could not be scored: {self.evaluation.baseline_problem}")
            yield "What was checked", checked
        if self._serving:
            failed = [f"{check.name} failed: {check.detail}" for check in self._serving.checks if not check.passed]
            all_checks = len(self._serving.checks)
            yield "Serving", [f"{all_checks - len(failed)} of {all_checks} checks passed", *failed]
        became = [
            f"{format_time(event.when)}, {event.action} version {event.version} by {event.actor}: {event.why}"
            for event in self.events
            if event.action != "push"
        ]
        if self._rollout:
            became += [f"rollback ended: {one}" for one in self._rollout.ended]
            became += [f"rollout {self._rollout.verdict}: {reason}" for reason in self._rollout.reasons]
        yield "What became of it", became

    def headline(self) -> str:
        """What became of the run, in a sentence."""
        summary, name = self.summary, self.summary.lineage.run
        if summary.told:
            return f"{name} was {summary.told.text}."
        if summary.state == "running":
            return f"{name} is still running."
        ends = {word: word for word in ("succeeded", "failed")} | {"unknown": "ended in an unknown state"}
        step = f" at {summary.failed_step}" if summary.failed_step else ""
        without = f"; {summary.lineage.shows.no_verdict}" if summary.lineage.shows.no_verdict else ""
        return f"{name} {ends.get(summary.state, f'was {summary.state}')}{step}{without}."

    def _provenance(self) -> Iterator[tuple[str, str]]:
        summary, rows = self.summary, self.summary.rows
        yield from lineage_facts(summary)
        if rows.read:
            counts = f"{rows.read:,} read, {rows.unused}, {rows.train:,} train, {rows.eval:,} eval"
            yield "rows", counts
        if self.evaluation and self.evaluation.weight:
            yield "weighted by", f"{self.evaluation.weight}: metrics, curves and comparisons; not numbers of rows"
        yield "started", format_time(summary.lineage.started)
        yield "target", summary.lineage.target
        if summary.pushed_version:
            yield "path", self.version_uri or str(summary.pushed_path)
        for step in self.run.steps if self.run else []:
            if step.state == "failed" and step.log:
                yield "log", step.log
        if self.run and self.run.report:
            yield "report", self.run.report

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """Metrics and checks of the gate, if the run got that far and they are still there."""
        return read_evaluation_of(self.summary.lineage, self.summary.artifacts)

    @cached_property
    def _data_warnings(self) -> list[str]:
        return read_data_warnings_of(self.summary.lineage, self.summary.artifacts)

    @cached_property
    def _rollout(self) -> RolloutOutcome | None:
        return self.run.rollout if self.run else None

    @cached_property
    def _serving(self) -> ServingValidation | None:
        return read_serving_checks_of(self.summary.lineage, self.summary.artifacts)


def explain_run(view: RunView, store: ModelStore | None = None) -> Explanation:
    """A run, with the history of the version that it pushed, if the store is known."""
    lineage, version = view.summary.lineage, view.summary.pushed_version
    return Explanation(view.summary, view, _events(store, lineage.module, version) if store and version else ())


def explain_version(what: str, runs: str | Path, store: ModelStore) -> Explanation:
    """A version as `find_version` takes and refuses it, with the run that pushed it if its record is among `runs`."""
    version = find_version(store, what)
    run = read_if_there(lambda: load_run(runs, version.manifest.lineage.run))
    return explain_stored(version, run, _events(store, version.model, version.number))


def explain_stored(version: Version, run: RunView | None, events: Sequence[Event]) -> Explanation:
    """A version that was found already, with its run if there is one, and the events that concern it, oldest first."""
    view = run if run and run.summary.pushed_version == version.number else None
    known = version.manifest.model_dump(include={"lineage", "reasons", "baseline_version", "data_digest", "artifacts"})
    manifest = Summary(state="succeeded", verdict="pushed", pushed_version=version.number, **known)
    return Explanation(view.summary if view else manifest, view, tuple(events), version.uri)


def find_version(store: ModelStore, what: str) -> Version:
    """The version that `VERSION` or `MODEL/VERSION` names; StoreError if there is none, or several models have it."""
    model, _, number = what.rpartition("/")
    models = store.models()
    if model and model not in models:
        raise StoreError(f"there is no model {model!r} in the store; models: {', '.join(models) or 'none'}")
    versions = [version for name in ([model] if model else models) for version in store.versions(name)]
    found = [version for version in versions if str(version.number) == number]
    if len(found) == 1:
        return found[0]
    names = [f"{version.model}/{version.number}" for version in found or versions[-3:]]
    if found:
        raise StoreError(f"more than one model has a version {number}; name one of {', '.join(names)}")
    raise StoreError(f"there is no version {number!r} in the store; the newest: {', '.join(names) or 'none'}")


def _events(store: ModelStore, model: str, number: int) -> tuple[Event, ...]:
    return tuple(event for event in store.history(model) if number in (event.version, event.previous))


def _check(check: Check) -> str:
    """`failed: auc 0.912 on payment_type=Cash (min 0.93, production 0.94, n 1,204)`."""
    numbers = [(check.rule, check.bound), (check.against, check.baseline), ("drop", check.drop)]
    known = [f"{name} {format_number(value)}" for name, value in numbers if value is not None]
    if check.interval:
        known.append(f"90 % interval {' to '.join(map(format_number, check.interval))}")
    if check.examples:
        known.append(f"n {check.examples:,}")
    value = f" {format_number(check.value)}" if check.value is not None else ""
    inside = f" ({', '.join(known)})" if known else ""
    note = f": {check.note}" if check.note else ""
    return f"{check.outcome.replace('_', ' ')}: {check.metric}{value} on {check.slice}{inside}{note}"


def _wrapped(text: str, indent: int = 0) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
