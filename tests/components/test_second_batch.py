"""The steps of batch prediction, each started twice; kills between its files are in tests/serving/batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.finish_batch.component import finish_batch
from components.predict_batch.component import predict_batch
from components.resolve_batch.component import resolve_batch
from components.validate_batch.component import validate_batch
from slipway.lineage import Lineage
from slipway.runs.record import RunContext
from tests.batch_jobs import MODEL, Batch, push, table, write_csv
from tests.steps import of_paths


@dataclass
class Steps:
    """A run of the pipeline's steps in a folder; what a step left is compared by its files."""

    folder: Path
    job: str = ""

    def files(self) -> dict[str, bytes]:
        found = (path for root in ("out", "steps", "run") for path in sorted((self.folder / root).rglob("*")))
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found if path.is_file()}

    def resolve(self) -> None:
        home = self.folder / "home"
        data, to = str(self.folder / "rows.csv"), str(self.folder / "out")
        places = [str(home / name) for name in ("models", "sources", "data", "batch")]
        [self.job] = of_paths(resolve_batch)(MODEL, data, 1, to, "{}", "[]", *places, *self._run)

    def validate(self) -> None:
        of_paths(validate_batch)(self.job, *self._run, self._data, 1, self._at("check"), self._at("check.html"))

    def predict(self) -> None:
        of_paths(predict_batch)(self.job, self._at("check"), 0, 1)

    def finish(self) -> None:
        pages = self._at("verdict.md"), self._at("batch.html")
        of_paths(finish_batch)(self.job, self._at("check"), *self._run, self._data, 1, *pages)

    @property
    def _data(self) -> str:
        return str(self.folder / "rows.csv")

    @property
    def _run(self) -> tuple[str, str, str]:
        lineage = Lineage(run="run-1", module=MODEL, module_digest="m", data_uri=self._data)
        return RunContext(uri=str(self.folder / "run"), lineage=lineage).model_dump_json(), "", ""

    def _at(self, name: str) -> str:
        return str(self.folder / "steps" / name)


@pytest.fixture
def steps(tmp_path: Path, tiny_model: Path) -> Steps:
    push(Batch(str(tmp_path / "home")).store, tiny_model, tmp_path / "schemas")
    write_csv(table(50), tmp_path / "rows.csv")
    return Steps(tmp_path)


def twice(steps: Steps, *names: str) -> dict[str, bytes]:
    """Starts steps, the last one twice; answers what it left, which is the same both times."""
    calls: list[Callable[[], Any]] = [getattr(steps, name) for name in names]
    for call in calls:
        call()
    first, job = steps.files(), steps.job
    calls[-1]()
    assert steps.job == job
    assert steps.files() == first
    return first


def test_resolve_batch_begins_one_job(steps: Steps) -> None:
    assert "out/_job/job.json" in twice(steps, "resolve")


def test_validate_batch_plans_and_says_the_same(steps: Steps) -> None:
    assert "steps/check/check.json" in twice(steps, "resolve", "validate")


def test_predict_batch_writes_its_parts_once(steps: Steps) -> None:
    assert any("part-" in name for name in twice(steps, "resolve", "validate", "predict"))


def test_finish_batch_keeps_the_manifest(steps: Steps) -> None:
    left = twice(steps, "resolve", "validate", "predict", "finish")
    assert b'"predicted"' in left["run/outcome.json"]
